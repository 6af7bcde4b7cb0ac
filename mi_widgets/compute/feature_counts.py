"""How often and how strongly each feature is active: counts, sums, extremes and a histogram, which add up exactly.

The histogram's bins are as wide as a power of two, for each feature its own, such that its largest activation (in size)
lies among the upper half of 64 bins: when it grows, bins join in pairs. So counts are exact, in any order and however
the corpus was divided. Sums are of float64, whose last bits depend on the order. Knows nothing of texts or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Bins on either side of zero.
BINS = 64
#: Bins of an interval, of which there are 4 to 8 up to the largest activation.
BINS_OF_INTERVAL = 8
INTERVALS = 2 * BINS // BINS_OF_INTERVAL
#: The width's exponent of a feature that was never active: below that of every float32.
NEVER = -200


@dataclass(frozen=True, eq=False)
class Counts:
    """Of each feature, over some positions.

    Attributes:
        n_active: int64 `[feature]`: positions where its activation is not zero.
        total: float64 `[feature]`: Σ of its activations.
        squares: float64 `[feature]`: Σ of their squares.
        largest: float32 `[feature]`: -inf where it was never active.
        lowest: float32 `[feature]`: +inf likewise.
        exponent: int16 `[feature]`: a bin is 2^exponent wide; `NEVER` likewise.
        histogram: int64 `[feature, bin]`: bin b holds activations from (b − BINS) · width up to, and without,
            (b − BINS + 1) · width.
    """

    n_active: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    largest: np.ndarray
    lowest: np.ndarray
    exponent: np.ndarray
    histogram: np.ndarray

    @classmethod
    def none(cls, d_sae: int) -> Counts:
        """Over no positions."""
        nothing, sums = np.zeros(d_sae, np.int64), np.zeros(d_sae)
        largest = np.full(d_sae, -np.inf, np.float32)
        exponent, histogram = np.full(d_sae, NEVER, np.int16), np.zeros((d_sae, 2 * BINS), np.int64)
        return cls(nothing, sums, sums, largest, -largest, exponent, histogram)

    def with_entries(self, feature: np.ndarray, value: np.ndarray) -> Counts:
        """With more activations that are not zero, `[entry]` each."""
        largest, lowest = self.largest.copy(), self.lowest.copy()
        np.maximum.at(largest, feature, value)
        np.minimum.at(lowest, feature, value)
        exponent = _exponent(largest, lowest)
        wide = value.astype(np.float64)
        histogram = _widened(self.histogram, exponent - self.exponent)
        histogram = histogram.copy() if histogram is self.histogram else histogram
        np.add.at(histogram, (feature, BINS + _bins(wide, exponent[feature])), 1)
        return Counts(
            self.n_active + np.bincount(feature, minlength=self.d_sae),
            self.total + np.bincount(feature, wide, self.d_sae),
            self.squares + np.bincount(feature, wide * wide, self.d_sae),
            largest,
            lowest,
            exponent,
            histogram,
        )

    def plus(self, other: Counts) -> Counts:
        """Over these positions and those."""
        largest, lowest = np.maximum(self.largest, other.largest), np.minimum(self.lowest, other.lowest)
        exponent = _exponent(largest, lowest)
        return Counts(
            self.n_active + other.n_active,
            self.total + other.total,
            self.squares + other.squares,
            largest,
            lowest,
            exponent,
            _widened(self.histogram, exponent - self.exponent) + _widened(other.histogram, exponent - other.exponent),
        )

    @property
    def d_sae(self) -> int:
        """Features."""
        return len(self.n_active)


def intervals(value: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """int8 `[entry]`: in which interval, of `BINS_OF_INTERVAL` bins, each activation lies; negative below zero."""
    return (_bins(value.astype(np.float64), exponent) // BINS_OF_INTERVAL).astype(np.int8)


def _exponent(largest: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    size = np.maximum(largest, -lowest)  # -inf where it was never active
    found = np.frexp(np.where(size > 0, size, 1).astype(np.float64))[1] - (BINS.bit_length() - 1)
    return np.where(size > 0, found, NEVER).astype(np.int16)


def _bins(value: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """int64: from -BINS below BINS. Dividing by a power of two is exact."""
    return np.floor(np.ldexp(value, -exponent.astype(np.int32))).astype(np.int64)


def _widened(histogram: np.ndarray, doublings: np.ndarray) -> np.ndarray:
    """The same counts in bins that are 2^doublings as wide."""
    if not doublings.any():
        return histogram
    made = histogram.copy()
    # Seven doublings or more leave one bin on either side of zero, as six do.
    times = np.minimum(doublings.astype(np.int64), BINS.bit_length() - 1)
    for time in np.unique(times[times > 0]).tolist():
        rows = np.flatnonzero(times == time)
        joined = histogram[rows].reshape(len(rows), -1, 1 << time).sum(-1)
        half = joined.shape[1] // 2
        made[rows] = 0
        made[rows, BINS - half : BINS + half] = joined
    return made
