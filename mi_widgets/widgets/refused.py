"""A word that is no single token, as the page shows it: its pieces, and single tokens to choose from."""

from __future__ import annotations

from typing import Literal

from mi_widgets.errors import AnswerError
from mi_widgets.wire.messages import RefusedToken


def refused_token(role: Literal["answer", "foil", "target"], error: AnswerError) -> RefusedToken:
    """What `error` says, for the page."""
    return {
        "role": role,
        "text": error.text,
        "pieces": list(error.pieces),
        "offers": [{"id": token, "string": string} for token, string in error.offers],
    }
