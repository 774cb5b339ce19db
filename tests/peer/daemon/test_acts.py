import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from peer.daemon.facade import Peer
from peer.errors import (
    ExpressionMalformed,
    NoSession,
    RightMissing,
    SessionAlone,
    SettingInvalid,
    SettingUnknown,
    WrongPhase,
)
from peer.session.errors import (
    BrakeTripped,
    LinksMissing,
    PlanEmpty,
    PresetUnknown,
    SourceUnknown,
)
from peer.session.phases import Phase
from protocol.errors import QuintetError
from tests.harness.peers import House, held, house, hurry, phase, seen
from tests.harness.waiting import until

Act = Callable[[Peer], Any]

FIRST, SECOND = {"same": "same", "a": "only A"}, {"same": "same", "b/c": "only B"}
MANY = {f"{number}.txt": str(number) for number in range(30)}

ACTS: dict[str, Act] = {
    "set_settings": lambda one: one.set_settings(["analysis=checksum"]),
    "start_inventory": lambda one: one.start_inventory(),
    "cancel_inventory": lambda one: one.cancel_inventory(),
    "restart": lambda one: one.restart(),
    "comparison": lambda one: one.comparison(),
    "set_rules": lambda one: one.set_rules(preset="combine", rules=[]),
    "rules": lambda one: one.rules(),
    "act": lambda one: one.act(filter="", action="nothing", origin=None, targets=[]),
    "preview": lambda one: one.preview("combine"),
    "plan": lambda one: one.plan(),
    "start_sync": lambda one: one.start_sync(),
    "abort": lambda one: one.abort(),
    "verify": lambda one: one.verify(),
    "add_source": lambda one: one.add_source("/nowhere"),
    "drop_source": lambda one: one.drop_source("A1"),
}

LEADERS = {"set_settings", "start_inventory", "restart", "set_rules", "act", "start_sync"}
"""Acts that are the leader's."""

