import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import peer.daemon.facade
from peer.daemon.entering import Entrance
from peer.daemon.facade import Peer
from peer.daemon.held_sources import HeldSources
from peer.errors import (
    AlreadyInSession,
    ConfirmationNeeded,
    NoSession,
    PeerAlreadyRunning,
    WrongPhase,
)
from peer.fs.errors import SourceRefused
from peer.session.errors import RendezvousNeeded, SourceUnknown
from peer.session.phases import Phase
from peer.session.trust import FREE_TRIES
from peer.settings import Identity, Settings
from protocol.credentials import Invitation
from protocol.errors import JoinFailed, JoinOutcome, SecretUnusable
from protocol.limits import MAX_NAME
from tests.harness.peers import House, fill, held, house, hurry, phase, seen
from tests.harness.seats import NotedWork
from tests.harness.waiting import turns, until

FIRST, SECOND = {"same": "same", "a": "only A"}, {"same": "same", "b/c": "only B"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor passwords take long."""
    hurry(monkeypatch)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A node, and peers to come."""
    async with house(tmp_path) as built:
        yield built


@contextlib.asynccontextmanager
async def alone(tmp_path: Path, **settings: object) -> AsyncIterator[Peer]:
    """One peer that knows no node."""
    peer = await Peer.open(tmp_path / "home", Settings(udp_port=0, **settings))  # type: ignore[arg-type]
    try:
        yield peer
    finally:
        await peer.close()


# --- a whole session ------------------------------------------------------------------


async def test_a_session_from_its_start_to_its_end(home: House) -> None:
    """Two people at two computers; what they see is JSON at every moment, and grows in number."""
    pictures: list[str] = []
    revisions: list[int] = []

    async def watch(one: Peer) -> None:
        while True:
            revision = seen(one)["revision"]
            revisions.append(revision)
            pictures.append(json.dumps(one.view()))
            await one.changed(revision, 10)

    anna = await home.start("anna", FIRST)
    watching = [asyncio.get_running_loop().create_task(watch(anna))]
    ben = await home.join("ben", anna, SECOND)
    watching.append(asyncio.get_running_loop().create_task(watch(ben)))
    await home.compare()
    await anna.set_rules(preset="combine", rules=[])
    await anna.start_sync()
    await until(
        lambda: all((seen(each)["proof"] or {}).get("state") == "equal" for each in (anna, ben))
    )
    verified = await anna.verify()
    await ben.leave(confirmed=False)
    await until(lambda: "left" in [member["state"] for member in seen(anna)["members"]])
    for task in watching:
        task.cancel()
    await asyncio.wait(watching)

    assert held(home.folder("anna")) == held(home.folder("ben")) == {**FIRST, **SECOND}
    assert verified["state"] == "equal"
    assert seen(ben)["session"] is None
    assert phase(anna) is Phase.FINISHED
    phases = {
        json.loads(picture)["session"]["phase"] for picture in pictures if '"phase"' in picture
    }
    assert phases >= {"preparation", "comparison", "finished"}
    secret = anna.secrets()["password"]
    assert not any(secret in picture or secret.replace("-", "") in picture for picture in pictures)


async def test_a_peer_can_be_in_one_session_after_another(home: House) -> None:
    """Nothing of the one before stays."""
    anna = await home.start("anna", FIRST)
    first = anna.secrets()

    await anna.leave(confirmed=True)
    empty = seen(anna)
    await anna.start(sources=[str(home.folder("anna"))], rendezvous=None, lan=False)

    assert empty["session"] is None
    assert empty["members"] == []
    assert anna.secrets()["session_id"] != first["session_id"]


# --- before and beside a session ----------------------------------------------------------


async def test_one_peer_holds_a_state_folder(tmp_path: Path) -> None:
    """Another process is told so; afterwards the folder is free."""
    async with alone(tmp_path):
        with pytest.raises(PeerAlreadyRunning):
            await Peer.open(tmp_path / "home", Settings(udp_port=0))

    async with alone(tmp_path) as again:
        assert seen(again)["session"] is None


async def test_a_peer_that_cannot_open_its_sockets_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither lock nor files nor tasks."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no address")

    monkeypatch.setattr(peer.daemon.facade.Endpoint, "open", fail)
    files = open_files()
    with pytest.raises(OSError, match="no address"):
        await Peer.open(tmp_path / "home", Settings(udp_port=0))

    assert len(asyncio.all_tasks()) == 1
    assert open_files() <= files
    monkeypatch.undo()
    async with alone(tmp_path):
        pass


