"""What one feature of a sparse coder means, over a corpus: where it is active, how often and how strongly, what it
writes, and which features are like it.

Knows nothing of models, torch, files or the page.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import numpy as np
import pandas as pd

from mi_widgets.data.record import Record, count_from_0, floats, record, whole_numbers
from mi_widgets.errors import DataError


@record
class FeatureDashboard(Record):
    """The dashboard of one feature.

    Statistics are over the `n_tokens` positions of the corpus that count: not position 0 where the coder was trained
    without it (`skips_first`), nor what is behind the greatest `length`, nor what is not finite. A feature is active
    where its activation is not 0.

    Intervals and the histogram's bins are of equal width, a power of two, and half-open: [low, high). An interval is
    eight bins; up to the largest activation there are 4 to 8 intervals. Every position is counted in the histogram;
    examples are the largest activations of all (among equals the first in the corpus), and of each interval a few drawn
    by chance, always the same.

    Attributes:
        feature: its number.
        coder: the coder's name.
        model: the model's.
        corpus: a few words for the texts.
        hook: where the coder reads.
        n_texts: texts of the corpus.
        n_tokens: positions that count.
        n_active: of them, those where it is active.
        max_activation: its largest activation; NaN where it is never active.
        min_activation: its lowest activation that is not 0; likewise.
        mean_activation: mean where it is active; likewise.
        skips_first: position 0 is left out.
        length: tokens of a text that were read at most.
        bin_width: width of a bin.
        first_bin: index of the first; bin b starts at b · bin_width.
        bin_counts: int64 `[bin]`: positions where its activation lies in each bin, without those where it is 0.
        example_ranks: int32 `[example]`: 1 for the largest activation of all; 0 for those that are only drawn.
        example_sampled: int32 `[example]`: 1 for those drawn of their interval.
        example_intervals: int32 `[example]`: in which interval its activation lies; interval n starts at
            n · 8 · bin_width.
        example_texts: int32 `[example]`: number of the text in the corpus.
        example_positions: int32 `[example]`: position in the text.
        example_activations: float32 `[example]`.
        window_ids: int32 `[example, window]`: tokens around it, its own in the middle; -1 where the text ends.
        window_activations: float32 `[example, window]`: of this feature there; NaN where nothing is counted.
        promoted: int32 `[token]`: those whose logits its direction raises most, directly, the most first:
            `W_dec · gain ⊙ W_U`.
        promoted_by: float32 `[token]`: by how much, for one unit of activation and a final norm that divides by 1.
        suppressed: int32 `[low_token]`: those that it lowers most.
        suppressed_by: float32 `[low_token]`.
        neighbour_features: int32 `[neighbour]`: features whose decoder directions are nearest.
        neighbour_cosines: float32 `[neighbour]`.
        correlated_features: int32 `[correlated]`: features that are most often active where it is, beyond chance.
        correlated_together: int64 `[correlated]`: positions where both are.
        correlations: float32 `[correlated]`: Pearson's, of being active or not.
        n_together: positions that the last two were counted at: all that count, or a sample of them.
        neuron_numbers: int32 `[neuron]`: coordinates of the coder's output that its direction is largest on.
        neuron_weights: float32 `[neuron]`: the coordinate.
        neuron_shares: float32 `[neuron]`: its size, as a share of the sizes of all.
        names: display strings of all tokens named.
        label: a name that a reader gave it, or "".
        rating: a number that a reader gave it, or NaN.
        notes: what a reader must know.
    """

    feature: Annotated[int, count_from_0]
    coder: str
    model: str
    corpus: str
    hook: str
    n_texts: int
    n_tokens: int
    n_active: int
    max_activation: float
    min_activation: float
    mean_activation: float
    skips_first: bool
    length: int
    bin_width: float
    first_bin: int
    bin_counts: Annotated[np.ndarray, whole_numbers("bin", dtype=np.int64)]
    example_ranks: Annotated[np.ndarray, whole_numbers("example")]
    example_sampled: Annotated[np.ndarray, whole_numbers("example")]
    example_intervals: Annotated[np.ndarray, whole_numbers("example")]
    example_texts: Annotated[np.ndarray, whole_numbers("example")]
    example_positions: Annotated[np.ndarray, whole_numbers("example")]
    example_activations: Annotated[np.ndarray, floats("example")]
    window_ids: Annotated[np.ndarray, whole_numbers("example", "window")]
    window_activations: Annotated[np.ndarray, floats("example", "window")]
    promoted: Annotated[np.ndarray, whole_numbers("token")]
    promoted_by: Annotated[np.ndarray, floats("token")]
    suppressed: Annotated[np.ndarray, whole_numbers("low_token")]
    suppressed_by: Annotated[np.ndarray, floats("low_token")]
    neighbour_features: Annotated[np.ndarray, whole_numbers("neighbour")]
    neighbour_cosines: Annotated[np.ndarray, floats("neighbour")]
    correlated_features: Annotated[np.ndarray, whole_numbers("correlated")]
    correlated_together: Annotated[np.ndarray, whole_numbers("correlated", dtype=np.int64)]
    correlations: Annotated[np.ndarray, floats("correlated")]
    n_together: int
    neuron_numbers: Annotated[np.ndarray, whole_numbers("neuron")]
    neuron_weights: Annotated[np.ndarray, floats("neuron")]
    neuron_shares: Annotated[np.ndarray, floats("neuron")]
    names: dict[int, str] = field(default_factory=dict)
    label: str = ""
    rating: float = float("nan")
    notes: tuple[str, ...] = ()

    def _check(self) -> None:
        if self.n_tokens < self.n_active or self.bin_counts.sum() != self.n_active:
            raise DataError(
                f"feature {self.feature} is active at {self.n_active:,} of {self.n_tokens:,} positions, and its "
                f"histogram holds {int(self.bin_counts.sum()):,}."
            )
        if self.window_ids.shape[1] % 2 == 0:
            raise DataError("windows have as many tokens before their own as behind.")

    @property
    def density(self) -> float:
        """Share of the positions where it is active; NaN of no positions."""
        return self.n_active / self.n_tokens if self.n_tokens else float("nan")

    @property
    def context(self) -> int:
        """Tokens on either side of an example's own."""
        return self.window_ids.shape[1] // 2

    @property
    def examples(self) -> pd.DataFrame:
        """One row per example, by activation: rank (1 for the largest of all; 0 of those that are only drawn of their
        interval), interval, drawn (whether it is), text, position, activation, and the text around it, its own token
        between «»."""
        return pd.DataFrame(
            {
                "rank": self.example_ranks,
                "interval": self.example_intervals,
                "drawn": self.example_sampled > 0,
                "text": self.example_texts,
                "position": self.example_positions,
                "activation": self.example_activations,
                "context": [self.window_text(example) for example in range(len(self.example_ranks))],
            }
        )

    @property
    def intervals(self) -> pd.DataFrame:
        """One row per interval, the highest first: interval, low, high, n (positions, all of them counted)."""
        bins = self.first_bin + np.arange(len(self.bin_counts))
        number = bins // 8
        found = np.unique(number)[::-1]
        width = 8 * self.bin_width
        return pd.DataFrame(
            {
                "interval": found,
                "low": found * width,
                "high": (found + 1) * width,
                "n": [int(self.bin_counts[number == one].sum()) for one in found],
            }
        )

    @property
    def histogram(self) -> pd.DataFrame:
        """One row per bin: low, high, n; activations that are 0 are in none."""
        low = (self.first_bin + np.arange(len(self.bin_counts))) * self.bin_width
        return pd.DataFrame({"low": low, "high": low + self.bin_width, "n": self.bin_counts})

    @property
    def logits(self) -> pd.DataFrame:
        """One row per token, the most promoted first, then the most suppressed: token_id, token, effect, side."""
        tokens = [*self.promoted.tolist(), *self.suppressed.tolist()]
        return pd.DataFrame(
            {
                "token_id": tokens,
                "token": [self.name_of(token) for token in tokens],
                "effect": np.concatenate([self.promoted_by, self.suppressed_by]),
                "side": ["promoted"] * len(self.promoted) + ["suppressed"] * len(self.suppressed),
            }
        )

    @property
    def neighbours(self) -> pd.DataFrame:
        """One row per feature, the nearest first: feature, cosine."""
        return pd.DataFrame({"feature": self.neighbour_features, "cosine": self.neighbour_cosines})

    @property
    def correlated(self) -> pd.DataFrame:
        """One row per feature, the most correlated first: feature, together (positions), correlation."""
        return pd.DataFrame(
            {
                "feature": self.correlated_features,
                "together": self.correlated_together,
                "correlation": self.correlations,
            }
        )

    @property
    def neurons(self) -> pd.DataFrame:
        """One row per coordinate of the coder's output, the largest first: neuron, weight, share."""
        return pd.DataFrame({"neuron": self.neuron_numbers, "weight": self.neuron_weights, "share": self.neuron_shares})

    def name_of(self, token: int) -> str:
        """Display string of a token."""
        return self.names.get(int(token), str(int(token)))

    def window(self, example: int) -> tuple[tuple[str, ...], np.ndarray, int]:
        """The tokens around an example as far as its text goes, the activations there, and the place of its own."""
        inside = self.window_ids[example] >= 0
        strings = tuple(self.name_of(token) for token in self.window_ids[example][inside].tolist())
        return strings, self.window_activations[example][inside], int(inside[: self.context].sum())

    def window_text(self, example: int) -> str:
        """The text around an example, its own token between «»."""
        strings, _, own = self.window(example)
        return "".join(f"«{string}»" if place == own else string for place, string in enumerate(strings))

    def to_pandas(self) -> pd.DataFrame:
        """The examples, one row each."""
        return self.examples
