"""Who is trusted, let in and made to wait, with real processes and commands.

Tests whose name begins with a threat show that threat of ``security.md``, section 2.
"""

import http.client
import json
import os
import re
import stat
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from protocol.credentials import SHORT_FINGERPRINT
from protocol.errors import ExitStatus
from tests.acceptance.refusals import assert_refused, assert_still_usable
from tests.acceptance.world import (
    CHECKOUT,
    Answer,
    Node,
    PeerProcess,
    Process,
    World,
    meet,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WRONG_PASSWORD = "0000-0000-0000"


@pytest.fixture
def pair(world: World) -> list[PeerProcess]:
    """Two computers with a file each; in no session yet."""
    return with_files(world.peers(2))


def with_files(peers: list[PeerProcess]) -> list[PeerProcess]:
    for peer in peers:
        (peer.root / peer.name).write_text(peer.name)
    return peers


def member(peer: PeerProcess, letter: str) -> dict[str, Any]:
    """Return what *peer* shows of a member."""
    found: list[dict[str, Any]] = [
        each for each in peer.view["members"] if each["letter"] == letter
    ]
    assert found, peer.view
    return found[0]


def noticed(peer: PeerProcess, code: str) -> list[dict[str, Any]]:
    """Return the parameters of every notice of this kind."""
    return [each["params"] for each in peer.view["notices"] if each["code"] == code]


def tell(running: "subprocess.Popen[str]", secret: str) -> None:
    """Write to the stdin of a command that goes on running."""
    assert running.stdin is not None
    running.stdin.write(secret)
    running.stdin.close()
    running.stdin = None


def ended(process: Process) -> int | None:
    """Return how a process that ends by itself ended."""
    wait_for(lambda: process.status is not None, what="the end")
    return process.status


def joined(answer: Answer) -> None:
    assert answer.status == 0, answer


# --- digits and known devices --------------------------------------------------------------


def test_both_screens_show_the_same_digits_and_what_was_verified_stays_so(
    node: Node, pair: list[PeerProcess]
) -> None:
    """In the next session, too; the one who did not compare calls the other known."""
    anna, ben = pair
    meet(node, pair)
    digits = member(anna, "B")["digits"]
    assert re.fullmatch(r"\d{4} \d{4} \d{4}", digits)
    assert member(ben, "A")["digits"] == digits
    assert (member(anna, "B")["known"], member(ben, "A")["known"]) == ("new", "new")

    assert digits in anna.ok("peers", "verify", "B", "--yes").out

    assert member(anna, "B")["known"] == "verified"
    for peer in pair:
        peer.ok("leave", "--yes")
    meet(node, pair)
    assert (member(anna, "B")["known"], member(ben, "A")["known"]) == ("verified", "known")
    assert member(anna, "B")["digits"] == member(ben, "A")["digits"] != digits
    (known,) = anna.json("peers", "list")["peers"]
    assert (known["name"], known["verified"]) == ("ben", True)
    assert known["fingerprint"] == ben.view["me"]["fingerprint"]


def test_a_known_name_with_another_key_stops_the_join_until_a_person_says_so(
    node: Node, pair: list[PeerProcess]
) -> None:
    """E17; nobody takes the one who stopped for a member. Accepted, the warning stays visible."""
    anna, ben = pair
    meet(node, pair)
    for peer in pair:
        peer.ok("leave", "--yes")
    anna.running.stop()
    (anna.home / "identity.key").unlink()
    anna.up()

    secrets = anna.start(node)
    answer = ben.join(secrets)

    assert_refused(answer, "E17", ExitStatus.REFUSED, member="anna")
    assert "--accept-new-key" in answer.err
    assert ben.view["session"] is None
    anna.wait_until(lambda view: len(view["members"]) == 1)

    joined(ben.run("join", "--invitation", "-", str(ben.root), "--accept-new-key",
                   stdin=secrets["invitation"]))  # fmt: skip
    for peer in pair:
        peer.wait_for_members(2)
    assert member(ben, "A")["known"] == "changed"
    assert noticed(ben, "key_changed") == [{"name": "anna"}]
    ben.ok("peers", "verify", "A", "--yes")
    assert member(ben, "A")["known"] == "verified"
    ben.ok("peers", "forget", "anna")
    assert ben.json("peers", "list")["peers"] == []
    assert_still_usable(pair)


def test_members_are_warned_of_a_candidate_with_a_known_name_and_another_key(
    node: Node, pair: list[PeerProcess]
) -> None:
    """Whoever lets it in hears of it."""
    anna, ben = pair
    meet(node, pair)
    for peer in pair:
        peer.ok("leave", "--yes")
    ben.running.stop()
    (ben.home / "identity.key").unlink()
    ben.up()

    meet(node, pair)

    assert noticed(anna, "key_changed") == [{"name": "ben"}]
    assert member(anna, "B")["known"] == "changed"
    assert "ben (new device key!)" in anna.ok("status").out


# --- ask me before someone joins ------------------------------------------------------------


def test_where_the_leader_wants_to_be_asked_any_member_lets_in_or_declines(
    world: World, node: Node
) -> None:
    """The candidate waits meanwhile and can compare the digits; declined, it hears E12."""
    anna, ben, cleo = peers = with_files(world.peers(3))
    secrets = anna.start(node)
    anna.ok("settings", "ask_before_join=on")

    coming = ben.popen("join", "--invitation", "-", str(ben.root), stdin="")
    tell(coming, secrets["invitation"])
    asked = anna.wait_until(lambda view: view["joining"])
    (wish,) = asked["joining"]
    assert (wish["name"], wish["asks"]) == ("ben", True)
    assert "quintet member admit|decline ben" in anna.ok("status").out
    assert ben.view["entering"] == {"name": "anna", "sas": wish["sas"], "asks": True}
    assert len(anna.view["members"]) == 1

    anna.ok("member", "admit", "ben")
    out, err = coming.communicate(timeout=60)
    joined(Answer(coming.returncode, out, err))
    assert f"anna asks the members whether you may come in. Both screens show: {wish['sas']}" in err
    for peer in (anna, ben):
        peer.wait_for_members(2)
    assert anna.view["joining"] == []

    refused = cleo.popen("join", "--invitation", "-", str(cleo.root), stdin="")
    tell(refused, secrets["invitation"])
    for peer in (anna, ben):
        peer.wait_until(lambda view: view["joining"])
    ben.ok("member", "decline", "CLEO")
    out, err = refused.communicate(timeout=60)
    assert_refused(Answer(refused.returncode, out, err), "E12", ExitStatus.REFUSED)
    for peer in (anna, ben):
        peer.wait_until(lambda view: not view["joining"])
        assert noticed(peer, "join_declined") == [{"name": "cleo", "member": "ben"}]
    assert anna.run("member", "admit", "cleo").status == ExitStatus.USAGE

    anna.ok("settings", "ask_before_join=off")
    joined(cleo.join(secrets))
    for peer in peers:
        peer.wait_for_members(3)
    assert_still_usable(peers)


# --- wrong passwords ------------------------------------------------------------------------


def test_t2_a_wrong_password_is_sent_once_and_never_again_by_itself(
    node: Node, pair: list[PeerProcess]
) -> None:
    """One guess for one answer of a person, whoever answers: the sponsor counted one try."""
    anna, ben = pair
    secrets = anna.start(node)

    for tries in (1, 2):
        answer = ben.join_by_password(secrets["session_id"], WRONG_PASSWORD, node)

        assert answer.status == ExitStatus.REFUSED
        anna.wait_until(lambda view: view["session"]["wrong_tries"] > 0)
        assert anna.view["session"]["wrong_tries"] == tries


def test_t10_the_sixth_try_of_a_source_waits_until_a_member_allows_it(
    world: World, node: Node
) -> None:
    """Another peer behind the same address is the same source; even the right password waits."""
    anna, ben, cleo = with_files(world.peers(3))
    secrets = anna.start(node)
    for _ in range(5):
        answer = ben.join_by_password(secrets["session_id"], WRONG_PASSWORD, node)
        assert answer.status == ExitStatus.REFUSED
        assert "The password was not accepted." in answer.err, answer

    answer = cleo.join(secrets)

    assert answer.status == ExitStatus.REFUSED
    assert re.search(r"Too many tries. You can try again in 0:(30|2\d)\.", answer.err), answer
    anna.wait_until(lambda view: view["session"]["wrong_tries"] == 5)
    assert noticed(anna, "wrong_passwords") == [{"source": "127.0.0.1", "count": 5}]
    anna.ok("member", "allow")
    assert anna.view["session"]["wrong_tries"] == 0
    assert noticed(anna, "joining_reopened") == [{"member": "anna"}]
    joined(cleo.join(secrets))
    for peer in (anna, cleo):
        peer.wait_for_members(2)
    assert_still_usable([anna, cleo])


# --- the invitation -------------------------------------------------------------------------


def test_the_invitation_is_shown_again_with_its_picture(
    node: Node, pair: list[PeerProcess]
) -> None:
    """By any member, and it is the same: it names the creator."""
    anna, ben = pair
    secrets = meet(node, pair)

    shown = [peer.json("invite")["invitation"] for peer in pair]
    drawn = ben.ok("invite", "--qr").out

    assert shown == [secrets["invitation"]] * 2
    assert "█" in drawn or "▄" in drawn
    assert anna.view["me"]["fingerprint"].replace(" ", "")[:SHORT_FINGERPRINT] in shown[1]


def test_somebody_else_in_the_creators_place_is_an_impostor(
    node: Node, pair: list[PeerProcess]
) -> None:
    """E14 though the password is right; the others do not take it for a member."""
    anna, ben = pair
    secrets = anna.start(node)
    creator = anna.view["me"]["fingerprint"].replace(" ", "")[:SHORT_FINGERPRINT]
    assert creator in secrets["invitation"]
    forged = secrets["invitation"].replace(creator, creator[::-1])

    assert_refused(ben.join({"invitation": forged}), "E14", ExitStatus.REFUSED)

    assert ben.view["session"] is None
    anna.wait_until(lambda view: len(view["members"]) == 1)
    joined(ben.join(secrets))
    for peer in pair:
        peer.wait_for_members(2)
    assert_still_usable(pair)


def test_a_creator_that_has_left_cannot_be_compared_and_that_is_said(
    world: World, node: Node
) -> None:
    """The invitation still works; a new one names whoever shows it."""
    anna, ben, cleo = with_files(world.peers(3))
    secrets = meet(node, [anna, ben])
    anna.ok("leave", "--yes")
    ben.wait_until(lambda view: len(view["members"]) == 1)

    wait_for(lambda: cleo.join(secrets).status == 0, what="the join")

    assert noticed(cleo, "creator_gone") == [{}]
    assert ben.json("invite")["invitation"] != secrets["invitation"]


# --- other users of this computer -------------------------------------------------------------


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def test_t21_nobody_else_can_read_the_state_folder_or_learn_the_password(
    world: World, node: Node, pair: list[PeerProcess]
) -> None:
    """0700 and 0600 whatever the umask; no command line, variable or log holds the password."""
    before = os.umask(0)
    try:
        (world.folder / "open").mkdir()
        cleo = PeerProcess(world, "cleo")
        cleo.up()
    finally:
        os.umask(before)
    peers = with_files([*pair, cleo])
    secrets = meet(node, peers)
    password = secrets["password"].replace("-", "")

    for peer in peers:
        found = modes(peer.home)
        assert "known_peers.json" in found
        kinds = {name: mode for name, mode in found.items() if not mode.startswith("s")}
        assert {mode for name, mode in kinds.items() if mode[0] == "d"} == {"drwx------"}
        assert {mode for mode in kinds.values() if mode[0] != "d"} == {"-rw-------"}, kinds
        for name in ("cmdline", "environ"):
            told = Path(f"/proc/{peer.running.pid}/{name}").read_text("utf-8", "replace")
            assert password not in told.replace("-", "")
        assert password not in peer.log.replace("-", "")
    assert str(CHECKOUT) in Path(f"/proc/{cleo.running.pid}/environ").read_text()


def test_t21_a_state_folder_open_to_others_is_refused(world: World) -> None:
    """Before anything in it is believed."""
    anna = world.peer("anna")
    anna.up()
    anna.running.stop()
    (anna.home / "known_peers.json").write_text("[]")
    (anna.home / "known_peers.json").chmod(0o600)

    for exposed, mode in ((anna.home / "known_peers.json", 0o644), (anna.home, 0o755)):
        before = stat.S_IMODE(exposed.stat().st_mode)
        exposed.chmod(mode)
        assert ended(anna.launch()) == ExitStatus.REFUSED
        exposed.chmod(before)
    anna.up()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": ""},
    ],
    ids=str,
)
def test_t21_a_foreign_page_or_name_gets_403_and_nothing_else(
    world: World, headers: dict[str, str]
) -> None:
    """A rebound name, a foreign origin, a missing token: with the right token besides."""
    anna = world.peer("anna")
    anna.up()
    told = json.loads((anna.home / "api.json").read_bytes())
    port = urllib.parse.urlsplit(told["address"]).port
    right = {"Host": f"127.0.0.1:{port}", "Authorization": f"Bearer {told['token']}"}

    def ask(sent: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("GET", "/api/v1/state", skip_host=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    assert ask(right)[0] == 200
    status, body = ask({**right, **headers})
    assert status == 403
    assert b"session" not in body
    assert told["token"].encode() not in body
