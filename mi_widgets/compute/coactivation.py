"""Which features are active together: counts of pairs over as many positions as fit into a bounded table.

Every position has a level, from its mark: seven in eight have level 0, seven in 64 level 1, and so on. Counts are
kept level by level, and where the table, or the work of filling it, grows beyond its bounds, the lowest level goes.
What is left is decided by the corpus alone, so it is the same in any order and however the corpus was divided; and
exact, of all positions, where nothing had to go. Knows nothing of texts or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mi_widgets.compute.coded_corpus import Coded

#: Pairs in the table, summed over levels, and pairs counted, at most.
MOST_PAIRS, MOST_WORK = 1 << 22, 1 << 28
#: Positions where more features are active are left out.
CROWD = 4096
LEVELS = 32
#: Pairs that are made at once, and sorted at once.
AT_ONCE, SORTED = 1 << 20, 1 << 22
#: Bits of a key that say the pair; those above say the level.
PAIR_BITS = 56


@dataclass(frozen=True, eq=False)
class Together:
    """Pairs of features that are active at the same position, a feature with itself among them.

    Attributes:
        d_sae: features.
        least: positions of lower levels do not count.
        key: int64 `[pair]`, ascending: level · 2^56 + feature · d_sae + other, feature ≤ other.
        count: int64 `[pair]`: positions.
        positions: int64 `[level]`: that there were, without those left out as a crowd.
        work: int64 `[level]`: pairs that were active at them.
        crowded: positions left out because too many features were active.
    """

    d_sae: int
    least: int
    key: np.ndarray
    count: np.ndarray
    positions: np.ndarray
    work: np.ndarray
    crowded: int = 0

    @classmethod
    def none(cls, d_sae: int) -> Together:
        """Of no positions."""
        empty, levels = np.empty(0, np.int64), np.zeros(LEVELS, np.int64)
        return cls(d_sae, 0, empty, empty, levels, levels)

    @classmethod
    def of(cls, d_sae: int, coded: Coded, least: int = 0) -> Together:
        """Of a block of a corpus; pairs of lower levels than `least` are not even made."""
        active = np.bincount(coded.token, minlength=len(coded.text))
        counts = coded.counted & (active <= CROWD)
        level = _levels(coded.mark)
        pairs = active * (active + 1) // 2
        work = np.bincount(level[counts], pairs[counts], LEVELS).astype(np.int64)
        positions = np.bincount(level[counts], minlength=LEVELS)
        crowded = int((coded.counted & ~counts).sum())
        made = cls(d_sae, least, np.empty(0, np.int64), np.empty(0, np.int64), positions, work, crowded)
        found, waiting = made, []
        # The highest level first: where the table is full, all that is lower is not even made.
        for depth in range(int(level.max(initial=0)), made._allowed() - 1, -1):
            for keys in _keys(coded, counts & (active > 0) & (level == depth), active, d_sae):
                waiting.append(keys + (depth << PAIR_BITS))
                if sum(map(len, waiting)) >= SORTED:
                    found, waiting = found._added(*_run_lengths(np.concatenate(waiting))), []
                if len(found.key) > MOST_PAIRS:
                    return replace(found, least=depth + 1)._bounded()
        found = found._added(*_run_lengths(np.concatenate(waiting))) if waiting else found
        return found._bounded()

    def plus(self, other: Together) -> Together:
        """Of these positions and those."""
        both = replace(
            self,
            least=max(self.least, other.least),
            positions=self.positions + other.positions,
            work=self.work + other.work,
            crowded=self.crowded + other.crowded,
        )
        return both._cut()._added(*other._from(both.least))._bounded()

    @property
    def n_positions(self) -> int:
        """That were counted."""
        return int(self.positions[self.least :].sum())

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64 `[pair]`: feature, other (feature ≤ other) and the positions where both are active, all levels
        together; by feature and other."""
        found = Together.none(self.d_sae)
        ends = np.searchsorted(self.key, np.arange(LEVELS + 1) << PAIR_BITS)
        for level, (start, stop) in enumerate(pairwise(ends.tolist())):
            found = found._added(self.key[start:stop] - (level << PAIR_BITS), self.count[start:stop])
        feature, other = np.divmod(found.key, self.d_sae)
        return feature, other, found.count

    def _allowed(self) -> int:
        """The lowest level that the bound on the work allows."""
        above = np.cumsum(self.work[::-1])[::-1]
        return max(self.least, int(np.argmax(above <= MOST_WORK)))

    def _bounded(self) -> Together:
        """Without the levels that are too much."""
        found = replace(self, least=self._allowed())._cut()
        while len(found.key) > MOST_PAIRS:
            found = replace(found, least=found.least + 1)._cut()
        return found

    def _from(self, least: int) -> tuple[np.ndarray, np.ndarray]:
        start = int(np.searchsorted(self.key, least << PAIR_BITS))
        return self.key[start:], self.count[start:]

    def _cut(self) -> Together:
        key, count = self._from(self.least)
        # Not a part of an array, which would keep the whole alive.
        return self if len(key) == len(self.key) else replace(self, key=key.copy(), count=count.copy())

    def _added(self, key: np.ndarray, count: np.ndarray) -> Together:
        """With more counts, keys ascending."""
        if not len(key):
            return self
        place = np.searchsorted(self.key, key)
        known = np.zeros(len(key), np.bool_)
        inside = place < len(self.key)
        known[inside] = self.key[place[inside]] == key[inside]
        counts = self.count.copy()
        counts[place[known]] += count[known]
        new = ~known
        return replace(
            self, key=np.insert(self.key, place[new], key[new]), count=np.insert(counts, place[new], count[new])
        )