REFUSED: dict[Phase, set[str]] = {
    Phase.PREPARATION: {
        "cancel_inventory",
        "comparison",
        "set_rules",
        "rules",
        "act",
        "preview",
        "plan",
        "start_sync",
        "abort",
        "verify",
    },
    Phase.COMPARISON: {
        "set_settings",
        "start_inventory",
        "cancel_inventory",
        "abort",
        "verify",
        "add_source",
        "drop_source",
    },
    Phase.FINISHED: {
        "set_settings",
        "start_inventory",
        "cancel_inventory",
        "set_rules",
        "act",
        "start_sync",
        "abort",
        "add_source",
        "drop_source",
    },
}
"""Acts that a phase forbids, to whoever leads."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor passwords take long."""
    hurry(monkeypatch)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A node, and peers to come."""
    async with house(tmp_path) as built:
        yield built


async def done(act: Act, one: Peer) -> object:
    """Do an act, whether it waits or not."""
    result = act(one)
    return await result if isinstance(result, Awaitable) else result


async def refusals(one: Peer, error: type[Exception]) -> set[str]:
    """Return which acts are refused with *error*; the others must not have been done."""
    refused = set()
    for name, act in ACTS.items():
        try:
            await done(act, one)
        except QuintetError as refusal:
            if isinstance(refusal, error):
                refused.add(name)
    return refused


async def compared(
    home: House, first: dict[str, str] = FIRST, second: dict[str, str] = SECOND
) -> tuple[Peer, Peer]:
    anna = await home.start("anna", first)
    ben = await home.join("ben", anna, second)
    await home.compare()
    return anna, ben


async def proved(*peers: Peer) -> None:
    await until(lambda: all((seen(one)["proof"] or {}).get("state") == "equal" for one in peers))


# --- what is not possible ------------------------------------------------------------


async def test_without_a_session_every_act_says_so(home: House) -> None:
    """Before the first session, and after the last."""
    anna = await home.open("anna")

    before = await refusals(anna, NoSession)
    await anna.start(sources=[], rendezvous=None, lan=False)
    await anna.leave(confirmed=True)
    after = await refusals(anna, NoSession)

    assert before == after == set(ACTS)


async def test_in_preparation_there_is_nothing_to_decide(home: House) -> None:
    """The error names the phase."""
    anna = await home.start("anna", FIRST)

    for name in sorted(REFUSED[Phase.PREPARATION]):
        with pytest.raises(WrongPhase) as wrong:
            await done(ACTS[name], anna)

        assert wrong.value.phase == "preparation"


async def test_in_comparison_nothing_about_the_inventory_changes(home: House) -> None:
    """Neither sources nor settings, nor is there anything to stop or to prove."""
    anna, _ = await compared(home)

    for name in sorted(REFUSED[Phase.COMPARISON]):
        with pytest.raises(WrongPhase):
            await done(ACTS[name], anna)

    assert phase(anna) is Phase.COMPARISON


async def test_after_the_synchronisation_nothing_is_decided(home: House) -> None:
    """What was planned stays to be read; proving it again is possible, and so is a restart."""
    anna, ben = await compared(home)
    await anna.set_rules(preset="combine", rules=[])
    await anna.start_sync()
    await proved(anna, ben)

    for name in sorted(REFUSED[Phase.FINISHED]):
        with pytest.raises(WrongPhase):
            await done(ACTS[name], anna)
    again = await ben.verify()
    shown = anna.comparison(), anna.rules(), anna.plan()
    await anna.restart()
    await until(lambda: phase(ben) is Phase.PREPARATION)

    assert again["state"] == "equal"
    assert all(shown)
    assert phase(anna) is Phase.PREPARATION


async def test_what_is_the_leaders_is_refused_to_others(home: House) -> None:
    """With the letter of who may; nothing changes."""
    anna, ben = await compared(home)
    decided = anna.rules()

    in_comparison = await refusals(ben, RightMissing)
    await anna.restart()
    await until(lambda: phase(ben) is Phase.PREPARATION)
    in_preparation = await refusals(ben, RightMissing)
    with pytest.raises(RightMissing) as missing:
        await ben.start_inventory()

    assert in_comparison >= {"set_rules", "act", "start_sync", "restart"}
    assert in_preparation >= {"set_settings", "start_inventory", "restart"}
    assert in_comparison | in_preparation == LEADERS
    assert missing.value.leader == "A"
    assert decided == {"preset": None, "rules": [], "targeted": 0}


# --- settings and inventory ---------------------------------------------------------------


async def test_settings_are_everybodys(home: House) -> None:
    """What cannot be read changes nothing."""
    anna = await home.start("anna", FIRST)
    ben = await home.join("ben", anna, SECOND)

    await anna.set_settings(["analysis=checksum"])
    for bad, error in (("colour=red", SettingUnknown), ("analysis=guess", SettingInvalid)):
        with pytest.raises(error):
            await anna.set_settings([bad])
    await until(lambda: seen(ben)["session"]["settings"]["analysis"] == "checksum")

    assert seen(anna)["session"]["settings"] == seen(ben)["session"]["settings"]


async def test_an_inventory_needs_two_members_and_all_links(home: House) -> None:
    """Who cannot be reached just now is named."""
    anna = await home.start("anna", FIRST)
    with pytest.raises(SessionAlone):
        await anna.start_inventory()
    await home.join("ben", anna, SECOND)
    session = anna._attending.session  # type: ignore[union-attr]
    link = session.links.pop(1)

    with pytest.raises(LinksMissing) as missing:
        await anna.start_inventory()
    session.links[1] = link

    assert missing.value.letters == "B"


async def test_anybody_may_stop_an_inventory(home: House) -> None:
    """It ends for all."""
    anna = await home.start("anna", FIRST)
    ben = await home.join("ben", anna, SECOND)
    for one in (anna, ben):
        one._work._take_inventory = idle  # type: ignore[union-attr,method-assign,assignment]
    await anna.start_inventory()
    await until(lambda: phase(ben) is Phase.INVENTORY)

    await ben.cancel_inventory()
    await until(lambda: phase(anna) is Phase.PREPARATION)

    assert phase(ben) is Phase.PREPARATION


async def idle(taking: object) -> None:
    """Take no inventory."""
    del taking


# --- looking and deciding ------------------------------------------------------------------------


async def test_a_window_that_cannot_be_cut_is_refused(home: House) -> None:
    """The error names what would be accepted."""
    anna, _ = await compared(home)
    windows: list[dict[str, Any]] = [
        {"sort": "colour"},
        {"sort": "--path"},
        {"offset": -1},
        {"limit": -1},
    ]

    for window in windows:
        with pytest.raises(SettingInvalid):
            anna.comparison(**window)

    assert anna.comparison(sort="-size", offset=1, limit=1)["offset"] == 1


async def test_every_member_browses_and_only_the_leader_decides(home: House) -> None:
    """All see the same rows, the same rules and the same plan."""
    anna, ben = await compared(home)

    await anna.set_rules(preset="combine", rules=["files then copy A -> B"])
    await until(lambda: seen(ben)["plan"])

    assert anna.comparison()["rows"] == ben.comparison()["rows"]
    assert anna.rules() == ben.rules()
    assert anna.plan() == ben.plan()
    assert seen(anna)["plan"]["digest"] == seen(ben)["plan"]["digest"]


async def test_what_is_no_preset_is_refused(home: House) -> None:
    """Asked what it would do, or chosen."""
    anna, _ = await compared(home)

    for preset in ("", "everything", "mirror", "mirror Z", "combine A"):
        with pytest.raises(PresetUnknown):
            await anna.set_rules(preset=preset, rules=[])
        with pytest.raises(PresetUnknown):
            await anna.preview(preset)

    assert anna.rules()["preset"] is None


async def test_a_preview_decides_nothing(home: House) -> None:
    """Any member may look at it."""
    anna, ben = await compared(home)

    figures = [await one.preview("mirror A") for one in (anna, ben)]

    assert figures[0]["steps"] == figures[1]["steps"] != 0
    assert seen(anna)["plan"] is None
    with pytest.raises(PlanEmpty):
        anna.plan()


async def test_an_action_on_rows_is_counted_and_its_refusals_are_told(home: House) -> None:
    """As the page puts it together: a verb, where from, where to."""
    anna, _ = await compared(home)

    copied = await anna.act(filter="only:A", action="copy", origin="A", targets=["B"])
    nothing = await anna.act(filter="only:B", action="nothing", origin=None, targets=[])
    plan = anna.plan()
    with pytest.raises(ExpressionMalformed):
        await anna.act(filter="a", action="explode", origin=None, targets=[])
    with pytest.raises(ExpressionMalformed):
        await anna.act(filter="((", action="nothing", origin=None, targets=[])

    assert copied["applied"] == 1
    assert nothing["applied"] >= 1
    assert plan["members"]["B"]["create"] == 1  # type: ignore[index]


# --- synchronising ----------------------------------------------------------------


async def test_nothing_to_do_is_not_begun(home: House) -> None:
    """Before anything is decided, or when everything is as it shall be."""
    anna, _ = await compared(home, FIRST, FIRST)
    with pytest.raises(PlanEmpty):
        await anna.start_sync()
    await anna.set_rules(preset=None, rules=[])

    with pytest.raises(PlanEmpty):
        await anna.start_sync()

    assert phase(anna) is Phase.COMPARISON


async def test_the_leaders_own_brake_must_be_lifted(home: House) -> None:
    """By the number of deletions; one less is not enough."""
    anna, ben = await compared(home, MANY, {"kept": "kept"})
    await anna.set_rules(preset="mirror B", rules=[])

    for allowed in (None, 29):
        with pytest.raises(BrakeTripped) as tripped:
            await anna.start_sync(allow_deletes=allowed)
        assert (tripped.value.count, tripped.value.files) == (30, 30)
    await anna.start_sync(allow_deletes=30)
    await proved(anna, ben)

    assert held(home.folder("anna")) == {"kept": "kept"}


async def test_another_members_brake_is_lifted_by_its_own_person(home: House) -> None:
    """The leader's word is not enough, and what that person says starts nothing by itself."""
    anna, ben = await compared(home, {"kept": "kept"}, MANY)
    await anna.set_rules(preset="mirror A", rules=[])
    await anna.start_sync(allow_deletes=30)
    await until(lambda: [each["code"] for each in seen(anna)["notices"]] == ["sync_stopped"])
    untouched = held(home.folder("ben"))

    await ben.start_sync(allow_deletes=30)
    waiting = phase(ben)
    await anna.start_sync()
    await proved(anna, ben)

    assert untouched == MANY
    assert waiting is Phase.COMPARISON
    assert held(home.folder("ben")) == {"kept": "kept"}


