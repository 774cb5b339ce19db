import json

from peer.daemon.views import (
    letters,
    link_view,
    member_views,
    progress_views,
    settings_view,
    shown_path,
    source_views,
)
from peer.session.session_settings import SessionSettings
from protocol.messages import session as wire
from protocol.messages.inventory import Kind
from tests.harness.seats import Table, table_of
from tests.harness.waiting import until


class Path:
    """Where a connection leads."""

    def __init__(self, host: str) -> None:
        self.remote = (host, 4711)


class Connection:
    """What a view asks of a connection."""

    def __init__(self, host: str, round_trip: float | None) -> None:
        self.path = Path(host)
        self.round_trip = round_trip


class Link:
    """What a view asks of a link."""

    def __init__(self, host: str, round_trip: float | None = None) -> None:
        self.connection = Connection(host, round_trip)


def views_of(table: Table, me: int) -> list[dict[str, object]]:
    session = table[me].session
    return member_views(
        session.membership,
        session.lifecycle,
        session.links,
        own_address="192.0.2.1:7",
        trust={index: {"known": "new"} for index in table.seats},
    )


def test_a_link_is_shown_by_where_it_leads() -> None:
    """Within this computer, within the house, or through the Internet."""
    kinds = {
        host: link_view(Link(host), wanted=True)["kind"]  # type: ignore[arg-type,index]
        for host in ("127.0.0.1", "192.168.1.7", "8.8.8.8", "2a00:1450::1", "fd00::7")
    }

    assert kinds == {
        "127.0.0.1": "loopback",
        "192.168.1.7": "lan",
        "8.8.8.8": "direct",
        "2a00:1450::1": "direct",
        "fd00::7": "lan",
    }


def test_a_round_trip_is_shown_in_milliseconds() -> None:
    """Once one has been measured."""
    measured = link_view(Link("127.0.0.1", 0.0123456), wanted=True)  # type: ignore[arg-type]
    fresh = link_view(Link("127.0.0.1"), wanted=True)  # type: ignore[arg-type]

    assert measured is not None
    assert fresh is not None
    assert measured["round_trip_ms"] == 12.35
    assert fresh["round_trip_ms"] is None


def test_a_missing_link_is_being_made() -> None:
    """And there is none to oneself."""
    missing = link_view(None, wanted=True)

    assert missing is not None
    assert missing["state"] == "connecting"
    assert link_view(None, wanted=False) is None


def test_paths_of_others_are_shown_without_tricks() -> None:
    """They are bytes of another computer: signs that steer a terminal do not get through."""
    assert shown_path(b"/home/anna/photos") == "/home/anna/photos"
    assert shown_path(b"/") == "/"
    assert shown_path(b"//home///anna/") == "/home/anna"
    assert "\x1b" not in shown_path(b"/evil\x1b[31m\xff")
    json.dumps(shown_path(b"/evil\x1b[31m\xff\xfe"))


def test_sources_have_codes_in_their_order() -> None:
    """The letter of their member and a number from one."""
    sources = [
        wire.SourceInfo(path=b"/photos", kind=Kind.DIRECTORY, label="nfs4"),
        wire.SourceInfo(path=b"/note.txt", kind=Kind.FILE),
    ]

    views = source_views("B", sources)

    assert views == [
        {"code": "B1", "path": "/photos", "kind": "directory", "label": "nfs4"},
        {"code": "B2", "path": "/note.txt", "kind": "file", "label": ""},
    ]


async def test_members_are_shown_in_the_order_of_their_letters() -> None:
    """Who leads, who is oneself, who is linked, what each has and does."""
    async with table_of(3, linked=False) as table:
        await table.link(0, 1)
        for index in (0, 1):
            table[index].session.lifecycle.change_sources(
                [wire.SourceInfo(path=b"/photos", kind=Kind.DIRECTORY)]
            )
            table[index].session.drain()
        await until(lambda: table[1].session.lifecycle.members[0].sources)

        views = views_of(table, 1)

    assert [view["letter"] for view in views] == ["A", "B", "C"]
    assert [view["leader"] for view in views] == [True, False, False]
    assert [view["me"] for view in views] == [False, True, False]
    assert [view["state"] for view in views] == [
        "waiting_inventory",
        "waiting_inventory",
        "unreachable",
    ]
    assert views[1]["address"] == "192.0.2.1:7"
    assert views[1]["link"] is None
    assert str(views[0]["address"]).startswith("127.0.0.1")
    assert views[0]["sources"] == [
        {"code": "A1", "path": "/photos", "kind": "directory", "label": ""}
    ]
    json.dumps(views)


async def test_who_has_left_a_started_session_keeps_its_letter() -> None:
    """The others' letters mean the same until the end."""
    async with table_of(3) as table:
        for seat in table.seats.values():
            seat.session.membership.locked = True
        await table[1].session.leave()
        await until(lambda: 1 not in table[0].session.membership.roster.present)

        views = views_of(table, 0)
        names = letters(table[0].session.membership)

    assert [view["state"] for view in views] == ["waiting_inventory", "left", "waiting_inventory"]
    assert names == {0: "A", 1: "B", 2: "C"}


def test_progress_is_shown_under_the_names_people_know() -> None:
    """Of the inventory and of the synchronisation."""
    progress = wire.Progress(
        files=1,
        directories=2,
        size=3,
        skipped={"hidden": 4},
        errors=5,
        hashed_files=6,
        hashed_size=7,
        to_hash_files=8,
        to_hash_size=9,
        steps=10,
        steps_done=11,
        steps_failed=12,
        content=13,
        content_done=14,
    )

    views = progress_views(progress)

    assert views == {
        "inventory": {
            "files": 1,
            "directories": 2,
            "bytes": 3,
            "skipped": {"hidden": 4},
            "errors": 5,
            "hashed_files": 6,
            "hashed_bytes": 7,
            "to_hash_files": 8,
            "to_hash_bytes": 9,
        },
        "sync": {"steps": 10, "done": 11, "failed": 12, "bytes": 13, "bytes_done": 14},
    }


def test_every_setting_is_shown_by_its_name() -> None:
    """As JSON, whatever its type."""
    view = settings_view(SessionSettings())

    assert sorted(view) == sorted(SessionSettings.__struct_fields__)
    json.dumps(view)
