"""The whole picture of the session a peer is in, for the local API; nothing without one."""

from peer.daemon import views
from peer.daemon.attending import Attending
from peer.daemon.work import SessionWork
from protocol.address import to_text
from protocol.credentials import SHORT_FINGERPRINT, Invitation


def session_view(attending: Attending | None, work: SessionWork | None) -> dict[str, object]:
    """Return what people see of the session, JSON-safe; never a secret.

    Args:
        attending: The session, or None.
        work: Its work, or None while it is being entered.
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
    session, meeting = attending.session, attending.meeting
    lifecycle = session.lifecycle
    deciding = None if work is None else work.deciding
    observed = meeting.observed
    return {
        "session": {
            "id": str(attending.credentials.session_id),
            "phase": lifecycle.phase.value,
            "leader": views.letters(session.membership)[lifecycle.leader],
            "epoch": session.membership.epoch,
            "rendezvous": {"address": meeting.node.host, "state": meeting.state},
            "settings": views.settings_view(lifecycle.settings),
            "activated": lifecycle.phase.activated,
        },
        "members": views.member_views(
            session.membership,
            lifecycle,
            session.links,
            own_address=None if observed is None else to_text(observed),
        ),
        "joining": [
            {"name": each.name, "sas": each.digits}
            for each in attending.sponsoring.waiting.values()
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
    )
    return {
        "session_id": str(credentials.session_id),
        "password": credentials.password.shown(),
        "invitation": invitation.link(),
    }
