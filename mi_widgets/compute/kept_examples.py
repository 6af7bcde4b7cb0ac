"""Which activations are kept as examples, of how many there are: the largest of each feature, and some of every
interval.

A sample of an interval is made of those with the lowest marks, which follow from text and position: so what is kept is
the same in any order and however the corpus was divided. Knows nothing of models or files.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mi_widgets.compute.coded_corpus import Coded
from mi_widgets.compute.feature_counts import BINS, BINS_OF_INTERVAL, INTERVALS, NEVER, intervals
from mi_widgets.data.record import count_from_0

#: Fresh entries that wait to be sorted in: so many, or this share of those that are kept already, if that is more.
WAITING, WAITING_SHARE = 200_000, 0.25
#: Windows that are made at once.
AT_ONCE = 1 << 16
#: Bits of a sort key below those of feature and interval.
LOW = np.uint64(40)


@dataclass(frozen=True)
class Keeping:
    """How much is kept.

    Attributes:
        top: the largest activations of each feature.
        per_interval: and so many of each interval.
        context: tokens that are kept on either side.
    """

    top: int = 20
    per_interval: int = 5
    context: int = 5

    @classmethod
    def checked(cls, top: Any, per_interval: Any, context: Any) -> Keeping:
        """How much, as plain numbers; DataError for what is none, or negative."""
        given = {"top": top, "per_interval": per_interval, "context": context}
        return cls(**{name: count_from_0(name, value) for name, value in given.items()})


@dataclass(frozen=True, eq=False)
class Examples:
    """Activations with their surroundings; window axes run from `context` tokens before to as many behind.

    Attributes:
        feature: int32 `[example]`, ascending.
        text: int32 `[example]`: number of the text.
        position: int32 `[example]`: in the text.
        value: float32 `[example]`: the activation.
        mark: uint64 `[example]`: of text and position.
        token_ids: int32 `[example, window]`: -1 where the text ends.
        activations: float32 `[example, window]`: of the same feature; NaN where the text ends or nothing is counted.
    """

    feature: np.ndarray
    text: np.ndarray
    position: np.ndarray
    value: np.ndarray
    mark: np.ndarray
    token_ids: np.ndarray
    activations: np.ndarray

    @classmethod
    def none(cls, keeping: Keeping) -> Examples:
        """No examples."""
        window = 2 * keeping.context + 1
        ints, floats, marks = np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.uint64)
        return cls(ints, ints, ints, floats, marks, np.empty((0, window), np.int32), np.empty((0, window), np.float32))

    def __len__(self) -> int:
        return len(self.feature)

    def taken(self, rows: np.ndarray) -> Examples:
        """Some of them."""
        return Examples(*(getattr(self, one.name)[rows] for one in fields(self)))


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a corpus so far. Never changed: `plus` gives another.

    Attributes:
        keeping: how much.
        examples: those kept.
        fresh: those that came since, before they are sorted in.
        least: float32 `[feature]`: what comes must be as large to be among the largest; -inf where any is.
        most: uint64 `[feature, interval]`: what comes must have a mark as low to be in a sample.
        exponent: int16 `[feature]`: of the intervals that `most` is of.
    """

    keeping: Keeping
    examples: Examples
    fresh: tuple[Examples, ...]
    least: np.ndarray
    most: np.ndarray
    exponent: np.ndarray

    @classmethod
    def none(cls, d_sae: int, keeping: Keeping) -> Kept:
        """Of nothing."""
        return cls(
            keeping,
            Examples.none(keeping),
            (),
            np.full(d_sae, -np.inf, np.float32),
            np.full((d_sae, INTERVALS), np.iinfo(np.uint64).max),
            np.full(d_sae, NEVER, np.int16),
        )

    def plus(self, coded: Coded, exponent: np.ndarray) -> Kept:
        """With a block of the corpus.

        Args:
            coded: the block.
            exponent: int16 `[feature]`: of the intervals, the block included.
        """
        feature, value, mark = coded.feature, coded.value, coded.mark[coded.token]
        # Where intervals have become wider, nothing is known of what a sample of theirs wants.
        wanted = (exponent != self.exponent)[feature] | (value >= self.least[feature])
        other = np.flatnonzero(~wanted)
        interval = intervals(value[other], self.exponent[feature[other]])
        wanted[other] = mark[other] <= self.most[feature[other], interval + INTERVALS // 2]
        rows = np.flatnonzero(wanted)
        text, position = coded.text[coded.token[rows]], coded.position[coded.token[rows]]
        chosen = _chosen(feature[rows], text, position, value[rows], mark[rows], exponent, self.keeping)
        fresh = _with_windows(coded, rows[np.sort(chosen)], self.keeping.context)
        found = Kept(self.keeping, self.examples, (*self.fresh, fresh), self.least, self.most, self.exponent)
        waiting = sum(map(len, found.fresh))
        return found.settled(exponent) if waiting > max(WAITING, WAITING_SHARE * len(self.examples)) else found

    def settled(self, exponent: np.ndarray) -> Kept:
        """The same with all that is fresh sorted in: by feature and size, the largest first."""
        if not self.fresh and np.array_equal(exponent, self.exponent):
            return self
        every = [self.examples, *self.fresh]

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(one, name) for one in every])

        feature, text, position, value, mark = map(joined, ("feature", "text", "position", "value", "mark"))
        chosen = _chosen(feature, text, position, value, mark, exponent, self.keeping)
        examples = Examples(
            feature[chosen],
            text[chosen],
            position[chosen],
            value[chosen],
            mark[chosen],
            _rows(every, "token_ids", chosen),
            _rows(every, "activations", chosen),
        )
        least, most = bounds(examples, exponent, self.keeping)
        return Kept(self.keeping, examples, (), least, most, exponent)


