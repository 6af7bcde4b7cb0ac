"""Which position of prompt A answers to which of prompt B, also for prompts of unequal length.

Knows nothing of models; works on token strings and ids alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np

from mi_widgets.data.arrays import read_only
from mi_widgets.data.tokens import Tokens

#: Stretches with more cells than this (some 16,000 tokens each) pair from their start, for want of memory.
MOST_CELLS = 2**28


@dataclass(frozen=True)
class Alignment:
    """Pairs of positions, in order. A column without a partner holds None on that side.

    Attributes:
        pairs: `(position in A or None, position in B or None)`, increasing on each side; every position of A
            and of B occurs exactly once.
    """

    pairs: tuple[tuple[int | None, int | None], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def shared(self) -> np.ndarray:
        """int `[3, shared column]`: columns that both sides have, and the positions they hold in A and in B."""
        both = [(column, *pair) for column, pair in enumerate(self.pairs) if None not in pair]
        return read_only(np.array(both, dtype=np.intp).reshape(-1, 3).T)

    def difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """A − B on the aligned axes.

        Args:
            a: `[…, query in A, key in A]`.
            b: `[…, query in B, key in B]`, same leading axes.

        Returns:
            float32 `[…, column, column]`; NaN where either side has no such cell.
        """
        if all(in_a == in_b for in_a, in_b in self.pairs):
            return a - b
        out = np.full((*a.shape[:-2], len(self), len(self)), np.nan, dtype=np.float32)
        columns, rows_a, rows_b = self.shared
        if len(columns):
            # Two takes along one axis each are several times faster than one gather of both.
            left = a.take(rows_a, axis=-2).take(rows_a, axis=-1)
            right = b.take(rows_b, axis=-2).take(rows_b, axis=-1)
            out[..., columns[:, None], columns] = left - right
        return out


def align(a: Tokens, b: Tokens) -> Alignment:
    """Align two prompts, tokens being equal where ids and strings are.

    Prompts of equal length pair position by position: clean and corrupt prompts are written so. Of all other
    alignments it is one with the most equal pairs (their longest common subsequence), and of these one with the most
    pairs in all, so that substitutes stand beside each other; what is left over stands alone, after the pairs.
    """
    if len(a) == len(b):
        return Alignment(tuple((position, position) for position in range(len(a))))
    codes: dict[tuple[int, str], int] = {}
    left, right = (
        np.array([codes.setdefault(key, len(codes)) for key in zip(side.ids.tolist(), side.strings, strict=True)], int)
        for side in (a, b)
    )
    # Equal ends pair up in one of the best alignments; what is left between them is often short.
    start = _equal(left, right)
    end = _equal(left[start:][::-1], right[start:][::-1])
    middle = _pairs(left[start : len(left) - end], right[start : len(right) - end])
    pairs: list[tuple[int | None, int | None]] = [(position, position) for position in range(start)]
    pairs += [(None if in_a is None else in_a + start, None if in_b is None else in_b + start) for in_a, in_b in middle]
    pairs += [(len(a) - back, len(b) - back) for back in range(end, 0, -1)]
    return Alignment(tuple(pairs))


def _equal(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens are equal from the start on."""
    count = min(len(a), len(b))
    differing = np.flatnonzero(a[:count] != b[:count])
    return int(differing[0]) if len(differing) else count


def _pairs(a: np.ndarray, b: np.ndarray) -> list[tuple[int | None, int | None]]:
    """The pairs of two sequences of codes, by dynamic programming over their prefixes, row by row."""
    if len(a) * len(b) > MOST_CELLS:
        return list(zip_longest(range(len(a)), range(len(b))))
    # One equal pair outweighs any number of unequal ones.
    weight = min(len(a), len(b)) + 1
    best = np.zeros(len(b) + 1, np.int64)
    # Whether a prefix of A (row) and of B (column) is as good without its last token of A, and of B.
    without = np.ones((2, len(a) + 1, len(b) + 1), bool)
    for row, code in enumerate(a, 1):
        fresh = best.copy()
        np.maximum(fresh[1:], best[:-1] + np.where(b == code, weight, 1), out=fresh[1:])
        np.maximum.accumulate(fresh, out=fresh)
        without[0, row] = fresh == best
        without[1, row, 1:] = fresh[1:] == fresh[:-1]
        best = fresh
    pairs: list[tuple[int | None, int | None]] = []
    in_a, in_b = len(a), len(b)
    while in_a or in_b:
        # Backwards, and alone before paired: so that pairs come first.
        alone_b = in_b and (not in_a or without[1, in_a, in_b])
        alone_a = not alone_b and in_a and (not in_b or without[0, in_a, in_b])
        in_a, in_b = in_a - (not alone_b), in_b - (not alone_a)
        pairs.append((None if alone_b else in_a, None if alone_a else in_b))
    return pairs[::-1]
