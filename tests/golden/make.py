"""Writes `parcel.bin` and `parcel.json`: bytes of every dtype, layout and transform that Python and TypeScript must
read alike; and `ticks.json`: ticks of legends that both must print alike. Run `python tests/golden/make.py` when the
format changes; both suites read the files.

`parcel.json` holds the manifest and, by block name, the values as Python reads them back (nested lists, null for NaN).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mi_widgets.figures.lens_field import RankScale, rank_place
from mi_widgets.figures.scale import ColorScale
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


def ticks() -> str:
    """Ranges of every scale with the ticks that paper prints, as JSON."""
    ranges = []
    highs = [1.0, 0.5, 0.3125, 0.9374, 0.0123, 1e-5, 2.5e-9, 3.0, 37.2, 1.125, 8.3e4, 1.234567e5, 1e6]
    highs += np.random.default_rng(0).lognormal(0, 3, 12).tolist()
    for high in highs:
        for low, scale, signed in (
            (0, "linear", False),
            (0, "sqrt", False),
            (0, "log", False),
            (-high, "linear", True),
        ):
            for count in (3, 5, 7):
                made = ColorScale(low, high, scale, signed=signed)
                range_ = {"low": low, "high": high, "scale": scale, "diverging": signed, "count": count}
                ranges.append({**range_, "ticks": made.ticks(count)})
    scores = [{"low": low, "high": high, "scale": "linear", "diverging": False, "count": 7} for low, high in
              ((-12.37, 8.25), (-0.002, 0.011), (2.5, 2.5), (-30.0, -1.0))]  # fmt: skip
    ranges += [{**one, "ticks": ColorScale(one["low"], one["high"]).ticks(7)} for one in scores]
    ranks = [
        {"largest": rank, "ticks": RankScale(0.0, rank_place(rank)).ticks()}
        for rank in (1, 2, 9, 63, 999, 1250, 50256, 151935)
    ]
    return json.dumps({"ranges": ranges, "ranks": ranks}, ensure_ascii=False, separators=(",", ":")) + "\n"


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(entry) for entry in value]
    return None if value != value else value


if __name__ == "__main__":
    parcel, text = golden()
    (FOLDER / "parcel.bin").write_bytes(parcel)
    (FOLDER / "parcel.json").write_text(text, encoding="utf-8", newline="\n")
    (FOLDER / "ticks.json").write_text(ticks(), encoding="utf-8", newline="\n")
