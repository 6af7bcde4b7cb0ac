"""What the metric of changed runs says, measured in clean and corrupt: effects, their spread over pairs of prompts.

Of any result that holds one number for each changed run and pair. Knows nothing of what was changed, nor of models.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mi_widgets.data.arrays import read_only
from mi_widgets.data.record import Record
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError

#: How a number came to be.
METHODS = ("patching", "ablation")
#: Which run is changed: the corrupt one with the clean one's activations, or the other way round.
DIRECTIONS = ("denoise", "noise")
#: What is read of the logits at the answer's place; `"own"` is a function of the user's.
METRICS = ("logit_difference", "log_probability", "probability", "rank", "kl", "own")


class Effects(Record):
    """What results have in common that hold the metric of changed runs; the fields that it reads are theirs."""

    clean_tokens: Tokens
    corrupt_tokens: Tokens
    direction: str
    values: np.ndarray
    clean_values: np.ndarray
    corrupt_values: np.ndarray

    @property
    def _ablates(self) -> bool:
        """Whether parts of the clean run are taken out, with no other run put in their place."""
        return False

    @property
    def _clean_is_changed(self) -> bool:
        return self._ablates or self.direction == "noise"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is told apart."""
        return self.values.shape[1:]

    @property
    def n_pairs(self) -> int:
        """Pairs of prompts."""
        return len(self.values)

    @property
    def base_tokens(self) -> Tokens:
        """The prompt of the run that is changed (of the first pair); positions of cells are its own."""
        return self.clean_tokens if self._clean_is_changed else self.corrupt_tokens

    @property
    def clean(self) -> float:
        """The metric of the clean run, mean of the pairs."""
        return float(self.clean_values.mean(dtype=np.float64))

    @property
    def corrupt(self) -> float:
        """The metric of the corrupt run, mean of the pairs; of an ablation 0."""
        return float(self.corrupt_values.mean(dtype=np.float64))

    @property
    def base(self) -> float:
        """The metric of the run that is changed, untouched."""
        return self.clean if self._clean_is_changed else self.corrupt

    @property
    def span(self) -> float:
        """What effects are measured in: clean − corrupt of a patch, |clean| of an ablation; metric units."""
        return abs(self.clean) if self._ablates else self.clean - self.corrupt

    @property
    def neutral(self) -> float:
        """The effect of a change that changes nothing: 0, but 1 where noise is put into the clean run."""
        return 1.0 if self._clean_is_changed and not self._ablates else 0.0

    @property
    def differs(self) -> bool:
        """Whether there is anything to normalise by: clean and corrupt differ in the metric, beyond rounding."""
        most = max(abs(self.clean), abs(self.corrupt), 1e-6)
        return bool(abs(self.span) > 1e-4 * most)

    @cached_property
    def value(self) -> np.ndarray:
        """float32 `shape`: the metric of each cell's changed run, mean of the pairs."""
        return self._mean(self.values)

    @cached_property
    def change_in_metric(self) -> np.ndarray:
        """float32 `shape`: the metric of the changed run minus that of the run it changes; unnormalised."""
        return read_only(self.value - np.float32(self.base))

    @cached_property
    def effect(self) -> np.ndarray:
        """float32 `shape`: of a patch (m − m_corrupt) / (m_clean − m_corrupt): 0 as corrupt, 1 as clean, also beyond;
        of an ablation (m − m_clean) / |m_clean|: −1 where nothing of the metric is left. Means of the pairs are
        divided. NaN where there is no number, or nothing to normalise by."""
        return self._effect(self.value)

    @cached_property
    def spread(self) -> np.ndarray:
        """float32 `shape`: standard deviation of the effect over the pairs (n − 1), each measured in the mean span;
        NaN for one pair."""
        if self.n_pairs < 2:
            return read_only(np.full(self.shape, np.nan, np.float32))
        return read_only(self._each().std(0, ddof=1).astype(np.float32).reshape(self.shape))

    def interval(self, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The bootstrap interval of the effect over the pairs (percentile method; pairs drawn with replacement).

        Args:
            level: share of the draws that lie within.
            draws: how often pairs are drawn.
            seed: of the draws.

        Returns:
            Its low and its high end, float32 `shape`; NaN for one pair.
        """
        if not 0 < level < 1 or draws < 1:
            raise DataError(f"level={level}, draws={draws}.", "Give a level between 0 and 1, and one draw or more.")
        if self.n_pairs < 2:
            nothing = np.full(self.shape, np.nan, np.float32)
            return nothing, nothing
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(self.n_pairs, np.full(self.n_pairs, 1 / self.n_pairs), size=draws) / self.n_pairs
        clean, corrupt = drawn @ self.clean_values.astype(np.float64), drawn @ self.corrupt_values.astype(np.float64)
        start = (clean if self._ablates else corrupt)[:, None]
        span = (np.abs(clean) if self._ablates else clean - corrupt)[:, None]
        ends = np.empty((2, self.values.shape[1]), np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for first in range(0, self.values.shape[1], 4096):  # of many cells a part at a time, for memory
                several = slice(first, first + 4096)
                effects = (drawn @ self.values[:, several].astype(np.float64) - start) / span
                ends[:, several] = np.quantile(effects, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return ends[0].reshape(self.shape), ends[1].reshape(self.shape)

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return read_only(values.mean(0, dtype=np.float64).astype(np.float32).reshape(self.shape))

    def _effect(self, value: np.ndarray) -> np.ndarray:
        if not self.differs:
            return read_only(np.full(self.shape, np.nan, np.float32))
        start = self.clean if self._ablates else self.corrupt
        return read_only(((value - start) / self.span).astype(np.float32))

    def _each(self) -> np.ndarray:
        """float64 `[pair, cell]`: each pair's effect in the mean span."""
        if not self.differs:
            return np.full(self.values.shape, np.nan)
        start = self.clean_values if self._ablates else self.corrupt_values
        return (self.values.astype(np.float64) - start[:, None]) / self.span
