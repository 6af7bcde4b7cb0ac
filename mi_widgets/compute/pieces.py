"""Texts cut into pieces that the model can run, for whoever learns from them or measures on them.

Knows nothing of what is done with a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mi_widgets.compute.corpus import is_missing
from mi_widgets.models import Prompt, describe, token_ids


def pieces_of(
    model: Any, texts: Iterable[Prompt], length: int, prepend_bos: bool | None = None
) -> Iterator[np.ndarray]:
    """int64 `[position]`: the ids of each text, in order, cut into pieces of `length` at most, and of no more than the
    model's context. What is no text, as tables have it, is passed over.

    Raises:
        PromptError: a text that cannot be tokenized.
    """
    context = describe(model).n_ctx
    longest = length if context is None else min(length, context)
    for text in texts:
        if is_missing(text):
            continue
        ids = token_ids(model, text, prepend_bos)
        for start in range(0, len(ids), longest):
            yield ids[start : start + longest]
