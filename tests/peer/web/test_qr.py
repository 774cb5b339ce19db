"""The invitation as a drawing."""

import re

import segno

from peer.web.qr import qr_path


def test_the_path_covers_exactly_the_dark_modules() -> None:
    """Drawn again into a grid, it is the code."""
    text = "quintet://join#1.7GQ2M9KXT.K7QF2MNX9TBR.ABCDEFGH12345678.node:47555.X"
    told = qr_path(text)
    size, path = told["size"], str(told["path"])
    assert isinstance(size, int)
    grid = [[0] * size for _ in range(size)]

    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
        for column in range(int(x), int(x) + int(width)):
            grid[int(y)][column] = 1

    assert grid == [list(row) for row in segno.make_qr(text, error="m").matrix]
