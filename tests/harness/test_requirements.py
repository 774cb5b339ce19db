import pytest

from tests.harness.requirements import require_root, require_tool


def test_a_missing_tool_skips_here_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the report knows what to install."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="needs no-such-tool"):
        require_tool("sh", "no-such-tool")


def test_a_missing_tool_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skipped test would look like a passed one there."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="needs no-such-tool"):
        require_tool("no-such-tool")


def test_a_present_tool_lets_the_test_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of a machine that has everything."""
    monkeypatch.setenv("CI", "true")

    require_tool("sh")


def test_a_user_without_root_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network laboratory runs there or the run is worth nothing."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(pytest.fail.Exception, match="needs root"):
        require_root()
