"""What an attention view may be made from: a session, a model and a prompt, or results that are there already."""

from __future__ import annotations

from typing import Any

from mi_widgets.data import AttentionComparison, AttentionPatterns
from mi_widgets.errors import DataError
from mi_widgets.session import Session


def resolved(
    source: Any, prompt: Any, prepend_bos: bool | None
) -> tuple[Session | None, AttentionPatterns | None, AttentionComparison | None]:
    """The session, or the patterns and the comparison, behind `source`.

    Raises:
        DataError: something else, or arguments that do not go together.
    """
    if isinstance(source, Session):
        if prompt is not None or prepend_bos is not None:
            raise DataError("a session has its own prompt.", "Set session.prompt, or give a model and a prompt.")
        return source, None, None
    if isinstance(source, AttentionComparison):
        return None, source.a, source
    if isinstance(source, AttentionPatterns):
        return None, source, None
    if source is None or prompt is None:
        raise DataError(
            "an attention view needs a session, or a model and a prompt.",
            'mw.Attention(session), mw.Attention(model, "prompt") or mw.Attention.from_data(patterns, tokens).',
        )
    return Session(source, prompt, prepend_bos=prepend_bos), None, None
