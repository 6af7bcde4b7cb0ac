"""A printed PDF made exact: the page as wide as asked, and the same bytes for the same figure.

Chromium rounds a page to hundredths of an inch and stamps the time. Works on the plain cross-reference table that
Chromium writes; knows nothing of figures.
"""

from __future__ import annotations

import re

from mi_widgets.errors import ExportError


def exact_pdf(document: bytes, width_mm: float, height_mm: float) -> bytes:
    """`document` with its one page cut to `width_mm` × `height_mm` from the top left, without dates and title.

    Raises:
        ExportError: not the kind of file that Chromium writes, or its page is smaller than that.
    """
    box = re.search(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", document)
    table = re.search(rb"xref\n0 \d+\n(?:\d{10} \d{5} [fn][ \r]?\n)+", document)
    if box is None or table is None:
        raise ExportError("the browser wrote a PDF of an unknown kind.", "Update Chromium, or save as svg.")
    width, height = width_mm * 72 / 25.4, height_mm * 72 / 25.4
    printed_width, printed_height = float(box[1]), float(box[2])
    if printed_width < width - 0.01 or printed_height < height - 0.01:
        raise ExportError(f"the browser printed {printed_width} × {printed_height} pt, less than the figure needs.")
    # The picture hangs from the top edge, so the bottom edge is what moves.
    bottom = printed_height - height
    edits = [(box.span(), f"/MediaBox [0 {bottom:.4f} {width:.4f} {printed_height:.4f}]".encode())]
    edits += [(found.span(), b"") for found in re.finditer(rb"/(?:CreationDate|ModDate) \(D:[^)]*\)\n?", document)]
    edits += [
        (found.span(), b"")
        for found in re.finditer(rb"/(?:Title|Creator) \((?:[^()\\]|\\.|\([^()]*\))*\)\n?", document)
    ]
    return _edited(document, sorted(edits), table.span())


def _edited(document: bytes, edits: list[tuple[tuple[int, int], bytes]], table: tuple[int, int]) -> bytes:
    """`document` with stretches replaced and every offset in the cross-reference table moved along."""

    def moved(offset: int) -> int:
        return offset + sum(len(new) - (end - start) for (start, end), new in edits if end <= offset)

    def entry(found: re.Match[bytes]) -> bytes:
        return b"%010d %s n" % (moved(int(found[1])), found[2])

    rewritten = re.sub(rb"(\d{10}) (\d{5}) n", entry, document[slice(*table)])
    start = re.search(rb"startxref\n(\d+)", document[table[1] :])
    if start is None:
        raise ExportError("the browser wrote a PDF of an unknown kind.", "Update Chromium, or save as svg.")
    where = (table[1] + start.start(1), table[1] + start.end(1))
    edits = sorted([*edits, (table, rewritten), (where, str(moved(int(start[1]))).encode())])
    out, done = [], 0
    for (first, end), new in edits:
        out += [document[done:first], new]
        done = end
    return b"".join([*out, document[done:]])
