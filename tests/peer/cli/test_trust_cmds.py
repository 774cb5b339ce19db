"""Letting in, declining, verifying and forgetting."""

import json

from tests.harness.commands import Run
from tests.harness.fake_peer import INVITATION, FakePeer

DIGITS = "4821 0937 5512"


def test_the_invitation_is_shown_again(run: Run) -> None:
    """With a QR code when asked for; as one object for scripts."""
    run("start", "/a", "--lan")

    result = run("invite", "--qr")
    told = json.loads(run("invite", "--json").stdout)

    assert INVITATION in result.stdout
    assert "█" in result.stdout or "▄" in result.stdout
    assert told["invitation"] == INVITATION


def test_without_a_session_there_is_nothing_to_invite_to(run: Run) -> None:
    """Refused, in words."""
    result = run("invite")

    assert result.exit_code != 0
    assert "There is no session" in result.stderr


def test_who_waits_is_let_in_or_sent_away_by_name(run: Run, fake: FakePeer) -> None:
    """A name nobody has is a usage error."""
    run("start", "--lan")

    assert run("member", "admit", "Laptop").exit_code == 0
    assert run("member", "decline", "Laptop").exit_code == 0
    assert run("member", "admit", "nobody").exit_code == 2

    assert fake.calls[-2:] == ["decide Laptop True", "decide Laptop False"]


def test_joining_is_allowed_again(run: Run, fake: FakePeer) -> None:
    """After a pause."""
    run("start", "--lan")

    assert run("member", "allow").exit_code == 0

    assert fake.calls[-1] == "allow_joining"


def test_a_member_is_put_out_after_a_question(run: Run, fake: FakePeer) -> None:
    """Without a terminal it wants --yes; a letter nobody has is a usage error."""
    run("start", "--lan")

    assert run("member", "remove", "B").exit_code == 2
    assert run("member", "remove", "Z", "--yes").exit_code == 2
    assert run("member", "remove", "B", "--yes").exit_code == 0

    assert fake.calls[-1] == "remove B"


def test_a_new_password_and_taking_over_are_commands(run: Run, fake: FakePeer) -> None:
    """Taking over names its risk and asks."""
    run("start", "--lan")

    assert run("member", "new-password").exit_code == 0
    assert run("member", "without", "C", "--yes").exit_code == 0
    assert run("member", "take-over").exit_code == 2
    assert run("member", "take-over", "--yes").exit_code == 0

    assert fake.calls[-3:] == ["new_password", "without C", "take_over"]


def test_a_person_compares_the_digits_and_says_so(run: Run, fake: FakePeer) -> None:
    """They are shown before the question; no is no."""
    run("start", "--lan")

    declined = run("peers", "verify", "b", stdin="n\n", interactive=True)
    verified = run("peers", "verify", "b", stdin="y\n", interactive=True)

    assert DIGITS in declined.stdout
    assert declined.exit_code != 0
    assert verified.exit_code == 0
    assert fake.calls[-1] == "verify B"
    assert fake.calls.count("verify B") == 1


def test_without_digits_the_fingerprints_are_compared(run: Run, fake: FakePeer) -> None:
    """Of two members that did not join through each other."""
    run("start", "--lan")
    fake._members[1]["digits"] = None

    result = run("peers", "verify", "B", "--yes")

    assert fake._members[1]["fingerprint"] in result.stdout
    assert result.exit_code == 0


def test_a_script_reads_what_to_compare_and_confirms_on_its_own(run: Run, fake: FakePeer) -> None:
    """Looking verifies nothing."""
    run("start", "--lan")

    told = json.loads(run("peers", "verify", "B", "--json").stdout)
    looked = list(fake.calls)
    done = json.loads(run("peers", "verify", "B", "--json", "--yes").stdout)

    assert (told["digits"], told["known"]) == (DIGITS, "new")
    assert "verify B" not in looked
    assert done["known"] == "verified"


def test_only_another_member_can_be_verified(run: Run) -> None:
    """Neither oneself nor nobody; nor anybody without a session."""
    assert run("peers", "verify", "B").exit_code != 0
    run("start", "--lan")

    for letter in ("A", "E"):
        result = run("peers", "verify", letter, "--yes")
        assert result.exit_code == 2
        assert letter in result.stderr


def test_known_devices_are_listed_and_forgotten(run: Run, fake: FakePeer) -> None:
    """By name; what acts on a terminal in it does not."""
    fake.known = [
        {
            "name": "Anna\x1b[31m",
            "fingerprint": "AAAA BBBB",
            "first_seen": 0,
            "last_seen": 86_400,
            "verified": True,
        }
    ]

    listed = run("peers", "list")
    told = json.loads(run("peers", "list", "--json").stdout)
    forgotten = run("peers", "forget", "Anna\x1b[31m")

    assert "AAAA BBBB" in listed.stdout
    assert "1970-01-02" in listed.stdout
    assert "verified" in listed.stdout
    assert "\x1b" not in listed.stdout
    assert told["peers"][0]["verified"] is True
    assert "Forgotten: 1" in forgotten.stderr
    assert fake.known == []


def test_the_status_names_who_asks_and_where_joining_pauses(run: Run, fake: FakePeer) -> None:
    """With the command that answers, and what is known of a member's key."""
    run("start", "--lan")
    assert fake._session is not None
    fake._session["joining_paused"] = [{"letter": "B", "seconds": None}]
    fake._members[1]["known"] = "changed"
    fake.joining = [{"name": "Laptop", "sas": DIGITS, "asks": True}]

    result = run("status")

    assert "quintet member admit" in result.stdout
    assert "quintet member allow" in result.stdout
    assert "Computer B (new device key!)" in result.stdout


def test_a_changed_key_is_accepted_only_when_said(run: Run, fake: FakePeer) -> None:
    """The option reaches the peer."""
    run("join", "--invitation", "-", stdin=INVITATION)
    before = fake.accepted_new_key
    run("leave", "--yes")
    run("join", "--invitation", "-", "--accept-new-key", stdin=INVITATION)

    assert (before, fake.accepted_new_key) == (False, True)