async def test_a_device_keeps_its_key(tmp_path: Path) -> None:
    """The fingerprint that others have compared is there the next day."""
    async with alone(tmp_path) as before:
        fingerprint = seen(before)["me"]["fingerprint"]
    async with alone(tmp_path) as after:
        assert seen(after)["me"]["fingerprint"] == fingerprint


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Anna’s laptop", "Anna’s laptop"),
        ("two\nlines\x1b[31m", "twolines[31m"),
        ("\u202e\x00 ", "computer"),
        ("n" * 64, "n" * min(64, MAX_NAME)),
    ],
)
async def test_a_name_is_what_others_can_be_shown(tmp_path: Path, given: str, shown: str) -> None:
    """Printable, bounded, never empty."""
    async with alone(tmp_path, identity=Identity(name=given)) as one:
        assert seen(one)["me"]["name"] == shown


async def test_a_computer_without_a_name_has_that_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its people know it from elsewhere."""
    monkeypatch.setattr(peer.daemon.facade.socket, "gethostname", lambda: "desk")
    async with alone(tmp_path) as one:
        assert seen(one)["me"]["name"] == "desk"


async def test_a_long_poll_ends_with_a_change_or_with_its_time(tmp_path: Path) -> None:
    """Whoever asks about the past is answered at once."""
    async with alone(tmp_path) as one:
        revision = seen(one)["revision"]
        await one.changed(revision, 0.01)
        polling = [
            asyncio.get_running_loop().create_task(one.changed(revision, 30)) for _ in range(2)
        ]
        await turns()
        polling[1].cancel()
        waiting = not polling[0].done()
        one._touch()
        await asyncio.wait_for(polling[0], 5)
        await asyncio.wait_for(one.changed(revision, 30), 5)

    assert waiting
    assert polling[1].cancelled()


async def test_a_fault_of_one_task_ends_that_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything else goes on; the fault is logged whole."""

    async def break_down() -> None:
        raise ZeroDivisionError

    async def refuse() -> None:
        raise NoSession

    async with alone(tmp_path) as one:
        tasks = [one.spawn(break_down()), one.spawn(refuse())]
        await asyncio.wait(tasks)

        assert [task.exception() for task in tasks] == [None, None]
    assert "ZeroDivisionError" in capsys.readouterr().out


# --- ways in that lead nowhere --------------------------------------------------------------


async def test_without_a_node_nobody_is_found(tmp_path: Path) -> None:
    """This version needs one, also on a local network."""
    async with alone(tmp_path) as one:
        with pytest.raises(RendezvousNeeded):
            await one.start(sources=[], rendezvous=None, lan=False)
        with pytest.raises(RendezvousNeeded):
            await one.start(sources=[], rendezvous="node.example", lan=True)
        with pytest.raises(SecretUnusable):
            await one.join_by_invitation(invitation="quintet://nonsense", sources=[])
        with pytest.raises(SecretUnusable):
            await one.join(session_id="x", password="y", rendezvous=None, sources=[])  # no password

        assert seen(one)["session"] is None


