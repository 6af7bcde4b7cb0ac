"""Writes `parcel.bin` and `parcel.json`: bytes of every dtype, layout and transform that Python and TypeScript must
read alike. Run `python tests/golden/make.py` when the format changes; both suites read the two files.

`parcel.json` holds the manifest and, by block name, the values as Python reads them back (nested lists, null for NaN).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mi_widgets.wire.blocks import Block, pack, unpack

FOLDER = Path(__file__).parent
MANIFEST = {"kind": "golden", "run": 7, "tokens": ["<bos>", " né", "🙂", "\n", "</script>"], "nothing": None}


def blocks() -> list[Block]:
    """One block of every kind, with NaN where the kind can hold it."""
    random = np.random.default_rng(0)
    head = random.random((5, 5), dtype=np.float32)
    signed = (2 * random.random((2, 3, 4), dtype=np.float32) - 1) * 3
    holed = head.copy()
    holed[2, 1] = np.nan
    made = []
    for dtype in ("u8", "f16", "f32"):
        for layout in ("dense", "lower"):
            for transform in ("linear", "sqrt", "signed_sqrt") if dtype == "u8" else ("linear",):
                name = f"{dtype}/{layout}/{transform}"
                made.append(Block(name, head, ("query", "key"), dtype, transform, layout))
                made.append(Block(f"{name}/nan", holed, ("query", "key"), dtype, transform, layout))
        made.append(Block(f"{dtype}/three axes", signed, ("layer", "head", "key"), dtype))
    made.append(
        Block(
            "u8/atlas",
            random.random((2, 3, 4, 4), dtype=np.float32),
            ("layer", "head", "query", "key"),
            "u8",
            "sqrt",
            "lower",
            0.0,
            1.0,
        )
    )
    made.append(Block("u8/constant", np.full((2, 2), 0.25, np.float32), ("query", "key"), "u8"))
    extremes = np.array([[0.0, -0.0, 6.1e-5, 5.9e-8], [65504.0, -65504.0, 1.0, -2.5]], np.float32)
    made.append(Block("f16/extremes", extremes, ("query", "key"), "f16"))
    made.append(Block("f32/empty", np.zeros((0, 4), np.float32), ("query", "key")))
    return made


def golden() -> tuple[bytes, str]:
    """The parcel and the JSON text beside it."""
    parcel = pack(blocks(), MANIFEST)
    manifest, arrays, _ = unpack(parcel)
    values = {name: _nested(array.tolist()) for name, array in arrays.items()}
    return parcel, json.dumps({"manifest": manifest, "arrays": values}, ensure_ascii=False, indent=1) + "\n"


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(entry) for entry in value]
    return None if value != value else value


if __name__ == "__main__":
    parcel, text = golden()
    (FOLDER / "parcel.bin").write_bytes(parcel)
    (FOLDER / "parcel.json").write_text(text, encoding="utf-8", newline="\n")
