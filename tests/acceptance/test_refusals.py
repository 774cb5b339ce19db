"""Commands that are refused say why, exit so that scripts can tell, and break nothing."""

import signal
import socket
import time
from pathlib import Path

import pytest

from protocol.credentials import ALPHABET
from protocol.errors import ExitStatus
from tests.acceptance.refusals import assert_refused, assert_still_usable
from tests.acceptance.trees import many_files
from tests.acceptance.world import Node, PeerProcess, World, compare, meet, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def mistyped(secret: str) -> str:
    """Return *secret* with one symbol changed."""
    other = next(symbol for symbol in ALPHABET if symbol != secret[0])
    return other + secret[1:]


def another(kind: str) -> str:
    """Return an ID or a password that is well-formed and belongs to nobody."""
    return {"id": "000000000", "password": "0000-0000-0000"}[kind]


@pytest.fixture
def pair(world: World) -> list[PeerProcess]:
    """Two computers with a few files each; in no session yet."""
    peers = world.peers(2)
    many_files(peers[0].root, files=6, folders=2)
    (peers[1].root / "of ben").write_text("ben")
    return peers


def test_what_is_wrong_or_mistyped_in_id_and_password_is_told_apart(
    node: Node, pair: list[PeerProcess]
) -> None:
    """A mistyped one never leaves the computer; a wrong one is refused; a right one still works."""
    anna, ben = pair
    secrets = anna.start(node)
    session_id, password = secrets["session_id"], secrets["password"]
    before = node.process.printed

    answer = ben.join_by_password(mistyped(session_id), password, node)
    assert_refused(answer, "E02", ExitStatus.USAGE)
    answer = ben.join_by_password(session_id, mistyped(password), node)
    assert_refused(answer, "E03", ExitStatus.USAGE)
    assert node.process.printed == before, "nothing was sent"

    answer = ben.join_by_password(another("id"), password, node)
    assert_refused(answer, "E01", ExitStatus.REFUSED)
    answer = ben.join_by_password(session_id, another("password"), node)
    assert_refused(answer, "E04", ExitStatus.REFUSED, tries_left=4)
    assert another("password") not in answer.said
    assert password not in answer.said

    assert ben.join_by_password(session_id, password, node).status == 0
    for peer in pair:
        peer.wait_for_members(2)
    assert_still_usable(pair)


def test_after_five_wrong_passwords_one_must_wait(node: Node, pair: list[PeerProcess]) -> None:
    """Also with the right one; the message says for how long."""
    anna, ben = pair
    secrets = anna.start(node)
    for _ in range(5):
        ben.join_by_password(secrets["session_id"], another("password"), node)

    answer = ben.join(secrets)

    assert answer.status == ExitStatus.REFUSED
    assert "Too many tries. You can try again in 0:" in answer.err
    assert anna.phase == "preparation"


def test_the_sixth_is_refused_and_a_place_that_is_left_can_be_taken(
    world: World, node: Node
) -> None:
    """Five are a full session."""
    *five, finn = world.peers(6)
    for peer in five:
        (peer.root / peer.name).write_text(peer.name)
    secrets = meet(node, five)

    assert_refused(finn.join(secrets), "E07", ExitStatus.REFUSED)

    five[4].ok("leave", "--yes")
    five[0].wait_for_present(4)
    assert finn.join(secrets).status == 0
    members = [*five[:4], finn]
    for peer in members:
        peer.wait_for_members(5)
    assert_still_usable(members)


def test_a_candidate_after_the_inventory_has_started_is_refused(world: World, node: Node) -> None:
    """Until the leader restarts the session."""
    anna, ben, cleo = world.peers(3)
    for peer in (anna, ben, cleo):
        (peer.root / peer.name).write_text(peer.name)
    secrets = meet(node, [anna, ben])
    anna.ok("inventory", "--wait")

    assert_refused(cleo.join(secrets), "E08", ExitStatus.REFUSED)

    anna.ok("restart")
    assert cleo.join(secrets).status == 0
    for peer in (anna, ben, cleo):
        peer.wait_for_members(3)
    assert_still_usable([anna, ben, cleo])


