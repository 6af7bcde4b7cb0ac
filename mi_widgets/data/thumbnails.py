"""Every head small: patches of cells reduced to their largest value, for the wall on the screen and on paper.

Knows nothing of colours, bytes or plotly.
"""

from __future__ import annotations

import numpy as np

from mi_widgets.data.arrays import read_only
from mi_widgets.data.attention import AttentionComparison, AttentionPatterns


def thumbnails(data: AttentionPatterns | AttentionComparison, side: int) -> np.ndarray:
    """All heads with at most `side` cells on each axis: float32 `[layer, head, query patch, key patch]`.

    Each cell is the largest value of its patch (of largest magnitude for a comparison), NaN passed over where the
    patch holds any number; so the largest of all stays what it was. Patches above the diagonal of causal patterns
    are 0. Patterns that are small already are returned as they are; all thumbnails of patterns are read-only.
    """
    if isinstance(data, AttentionPatterns):
        kept: dict[int, np.ndarray] = data.__dict__.setdefault("_thumbnails", {})  # views share the patterns, and these
        if side not in kept:
            kept[side] = read_only(_largest(data, starts(data.shape[2], side)))
        return kept[side]
    first = starts(len(data.alignment), side)
    # Head by head: the full difference of all heads is never held at once.
    values = np.empty((len(data.a.layers), data.a.n_heads, len(first), len(first)), np.float32)
    for row, layer in enumerate(data.a.layers):
        for head in range(data.a.n_heads):
            values[row, head] = reduced(data.head(layer, head)[None], first, signed=True)[0]
    return values


def allowed_patches(data: AttentionPatterns | AttentionComparison, side: int) -> np.ndarray:
    """bool `[layer, query patch, key patch]`: False where the mask forbids every cell of the patch."""
    patterns = data.a if isinstance(data, AttentionComparison) else data
    count = len(data.alignment) if isinstance(data, AttentionComparison) else data.shape[2]
    return np.stack([any_cell(allowed_cells(data, layer), starts(count, side)) for layer in patterns.layers])


def allowed_cells(data: AttentionPatterns | AttentionComparison, layer: int) -> np.ndarray:
    """bool `[query, key]`: what the mask of `layer` allows; for a comparison, on aligned columns, in both prompts.

    A column that stands alone has no difference; there the order of columns decides what is masked.
    """
    if isinstance(data, AttentionPatterns):
        return data.allowed(layer)
    count = len(data.alignment)
    both_causal = data.a.causal and data.b.causal
    allowed = np.tri(count, dtype=bool) if both_causal else np.ones((count, count), bool)
    paired, in_a, in_b = data.alignment.shared
    if len(paired):
        shared = data.a.allowed(layer)[np.ix_(in_a, in_a)] & data.b.allowed(layer)[np.ix_(in_b, in_b)]
        allowed[np.ix_(paired, paired)] = shared
    return allowed


def starts(count: int, side: int) -> np.ndarray:
    """First position of each of at most `side` patches of `count` positions."""
    side = min(side, count)
    return (np.arange(side) * count) // side


def _largest(data: AttentionPatterns, first: np.ndarray) -> np.ndarray:
    base, weight = data.base, data.key_weight
    if len(first) == base.shape[2]:
        return data.values
    out = np.empty((*base.shape[:2], len(first), len(first)), np.float32)
    for row in range(base.shape[0]):
        columns = _columns(data, row, first)
        if weight is not None:
            columns = columns * weight[row][:, None, :]  # weights are norms: the largest pattern stays the largest
        np.fmax.reduceat(columns, first, axis=2, out=out[row])
        if data.causal:
            out[row][:, ~np.tri(len(first), dtype=bool)] = 0
    return out


def _columns(data: AttentionPatterns, row: int, first: np.ndarray) -> np.ndarray:
    """`[head, query patch, key]`: the largest of each patch's rows, which all weightings of the patterns start from."""
    heads = data.base[row]

    def reduce() -> np.ndarray:
        # The plain maximum runs at memory speed but spreads NaN; layers that hold one take the slower way.
        plain = np.fmax if data.weighting == "scores" else np.maximum
        found = _column_maxima(heads, first, plain, data.causal)
        return _column_maxima(heads, first, np.fmax, data.causal) if np.isnan(found).any() else found

    return data.of_base(("columns", row, len(first)), reduce)


def _column_maxima(heads: np.ndarray, first: np.ndarray, largest: np.ufunc, causal: bool) -> np.ndarray:
    """`[head, query, key]` → `[head, patch, key]`; above the diagonal of a causal head nothing is read."""
    count = heads.shape[1]
    ends = [*first[1:].tolist(), count]
    out = np.zeros((heads.shape[0], len(first), count), np.float32)
    for patch, (start, end) in enumerate(zip(first.tolist(), ends, strict=True)):
        keys = end if causal else count
        largest.reduce(heads[:, start:end, :keys], axis=1, out=out[:, patch, :keys])
    return out


def reduced(heads: np.ndarray, first: np.ndarray, signed: bool = False) -> np.ndarray:
    """`[head, query, key]` → `[head, patch, patch]`: the largest value of each patch, or of largest magnitude."""
    if len(first) == heads.shape[1]:
        return heads
    top = np.fmax.reduceat(np.fmax.reduceat(heads, first, axis=1), first, axis=2)
    if not signed:
        return top
    bottom = np.fmin.reduceat(np.fmin.reduceat(heads, first, axis=1), first, axis=2)
    return np.where(np.abs(bottom) > np.abs(top), bottom, top)


def any_cell(allowed: np.ndarray, first: np.ndarray) -> np.ndarray:
    """bool `[query, key]` → `[patch, patch]`: True where any cell of the patch is."""
    if len(first) == len(allowed):
        return allowed
    return np.logical_or.reduceat(np.logical_or.reduceat(allowed, first, axis=0), first, axis=1)
