"""Errors that say what to do. Each carries a `hint`; views show message and hint over the last good picture.

Knows nothing of models, widgets or the page.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import get_close_matches


class MiWidgetsError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: what is wrong, one sentence.
        hint: what to do about it, one sentence; shown beside the message.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class PromptError(MiWidgetsError, ValueError):
    """A prompt that cannot be run as it is: empty, too long, of a wrong type."""


class DataError(MiWidgetsError, ValueError):
    """An array or table that does not fit: wrong shape, axis or type. The message names the axis."""


class AnswerError(DataError):
    """An answer that is no single token of the model's vocabulary.

    Args:
        message: what is wrong.
        hint: what to do about it.
        text: the answer as given.
        pieces: display strings of the tokens it falls into, where it falls into any.
        offers: `(token id, display string)` of single tokens near it; the id is always a valid answer.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        text: str = "",
        pieces: tuple[str, ...] = (),
        offers: tuple[tuple[int, str], ...] = (),
    ) -> None:
        super().__init__(message, hint)
        self.text = text
        self.pieces = pieces
        self.offers = offers


class ModelError(MiWidgetsError, TypeError):
    """A model that cannot be read rightly for what was asked; the message says why."""


class UnreadError(ModelError):
    """A hook that the model has and did not call in the pass."""


class InterventionError(ModelError):
    """A function of the user's own, put into a pass, that raised or gave what cannot stand there. What it raised is the
    `__cause__`."""


class DisturbedError(ModelError):
    """A pass in whose pauses hooks were put on the model, or its own taken off it."""


class ExportError(MiWidgetsError, RuntimeError):
    """A file that cannot be written; the hint names what to install or change."""


class StaleWarning(UserWarning):
    """Numbers that leave a view are of its last good picture, not of what was asked for since."""


# Said every time, not once: a loop would go on with old numbers. Filters of the user's own come first.
warnings.filterwarnings("always", category=StaleWarning, append=True)


class Cancelled(MiWidgetsError):
    """A computation that was stopped by the user or by a newer edit."""

    def __init__(self, message: str = "Stopped.", hint: str = "") -> None:
        super().__init__(message, hint)


def choose(word: object, known: Iterable[str], what: str = "Choose one of") -> str:
    """A hint for a word that is none of `known`: the nearest of them where it looks like a slip, then all.

    Args:
        word: as given; anything but text has no nearest word.
        known: the right words.
        what: how the list begins.
    """
    words = [str(one) for one in known]
    nearest = get_close_matches(word, words, n=1) if isinstance(word, str) else []
    return (f"Did you mean {nearest[0]!r}? " if nearest else "") + f"{what} {', '.join(words)}."
