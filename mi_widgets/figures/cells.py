"""Coloured cells that stay sharp: vector rectangles for small grids, a many-pixels-per-cell picture for large ones.

Takes colour codes. Knows nothing of what they mean, nor of svg or plotly.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mi_widgets.figures.marks import Cells, Item, Plot

#: Sheets of at most this many cells in all are drawn as vectors; a colour bar always is.
VECTOR_CELLS, FEW_CELLS = 4096, 256
#: Pictures are enlarged by a whole factor to about this many pixels on the longer side.
IMAGE_PIXELS = 1200
#: A stroke of each colour's own, in pixels: viewers that smooth edges would show the paper between cells.
SEAM = 0.3


def as_vectors(items: Sequence[Item]) -> set[int]:
    """The grids among the `items` of one sheet that are drawn as vectors, by identity."""
    grids = [mark for item in items if isinstance(item, Plot) for mark in item.marks if isinstance(mark, Cells)]
    few = sum(grid.codes.size for grid in grids if grid.codes.size > FEW_CELLS) <= VECTOR_CELLS
    return {id(grid) for grid in grids if few or grid.codes.size <= FEW_CELLS}


def colored_rectangles(grid: Cells) -> dict[str, list[tuple[float, float, float, float]]]:
    """By colour (`#rrggbb`), in order of drawing: `(x0, y0, x1, y1)` in the values of the grid's place."""
    codes, place = grid.codes, grid.place
    rows, columns = codes.shape
    wide, tall = place.width / columns, place.height / rows
    # The commonest colour (the mask, mostly) lies under everything as one rectangle without inner edges.
    ground = int(np.bincount(codes.ravel()).argmax())
    whole = (place.left, place.top, place.left + place.width, place.top + place.height)
    found: dict[int, list[tuple[float, float, float, float]]] = {ground: [whole]}
    for top, bottom, left, right, code in rectangles(codes):
        if code != ground:
            found.setdefault(code, []).append(
                (
                    place.left + left * wide,
                    place.top + top * tall,
                    place.left + (right + 1) * wide,
                    place.top + (bottom + 1) * tall,
                )
            )
    return {"#" + bytes(grid.table[code].tolist()).hex(): boxes for code, boxes in found.items()}


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


def picture(grid: Cells, upwards: bool, pixels: int = IMAGE_PIXELS) -> str:
    """The cells as a data URI of a PNG, each a whole number of pixels, about `pixels` on the longer side; row 0 is
    at the bottom where values run `upwards`."""
    image = png(grid.codes[::-1] if upwards else grid.codes, grid.table, max(1, round(pixels / max(grid.codes.shape))))
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def png(codes: np.ndarray, table: np.ndarray, factor: int = 1) -> bytes:
    """A PNG of `codes`, each cell `factor` × `factor` pixels.

    Args:
        codes: unsigned integers `[row, column]`, indices into `table`.
        table: uint8 `[code, 3]`, red green blue.
        factor: pixels per cell side.

    Returns:
        PNG bytes, 8-bit indexed where at most 256 colours occur, else 24-bit.
    """
    rows, width = codes.shape
    used = np.flatnonzero(np.bincount(codes.ravel(), minlength=len(table)))
    indexed = len(used) <= 256
    if indexed:
        position = np.zeros(len(table), np.uint8)
        position[used] = np.arange(len(used))
        pixels = position[codes]
    else:
        pixels = table[codes].reshape(rows, width * 3)
    if factor > 1:
        depth = 1 if indexed else 3
        pixels = pixels.reshape(rows, width, depth).repeat(factor, axis=1).reshape(rows, -1)
    # The copies of a row are written as "same as above" (filter 2, all zero), which packs to almost nothing.
    lines = np.zeros((rows, factor, pixels.shape[1] + 1), np.uint8)
    lines[:, 0, 1:] = pixels
    lines[:, 1:, 0] = 2
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width * factor, rows * factor, 8, 3 if indexed else 2, 0, 0, 0)),
        *([(b"PLTE", table[used].astype(np.uint8).tobytes())] if indexed else []),
        (b"IDAT", zlib.compress(lines.tobytes(), 4)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