def _levels(mark: np.ndarray) -> np.ndarray:
    """int64: how many times three zeros the mark begins with, from its middle on; its beginning chooses examples."""
    rest = np.maximum((mark & np.uint64((1 << 32) - 1)).astype(np.float64), 1)
    return np.minimum((32 - np.frexp(rest)[1]) // 3, LEVELS - 1).astype(np.int64)


def _keys(coded: Coded, chosen: np.ndarray, active: np.ndarray, d_sae: int) -> Iterator[np.ndarray]:
    """int64: keys, of level 0, of all pairs at the chosen tokens, `AT_ONCE` at a time."""
    starts = np.cumsum(active) - active
    for size in np.unique(active[chosen]).tolist():
        tokens = np.flatnonzero(chosen & (active == size))
        left, right = np.triu_indices(size)
        several = max(1, AT_ONCE // len(left))
        for start in range(0, len(tokens), several):
            some = tokens[start : start + several]
            features = coded.feature[starts[some][:, None] + np.arange(size)].astype(np.int64)
            yield (features[:, left] * d_sae + features[:, right]).reshape(-1)


def _run_lengths(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each of the keys once, ascending, and how often it stood there."""
    keys = np.sort(keys)
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[starts], np.diff(np.r_[starts, len(keys)])


@dataclass(frozen=True, eq=False)
class Correlated:
    """The features that are most often active where a feature is, compared to chance; `[feature, rank]` each.

    Attributes:
        feature: int32, -1 where there are no more.
        together: int64: positions where both are active, of those counted.
        correlation: float32: Pearson's, of being active.
    """

    feature: np.ndarray
    together: np.ndarray
    correlation: np.ndarray


def correlated(together: Together, n_best: int = 10) -> Correlated:
    """Of each feature the others whose being active is most correlated with its own, the largest first; among equals
    the lower number. Only those that are active together more often than by chance."""
    d_sae, positions = together.d_sae, together.n_positions
    feature, other, count = together.pairs()
    alone = np.zeros(d_sae)
    alone[feature[feature == other]] = count[feature == other]
    both = np.sqrt(alone * (positions - alone))
    found = Correlated(
        np.full((d_sae, n_best), -1, np.int32),
        np.zeros((d_sae, n_best), np.int64),
        np.zeros((d_sae, n_best), np.float32),
    )
    several = max(1, d_sae // 16)
    for start in range(0, d_sae, several):  # a part at a time, both ways round: the whole would be large
        mine = np.arange(*np.searchsorted(feature, [start, start + several]))
        theirs = np.flatnonzero((other >= start) & (other < start + several))
        of, with_ = np.r_[feature[mine], other[theirs]], np.r_[other[mine], feature[theirs]]
        rows = np.r_[mine, theirs]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (positions * count[rows] - alone[of] * alone[with_]) / (both[of] * both[with_])
        more = (value > 0) & (of != with_)  # not where one is always active
        of, with_, rows, value = of[more], with_[more], rows[more], value[more]
        order = np.lexsort((with_, -value, of))
        of, with_, rows, value = of[order], with_[order], rows[order], value[order]
        starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if len(of) else np.empty(0, np.int64)
        rank = np.arange(len(of)) - np.repeat(starts, np.diff(np.r_[starts, len(of)]))
        best = rank < n_best
        at = of[best], rank[best]
        found.feature[at], found.together[at] = with_[best], count[rows[best]]
        found.correlation[at] = value[best]
    return found
