"""Which heads a figure shows, in which order, and over which range of values they are coloured.

Knows nothing of plotly.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from mi_widgets import color
from mi_widgets.data import AttentionComparison, AttentionPatterns, Tokens, prompt_scores
from mi_widgets.data.integers import integer, place, word
from mi_widgets.data.scores import checked_scores
from mi_widgets.described.attention import ATTENTION
from mi_widgets.errors import DataError, choose
from mi_widgets.figures.scale import ColorScale, low_and_high
from mi_widgets.figures.style import inks

Attention: TypeAlias = AttentionPatterns | AttentionComparison
#: `(layer, head, score or None)` in the order of drawing.
Ranked: TypeAlias = list[tuple[int, int, float | None]]


def patterns_of(data: Attention) -> AttentionPatterns:
    """The patterns themselves; side A of a comparison.

    Raises:
        DataError: neither patterns nor a comparison.
    """
    if isinstance(data, AttentionComparison):
        return data.a
    if isinstance(data, AttentionPatterns):
        return data
    raise DataError(
        f"a {type(data).__name__} is no attention result.", "Make one with data.patterns_from_arrays(array, tokens)."
    )


def tokens_of(data: Attention) -> Tokens:
    """The tokens of the axes: the prompt's, or a comparison's aligned columns."""
    return data.tokens


def unit_of(data: Attention) -> str:
    """What the values are, for the legend."""
    measured = ATTENTION.difference if isinstance(data, AttentionComparison) else ATTENTION.measure
    return measured(patterns_of(data).weighting).legend()


def every_head(data: Attention) -> list[tuple[int, int]]:
    """All `(layer, head)`, layer-major."""
    patterns = patterns_of(data)
    return [(layer, head) for layer in patterns.layers for head in range(patterns.n_heads)]


def chosen_heads(
    data: Attention, layer: int | None, head: int | None, heads: Sequence[tuple[int, int]] | None
) -> list[tuple[int, int]]:
    """The heads that `layer`, `head` or a list of pairs name; all of them if none does.

    Raises:
        DataError: a head that the data lacks, both ways of naming at once, or an empty list.
    """
    if heads is not None:
        if layer is not None or head is not None:
            raise DataError("both heads and layer or head were given.", "Name the heads one way.")
        try:
            pairs = [(integer("layer", one), integer("head", other)) for one, other in heads]
        except (TypeError, ValueError):  # DataError is a ValueError: both say the same
            raise DataError(f"heads is {heads!r}.", "Give (layer, head) pairs.") from None
        if not pairs:
            raise DataError("heads is empty.", "Give at least one (layer, head) pair.")
    else:
        layer = None if layer is None else integer("layer", layer)
        head = None if head is None else integer("head", head)
        pairs = [pair for pair in every_head(data) if layer in (None, pair[0]) and head in (None, pair[1])]
        if not pairs:
            pairs = [(patterns_of(data).layers[0] if layer is None else layer, head or 0)]
    patterns = patterns_of(data)
    for one, other in pairs:
        patterns.row(one)
        place("head", other, patterns.n_heads)
    return pairs


def ranked(
    data: Attention,
    pairs: list[tuple[int, int]],
    scores: pd.DataFrame | None,
    sort: str | None,
    descending: bool = True,
) -> Ranked:
    """The heads in order: as given, or by the score column `sort`, undefined last.

    Args:
        data: gives its own head scores where `scores` is None.
        pairs: the heads.
        scores: columns `layer`, `head` and one numeric column per score.
        sort: name of a score column, or None.
        descending: largest first, else smallest first.

    Raises:
        DataError: no such column, no row for a head, or a comparison without scores.
    """
    if sort is None:
        return [(layer, head, None) for layer, head in pairs]
    if scores is None:
        if isinstance(data, AttentionComparison):
            raise DataError("a comparison has no head scores of its own.", "Pass scores, a table with layer and head.")
        scores = prompt_scores(data)
    scores = checked_scores(scores)
    assert scores is not None
    named = [str(name) for name in scores.columns if name not in ("layer", "head")]
    if not isinstance(sort, Hashable) or sort not in scores.columns:
        raise DataError(f"scores has no column {sort!r}.", choose(sort, named, "It has"))
    if not pd.api.types.is_numeric_dtype(scores[sort]):
        raise DataError(f"the score column {sort!r} holds no numbers.")
    value_of = {
        (int(layer), int(head)): float(value)
        for layer, head, value in zip(scores["layer"], scores["head"], scores[sort], strict=True)
    }
    without = [pair for pair in pairs if pair not in value_of]
    if without:
        raise DataError(f"scores has no row for layer {without[0][0]}, head {without[0][1]}.")
    sign = -1 if descending else 1
    order = sorted(pairs, key=lambda pair: (np.isnan(value_of[pair]), sign * value_of[pair]))
    return [(layer, head, value_of[layer, head]) for layer, head in order]


def score_text(score: float) -> str:
    """A score for a title: two decimals, or three digits where those say too little; "–" where undefined."""
    if np.isnan(score):
        return "–"
    return (f"{score:.2f}" if 0.1 <= abs(score) < 100 or score == 0 else f"{score:.2g}").replace("-", "−")


def value_bounds(data: Attention, pairs: Sequence[tuple[int, int]] | None) -> tuple[float, float]:
    """Smallest and largest finite value of the heads in `pairs`, of all if None; (0, 0) where there is none."""
    if pairs is None and isinstance(data, AttentionPatterns) and data.key_weight is None:
        return _bounds(data.base)
    low, high = np.inf, -np.inf
    for layer, head in every_head(data) if pairs is None else pairs:
        values = data.head(layer, head)
        if np.isfinite(values).any():
            one_low, one_high = _bounds(values)
            low, high = min(low, one_low), max(high, one_high)
    return (low, high) if low <= high else (0.0, 0.0)


def _bounds(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return low, high


def color_scale(
    data: Attention,
    bounds: tuple[float, float],
    *,
    scale: str,
    palette: str,
    theme: str,
    zrange: tuple[float, float] | None = None,
) -> tuple[ColorScale, tuple[bool, bool]]:
    """The scale of a figure, and whether values lie below and above it.

    Weights start at zero, pre-softmax scores at their smallest; differences are symmetric about zero and always
    take the diverging palette.

    Args:
        data: what is drawn.
        bounds: smallest and largest value shown.
        scale: `"linear"`, `"sqrt"` or `"log"`.
        palette: `"blue"`, `"amber"` or `"grey"`.
        theme: `"light"` or `"dark"`.
        zrange: `(low, high)` in place of the values' own; for differences only its larger magnitude counts.

    Raises:
        DataError: unknown scale, palette or theme, or an empty range.
    """
    low, high = bounds
    signed = isinstance(data, AttentionComparison)
    if not isinstance(palette, str) or palette != color.DIVERGING:
        word("palette", palette, color.SEQUENTIAL)
    if zrange is not None:
        first, last = low_and_high(zrange)
    elif signed:
        first, last = -max(abs(low), abs(high)), max(abs(low), abs(high))
    else:
        first, last = (low if patterns_of(data).weighting == "scores" else min(0.0, low)), high
        last = max(first, last)
    if signed:
        last = max(abs(first), abs(last))
        first, palette = -last, color.DIVERGING
    if patterns_of(data).weighting == "scores":
        scale = "linear"  # as on the screen: a root or logarithm of a score means nothing
    made = ColorScale(first, last, scale, palette, theme, signed, inks(theme).paper)
    rounding = 1e-6 * max(abs(first), abs(last))
    return made, (low < first - rounding, high > last + rounding)
