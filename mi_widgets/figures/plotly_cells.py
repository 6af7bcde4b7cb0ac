"""Coloured cells that stay sharp in print: vector paths for small grids, a many-pixels-per-cell image for large.

Plotly's own heat map becomes a picture of one pixel per cell inside SVG and PDF, which many viewers blur.
Knows nothing of attention; takes colour codes and gives plotly shapes and layout images.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from mi_widgets.figures.png import data_uri, png

#: Figures of at most this many cells in all are drawn as vector paths.
VECTOR_CELLS = 4096
#: Images are enlarged to at least this many pixels on the longer side.
IMAGE_PIXELS = 2000
#: A stroke of each path's own colour, in pixels: viewers that smooth edges would show the paper between cells.
SEAM = 0.3


def cell_shapes(codes: np.ndarray, table: np.ndarray, xref: str, yref: str) -> list[dict[str, Any]]:
    """One filled path per colour; cell (row, column) covers ±0.5 about its integer coordinates.

    Args:
        codes: unsigned `[row, column]`.
        table: uint8 `[code, 3]`.
        xref: plotly axis of the columns.
        yref: plotly axis of the rows.
    """
    # The commonest colour (the mask, mostly) lies under everything as one rectangle without inner edges.
    ground = int(np.bincount(codes.ravel()).argmax())
    rows, columns = codes.shape
    paths: dict[int, list[str]] = {ground: [f"M-0.5,-0.5H{columns - 0.5:g}V{rows - 0.5:g}H-0.5Z"]}
    for top, bottom, left, right, code in rectangles(codes):
        if code == ground:
            continue
        paths.setdefault(code, []).append(
            f"M{left - 0.5:g},{top - 0.5:g}H{right + 0.5:g}V{bottom + 0.5:g}H{left - 0.5:g}Z"
        )
    shapes = []
    for code in paths:
        ink = "#" + bytes(table[code].tolist()).hex()
        shapes.append(
            {
                "type": "path",
                "path": "".join(paths[code]),
                "xref": xref,
                "yref": yref,
                "layer": "below",
                "fillcolor": ink,
                "line": {"color": ink, "width": SEAM},
            }
        )
    return shapes


def rectangles(codes: np.ndarray) -> list[tuple[int, int, int, int, int]]:
    """Equal neighbours merged: `(top, bottom, left, right, code)`, bounds inclusive, covering every cell once.

    Runs along a row are merged with equal runs in the rows below.
    """
    done: list[tuple[int, int, int, int, int]] = []
    growing: dict[tuple[int, int, int], int] = {}
    for row in range(codes.shape[0]):
        line = codes[row]
        edges = [0, *(np.flatnonzero(line[1:] != line[:-1]) + 1).tolist(), len(line)]
        runs = {(left, end - 1, int(line[left])) for left, end in pairwise(edges)}
        for run in [run for run in growing if run not in runs]:
            done.append((growing.pop(run), row - 1, *run))
        for run in sorted(runs):
            growing.setdefault(run, row)
    done += [(top, codes.shape[0] - 1, *run) for run, top in growing.items()]
    return sorted(done)


def cell_image(codes: np.ndarray, table: np.ndarray, xref: str, yref: str, box: tuple[float, ...]) -> dict[str, Any]:
    """A layout image of the cells, each a whole number of pixels.

    Args:
        codes: unsigned `[row, column]`, row 0 at the top of the picture.
        table: uint8 `[code, 3]`.
        xref: plotly axis of the columns.
        yref: plotly axis of the rows; it runs downwards.
        box: left, top, width, height in axis units.
    """
    left, top, width, height = box
    factor = max(1, -(-IMAGE_PIXELS // max(codes.shape)))
    return {
        "source": data_uri(png(codes, table, factor)),
        "xref": xref,
        "yref": yref,
        "x": left,
        "y": top,
        "sizex": width,
        "sizey": height,
        "xanchor": "left",
        "yanchor": "top",
        "sizing": "stretch",
        "layer": "below",
    }