def test_a_node_that_is_down_is_named_and_members_do_without_it(
    node: Node, pair: list[PeerProcess]
) -> None:
    """Who is linked stays linked; nobody new comes in until the node is back."""
    anna, ben = pair
    secrets = anna.start(node)
    node.kill()

    answer = ben.join(secrets)
    assert_refused(answer, "E11", ExitStatus.UNREACHABLE)
    assert ben.view["session"] is None

    node.restart()
    assert wait_for(lambda: ben.join(secrets).status == 0, what="the node's return")
    for peer in pair:
        peer.wait_for_members(2)
    node.kill()
    assert_still_usable(pair)


def test_starting_without_a_reachable_node_leaves_no_session(
    node: Node, pair: list[PeerProcess]
) -> None:
    """The peer is as free as before."""
    anna, _ = pair
    node.kill()

    answer = anna.run("start", str(anna.root), "--rendezvous", node.address)

    assert_refused(answer, "E11", ExitStatus.UNREACHABLE)
    assert anna.view["session"] is None
    node.restart()
    assert anna.start(node)["session_id"]


def test_another_node_than_the_one_that_was_named_is_refused(
    node: Node, pair: list[PeerProcess]
) -> None:
    """The fingerprint in the address counts."""
    anna, _ = pair
    address, _, fingerprint = node.address.partition("#")
    wrong = f"{address}#{fingerprint[::-1]}"

    answer = anna.run("start", str(anna.root), "--rendezvous", wrong)

    assert answer.status != 0
    assert "error" not in answer.err.lower(), "a sentence, not a code"
    assert anna.view["session"] is None
    assert anna.start(node)["session_id"]


def test_sources_that_cannot_be_are_refused_with_the_reason(
    world: World, node: Node, pair: list[PeerProcess]
) -> None:
    """Before anything is created, and later in the session too."""
    anna, ben = pair
    missing = world.folder / "not there"
    refusals = [
        (missing, "source.missing"),
        (Path("/proc"), "source.system_location"),
        (anna.home, "source.own_state"),
    ]
    for path, code in refusals:
        answer = anna.run("start", str(path), "--rendezvous", node.address)
        assert_refused(answer, code, ExitStatus.REFUSED)
        assert anna.view["session"] is None

    meet(node, pair)
    around = anna.root.parent
    for path, code in [
        *refusals,
        (anna.root, "source.already_given"),
        (anna.root / "folder 0", "source.inside_another"),
        (around, "source.around_another"),
    ]:
        answer = anna.run("source", "add", str(path))
        assert_refused(answer, code, ExitStatus.REFUSED)
    assert anna.ok("source", "add", str(world.folder / "made"), "--create").out == "A2\n"
    anna.ok("source", "drop", "A2")
    assert_still_usable([anna, ben])