async def test_an_invitation_without_a_node_leads_nowhere(home: House) -> None:
    """It was made for a network that this version does not look around in."""
    anna = await home.start("anna")
    whole = Invitation.parse(anna.secrets()["invitation"])
    ben = await home.open("ben")
    homeless = Invitation(whole.session_id, whole.password, whole.creator)

    with pytest.raises(RendezvousNeeded):
        await ben.join_by_invitation(invitation=homeless.link(), sources=[])

    assert seen(ben)["session"] is None


async def test_a_start_that_fails_leaves_nothing(home: House, tmp_path: Path) -> None:
    """Not even the sources that were fine; the next try begins from scratch."""
    anna = await home.open("anna")
    fine = fill(tmp_path / "fine", {"f": "1"})

    with pytest.raises(SourceRefused):
        await anna.start(sources=[str(fine), str(tmp_path / "missing")], rendezvous=None, lan=False)
    left = list(anna._sources.sources)
    await anna.start(sources=[str(fine)], rendezvous=None, lan=False)

    assert left == []
    assert [source["path"] for source in seen(anna)["members"][0]["sources"]] == [str(fine)]


async def test_only_one_session_is_entered_at_a_time(home: House) -> None:
    """The second is refused, and the first is not disturbed by it."""
    anna = await home.open("anna")
    source = str(fill(home.folder("anna"), FIRST))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(anna.start(sources=[source], rendezvous=None, lan=False))
        await turns(1)
        with pytest.raises(AlreadyInSession):
            await anna.start(sources=[source], rendezvous=None, lan=False)

    with pytest.raises(AlreadyInSession):
        await anna.join_by_invitation(invitation=anna.secrets()["invitation"], sources=[])

    assert first.done()
    assert len(seen(anna)["members"][0]["sources"]) == 1


async def test_a_person_who_retypes_a_wrong_password_is_made_to_wait(home: House) -> None:
    """Before the members of the session are; the right one helps at once in another session."""
    anna = await home.start("anna")
    known = anna.secrets()
    ben = await home.open("ben")
    other = await home.start("cleo")
    wrong = other.secrets()["password"]

    outcomes = []
    for _ in range(FREE_TRIES + 1):
        with pytest.raises(JoinFailed) as failed:
            await ben.join(
                session_id=known["session_id"], password=wrong, rendezvous=None, sources=[]
            )
        outcomes.append(failed.value.outcome)

    assert outcomes[:FREE_TRIES] == [JoinOutcome.WRONG_PASSWORD] * FREE_TRIES
    assert outcomes[FREE_TRIES] is JoinOutcome.THROTTLED
    await ben.join(
        session_id=other.secrets()["session_id"], password=wrong, rendezvous=None, sources=[]
    )
    assert phase(ben) is Phase.PREPARATION


# --- sources -------------------------------------------------------------------------------------


async def test_sources_come_and_go_in_preparation(home: House, tmp_path: Path) -> None:
    """Their codes follow their order; the others see the same."""
    anna = await home.start("anna", FIRST)
    ben = await home.join("ben", anna, SECOND)
    more = [fill(tmp_path / name, {"f": name}) for name in ("one", "two")]

    codes = [await anna.add_source(str(path)) for path in more]
    await anna.drop_source("a1")
    expected = [("A1", str(more[0])), ("A2", str(more[1]))]
    await until(
        lambda: (
            expected
            == [(each["code"], each["path"]) for each in seen(ben)["members"][0]["sources"]]
        )
    )

    assert codes == ["A2", "A3"]


@pytest.mark.parametrize(
    "code", ["", "A", "A0", "A2", "B1", "A-1", "A1.0", "A" + "9" * 5000, "Ａ1"]
)
async def test_what_is_no_code_of_an_own_source_is_refused(home: House, code: str) -> None:
    """However it is written; another member's sources are its own."""
    anna = await home.start("anna", FIRST)

    with pytest.raises(SourceUnknown):
        await anna.drop_source(code)

    assert len(seen(anna)["members"][0]["sources"]) == 1


