"""Dashboards of some features over a corpus, made in memory. An index (`mi_widgets.sae`) keeps those of all on disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mi_widgets.compute.coded_corpus import Reading
from mi_widgets.compute.corpus import Corpus
from mi_widgets.compute.feature_effects import effects_steps
from mi_widgets.compute.feature_statistics import FeatureStatistics, statistics_of
from mi_widgets.compute.feature_tables import (
    about,
    count_columns,
    dashboard_of,
    example_columns,
    pair_columns,
    weight_columns,
)
from mi_widgets.compute.kept_examples import Keeping
from mi_widgets.compute.step import Step, Steps, as_one, run_at_once, steps_of
from mi_widgets.data.feature_dashboard import FeatureDashboard
from mi_widgets.data.integers import integers, place
from mi_widgets.errors import DataError
from mi_widgets.models import describe, has_tokenizer, token_strings


@run_at_once("features")
def feature_dashboard(
    model: Any,
    coder: Any,
    texts: Any,
    features: Iterable[int],
    *,
    column: str | None = None,
    prepend_bos: bool | None = None,
    length: int | None = None,
    top: int = 20,
    per_interval: int = 5,
    context: int = 5,
    progress: bool = False,  # noqa: ARG001
) -> Steps[list[FeatureDashboard]]:
    """What some features of a sparse coder mean, over a corpus: one pass, of which nothing is kept on disk.

    Every text is run by itself, from its beginning as far as `length`. What the coder was trained without
    (`coder.skips_first`) does not count. Memory does not grow with the corpus. For more than a few looks make an index:
    `mi_widgets.sae.index`.

    As steps (`feature_dashboard_steps`): one for each batch of texts, by texts read.

    Args:
        model: a TransformerBridge.
        coder: a sparse coder at one of its hooks.
        texts: a list of texts, ids or chat messages; the path of a Parquet file; a `datasets` object.
        features: their numbers.
        column: of a Parquet file or `datasets` object.
        prepend_bos: None means what `model.to_tokens(text)` does.
        length: tokens of a text that are read at most; what the model reads (and 2,048) where None.
        top: how many of the largest activations become examples.
        per_interval: how many examples of each interval of activation.
        context: tokens shown on either side.
        progress: show a bar.

    Returns:
        One dashboard for each feature, in their order.

    Raises:
        DataError: a coder that does not fit the model (the message names both), a feature that it does not have, texts
            without any token that counts, or whose numbers are all not finite.
        PromptError: a text that cannot be tokenized.
    """
    chosen = [place("feature", feature, int(coder.d_sae)) for feature in integers("features", features)]
    reading = Reading.checked(model, coder, length, prepend_bos)
    keeping = Keeping.checked(top, per_interval, context)
    corpus = Corpus(texts, column)
    found = FeatureStatistics.none(int(coder.d_sae), keeping)
    for reached, so_far in statistics_of(model, coder, corpus, reading, keeping):
        found = so_far or found
        yield Step(reached.read, max(reached.read, corpus.n_texts or 0))
    check_counted(found, corpus.name)
    found = found.settled()
    effects = yield from as_one(effects_steps(model, coder, chosen), Step(found.n_texts, found.n_texts))
    common = about(
        found, str(coder.name), str(coder.hook_in), describe(model).label, corpus.name, reading, effects.notes
    )
    counted, weights = count_columns(found.counts) | pair_columns(found.together), weight_columns(effects)
    examples = example_columns(found.kept.examples, found.counts.exponent, keeping)
    tokenizer = model.tokenizer if has_tokenizer(model) else None
    dashboards = []
    for row, feature in enumerate(chosen):
        mine = slice(*np.searchsorted(examples["feature"], [feature, feature + 1]))
        dashboards.append(
            dashboard_of(
                common,
                {name: column[feature] for name, column in counted.items()}
                | {name: column[row] for name, column in weights.items()},
                {name: column[mine] for name, column in examples.items()},
                lambda tokens: dict(zip(tokens, token_strings(tokenizer, tokens), strict=True)),
            )
        )
    return dashboards


feature_dashboard_steps = steps_of(feature_dashboard)


def check_counted(statistics: FeatureStatistics, corpus: str) -> None:
    """Raise DataError where there is nothing that any statistic could be of."""
    if statistics.n_tokens:
        return
    if statistics.n_not_finite:
        raise DataError(
            f"at all {statistics.n_not_finite:,} positions of {corpus} numbers are not finite.",
            "Look for overflow: half precision, an edited weight, or another model's coder.",
        )
    raise DataError(f"{corpus} holds no token that counts.", "Give texts of more than one token.")
