"""What of attention crosses: thumbnails of all heads (the atlas), single heads, score columns and self-checks.

Takes `data`, gives blocks and values. Knows nothing of widgets or models.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from mi_widgets.data import AttentionComparison, AttentionPatterns, Tokens
from mi_widgets.data.thumbnails import thumbnails
from mi_widgets.wire.blocks import Block, value_range
from mi_widgets.wire.checks import finite_checks, worst
from mi_widgets.wire.messages import CheckValue, ScoreColumn, Show, TokenTable, Transform

#: Thumbnails are at most this many cells on a side, and all of them together at most this many cells (bytes).
THUMBNAIL, ATLAS_CELLS = 64, 400_000
#: Heads of up to this many positions cross as float32, longer ones as float16 (shown with "≈").
EXACT_POSITIONS = 256
#: Largest deviation of a row sum from 1 that the self-check accepts (bfloat16 models reach about 0.01).
ROW_SUM_TOLERANCE = 2e-2


def token_table(tokens: Tokens) -> TokenTable:
    """`tokens` as plain JSON values."""
    return tokens.to_dict()  # type: ignore[return-value]


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
