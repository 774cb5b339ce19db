"""The whole picture of the session a peer is in, for the local API; nothing without one."""

from collections.abc import Mapping
from math import ceil
from typing import cast

from peer.daemon import views
from peer.daemon.attending import Attending
from peer.daemon.local_session import LocalAttending
from peer.daemon.trusting import Trusting
from peer.daemon.work import SessionWork
from peer.net.mesh import Link
from protocol.address import to_text
from protocol.credentials import SHORT_FINGERPRINT, Invitation
from protocol.join.candidate import SponsorAuthenticated


def session_view(
    attending: Attending | LocalAttending | None,
    work: SessionWork | None,
    trusting: Trusting | None,
) -> dict[str, object]:
    """Return what people see of the session, JSON-safe; never a secret.

    Args:
        attending: The session, or None.
        work: Its work, or None while it is being entered.
        trusting: What is known of its members; the same.
    """
    if attending is None:
        return {
            "session": None,
            "members": [],
            "joining": [],
            "comparison": None,
            "plan": None,
            "sync": None,
            "proof": None,
            "notices": [],
        }
    session = attending.session
    lifecycle = session.lifecycle
    names = views.letters(session.membership)
    deciding = None if work is None else work.deciding
    # None of a local session's members has a name at a node, an address or a link over a network.
    meeting = None if isinstance(attending, LocalAttending) else attending.meeting
    observed = None if meeting is None else meeting.observed
    return {
        "session": {
            "id": (
                None
                if isinstance(attending, LocalAttending)
                else str(attending.credentials.session_id)
            ),
            "local": meeting is None,
            "phase": lifecycle.phase.value,
            "leader": names[lifecycle.leader],
            "epoch": session.membership.epoch,
            "rendezvous": (
                None if meeting is None else {"address": meeting.node.host, "state": meeting.state}
            ),
            "settings": views.settings_view(lifecycle.settings),
            "activated": lifecycle.phase.activated,
            "wrong_tries": session.door.wrong_tries,
            "joining_paused": [
                {
                    "letter": names.get(member, ""),
                    "seconds": None if pause.until is None else ceil(pause.until - session.now),
                }
                for member, pause in session.door.pauses(now=session.now).items()
            ],
        },
        "members": views.member_views(
            session.membership,
            lifecycle,
            None if meeting is None else cast("Mapping[int, Link]", session.links),
            own_address=None if observed is None else to_text(observed),
            trust={} if trusting is None else trusting.pictures(),
        ),
        "joining": [
            {
                "name": each.name,
                "email": each.email,
                "sas": each.digits,
                "asks": each.asks,
                "sponsor": names.get(each.sponsor, ""),
            }
            for each in session.door.waiting
        ],
        "comparison": None if deciding is None else deciding.totals(),
        "plan": None if deciding is None else deciding.plan_view(),
        "sync": None if work is None else work.sync_view(),
        "proof": None if work is None else work.proof_view(),
        "notices": [
            {"number": number, "code": code, "params": params}
            for number, code, params in session.notices
        ],
    }


def entering_view(sponsor: SponsorAuthenticated) -> dict[str, object]:
    """Return who lets this peer in, and whether its people are asked, JSON-safe."""
    return {
        "name": sponsor.name,
        "sas": sponsor.digits,
        "asks": sponsor.needs_approval,
    }


def invitation_view(attending: Attending, *, creator: str) -> dict[str, str]:
    """Return Session ID, password and invitation, for the person at this computer only.

    Args:
        attending: The session.
        creator: This device's fingerprint, symbols without spaces.
    """
    credentials, meeting = attending.credentials, attending.meeting
    invitation = Invitation(
        session_id=credentials.session_id,
        password=credentials.password,
        creator=creator[:SHORT_FINGERPRINT],
        host=meeting.node.host.lower(),
        port=meeting.node.port,
        node=meeting.fingerprint,
        access=meeting.node.access,
    )
    return {
        "session_id": str(credentials.session_id),
        "password": credentials.password.shown(),
        "invitation": invitation.link(),
    }
