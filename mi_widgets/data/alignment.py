"""Which position of prompt A answers to which of prompt B, also for prompts of unequal length.

Knows nothing of models; works on token strings and ids alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from mi_widgets.data.tokens import Tokens


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
        shared = [
            (column, in_a, in_b)
            for column, (in_a, in_b) in enumerate(self.pairs)
            if in_a is not None and in_b is not None
        ]
        if shared:
            columns, rows_a, rows_b = np.array(shared).T
            # Two takes along one axis each are several times faster than one gather of both.
            left = a.take(rows_a, axis=-2).take(rows_a, axis=-1)
            right = b.take(rows_b, axis=-2).take(rows_b, axis=-1)
            out[..., columns[:, None], columns] = left - right
        return out


def align(a: Tokens, b: Tokens) -> Alignment:
    """Align two prompts: equal tokens pair up, and so do replaced runs of equal length.

    Runs of unequal length pair from their start; what is left over on one side stays alone. The matching of
    equal tokens is difflib's longest common blocks (Ratcliff and Obershelp).
    """
    if len(a) == len(b):
        # Clean/corrupt pairs are written position by position; difflib would shift repeated words.
        return Alignment(tuple((position, position) for position in range(len(a))))
    matcher = SequenceMatcher(None, _keys(a), _keys(b), autojunk=False)
    pairs: list[tuple[int | None, int | None]] = []
    for _, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        shared = min(end_a - start_a, end_b - start_b)
        pairs += [(start_a + step, start_b + step) for step in range(shared)]
        pairs += [(position, None) for position in range(start_a + shared, end_a)]
        pairs += [(None, position) for position in range(start_b + shared, end_b)]
    return Alignment(tuple(pairs))


def _keys(tokens: Tokens) -> list[tuple[int, str]]:
    return list(zip(tokens.ids.tolist(), tokens.strings, strict=True))
