import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.session.phases import Phase
from peer.session.record import MAX_RECORD, SessionRecord
from protocol.credentials import Password, SessionId
from protocol.errors import MalformedMessage
from tests.harness.session_net import SessionNet, session_of


def record_of(net: SessionNet, index: int = 1) -> SessionRecord:
    return SessionRecord(
        session_id=SessionId.generate(net.random_bytes),
        password=Password.generate(net.random_bytes),
        commit=net[index].membership.commit,
        bound=net[index].membership.commit,
        phase=Phase.COMPARISON,
        run=3,
    )


def test_a_record_is_read_as_it_was_kept() -> None:
    """Everything a new process needs to come back."""
    record = record_of(session_of(5))

    again = SessionRecord.decode(record.encode())

    assert again == record
    assert again.roster.indices == (0, 1, 2, 3, 4)
    assert len(record.encode()) < MAX_RECORD


def test_a_record_holds_no_key_and_shows_no_password() -> None:
    """Not the session's, not a link's; who reads the file reads nothing that was said."""
    net = session_of(2)
    record = record_of(net)
    kept = record.encode()

    for epoch in (1, 2):
        key = net[0].membership.epoch_key(epoch)
        assert key is not None
        assert key.reveal() not in kept
    for link_key in net[0].membership._links.values():
        assert link_key.reveal() not in kept
    assert record.password.normalised.decode() not in repr(record)


@pytest.mark.parametrize(
    "change", ["version", "session_id", "password", "commit", "bound", "phase", "run"]
)
def test_what_is_no_record_is_refused(change: str) -> None:
    """Field by field, of another version, too long."""
    stored = msgspec.msgpack.decode(record_of(session_of(2)).encode())
    stored[change] = b"?" if change in {"commit", "bound"} else 99 if change == "version" else "?"

    with pytest.raises(MalformedMessage):
        SessionRecord.decode(msgspec.msgpack.encode(stored))
    with pytest.raises(MalformedMessage):
        SessionRecord.decode(bytes(MAX_RECORD + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """A damaged file ends in the declared refusal."""
    with pytest.raises(MalformedMessage):
        SessionRecord.decode(data)


def test_only_what_leads_on_to_the_own_place_is_accepted() -> None:
    """A side that is behind is not the session any more."""
    net = session_of(3)
    record = record_of(net)
    mine, other = net[1].identity.node_key, net[2].identity.node_key
    assert not record.accepts(record.commit, mine), "no step on"

    net.leave(2)
    net.settle()
    later = net[0].membership.commit

    assert record.accepts(later, mine)
    assert not record.accepts(later, other)
    assert not record.accepts(later, b"x" * 32)


def test_a_return_is_kept_and_binds_nobody() -> None:
    """A side too small to decide anything may make one."""
    net = session_of(3)
    record = record_of(net)
    net.come_back(net.die(2), sponsor=1)
    back = net[0].membership.commit

    after = record.followed_by(back, binds=False)
    net.leave(2)
    net.settle()
    later = after.followed_by(net[0].membership.commit, binds=True)

    assert (after.commit, after.bound) == (back, record.bound)
    assert later.bound == later.commit == net[0].membership.commit
