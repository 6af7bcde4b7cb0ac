"""Arrays as bytes for the page: quantised blocks, several of them in one parcel.

A parcel is one little-endian byte string:

    uint32 length of the header in bytes | header, JSON in UTF-8 | zeros to a multiple of 8 | payloads

Each payload starts at a multiple of 8 from the start of the parcel. The header holds `schema`, an optional
`manifest` (what the picture means) and `blocks`: a list of `BlockHeader`. `js/src/core/blocks.ts` reads it, and
`tests/golden/` holds bytes that both sides must agree on.

Knows nothing of attention or widgets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mi_widgets.errors import DataError
from mi_widgets.wire.messages import BlockHeader, Dtype, Layout, Transform

SCHEMA = 1
#: u8 codes 0 … 254 are values, 255 is "not a number".
U8_STEPS = 254
U8_MISSING = 255


@dataclass(frozen=True, eq=False)
class Block:
    """One array and how it is to cross.

    Attributes:
        name: what the page asks for it by, e.g. `"head/A/3.5"`.
        values: float array, any shape.
        axes: one name per axis.
        dtype: `"u8"` (254 steps of the transformed range), `"f16"` or `"f32"`.
        transform: how u8 codes are spread over the range: `"linear"`; `"sqrt"` (finer near `low`); or
            `"signed_sqrt"` (finer near 0, range symmetric).
        layout: `"dense"`, or `"lower"`: of the last two axes only cells with key ≤ query, row by row.
        low: value of code 0; the smallest finite value if None.
        high: value of the last code; the largest finite value if None.
    """

    name: str
    values: np.ndarray
    axes: tuple[str, ...]
    dtype: Dtype = "f32"
    transform: Transform = "linear"
    layout: Layout = "dense"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if len(self.axes) != self.values.ndim:
            raise DataError(f"block {self.name}: {self.values.ndim} axes, but names for {len(self.axes)}.")
        if self.layout == "lower" and self.values.shape[-1] != self.values.shape[-2]:
            raise DataError(f"block {self.name}: layout 'lower' needs equal query and key axes.")


def encode(block: Block) -> tuple[BlockHeader, bytes]:
    """The header (offset still 0) and the payload of one block."""
    values = np.asarray(block.values)
    low, high = value_range(values) if block.low is None or block.high is None else (block.low, block.high)
    if block.transform == "signed_sqrt":
        high = max(abs(low), abs(high))
        low = -high
    if block.layout == "lower":
        values = values.reshape(*values.shape[:-2], -1).take(_lower(values.shape[-1]), axis=-1)
    if block.dtype == "u8":
        payload = _quantise(values, low, high, block.transform)
    elif block.dtype == "f16":
        # Beyond ±65504 a half would silently become infinite.
        payload = np.clip(values, -65504, 65504).astype("<f2")
    else:
        payload = values.astype("<f4", copy=False)
    data = payload.tobytes()
    header: BlockHeader = {
        "name": block.name,
        "dtype": block.dtype,
        "shape": [int(size) for size in block.values.shape],
        "axes": list(block.axes),
        "layout": block.layout,
        "transform": block.transform,
        "low": low,
        "high": high,
        "offset": 0,
        "nbytes": len(data),
    }
    return header, data


@lru_cache(maxsize=2)
def _lower(count: int) -> np.ndarray:
    """Where the cells with key ≤ query stand among all `query · count + key`, row by row."""
    return np.flatnonzero(np.tri(count, dtype=bool))


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite value; (0, 0) where there is none."""
    if not values.size:
        return 0.0, 0.0
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _quantise(values: np.ndarray, low: float, high: float, transform: Transform) -> np.ndarray:
    scale = 1.0 / (high - low) if high > low else 0.0
    # In double precision: a range of denormals would overflow a single's scale. u8 blocks are small.
    unit = (values.astype(np.float64) - low) * scale
    missing = np.isnan(unit)
    has_missing = bool(missing.any())
    if has_missing:
        unit = np.where(missing, 0, unit)
    np.clip(unit, 0, 1, out=unit)
    if transform == "sqrt":
        np.sqrt(unit, out=unit)
    elif transform == "signed_sqrt":
        signed = 2 * unit - 1
        unit = (np.sign(signed) * np.sqrt(np.abs(signed)) + 1) / 2
    unit *= U8_STEPS
    unit += 0.5
    codes = unit.astype(np.uint8)
    if has_missing:
        codes[missing] = U8_MISSING
    return codes


def pack(blocks: list[Block], manifest: Any = None) -> bytes:
    """Several blocks and an optional manifest (plain JSON values) as one parcel."""
    return assemble([encode(block) for block in blocks], manifest)


def assemble(encoded: list[tuple[BlockHeader, bytes]], manifest: Any = None) -> bytes:
    """A parcel of blocks that are encoded already."""
    headers: list[BlockHeader] = []
    offset = 0
    for header, data in encoded:
        headers.append({**header, "offset": offset})
        offset += _padded(len(data))
    whole = {"schema": SCHEMA, "manifest": manifest, "blocks": headers}
    said = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = said.encode("utf-8", "backslashreplace")
    start = _padded(4 + len(text))
    out = bytearray(start + offset)
    out[0:4] = len(text).to_bytes(4, "little")
    out[4 : 4 + len(text)] = text
    for header, (_, data) in zip(headers, encoded, strict=True):
        out[start + header["offset"] : start + header["offset"] + len(data)] = data
    return bytes(out)


def unpack(parcel: bytes) -> tuple[Any, dict[str, np.ndarray], dict[str, BlockHeader]]:
    """Manifest, arrays by name (float32, dense; masked cells of layout `"lower"` are 0) and headers by name."""
    length = int.from_bytes(parcel[:4], "little")
    header = json.loads(parcel[4 : 4 + length].decode("utf-8"))
    if header["schema"] > SCHEMA:
        raise DataError(f"parcel schema {header['schema']} is newer than {SCHEMA}.", "Update mi_widgets.")
    start = _padded(4 + length)
    arrays, headers = {}, {}
    for block in header["blocks"]:
        first = start + block["offset"]
        arrays[block["name"]] = _decode(block, parcel[first : first + block["nbytes"]])
        headers[block["name"]] = block
    return header["manifest"], arrays, headers


def _decode(header: BlockHeader, data: bytes) -> np.ndarray:
    raw = np.frombuffer(data, dtype={"u8": np.uint8, "f16": "<f2", "f32": "<f4"}[header["dtype"]])
    if header["dtype"] == "u8":
        unit = raw.astype(np.float32) / U8_STEPS
        low, high = header["low"], header["high"]
        if header["transform"] == "sqrt":
            unit = unit**2
        elif header["transform"] == "signed_sqrt":
            signed = 2 * unit - 1
            unit = (np.sign(signed) * signed**2 + 1) / 2
        values = (low + (high - low) * unit).astype(np.float32)
        values[raw == U8_MISSING] = np.nan
    else:
        values = raw.astype(np.float32)
    shape = tuple(header["shape"])
    if header["layout"] == "dense":
        return values.reshape(shape)
    out = np.zeros(shape, np.float32)
    query, key = np.tril_indices(shape[-1])
    out[..., query, key] = values.reshape(*shape[:-2], -1)
    return out


def _padded(length: int) -> int:
    return -(-length // 8) * 8
