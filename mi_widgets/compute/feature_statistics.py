"""What a corpus says of the features of a sparse coder: counts, kept examples, and which are active together.

Statistics of parts of a corpus add up to those of the whole (`then`): counts, extremes, histograms and what is kept
exactly, sums up to the rounding of float64. Bounded by the number of features, whatever the corpus. Knows nothing of
files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mi_widgets.compute.coactivation import Together
from mi_widgets.compute.coded_corpus import BEGINNING, Coded, Place, Reading, coded_blocks
from mi_widgets.compute.corpus import Corpus
from mi_widgets.compute.feature_counts import Counts
from mi_widgets.compute.kept_examples import Keeping, Kept


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Of all features, over a corpus or a part of it. Never changed.

    Attributes:
        counts: how often and how strongly.
        kept: examples.
        together: pairs.
        n_texts: that were read.
        n_tokens: positions that count; left out are position 0 where the coder's training left it out, what is behind
            the greatest length, and what is not finite.
        n_cut: texts that went on behind the greatest length.
        n_not_finite: positions left out because the model's or the coder's numbers there are not finite.
    """

    counts: Counts
    kept: Kept
    together: Together
    n_texts: int = 0
    n_tokens: int = 0
    n_cut: int = 0
    n_not_finite: int = 0

    @classmethod
    def none(cls, d_sae: int, keeping: Keeping) -> FeatureStatistics:
        """Of no corpus at all."""
        return cls(Counts.none(d_sae), Kept.none(d_sae, keeping), Together.none(d_sae))

    def plus(self, coded: Coded) -> FeatureStatistics:
        """With one more block of the same corpus."""
        d_sae = self.counts.d_sae
        counts = self.counts.with_entries(coded.feature, coded.value)
        return FeatureStatistics(
            counts,
            self.kept.plus(coded, counts.exponent),
            self.together.plus(Together.of(d_sae, coded, self.together.least)),
            self.n_texts + coded.n_texts,
            self.n_tokens + int(coded.counted.sum()),
            self.n_cut + coded.n_cut,
            self.n_not_finite + coded.n_not_finite,
        )

    def then(self, other: FeatureStatistics) -> FeatureStatistics:
        """Of this corpus with that of `other` behind it; both of the same features, read and kept in the same way."""
        counts = self.counts.plus(other.counts)
        behind = other.settled().kept.examples
        moved = replace(behind, text=(behind.text + self.n_texts).astype(np.int32))
        kept = replace(self.kept, fresh=(*self.kept.fresh, moved)).settled(counts.exponent)
        return FeatureStatistics(
            counts,
            kept,
            self.together.plus(other.together),
            *(getattr(self, name) + getattr(other, name) for name in ("n_texts", "n_tokens", "n_cut", "n_not_finite")),
        )

    def settled(self) -> FeatureStatistics:
        """The same with its examples in order."""
        return replace(self, kept=self.kept.settled(self.counts.exponent))


def statistics_of(
    model: Any,
    coder: Any,
    corpus: Corpus,
    reading: Reading,
    keeping: Keeping,
    start: Place = BEGINNING,
    so_far: FeatureStatistics | None = None,
) -> Iterator[tuple[Place, FeatureStatistics | None]]:
    """One pass over a corpus. Yields after every batch; where a block is complete, the statistics of all so far and the
    place to go on from with them, else None and how far it has come."""
    found = FeatureStatistics.none(int(coder.d_sae), keeping) if so_far is None else so_far
    for place, coded in coded_blocks(model, coder, corpus, reading, start):
        if coded is not None:
            found = found.plus(coded)
        yield place, None if coded is None else found