def test_taken_ports_give_way_or_are_named(world: World) -> None:
    """Any free UDP port does; the page's port is a promise, so a taken one is an error."""
    anna = world.peer("anna")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
    ):
        udp.bind(("", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        process = anna.launch("--ui-port", str(tcp.getsockname()[1]))
        wait_for(lambda: process.status is not None, what="the end")
        assert process.status == ExitStatus.FAILURE
        assert "Address already in use" in process.printed
        assert "Traceback" not in process.printed

        anna.up("--udp-port", str(udp.getsockname()[1]))
    assert anna.view["running"]


def test_a_second_peer_for_one_state_folder_is_refused(world: World) -> None:
    """The first one goes on."""
    anna = world.peer("anna")
    anna.up()

    answer = anna.run("up", "--no-browser")

    assert_refused(answer, "peer.already_running", ExitStatus.REFUSED)
    assert anna.view["running"]


@pytest.mark.parametrize("where", ["argument", "option", "link", "variable"])
def test_a_secret_where_others_can_read_it_is_refused_and_not_repeated(
    world: World, where: str
) -> None:
    """Nothing is started for it either."""
    anna = world.peer("anna")
    password = "K7QF-2MNX-9TBR"
    link = f"quintet://join#1.7GQ2M9KXT.{password.replace('-', '')}.0123456789ABCDEF.localhost:1.x"
    arguments = {
        "argument": ["join", "7GQ-2M9-KXT", password],
        "option": ["join", "7GQ-2M9-KXT", f"--password={password}"],
        "link": ["join", link],
        "variable": ["join", "7GQ-2M9-KXT"],
    }[where]
    environ = {"QUINTET_PASSWORD": password} if where == "variable" else {}

    answer = anna.run(*arguments, environ=environ)

    code = "secret.in_environment" if where == "variable" else "secret.in_arguments"
    assert_refused(answer, code, ExitStatus.USAGE, variable="QUINTET_PASSWORD")
    assert password not in answer.said
    assert password.replace("-", "") not in answer.said
    assert not list(anna.home.iterdir())


def test_only_the_leader_may_and_only_in_the_right_phase(
    node: Node, pair: list[PeerProcess]
) -> None:
    """A refused act changes nothing."""
    anna, ben = pair
    meet(node, pair)

    for command in (["inventory"], ["restart"], ["settings", "exclude_hidden=off"]):
        assert_refused(ben.run(*command), "right.missing", ExitStatus.REFUSED, leader="A")
    for command in (["plan"], ["sync", "--yes"], ["verify"], ["rules", "preset", "combine"]):
        answer = anna.run(*command)
        assert_refused(answer, "session.wrong_phase", ExitStatus.REFUSED, phase="preparation")
    assert anna.phase == ben.phase == "preparation"
    assert_still_usable(pair)


def test_alone_there_is_nothing_to_compare(node: Node, pair: list[PeerProcess]) -> None:
    """A session of one waits for others."""
    anna, _ = pair
    anna.start(node)

    assert_refused(anna.run("inventory"), "session.alone", ExitStatus.REFUSED)


def test_a_tripped_brake_stops_everything_until_its_own_computer_lifts_it(
    node: Node, pair: list[PeerProcess]
) -> None:
    """The leader's command ends with the brake's status, and nothing is deleted meanwhile."""
    anna, ben = pair
    for number in range(60):
        (ben.root / f"only here {number}").write_text("x")
    meet(node, pair)
    compare(anna, "mirror", "A")

    answer = anna.run("sync", "--yes", "--wait")
    assert answer.status == ExitStatus.BRAKE, answer
    assert len(list(ben.root.glob("only here *"))) == 60

    ben.ok("sync", "--yes", "--allow-deletes", "100")
    wait_for(lambda: anna.run("sync", "--yes", "--wait").status == 0, within=30)
    assert not list(ben.root.glob("only here *"))
    assert len(list(ben.root.glob(".quintet/trash/**/only here *"))) == 60


def test_an_interrupted_command_leaves_the_session_to_its_peer(
    node: Node, pair: list[PeerProcess]
) -> None:
    """Ctrl+C ends the watching, not what is watched."""
    anna, ben = pair
    meet(node, pair)
    with (anna.root / "large").open("wb") as large:
        large.truncate(1_000_000_000)  # long enough under way on a fast link
    compare(anna, "combine")
    waiting = anna.popen("sync", "--yes", "--wait")
    anna.wait_until(lambda view: view["session"]["phase"] == "synchronisation")

    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=30)

    assert waiting.returncode == 130, (out, err)
    assert "Traceback" not in err
    anna.wait_until(lambda view: (view["proof"] or {}).get("state") == "equal", within=120)
    assert (ben.root / "large").stat().st_size == 1_000_000_000
    for peer in pair:
        peer.wait_until(lambda view: view["session"]["phase"] == "finished")
    anna.ok("restart")
    assert_still_usable(pair)


def test_a_terminated_wait_exits_with_its_status(node: Node, pair: list[PeerProcess]) -> None:
    """143, as shells say it."""
    anna, _ = pair
    anna.start(node)
    watching = anna.popen("status", "--watch", "--json")
    assert watching.stdout is not None
    assert watching.stdout.readline()
    began = time.monotonic()

    watching.send_signal(signal.SIGTERM)
    watching.communicate(timeout=30)

    assert watching.returncode == 143
    assert time.monotonic() - began < 10