async def test_a_folder_can_be_made_for_a_source(home: House, tmp_path: Path) -> None:
    """Only when asked for."""
    anna = await home.start("anna", FIRST)
    new = tmp_path / "new" / "folder"

    with pytest.raises(SourceRefused):
        await anna.add_source(str(new))
    code = await anna.add_source(str(new), create=True)

    assert code == "A2"
    assert new.is_dir()


async def test_a_source_that_was_looked_at_for_too_long_is_let_go(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inventory began meanwhile, or the session ended: it is none of either."""
    anna = await home.start("anna", FIRST)
    await home.join("ben", anna, SECOND)
    slow, looked = threading.Event(), threading.Event()
    add = HeldSources.add

    def look(sources: HeldSources, path: Path, *, create: bool) -> object:
        looked.set()
        slow.wait(10)
        return add(sources, path, create=create)

    monkeypatch.setattr(HeldSources, "add", look)
    path = str(fill(tmp_path / "late", {"f": "1"}))
    adding = asyncio.get_running_loop().create_task(anna.add_source(path))
    await until(looked.is_set)
    await home.compare()
    slow.set()

    with pytest.raises(WrongPhase):
        await adding

    assert len(anna._sources.sources) == 1


async def test_a_cancelled_look_at_a_source_holds_nothing(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk answered when nobody wanted to know any more."""
    anna = await home.start("anna", FIRST)
    slow, looked = threading.Event(), threading.Event()
    add = HeldSources.add

    def look(sources: HeldSources, path: Path, *, create: bool) -> object:
        looked.set()
        slow.wait(10)
        return add(sources, path, create=create)

    monkeypatch.setattr(HeldSources, "add", look)
    path = str(fill(tmp_path / "late", {"f": "1"}))
    adding = asyncio.get_running_loop().create_task(anna.add_source(path))
    await until(looked.is_set)
    adding.cancel()
    threading.Timer(0.01, slow.set).start()
    await asyncio.wait([adding])

    assert adding.cancelled()
    assert len(anna._sources.sources) == 1


# --- leaving ------------------------------------------------------------------------


async def test_leaving_wants_a_yes_while_others_depend_on_it(home: House) -> None:
    """And is not possible in the middle of what this member does for all."""
    anna = await home.start("anna", FIRST)
    ben = await home.join("ben", anna, SECOND)

    with pytest.raises(ConfirmationNeeded):
        await ben.leave(confirmed=False)
    ben._attending.session.work = NotedWork()  # type: ignore[union-attr]
    await anna.start_inventory()
    await until(lambda: phase(ben) is Phase.INVENTORY)
    with pytest.raises(WrongPhase):
        await ben.leave(confirmed=True)
    await anna.cancel_inventory()
    await until(lambda: phase(ben) is Phase.PREPARATION)
    await ben.leave(confirmed=True)
    await until(lambda: len(seen(anna)["members"]) == 1)

    assert seen(ben)["session"] is None
    with pytest.raises(NoSession):
        await ben.leave(confirmed=True)


async def test_leaving_twice_at_once_leaves_once(home: House) -> None:
    """A second press of the button finds no session."""
    anna = await home.start("anna", FIRST)
    ben = await home.join("ben", anna, SECOND)
    loop = asyncio.get_running_loop()

    leaving = [loop.create_task(ben.leave(confirmed=True)) for _ in range(2)]
    await asyncio.wait(leaving)

    assert [type(task.exception()) for task in leaving] == [type(None), NoSession]


# --- the end ------------------------------------------------------------------------


def own_threads() -> set[threading.Thread]:
    return {
        thread for thread in threading.enumerate() if thread.name.startswith(("sync", "sources"))
    }


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_closed_peer_leaves_nothing(home: House) -> None:
    """Neither tasks nor threads, files, sockets or locks, wherever its session was."""
    anna = await home.start("anna", FIRST)
    # What the process itself keeps is there after the first peer.
    await (await home.open("warm-up")).close()
    del home.peers["warm-up"]
    tasks, files, threads = asyncio.all_tasks(), open_files(), own_threads()
    ben = await home.join("ben", anna, SECOND)
    await home.compare()
    await anna.restart()
    await until(lambda: phase(ben) is Phase.PREPARATION)

    await ben.close()
    await ben.close()
    await until(lambda: len(seen(anna)["members"]) == 1)
    await until(lambda: asyncio.all_tasks() <= tasks)
    await until(lambda: own_threads() <= threads)

    assert open_files() <= files
    async with alone_at(home, "ben") as again:
        assert seen(again)["session"] is None


@contextlib.asynccontextmanager
async def alone_at(home: House, name: str) -> AsyncIterator[Peer]:
    again = await Peer.open(home.state / f"home-{name}", Settings(udp_port=0))
    try:
        yield again
    finally:
        await again.close()


async def test_a_peer_can_be_closed_in_the_middle_of_a_join(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for the join is told that it was cancelled."""
    anna = await home.start("anna", FIRST)
    invitation = anna.secrets()["invitation"]
    connecting = asyncio.Event()

    async def never(entrance: Entrance) -> None:
        connecting.set()
        await asyncio.Event().wait()

    ben = await home.open("ben")
    monkeypatch.setattr(Entrance, "connect", never)
    source = str(fill(home.folder("ben"), SECOND))
    joining = asyncio.get_running_loop().create_task(
        ben.join_by_invitation(invitation=invitation, sources=[source])
    )
    await connecting.wait()

    await asyncio.wait_for(ben.close(), 10)
    await asyncio.wait([joining])

    assert joining.cancelled()
    assert ben._sources.sources == []
    with pytest.raises(AlreadyInSession):
        await ben.start(sources=[], rendezvous=None, lan=False)


@pytest.mark.parametrize("moment", [Phase.INVENTORY, Phase.SYNCHRONISATION, Phase.FINISHED])
async def test_a_peer_can_be_closed_in_the_middle_of_its_work(home: House, moment: Phase) -> None:
    """Its threads have let go of the folders when it is; nothing is half written."""
    many = {f"{number}.txt": str(number) * 100 for number in range(200)}
    anna = await home.start("anna", many)
    ben = await home.join("ben", anna, {})
    await anna.start_inventory()
    if moment is not Phase.INVENTORY:
        await until(lambda: phase(anna) is phase(ben) is Phase.COMPARISON)
        await anna.set_rules(preset="combine", rules=[])
        await anna.start_sync()
    await until(lambda: phase(ben) is moment or phase(ben) is Phase.FINISHED)

    await asyncio.wait_for(ben.close(), 20)

    written = held(home.folder("ben"))
    assert written.items() <= many.items()
    assert not any(thread.is_alive() for thread in ben._disk._threads)
    async with alone_at(home, "ben"):
        pass


async def test_a_removed_peer_says_so_and_the_old_password_lets_nobody_in(home: House) -> None:
    """Its session ends with a notice; the others' password is new, the old one is refused (T12)."""
    anna = await home.start("anna", {"a": "1"})
    ben = await home.join("ben", anna)
    old = anna.secrets()
    session = anna._require_session().session

    session.membership.remove(1, now=session.now)
    session.drain()
    await until(lambda: seen(ben)["session"] is None)
    await until(lambda: anna.secrets()["password"] != old["password"])

    assert [notice["code"] for notice in seen(ben)["notices"]] == ["removed"]
    with pytest.raises(JoinFailed) as refused:
        await ben.join_by_invitation(invitation=old["invitation"], sources=[])
    assert refused.value.outcome is JoinOutcome.WRONG_PASSWORD
    with pytest.raises(JoinFailed) as banned:
        await ben.join_by_invitation(invitation=anna.secrets()["invitation"], sources=[])
    assert banned.value.outcome is JoinOutcome.REMOVED
