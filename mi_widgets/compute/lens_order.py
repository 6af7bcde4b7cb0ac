"""In which order the columns of a lens are read, a chunk at a time: those that somebody looks at first, then those
nearest to them. What is looked at may change while they are read. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Readings of fewer products than this take a moment, on any machine.
LITTLE = 10_000_000_000
#: More chunks than these in sight are not worth a handing out of their own: they fill as the whole does.
FEW_CHUNKS = 4
#: The first chunk that is handed out on the way is so much smaller: what is looked at is awaited.
FIRST = 4


@dataclass
class Sight:
    """What is looked at of a reading that goes on: columns from `first` to `last`, both; the last column if None."""

    first: int | None = None
    last: int | None = None


def followed(sight: Sight | None, work: int) -> Sight | None:
    """`sight` where a reading of so many products takes long; what is read in a moment is handed out whole."""
    return sight if work > LITTLE else None


class ReadingOrder:
    """The columns that are still to be read.

    Args:
        kinds: of each column, which of several kinds it is; a chunk holds columns of one kind.
        sizes: how many columns of each kind are read at once.
        sight: what is looked at, followed as it changes; None reads from the first column to the last and hands out
            nothing on the way.
    """

    def __init__(self, kinds: np.ndarray, sizes: Sequence[int], sight: Sight | None) -> None:
        self._kinds, self._sizes, self._sight = np.asarray(kinds, int), sizes, sight
        self._unread = np.ones(len(self._kinds), bool)
        #: How many columns were read when what is read was last handed out, and what was then wholly in sight.
        self._handed, self._seen = 0, (-1, -1)

    @property
    def chunks(self) -> int:
        """Chunks in all, at most."""
        counts = np.bincount(self._kinds, minlength=len(self._sizes)).tolist()
        kinds = [(count, size) for count, size in zip(counts, self._sizes, strict=True) if count]
        full = sum(_pieces(count, size) for count, size in kinds)
        if self._sight is None:
            return full
        # Where the first is small, there may be one more of its kind.
        more = (1 + _pieces(count - self._first(size), size) - _pieces(count, size) for count, size in kinds)
        return full + max(more, default=0)

    @property
    def read(self) -> np.ndarray:
        """Indices of the columns that were taken."""
        return np.flatnonzero(~self._unread)

    def _in_sight(self) -> tuple[int, int]:
        end = len(self._kinds) - 1
        first = end if self._sight is None or self._sight.first is None else min(max(self._sight.first, 0), end)
        last = end if self._sight is None or self._sight.last is None else min(max(self._sight.last, first), end)
        return first, last

    @staticmethod
    def _first(size: int) -> int:
        return size // FIRST or size

    def take(self) -> tuple[int, np.ndarray] | None:
        """The next chunk: its kind, and its columns in their order. None where all are read."""
        left = np.flatnonzero(self._unread)
        if not len(left):
            return None
        if self._sight is not None:
            first, last = self._in_sight()
            away = np.maximum(np.maximum(first - left, left - last), 0)
            left = left[np.lexsort((-left, away))]  # of two that are equally near, the later: prompts are read there
        kind = int(self._kinds[left[0]])
        awaited = self._sight is not None and self._unread.all()
        size = self._first(self._sizes[kind]) if awaited else self._sizes[kind]
        taken = np.sort(left[self._kinds[left] == kind][:size])
        self._unread[taken] = False
        return kind, taken

    def due(self) -> bool:
        """Whether what is read should be handed out now: after the first chunk, whenever it has doubled since, and when
        the last of a few columns in sight was read. Never of a whole, which is no part."""
        if self._sight is None or not self._unread.any():
            return False
        first, last = self._in_sight()
        few = last - first < FEW_CHUNKS * max(self._sizes)
        sees = few and not self._unread[first : last + 1].any()
        count = int((~self._unread).sum())
        if count < 2 * self._handed and (not sees or (first, last) == self._seen):
            return False
        self._handed, self._seen = count, (first, last) if sees else self._seen
        return True


def _pieces(count: int, size: int) -> int:
    """How many pieces of `size` hold `count`."""
    return -(-count // size)
