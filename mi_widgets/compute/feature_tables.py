"""Statistics of features as columns of tables, and back; and one feature's rows as its dashboard.

What an index keeps on disk is these columns. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_widgets.compute.coactivation import Together, correlated
from mi_widgets.compute.coded_corpus import Reading
from mi_widgets.compute.feature_counts import BINS, NEVER, Counts, intervals
from mi_widgets.compute.feature_effects import FeatureEffects
from mi_widgets.compute.feature_statistics import FeatureStatistics
from mi_widgets.compute.kept_examples import Examples, Keeping, Kept, bounds, ranks
from mi_widgets.data.feature_dashboard import FeatureDashboard

#: By column, 1- or 2-dimensional, or a list of arrays; all of one length.
Columns = dict[str, Any]
#: Columns of effects and correlations, by where a dashboard has them.
OF_WEIGHTS = {
    "promoted": "promoted", "promoted_by": "promoted_by", "suppressed": "suppressed", "suppressed_by": "suppressed_by",
    "neighbour_features": "neighbours", "neighbour_cosines": "cosines",
    "neuron_numbers": "neurons", "neuron_weights": "weights", "neuron_shares": "shares",
}  # fmt: skip
OF_PAIRS = {"correlated_features": "feature", "correlated_together": "together", "correlations": "correlation"}


@dataclass(frozen=True)
class About:
    """What all features of one corpus have in common.

    Attributes:
        coder: the coder's name.
        model: the model's.
        corpus: a few words for the texts.
        hook: where the coder reads.
        reading: how the corpus was read.
        n_texts: that were read.
        n_tokens: positions that count.
        n_cut: texts that went on behind the greatest length.
        n_not_finite: positions left out because numbers there were not finite.
        n_together: positions that pairs were counted at.
        of_weights: what could not be found in the weights, and why.
    """

    coder: str
    model: str
    corpus: str
    hook: str
    reading: Reading
    n_texts: int
    n_tokens: int
    n_cut: int
    n_not_finite: int
    n_together: int
    of_weights: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any number must know."""
        first = (
            "Position 0 of every text is left out, as in the coder's training."
            if self.reading.skips_first
            else "Every position counts, the first of a text too."
        )
        found = [f"Over {self.n_tokens:,} tokens of {self.n_texts:,} texts ({self.corpus}).", first]
        if self.n_cut:
            found.append(f"{self.n_cut:,} texts are read only up to {self.reading.length:,} tokens.")
        if self.n_not_finite:
            found.append(f"{self.n_not_finite:,} positions are left out: numbers there are not finite.")
        if self.n_together < self.n_tokens:
            found.append(f"Correlations are counted at {self.n_together:,} of {self.n_tokens:,} positions.")
        return (*found, *self.of_weights)


