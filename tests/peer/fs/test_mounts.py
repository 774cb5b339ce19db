import os
from pathlib import Path

from peer.fs.mounts import Mount, is_network, mount_of, mounts

TABLE = rb"""24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
25 24 0:22 / /mnt/my\040disk rw shared:1 - fuse.sshfs host:/ rw
26 24 0:23 / /mnt rw - nfs4 server:/ rw
27 24 0:30 / /mnt/my\040disk rw - tmpfs none rw
"""


def test_the_table_is_read_with_its_escapes(tmp_path: Path) -> None:
    """Blanks stand as octal numbers; optional fields are passed over."""
    (tmp_path / "mountinfo").write_bytes(TABLE)

    table = mounts(tmp_path / "mountinfo")

    assert table[1] == Mount(os.makedev(0, 22), b"/mnt/my disk", "fuse.sshfs")
    assert [mount.kind for mount in table] == ["ext4", "fuse.sshfs", "nfs4", "tmpfs"]


def test_a_system_without_the_table_has_no_mounts(tmp_path: Path) -> None:
    """Nothing is labelled then."""
    assert mounts(tmp_path / "absent") == []
    assert mount_of(Path("/"), 0, []) is None


def test_a_path_lies_on_the_innermost_and_latest_mount(tmp_path: Path) -> None:
    """The device decides where it is known; else the place alone (btrfs)."""
    (tmp_path / "mountinfo").write_bytes(TABLE)
    table = mounts(tmp_path / "mountinfo")

    def kind(path: str, device: int) -> str:
        mount = mount_of(Path(path), device, table)
        assert mount is not None
        return mount.kind

    assert kind("/mnt/my disk/x", os.makedev(0, 22)) == "fuse.sshfs"
    assert kind("/mnt/my disk/x", 1) == "tmpfs"
    assert kind("/mnt/my disk", 1) == "tmpfs"
    assert kind("/mnt/my disks", 1) == "nfs4"
    assert kind("/home", os.makedev(254, 0)) == "ext4"


def test_network_and_fuse_file_systems_are_known() -> None:
    """Their change times and file numbers are another machine's."""
    assert [is_network(k) for k in ("nfs4", "fuse.sshfs", "fuse", "cifs", "ext4", "fuseblk")] == [
        *(True, True, True, True),
        *(False, False),
    ]
