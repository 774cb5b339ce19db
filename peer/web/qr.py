"""The invitation as a QR code that a page can draw without an image file."""

import segno


def qr_path(text: str) -> dict[str, object]:
    """Return *text* as a QR code.

    Returns:
        ``size``: modules along one edge, without the quiet zone; ``path``: the dark ones as
        the ``d`` of an SVG path in units of one module.
    """
    matrix = [bytes(row) for row in segno.make_qr(text, error="m").matrix]
    runs: list[str] = []
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            width = 0
            while x + width < len(row) and row[x + width]:
                width += 1
            if width:
                runs.append(f"M{x} {y}h{width}v1h-{width}z")
            x += width + 1
    return {"size": len(matrix), "path": "".join(runs)}
