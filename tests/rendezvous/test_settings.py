from pathlib import Path

import pytest

from rendezvous.settings import (
    DEVELOPMENT,
    Settings,
    SettingsInvalid,
    described,
    in_user_folder,
    load,
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rendezvous.toml"
    path.write_text(text)
    return path


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """The limits of the papers hold unless the operator says otherwise."""
    settings = load(written(tmp_path, ""))

    assert settings == Settings()
    assert (settings.look_ups_per_minute, settings.registrations_per_minute) == (20, 5)
    assert settings.max_sessions == 100_000
    assert not settings.loopback


def test_values_are_read(tmp_path: Path) -> None:
    """Arrays become tuples."""
    settings = load(written(tmp_path, 'hosts = ["::1"]\nport = 1\naccess_tokens = ["12345678"]'))

    assert (settings.hosts, settings.port, settings.access_tokens) == (("::1",), 1, ("12345678",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "did you mean 'port'"),
        ("colour = 1", "unknown key 'colour'"),
        ("port = 65536", r"\$.port"),
        ('log_format = "xml"', "log_format"),
        ("port =", "Invalid value"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    """With its file, and the closest key there is."""
    with pytest.raises(SettingsInvalid, match=said) as error:
        load(written(tmp_path, text))

    assert "rendezvous.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """And so is one that is no text."""
    with pytest.raises(SettingsInvalid, match="No such file"):
        load(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match=r"bytes\.toml"):
        load(tmp_path / "bytes.toml")


def test_access_tokens_are_not_described() -> None:
    """The output of check-config may be shown to others."""
    lines = described(Settings(access_tokens=("secret-token",)))

    assert "access_tokens = 1 of them" in lines
    assert "secret-token" not in "".join(lines)


def test_a_developer_keeps_the_identity_at_home() -> None:
    """The default folder belongs to the system's service."""
    assert in_user_folder(DEVELOPMENT).state.endswith("quintet-rendezvous")
    assert in_user_folder(DEVELOPMENT).loopback
