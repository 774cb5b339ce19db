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


def token_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "access-token"
    path.write_text(text)
    path.chmod(mode)
    return written(tmp_path, f'access_token_file = "{path}"')


def test_access_tokens_are_read_from_their_file(tmp_path: Path) -> None:
    """One per line; comments and empty lines do not count."""
    settings = load(token_file(tmp_path, "# ours\n\nfirst token\nsecond token\n"))

    assert settings.access_tokens == ("first token", "second token")


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("first token", 0o604, "others can read"),
        ("first token", 0o660, "others can read"),
        ("short", 0o600, "8 to 64"),
        ("", 0o600, "8 to 64"),
        ("x" * 65, 0o600, "8 to 64"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    """The node does not start open where it was meant to be private."""
    with pytest.raises(SettingsInvalid, match=said):
        load(token_file(tmp_path, text, mode))


def test_a_token_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """And the token itself never is."""
    with pytest.raises(SettingsInvalid, match="absent"):
        load(written(tmp_path, 'access_token_file = "/absent"'))


def test_the_address_of_a_store_is_not_described() -> None:
    """It may hold a password."""
    lines = described(Settings(store="redis://:secret@127.0.0.1/0"))

    assert "store = redis://..." in lines
