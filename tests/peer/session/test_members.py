from peer.session.members import ENDED, RUNNING, MemberRecord
from protocol.messages.session import Activity, Progress


def test_a_new_member_owns_nothing_and_waits() -> None:
    """Two records share no list."""
    record, other = MemberRecord(), MemberRecord()

    record.sources.append(object())  # type: ignore[arg-type]

    assert other == MemberRecord(
        sources=[], revision=0, activity=Activity.WAITING_INVENTORY, progress=Progress()
    )


def test_no_activity_both_runs_and_has_ended() -> None:
    """A restart waits for the one, the end of a synchronisation for the other."""
    assert RUNNING.isdisjoint(ENDED)
    assert {each for each in Activity if each.value.startswith("sync_")} == ENDED
    assert Activity.SYNCHRONISING in RUNNING
