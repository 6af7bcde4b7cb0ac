"""Texts as whoever trains or measures reads them: checked, and cut into pieces that the model can run.

Knows nothing of what is done with a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, describe, token_ids


def checked_texts(texts: Any) -> Iterable[Prompt]:
    """`texts` itself, if it can be read one after the other.

    Raises:
        DataError: one text alone, a table, or what is no collection.
    """
    if isinstance(texts, str):
        raise DataError("texts is one string.", "Give a list of texts.")
    if isinstance(texts, (bytes, Mapping)) or hasattr(texts, "columns") or getattr(texts, "ndim", 1) == 0:
        raise DataError(f"texts is a {type(texts).__name__}.", "Give a list of texts, or one column of a table.")
    if not hasattr(texts, "__iter__") and not hasattr(texts, "__getitem__"):
        raise DataError(f"texts is a {type(texts).__name__}.", "Give a list of texts.")
    return texts


def pieces_of(
    model: Any, texts: Iterable[Prompt], length: int, prepend_bos: bool | None = None
) -> Iterator[np.ndarray]:
    """int64 `[position]`: the ids of each text, in order, cut into pieces of `length` at most, and of no more than the
    model's context.

    Raises:
        PromptError: a text that cannot be tokenized.
    """
    context = describe(model).n_ctx
    longest = length if context is None else min(length, context)
    for text in texts:
        ids = token_ids(model, text, prepend_bos)
        for start in range(0, len(ids), longest):
            yield ids[start : start + longest]
