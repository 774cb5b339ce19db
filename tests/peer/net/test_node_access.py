from pathlib import Path

import pytest

from peer.errors import SettingInvalid
from peer.net.node_access import read_access


def token_file(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "access"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_first_line_is_the_token(tmp_path: Path) -> None:
    """Whatever stands below may explain it; no file is no token."""
    assert read_access(token_file(tmp_path, "open sesame\nof our node\n")) == "open sesame"
    assert read_access("") == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The token is a secret."""
    with pytest.raises(SettingInvalid) as refused:
        read_access(token_file(tmp_path, "open sesame", mode))

    assert "open sesame" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "\n", "x" * 100, "a\x07b"])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing, too much, or not printable."""
    with pytest.raises(SettingInvalid):
        read_access(token_file(tmp_path, text))


def test_a_file_that_is_not_there_is_named_as_a_setting(tmp_path: Path) -> None:
    """The person learns which setting to look at."""
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(SettingInvalid) as refused:
            read_access(str(path))
        assert "access_file" in str(refused.value)
