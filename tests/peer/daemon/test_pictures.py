import dataclasses
import json

from peer.daemon.pictures import entering_view, invitation_view, session_view
from protocol.credentials import SHORT_FINGERPRINT, Invitation
from protocol.join.candidate import SponsorAuthenticated
from tests.harness.seats import CREDENTIALS, table_of

CREATOR = "ABCDEFGHJKMNPQRSTVWXYZ0123456789"


def test_without_a_session_every_part_is_there_and_empty() -> None:
    """Whoever shows it needs no special case."""
    view = session_view(None, None, None)

    assert {name for name, part in view.items() if part} == set()
    assert set(view) == {
        "session",
        "members",
        "joining",
        "comparison",
        "plan",
        "sync",
        "proof",
        "notices",
    }


async def test_a_session_without_work_is_shown_as_far_as_it_is() -> None:
    """Nothing to compare yet; the parts are those of every picture."""
    async with table_of(2) as table:
        view = session_view(table[1].attending, None, None)

    session = view["session"]
    assert isinstance(session, dict)
    assert set(view) == set(session_view(None, None, None))
    assert (session["phase"], session["leader"], session["activated"]) == (
        "preparation",
        "A",
        False,
    )
    assert session["rendezvous"]["state"] == "connecting"
    assert [view[name] for name in ("comparison", "plan", "sync", "proof")] == [None] * 4
    assert [member["letter"] for member in view["members"]] == ["A", "B"]  # type: ignore[attr-defined]
    json.dumps(view)


async def test_no_secret_is_in_a_picture() -> None:
    """It is kept by pages and logs; what lets people in is asked for by itself."""
    async with table_of(2) as table:
        session = table[0].session
        session.notice("brake", member="B")
        text = json.dumps(session_view(table[0].attending, None, None))
        key = session.membership.epoch_key(session.membership.epoch)

    assert key is not None
    for secret in (
        CREDENTIALS.password.shown(),
        CREDENTIALS.password.shown().replace("-", ""),
        CREDENTIALS.prs.reveal().hex(),
        key.reveal().hex(),
    ):
        assert secret not in text


async def test_notices_keep_their_numbers() -> None:
    """So that a page knows which it has shown."""
    async with table_of(1) as table:
        for number in range(60):
            table[0].session.notice("brake", member=str(number))

        view = session_view(table[0].attending, None, None)

    notices = view["notices"]
    assert isinstance(notices, list)
    assert [notice["number"] for notice in notices] == list(range(11, 61))
    assert notices[-1] == {"number": 60, "code": "brake", "params": {"member": "59"}}


async def test_an_invitation_holds_all_that_a_candidate_needs() -> None:
    """As a link, and as the two words that can be read aloud."""
    async with table_of(1) as table:
        attending = table[0].attending
        attending.meeting.node = dataclasses.replace(attending.meeting.node, host="Node.Example")
        attending.meeting.fingerprint = ""

        view = invitation_view(attending, creator=CREATOR)

    invitation = Invitation.parse(view["invitation"])
    assert invitation.session_id == CREDENTIALS.session_id
    assert invitation.password == CREDENTIALS.password
    assert (invitation.host, invitation.port) == ("node.example", 47555)
    assert invitation.creator == CREATOR[:SHORT_FINGERPRINT]
    assert view["session_id"] == str(CREDENTIALS.session_id)
    assert view["password"] == CREDENTIALS.password.shown()


def test_who_lets_this_peer_in_is_shown_while_it_waits() -> None:
    """So that both people can compare digits before anybody decides."""
    sponsor = SponsorAuthenticated(
        index=2,
        node_key=bytes(32),
        name="Anna’s laptop",
        digits="1234 5678",
        needs_approval=True,
    )

    view = entering_view(sponsor)

    assert view == {"name": "Anna’s laptop", "sas": "1234 5678", "asks": True}
