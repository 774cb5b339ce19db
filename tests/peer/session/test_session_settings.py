import msgspec
import pytest

from peer.errors import SettingInvalid, SettingUnknown
from peer.session.session_settings import (
    KEYS,
    Analysis,
    Case,
    DataType,
    Matching,
    Metadata,
    Paired,
    Pairing,
    SessionSettings,
    Symlinks,
    parse_assignments,
    settings_from,
    with_line,
)


def test_defaults_are_the_first_values_of_the_paper() -> None:
    """Nobody must touch a setting."""
    settings = SessionSettings()

    assert settings.data_type is DataType.FILES_AND_DIRECTORIES
    assert settings.matching is Matching.RELATIVE_PATH
    assert settings.pairing is Pairing.LINES
    assert settings.case is Case.AUTOMATIC
    assert settings.analysis is Analysis.SMART
    assert settings.exclude_hidden
    assert settings.exclude_system
    assert settings.include == settings.exclude == ()
    assert settings.symlinks is Symlinks.SKIP
    assert settings.metadata is Metadata.DATES
    assert settings.date_tolerance_ms is None


def test_every_setting_says_what_it_means() -> None:
    """The page's form and the command line's help are read off the declaration."""
    fields = {field.name: field.type for field in msgspec.inspect.type_info(SessionSettings).fields}

    described = {
        name
        for name, kind in fields.items()
        if isinstance(kind, msgspec.inspect.Metadata)
        and (kind.extra_json_schema or {}).get("description")
    }

    assert described == set(KEYS)


def test_settings_survive_the_wire() -> None:
    """They are sent to every member."""
    settings = SessionSettings(exclude=("*.tmp",), date_tolerance_ms=2000, case=Case.SENSITIVE)

    encoded = msgspec.msgpack.encode(settings)

    assert msgspec.msgpack.decode(encoded, type=SessionSettings) == settings


def test_assignments_change_what_they_name() -> None:
    """Keys take hyphens, switches the usual words, enumerations any case."""
    settings = parse_assignments(
        [
            "data-type=Files",
            "exclude_hidden=off",
            "exclude-system = yes",
            "analysis=checksum",
            "metadata=dates_and_mode",
            "include=*.jpg",
            "include=*.png",
        ]
    )

    assert settings == SessionSettings(
        data_type=DataType.FILES,
        exclude_hidden=False,
        analysis=Analysis.CHECKSUM,
        metadata=Metadata.DATES_AND_MODE,
        include=("*.jpg", "*.png"),
    )


def test_assignments_keep_the_rest_of_the_base() -> None:
    """Only what is named changes; a list is replaced, an empty value empties it."""
    base = SessionSettings(include=("a",), exclude=("b",), exclude_hidden=False)

    settings = parse_assignments(["include=", "exclude=c"], base)

    assert settings == SessionSettings(exclude=("c",), exclude_hidden=False)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("automatic", None), ("0", 0), ("250", 250), ("2s", 2000), ("1m", 60_000), ("1h", 3_600_000)],
)
def test_a_tolerance_takes_a_unit(text: str, milliseconds: int | None) -> None:
    """Automatic is a value like any other."""
    settings = parse_assignments([f"date-tolerance={text}"])

    assert settings.date_tolerance_ms == milliseconds


@pytest.mark.parametrize(
    "assignment",
    [
        "case",
        "case=perhaps",
        "exclude_hidden=perhaps",
        "date_tolerance=2h",
        "date_tolerance=soon",
        "date_tolerance=2 weeks",
        "date_tolerance=-1",
        "exclude=a\nb",
        f"exclude={'x' * 1001}",
        "exclude=*a*b*c*d*e",
    ],
)
def test_a_value_out_of_bounds_is_refused_with_what_is_accepted(assignment: str) -> None:
    """Naming the key, and what it takes."""
    with pytest.raises(SettingInvalid) as caught:
        parse_assignments([assignment])

    assert caught.value.name in KEYS
    assert caught.value.expected


def test_an_unknown_key_is_refused_with_a_suggestion() -> None:
    """A slip of the finger is not answered with a list to read."""
    with pytest.raises(SettingUnknown) as near:
        parse_assignments(["exclude_hiden=on"])
    with pytest.raises(SettingUnknown) as far:
        parse_assignments(["colour=red"])

    assert near.value.suggestion == "exclude_hidden"
    assert far.value.suggestion == ""


def test_too_many_stars_are_refused_wherever_they_come_from() -> None:
    """The library matches by backtracking: a leader must not stall a member."""
    hostile = msgspec.msgpack.encode({"exclude": ["*a*a*a*a*b"]})

    with pytest.raises(msgspec.ValidationError, match="stars"):
        msgspec.msgpack.decode(hostile, type=SessionSettings)


def test_plain_values_become_settings() -> None:
    """As the API and profiles hold them."""
    settings = settings_from({"exclude_hidden": False, "date_tolerance_ms": None})

    assert settings == SessionSettings(exclude_hidden=False)


def pair(member: int, source: int) -> Paired:
    return Paired(member=member, source=source)


def test_sources_are_paired_otherwise_line_by_line() -> None:
    """A source is in one line; what is left alone of another goes by its number again."""
    first = with_line(SessionSettings(), [pair(0, 0), pair(1, 1), pair(2, 0)])
    second = with_line(first, [pair(0, 1), pair(1, 0)])
    third = with_line(second, [pair(0, 0), pair(1, 0)])

    assert second.pairs == ((pair(0, 0), pair(1, 1), pair(2, 0)), (pair(0, 1), pair(1, 0)))
    assert third.pairs == ((pair(1, 1), pair(2, 0)), (pair(0, 0), pair(1, 0)))
    assert parse_assignments(["pairs="], third).pairs == ()


@pytest.mark.parametrize("line", [[], [pair(0, 0)], [pair(0, 0), pair(0, 1)]])
def test_a_line_is_of_several_members(line: list[Paired]) -> None:
    """One source of each, and two at least."""
    with pytest.raises(SettingInvalid, match="A1"):
        with_line(SessionSettings(), line)
    with pytest.raises(SettingInvalid, match="A1"):
        parse_assignments(["pairs=anything"])
