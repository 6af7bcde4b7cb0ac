"""What an ablation puts in place of activations: their mean over prompts, or another prompt's.

Arrays are `[position, …]`, whatever stands at a position. Knows nothing of models, nor of what is ablated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mi_widgets.data import Tokens
from mi_widgets.data.alignment import align

#: For each position of the prompt what is put there, `[position, …]`; and for any after it, `[…]`; both float32.
Rows = tuple[np.ndarray, np.ndarray]


class Mean:
    """The mean over prompts, added up one by one: position by position where all of them are as long as the prompt,
    else over all their positions.

    Args:
        count: positions of the prompt that is changed.
        sources: prompts that the mean is over; none for the prompt itself.
    """

    def __init__(self, count: int, sources: Sequence[Tokens]) -> None:
        self._count = count
        self._by_position = bool(sources) and all(len(source) == count for source in sources)
        many = "one reference prompt" if len(sources) == 1 else f"{len(sources)} reference prompts"
        #: What the mean is over, in words.
        self.note = f"the mean over all positions of {many}"
        if not sources:
            self.note = "the mean over the positions of this prompt"
        elif self._by_position:
            self.note = f"the mean over {many}, position by position"
        self._total: np.ndarray | None = None
        self._added = 0

    def add(self, taken: np.ndarray) -> None:
        """One prompt's `[position, …]`."""
        values = taken.astype(np.float64) if self._by_position else taken.sum(0, dtype=np.float64)[None]
        self._total = values if self._total is None else self._total + values
        self._added += len(taken)

    def rows(self) -> Rows:
        """What is put."""
        assert self._total is not None
        whole = (self._total.sum(0) / self._added).astype(np.float32)
        if not self._by_position:
            return np.broadcast_to(whole, (self._count, *whole.shape)), whole
        return (self._total * (self._count / self._added)).astype(np.float32), whole


def resampled(tokens: Tokens, source: Tokens, taken: np.ndarray) -> tuple[Rows, str]:
    """Another prompt's activations where it has a partner for a position, its last position's elsewhere.

    Args:
        tokens: the prompt that is changed.
        source: the other.
        taken: what stands there in its run, `[position, …]`.

    Returns:
        What is put, and where it is from, in words.
    """
    partners = partners_of(tokens, source)
    rows = taken[[partners.get(place, len(source) - 1) for place in range(len(tokens))]]
    said = source.text if source.text is not None else "".join(source.strings)
    note = f"from “{said if len(said) <= 40 else said[:39] + '…'}”"
    if len(source) != len(tokens):
        note += ", by alignment"
    alone = [place for place in range(len(tokens)) if place not in partners]
    if alone:
        shown = ", ".join(map(str, alone[:4])) + (" …" if len(alone) > 4 else "")
        note += f"; at position{'s' if len(alone) > 1 else ''} {shown}, which have no partner there, its last position"
    return (rows, taken[-1]), note


def partners_of(tokens: Tokens, source: Tokens) -> dict[int, int]:
    """By position of a prompt, that of the source which answers to it (`data.alignment`)."""
    pairs = align(tokens, source).pairs
    return {own: other for own, other in pairs if own is not None and other is not None}
