"""The folders of the demonstration differ as they should, and are looked at truly."""

import os
from pathlib import Path

import pytest

from peer.cli.demo_samples import differences, look, make


@pytest.mark.parametrize("members", [2, 5])
def test_every_member_differs_from_every_other(tmp_path: Path, members: int) -> None:
    """Contents, dates, names and empty folders; most stays the same."""
    roots = [tmp_path / str(number) for number in range(members)]

    make(roots)

    looks = [look(root) for root in roots]
    for place, one in enumerate(looks):
        for other in looks[place + 1 :]:
            assert differences([one, other])
    paths = {path for one in looks for path in one}
    assert "Empty/inside" in looks[0]
    assert "Large.bin" in differences(looks)
    assert len(differences(looks)) < len(paths) / 2


def test_the_same_seed_makes_the_same_folders(tmp_path: Path) -> None:
    """A run can be repeated."""
    for name in ("a", "b"):
        make([tmp_path / name / "1", tmp_path / name / "2"])

    assert look(tmp_path / "a") == look(tmp_path / "b")


def test_the_look_sees_content_dates_and_kinds(tmp_path: Path) -> None:
    """One byte, one nanosecond, a folder for a file; but not what the peers keep for themselves."""
    one, other = tmp_path / "1", tmp_path / "2"
    for root in (one, other):
        for name in ("content", "date", "kind", "same"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("x")
            os.utime(root / name, ns=(10**18, 10**18))
    (other / "content").write_text("y")
    os.utime(other / "content", ns=(10**18, 10**18))
    os.utime(other / "date", ns=(10**18, 10**18 + 1))
    (other / "kind").unlink()
    (other / "kind").mkdir()
    (other / "link").symlink_to("same")
    (other / ".quintet-trash").mkdir()
    (other / ".quintet-trash" / "x").write_text("x")

    assert differences([look(one), look(other)]) == ["content", "date", "kind", "link"]