def count_columns(counts: Counts) -> Columns:
    """One row per feature: what `Counts` holds; the histogram from its first to its last bin that is not empty."""
    active = counts.n_active > 0
    filled = counts.histogram > 0
    first = np.where(active, filled.argmax(1), BINS)
    stop = np.where(active, 2 * BINS - filled[:, ::-1].argmax(1), BINS)
    trimmed = [row[start:end] for row, start, end in zip(counts.histogram, first, stop, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(active, counts.total / counts.n_active, np.nan).astype(np.float32)
    return {
        "feature": np.arange(counts.d_sae, dtype=np.int32),
        "n_active": counts.n_active,
        "max_activation": np.where(active, counts.largest, np.float32(np.nan)),
        "min_activation": np.where(active, counts.lowest, np.float32(np.nan)),
        "mean_activation": mean,
        "sum": counts.total,
        "sum_of_squares": counts.squares,
        "bin_exponent": counts.exponent,
        "first_bin": (first - BINS).astype(np.int16),
        "bin_counts": trimmed,
    }


def counts_of(columns: Mapping[str, Any]) -> Counts:
    """What `count_columns` was made of."""
    active = columns["n_active"] > 0
    histogram = np.zeros((len(active), 2 * BINS), np.int64)
    for row, first, trimmed in zip(histogram, columns["first_bin"].tolist(), columns["bin_counts"], strict=True):
        row[first + BINS : first + BINS + len(trimmed)] = trimmed
    return Counts(
        columns["n_active"],
        columns["sum"],
        columns["sum_of_squares"],
        np.where(active, columns["max_activation"], np.float32(-np.inf)),
        np.where(active, columns["min_activation"], np.float32(np.inf)),
        columns["bin_exponent"],
        histogram,
    )


def weight_columns(effects: FeatureEffects) -> Columns:
    """One row per feature of `effects`: what its weights say; -1 and NaN where there is less."""
    return {name: getattr(effects, held) for name, held in OF_WEIGHTS.items()}


def pair_columns(together: Together) -> Columns:
    """One row per feature: which others it is most correlated with; -1 and NaN where there is less."""
    pairs = correlated(together)
    return {name: getattr(pairs, held) for name, held in OF_PAIRS.items()}


def example_columns(examples: Examples, exponent: np.ndarray, keeping: Keeping) -> Columns:
    """One row per kept example, all sorted in: by feature, the largest first."""
    by_size, by_mark = ranks(examples.feature, examples.value, examples.mark, exponent)
    return {
        "feature": examples.feature,
        "rank": np.where(by_size < keeping.top, by_size + 1, 0).astype(np.int32),
        "sampled": by_mark < keeping.per_interval,
        "interval": intervals(examples.value, exponent[examples.feature]),
        "text": examples.text,
        "position": examples.position,
        "activation": examples.value,
        "mark": examples.mark,
        "token_ids": examples.token_ids,
        "activations": examples.activations,
    }


def kept_of(columns: Mapping[str, Any], exponent: np.ndarray, keeping: Keeping) -> Kept:
    """What `example_columns` was made of."""
    examples = Examples(
        columns["feature"],
        columns["text"],
        columns["position"],
        columns["activation"],
        columns["mark"],
        columns["token_ids"],
        columns["activations"],
    )
    return Kept(keeping, examples, (), *bounds(examples, exponent, keeping), exponent)


def dashboard_of(
    about: About,
    row: Mapping[str, Any],
    examples: Mapping[str, np.ndarray],
    names: Callable[[list[int]], dict[int, str]],
    label: str = "",
    rating: float | None = None,
) -> FeatureDashboard:
    """The dashboard of one feature.

    Args:
        about: the corpus.
        row: of `count_columns`, `weight_columns` and `pair_columns`.
        examples: rows of `example_columns`.
        names: gives display strings of tokens.
        label: what a reader called it.
        rating: and how they rated it.
    """
    exponent = int(row["bin_exponent"])
    held = {
        name: np.asarray(row[name])[: int((np.asarray(row[key]) >= 0).sum())]
        for names_, key in (
            (("promoted", "promoted_by"), "promoted"),
            (("suppressed", "suppressed_by"), "suppressed"),
            (("neighbour_features", "neighbour_cosines"), "neighbour_features"),
            (("correlated_features", "correlated_together", "correlations"), "correlated_features"),
            (("neuron_numbers", "neuron_weights", "neuron_shares"), "neuron_numbers"),
        )
        for name in names_
    }
    tokens = np.unique(np.concatenate([examples["token_ids"].ravel(), held["promoted"], held["suppressed"]]))
    return FeatureDashboard(
        feature=int(row["feature"]),
        coder=about.coder,
        model=about.model,
        corpus=about.corpus,
        hook=about.hook,
        n_texts=about.n_texts,
        n_tokens=about.n_tokens,
        n_active=int(row["n_active"]),
        max_activation=float(row["max_activation"]),
        min_activation=float(row["min_activation"]),
        mean_activation=float(row["mean_activation"]),
        skips_first=about.reading.skips_first,
        length=about.reading.length,
        bin_width=0.0 if exponent == NEVER else 2.0**exponent,
        first_bin=int(row["first_bin"]),
        bin_counts=np.asarray(row["bin_counts"], np.int64),
        example_ranks=examples["rank"],
        example_sampled=examples["sampled"].astype(np.int32),
        example_intervals=examples["interval"],
        example_texts=examples["text"],
        example_positions=examples["position"],
        example_activations=examples["activation"],
        window_ids=examples["token_ids"],
        window_activations=examples["activations"],
        n_together=about.n_together,
        names=names(tokens[tokens >= 0].tolist()),
        label=label,
        rating=float("nan") if rating is None else float(rating),
        notes=about.notes,
        **held,
    )


def about(
    statistics: FeatureStatistics,
    coder: str,
    hook: str,
    model: str,
    corpus: str,
    reading: Reading,
    of_weights: tuple[str, ...],
) -> About:
    """What the features of `statistics` have in common; arguments are as `About` has them."""
    return About(
        coder=coder,
        model=model,
        corpus=corpus,
        hook=hook,
        reading=reading,
        n_texts=statistics.n_texts,
        n_tokens=statistics.n_tokens,
        n_cut=statistics.n_cut,
        n_not_finite=statistics.n_not_finite,
        n_together=statistics.together.n_positions,
        of_weights=of_weights,
    )
