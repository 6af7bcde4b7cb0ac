"""Two results of one kind side by side, on aligned tokens. Knows nothing of what is compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mi_widgets.data.alignment import Alignment, align
from mi_widgets.data.record import Record
from mi_widgets.data.tokens import Tokens

#: The positions on both sides that a column holds; None where a side has none.
Pairs = tuple[tuple[int | None, int | None], ...]


@dataclass(frozen=True, eq=False)
class Comparison(Record):
    """Base of comparisons.

    Attributes:
        a: the first result.
        b: the second.
    """

    a: Any
    b: Any

    @cached_property
    def alignment(self) -> Alignment:
        """Which position of A answers to which of B."""
        return align(self.a.tokens, self.b.tokens)

    @property
    def columns(self) -> Pairs:
        """The positions in A's prompt and in B's that each column holds; None for none."""
        return self.alignment.pairs

    @cached_property
    def tokens(self) -> Tokens:
        """The columns as tokens: one string where A and B agree, `A→B` where they differ."""
        a, b = self.a.tokens, self.b.tokens
        strings, ids = [], []
        for in_a, in_b in self.columns:
            left = a.strings[in_a] if in_a is not None else "∅"
            right = b.strings[in_b] if in_b is not None else "∅"
            strings.append(left if left == right else f"{left}→{right}")
            ids.append(int(a.ids[in_a]) if in_a is not None else -1)
        return Tokens(np.array(ids, dtype=np.int64), tuple(strings))
