"""Where settings come from, what they may be, and how they are written."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from peer import settings
from peer.errors import SettingInvalid, SettingsUnreadable, SettingUnknown


def _load(tmp_path: Path, **given: Any) -> settings.Resolved:
    sources: dict[str, Any] = {
        "flags": {}, "environ": {}, "config": None, "user_file": tmp_path / "user.toml"
    }  # fmt: skip
    return settings.load(**(sources | given))


def test_each_source_wins_over_the_ones_below_it(tmp_path: Path) -> None:
    """Flag, variable, named file, own file, default; and each value tells its origin."""
    user, named = tmp_path / "user.toml", tmp_path / "named.toml"
    user.write_text('udp_port = 1\nui_port = 1\nlang = "fr"\n[identity]\nname = "U"\n')
    named.write_text('udp_port = 2\nui_port = 2\nidentity.name = "N"\n')

    resolved = _load(
        tmp_path, config=named, environ={"QUINTET_UDP_PORT": "3", "QUINTET_UI_PORT": "3"},
        flags={"udp_port": 4},
    )  # fmt: skip

    assert settings.values(resolved.settings) | {} == {
        **settings.values(settings.Settings()),
        "udp_port": 4, "ui_port": 3, "identity.name": "N", "lang": "fr",
    }  # fmt: skip
    assert resolved.origins["udp_port"] == "flag"
    assert resolved.origins["ui_port"] == "QUINTET_UI_PORT"
    assert resolved.origins["identity.name"] == str(named)
    assert resolved.origins["lang"] == str(user)
    assert resolved.origins["browser"] == "default"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("udp-port", "udp_port"), ("identity.nam", "identity.name"), ("zzz", "")],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(
    tmp_path: Path, name: str, suggestion: str
) -> None:
    """A typing mistake never silently keeps the default."""
    path = tmp_path / "user.toml"
    path.write_text(f"{name} = 1\n")

    with pytest.raises(SettingUnknown) as caught:
        _load(tmp_path)

    assert caught.value.suggestion == suggestion


def test_an_unknown_variable_is_an_error_too(tmp_path: Path) -> None:
    """But not those of the node, nor the two that say where things are."""
    harmless = {"QUINTET_HOME": "/h", "QUINTET_CONFIG": "/c", "QUINTET_NODE_PORT": "1", "X": "y"}
    assert _load(tmp_path, environ=harmless).settings == settings.Settings()

    with pytest.raises(SettingUnknown) as caught:
        _load(tmp_path, environ={"QUINTET_UPD_PORT": "1"})

    assert caught.value.suggestion == "QUINTET_UDP_PORT"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("udp_port", "65536", "0 … 65535"), ("udp_port", "x", "0 … 65535"),
     ("browser", "perhaps", "true | false"), ("lang", "de", "auto | en | fr"),
     ("identity.name", "x" * 65, "≤ 64"), ("idle_minutes", 0, "1 … 1440")],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_and_not_repeated(
    name: str, value: object, expected: str
) -> None:
    """The bounds stand in the declaration; the error shows them."""
    with pytest.raises(SettingInvalid) as caught:
        settings.checked(name, value)

    assert caught.value.params == {"name": name, "expected": expected}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False)])
def test_a_switch_is_read_from_text(text: str, value: bool) -> None:
    """As a variable or a flag gives it."""
    assert settings.checked("browser", text) is value


@pytest.mark.parametrize("content", [b"udp_port = ", b"\xff\xfe"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    """Also one that is not there, if it was asked for."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsUnreadable) as caught:
        _load(tmp_path, config=path)
    assert caught.value.path == str(path)
    with pytest.raises(SettingsUnreadable):
        _load(tmp_path, config=tmp_path / "absent.toml")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Whatever characters a name holds; other values stay."""
    path = tmp_path / "deep" / "config.toml"
    name = 'A "quoted" \\ name\x7f\n = [é]'
    settings.write_value(path, "udp_port", "4000")
    settings.write_value(path, "identity.name", name)
    settings.write_value(path, "browser", "false")

    read = settings.read_file(path)
    assert read == {"udp_port": 4000, "identity.name": name, "browser": False}
    assert "# UDP port" in path.read_text()
    with pytest.raises(SettingInvalid):
        settings.write_value(path, "udp_port", "x")
    assert settings.read_file(path) == read
    tomllib.loads(path.read_text())


def test_every_setting_has_a_description_a_variable_and_an_option() -> None:
    """They follow from the field."""
    for name, key in settings.KEYS.items():
        assert key.description.endswith(".")
        assert key.variable.startswith("QUINTET_")
        assert key.option.startswith("--")
        assert settings.checked(name, key.default) == key.default
