from peer.inventory.stamp import Stamp


def test_a_weak_stamp_rests_on_size_and_date_alone() -> None:
    """Network file systems renumber files and keep their own change times."""
    stamp = Stamp(size=1, mtime_ns=2, ctime_ns=3, inode=4)
    moved = Stamp(size=1, mtime_ns=2, ctime_ns=5, inode=6)

    assert stamp != moved
    assert stamp.weak() == moved.weak() == Stamp(1, 2, 0, 0)