def _chosen(
    feature: np.ndarray,
    text: np.ndarray,
    position: np.ndarray,
    value: np.ndarray,
    mark: np.ndarray,
    exponent: np.ndarray,
    keeping: Keeping,
) -> np.ndarray:
    """Rows that are kept: by feature, the largest first, among equals by text and position."""
    order = np.argsort(text.astype(np.int64) << 32 | position, kind="stable")
    keys = feature.astype(np.uint64) << np.uint64(32) | _falling(value)
    order = order[np.argsort(keys[order], kind="stable")]
    by_size, by_mark = ranks(feature[order], value[order], mark[order], exponent)
    return order[(by_size < keeping.top) | (by_mark < keeping.per_interval)]


def ranks(
    feature: np.ndarray, value: np.ndarray, mark: np.ndarray, exponent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of examples that are sorted by feature and size the rank of each, from 0, among those of its feature, and by its
    mark among those of its interval."""
    interval = (intervals(value, exponent[feature]) + INTERVALS // 2).astype(np.uint64)
    groups = feature.astype(np.uint64) * np.uint64(INTERVALS) + interval
    # Marks of 40 bits; those that are equal go by size, then text and position.
    sample = np.argsort(groups << LOW | mark >> (np.uint64(64) - LOW), kind="stable")
    in_sample = np.empty(len(feature), np.int64)
    in_sample[sample] = _ranks(groups[sample])
    return _ranks(feature), in_sample


def _falling(value: np.ndarray) -> np.ndarray:
    """uint64 below 2³²: the smaller, the larger the float32."""
    bits = value.view(np.uint32)
    rising = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64)


def _ranks(groups: np.ndarray) -> np.ndarray:
    """Rank of each within its group, of groups that stand together."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, sizes)


def bounds(examples: Examples, exponent: np.ndarray, keeping: Keeping) -> tuple[np.ndarray, np.ndarray]:
    """`least` and `most` of a `Kept` whose examples, all sorted in, are these."""
    feature, value, mark = examples.feature, examples.value, examples.mark
    by_size, by_mark = ranks(feature, value, mark, exponent)
    least = np.full(len(exponent), -np.inf, np.float32)
    last = np.flatnonzero(by_size == keeping.top - 1)
    least[feature[last]] = value[last]
    most = np.full((len(exponent), INTERVALS), np.iinfo(np.uint64).max)
    last = np.flatnonzero(by_mark == keeping.per_interval - 1)
    interval = intervals(value[last], exponent[feature[last]])
    # Marks are compared by their first bits.
    most[feature[last], interval + INTERVALS // 2] = mark[last] | np.uint64((1 << (64 - int(LOW))) - 1)
    return least, most


def _rows(every: list[Examples], name: str, rows: np.ndarray) -> np.ndarray:
    """These rows of several arrays one behind the other, without making that array."""
    arrays = [getattr(one, name) for one in every]
    made = np.empty((len(rows), *arrays[0].shape[1:]), arrays[0].dtype)
    start = 0
    for array in arrays:
        mine = (rows >= start) & (rows < start + len(array))
        made[mine] = array[rows[mine] - start]
        start += len(array)
    return made


def _with_windows(coded: Coded, entries: np.ndarray, context: int) -> Examples:
    """Some entries of a block, with what surrounds them."""
    token, feature = coded.token[entries], coded.feature[entries]
    token_ids = np.empty((len(entries), 2 * context + 1), np.int32)
    activations = np.empty(token_ids.shape, np.float32)
    d_sae = int(coded.feature.max()) + 1 if len(coded.feature) else 1
    keys = coded.token * d_sae + coded.feature  # ascending
    for start in range(0, len(entries), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        around = token[some, None] + np.arange(-context, context + 1)
        near = np.clip(around, 0, len(coded.text) - 1)
        inside = (near == around) & (coded.text[near] == coded.text[token[some], None])
        wanted = near * d_sae + feature[some, None]
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        value = np.where(keys[found] == wanted, coded.value[found], np.float32(0))
        token_ids[some] = np.where(inside, coded.token_id[near], -1)
        activations[some] = np.where(inside & coded.counted[near], value, np.float32(np.nan))
    return Examples(
        feature,
        coded.text[token],
        coded.position[token],
        coded.value[entries],
        coded.mark[token],
        token_ids,
        activations,
    )


assert BINS % BINS_OF_INTERVAL == 0
