"""PNG bytes from colour codes, with zlib alone. Cells are enlarged by whole factors, so their edges stay sharp.

Knows nothing of what the codes mean.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np


def png(codes: np.ndarray, table: np.ndarray, factor: int = 1, level: int = 6) -> bytes:
    """A PNG of `codes`, each cell `factor` × `factor` pixels.

    Args:
        codes: unsigned integers `[row, column]`, indices into `table`.
        table: uint8 `[code, 3]`, red green blue.
        factor: pixels per cell side.
        level: zlib's, 1 fast … 9 small.

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
        (b"IDAT", zlib.compress(lines.tobytes(), level)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def data_uri(image: bytes) -> str:
    """`image` (PNG) as a data URI."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
