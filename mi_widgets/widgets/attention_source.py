"""What an attention view may be made from: a session, a model and a prompt, or results that are there already."""

from __future__ import annotations

from typing import Any

from mi_widgets.data import AttentionComparison, AttentionPatterns
from mi_widgets.session import Session
from mi_widgets.widgets.source import session_of


def resolved(
    source: Any, prompt: Any, prepend_bos: bool | None
) -> tuple[Session | None, AttentionPatterns | None, AttentionComparison | None]:
    """The session, or the patterns and the comparison, behind `source`.

    Raises:
        DataError: something else, or arguments that do not go together.
    """
    if isinstance(source, AttentionComparison):
        return None, source.a, source
    if isinstance(source, AttentionPatterns):
        return None, source, None
    return session_of(source, prompt, prepend_bos, "Attention"), None, None