async def test_a_start_needs_all_links(home: House) -> None:
    """Nothing is ordered, and nothing waits to be begun."""
    anna, _ = await compared(home)
    await anna.set_rules(preset="combine", rules=[])
    session = anna._attending.session  # type: ignore[union-attr]
    link = session.links.pop(1)

    with pytest.raises(LinksMissing):
        await anna.start_sync()
    session.links[1] = link
    await anna.start_sync()
    await until(lambda: phase(anna) is Phase.FINISHED)

    assert held(home.folder("anna")) == held(home.folder("ben"))


async def test_a_synchronisation_is_started_once(home: House) -> None:
    """A second press of the button does nothing."""
    anna, ben = await compared(home)
    await anna.set_rules(preset="combine", rules=[])

    loop = asyncio.get_running_loop()
    starts = [loop.create_task(anna.start_sync()) for _ in range(2)]
    await asyncio.wait(starts)
    await proved(anna, ben)

    assert [type(start.exception()) for start in starts] == [type(None), WrongPhase]


async def test_anybody_may_abort(home: House) -> None:
    """Everything stops, everywhere; both read who did it."""
    anna, ben = await compared(home)
    await anna.set_rules(preset="combine", rules=[])
    work = anna._work
    assert work is not None
    work._synchronise = idle  # type: ignore[method-assign,assignment]
    await anna.start_sync()
    await until(lambda: phase(ben) in {Phase.SYNCHRONISATION, Phase.FINISHED})

    await ben.abort()
    await until(lambda: work.stopped is not None)

    assert seen(anna)["sync"]["state"] == "aborted"
    assert [each["code"] for each in seen(anna)["notices"]] == ["sync_stopped"]


async def test_the_leader_pairs_sources_by_their_codes(home: House) -> None:
    """A2 with B1; what is not offered, or no code, is refused, and nothing has changed."""
    anna = await home.start("anna", FIRST)
    await home.join("ben", anna, SECOND)
    await anna.add_source(str(home.folder("more")), create=True)

    await anna.set_settings(["pairs=a2+B1"])
    with pytest.raises(SettingInvalid):
        await anna.set_settings(["pairs=A2+E1"])
    with pytest.raises(SettingInvalid):
        await anna.set_settings(["pairs=nonsense"])
    with pytest.raises(SourceUnknown):
        await anna.set_settings(["pairs=A9+B1"])

    line = ({"member": 0, "source": 1}, {"member": 1, "source": 0})
    assert seen(anna)["session"]["settings"]["pairs"] == (line,)


async def test_matching_by_name_is_refused_until_it_can_be_done(home: House) -> None:
    """Rather than matching by path without a word."""
    anna = await home.start("anna", FIRST)

    with pytest.raises(SettingInvalid):
        await anna.set_settings(["matching=name"])
