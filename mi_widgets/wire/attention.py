"""The attention picture as it crosses: manifest, thumbnails of all heads (the atlas) and single heads.

Takes `data`, gives manifest and blocks. Knows nothing of widgets or models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mi_widgets.data import Alignment, AttentionComparison, AttentionPatterns, Tokens
from mi_widgets.data.attention import UNITS
from mi_widgets.data.thumbnails import thumbnails
from mi_widgets.wire.blocks import Block, value_range
from mi_widgets.wire.checks import finite_checks, worst
from mi_widgets.wire.interventions import ablated_heads, interventions_of, labels, other_run
from mi_widgets.wire.messages import (
    AttentionManifest,
    CheckValue,
    CompareTable,
    ScoreColumn,
    Show,
    TokenTable,
    Transform,
)

#: Thumbnails are at most this many cells on a side, and all of them together at most this many cells (bytes).
THUMBNAIL, ATLAS_CELLS = 64, 400_000
#: Heads of up to this many positions cross as float32, longer ones as float16 (shown with "≈").
EXACT_POSITIONS = 256
#: Largest deviation of a row sum from 1 that the self-check accepts (bfloat16 models reach about 0.01).
ROW_SUM_TOLERANCE = 2e-2


def token_table(tokens: Tokens) -> TokenTable:
    """`tokens` as plain JSON values."""
    return tokens.to_dict()  # type: ignore[return-value]


def manifest(
    patterns: AttentionPatterns,
    *,
    run: int,
    comparison: AttentionComparison | None = None,
    scores: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    live: bool = True,
    difference_high: float | None = None,
) -> AttentionManifest:
    """What the picture of `patterns` (side A) means.

    Args:
        patterns: the first prompt.
        run: the number of this computation; later runs have larger ones.
        comparison: with a second prompt.
        scores: columns `layer`, `head` and one numeric column per score; see `score_columns`.
        notes: sentences for the status line.
        live: a kernel stands behind the page.
        difference_high: largest |A − B|, where compared.
    """
    sides = [patterns] if comparison is None else [patterns, comparison.b]
    made = interventions_of(patterns)
    head_high = patterns.head_high
    low = patterns.low if patterns.weighting == "scores" else min(0.0, patterns.low)
    high = float(np.nanmax(head_high)) if np.isfinite(head_high).any() else 0.0
    compare: CompareTable | None = None
    if comparison is not None:
        other = comparison.b
        low = min(low, other.low)
        head_high = np.fmax(head_high, other.head_high)
        high = float(np.nanmax(head_high)) if np.isfinite(head_high).any() else 0.0
        compare = {"tokens": token_table(other.tokens), "pairs": _pairs(comparison.alignment)}
    return {
        "kind": "attention",
        "run": run,
        "model": patterns.model,
        "interventions": labels(made),
        "ablated": ablated_heads(made),
        "other": None if comparison is None else other_run(patterns, comparison.b),
        "tokens": token_table(patterns.tokens),
        "layers": list(patterns.layers),
        "heads": patterns.n_heads,
        "kv_heads": patterns.kv_heads,
        "weighting": patterns.weighting,  # type: ignore[typeddict-item]
        "unit": UNITS[patterns.weighting],
        # On the page one mask serves both sides, so it may only hide what neither of them reads.
        "causal": all(side.causal for side in sides),
        "windows": [
            sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*(side.windows for side in sides), strict=True)
        ],
        "low": low,
        "high": high,
        "difference_high": difference_high,
        "head_high": [0.0 if math.isnan(value) else value for value in head_high.ravel().tolist()],
        "compare": compare,
        "scores": score_columns(scores, patterns) if scores is not None else [],
        "checks": checks(*sides),
        "notes": list(notes),
        "live": live,
    }


def _pairs(alignment: Alignment) -> list[list[int]]:
    return [[-1 if side is None else side for side in pair] for pair in alignment.pairs]


SCORE_TEXT = {
    "previous_token": ("previous token", "Mean attention to the position just before."),
    "duplicate_token": ("duplicate token", "Mean attention to earlier occurrences of the same token."),
    "induction": (
        "induction",
        "Mean attention to the token that followed an earlier occurrence of the present token (Olsson et al. 2022).",
    ),
    "entropy": ("entropy (bits)", "Mean entropy of the attention rows, in bits: low is sharp, high is spread."),
    "difference": ("A − B", "Largest |A − B| over the aligned cells of the head."),
    "first_token": ("first token", "Mean attention to position 0 (attention sink)."),
}


def score_columns(scores: pd.DataFrame, patterns: AttentionPatterns) -> list[ScoreColumn]:
    """Every numeric column of `scores` but layer and head, laid out layer-major for the page."""
    table = scores.set_index(["layer", "head"])
    order = [(layer, head) for layer in patterns.layers for head in range(patterns.n_heads)]
    basis, given = scores.attrs.get("basis", ""), scores.attrs.get("given", ())
    columns: list[ScoreColumn] = []
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            continue
        values = table[name].reindex(order).astype(float).tolist()
        label, description = SCORE_TEXT.get(str(name), (str(name).replace("_", " "), ""))
        if str(name) in given or not description:  # a name of ours does not make a user's numbers ours
            description = "A column of the table given."
        elif name != "difference":
            description = f"{description} {basis}".strip()
        columns.append(
            {
                "name": str(name),
                "label": label,
                "description": description,
                "values": [value if math.isfinite(value) else None for value in values],
            }
        )
    return columns


def checks(*sides: Any) -> list[CheckValue]:
    """The self-checks that stand on the face of the view, of patterns or of what is made of them: the worst of the
    prompts shown."""
    found = finite_checks(*(side.not_finite for side in sides))
    error = worst(side.row_sum_error for side in sides)
    if error is not None:
        sinks = any(side.sinks for side in sides)
        label = "rows sum to at most 1 (attention sinks take the rest)" if sinks else "rows sum to 1"
        detail = f"max error {error:.1e}" if error == error else "a row sums to no number"
        found.append({"label": label, "ok": error <= ROW_SUM_TOLERANCE, "detail": detail})
    return found


def thumbnail_side(heads: int, causal: bool) -> int:
    """Cells on a side of one thumbnail of `heads`, so that the atlas stays within its bytes."""
    cells = ATLAS_CELLS / max(heads, 1) * (2 if causal else 1)  # a causal thumbnail crosses as its lower triangle
    return max(4, min(THUMBNAIL, math.isqrt(int(cells)) - causal))


def atlas_block(patterns: AttentionPatterns, show: Show = "A") -> Block:
    """Thumbnails of every head: u8 `[layer, head, query, key]`; each cell is the largest value in its patch."""
    values = thumbnails(patterns, thumbnail_side(len(patterns.layers) * patterns.n_heads, patterns.causal))
    low, high = value_range(values)
    # Weights start at 0; scores, and signed arrays that a user brings, where they start.
    transform: Transform = "linear" if patterns.weighting == "scores" or low < 0 else "sqrt"
    low = 0.0 if transform == "sqrt" else low
    return Block(
        f"atlas/{show}",
        values,
        ("layer", "head", "query", "key"),
        "u8",
        transform,
        "lower" if patterns.causal else "dense",
        low,
        high,
    )


def difference_atlas(comparison: AttentionComparison) -> Block:
    """Thumbnails of A − B, u8 `[layer, head, column, column]`: each cell the value of largest magnitude in its
    patch. The block's `high` is the largest |A − B| of all."""
    causal = comparison.a.causal and comparison.b.causal
    values = thumbnails(comparison, thumbnail_side(len(comparison.a.layers) * comparison.a.n_heads, causal))
    high = max(map(abs, value_range(values)))
    return Block(
        "atlas/difference",
        values,
        ("layer", "head", "query", "key"),
        "u8",
        "signed_sqrt",
        "lower" if causal else "dense",
        -high,
        high,
    )


def head_block(patterns: AttentionPatterns, side: str, layer: int, head: int, exact: bool = True) -> Block:
    """One head `[query, key]`: float32 up to 256 positions (if `exact`), then float16."""
    values = patterns.head(layer, head)
    low, high = value_range(values)
    half = (not exact or patterns.shape[2] > EXACT_POSITIONS) and max(abs(low), abs(high)) < 6e4
    return Block(
        f"head/{side}/{layer}.{head}",
        values,
        ("query", "key"),
        "f16" if half else "f32",
        "linear",
        "lower" if patterns.causal else "dense",
        low,
        high,
    )
