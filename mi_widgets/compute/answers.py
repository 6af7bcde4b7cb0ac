"""Answers as the tokens they are in place: what a word adds to this very prompt, and what to offer if that is not one.

Tokenizes, runs no model. Knows nothing of what the answer is for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from mi_widgets.data import Tokens
from mi_widgets.data.integers import integer, is_integer
from mi_widgets.data.tokens import NO_TOKEN
from mi_widgets.errors import AnswerError
from mi_widgets.models import Prompt, has_tokenizer, token_strings, tokenize

#: At most this many single tokens are offered in place of a word that is none.
MOST_OFFERS = 8


def resolve(
    model: Any, prompt: Tokens | Prompt, answer: Any, prepend_bos: bool | None = None, role: str = "answer"
) -> int:
    """The token id of `answer` as it stands after `prompt`.

    Text is tokenized in place, as `to_tokens(prompt + answer)` minus the tokens of the prompt: alone it may be other
    tokens than there (Llama's tokenizers). After a prompt that is no text of its own (ids, chat messages) it is the
    entry of the vocabulary that reads exactly so. Mind the space: after "went to" the next word is `" Mary"`.

    Args:
        model: a TransformerBridge.
        prompt: the prompt as run (`Tokens`), or text, token ids or chat messages.
        answer: text, or a token id of any integer type, which is taken as it is.
        prepend_bos: for a prompt given as text; None means what `model.to_tokens(prompt)` does.
        role: what messages call it, e.g. `"foil"`.

    Raises:
        AnswerError: no single token. It carries the pieces and single tokens to offer.
        PromptError: a prompt that cannot be run.
    """
    if not isinstance(answer, str):
        return _given_id(model, answer, role)
    if not answer:
        raise AnswerError(f"The {role} is empty.", 'Type one token with the space before it, e.g. " Mary".')
    if not has_tokenizer(model):
        raise AnswerError(
            f"This model has no tokenizer, so the {role} {answer!r} cannot be text.",
            f"Give a token id from 0 to {int(model.cfg.d_vocab) - 1}.",
            answer,
        )
    place = _Place(model, prompt if isinstance(prompt, Tokens) else tokenize(model, prompt, prepend_bos))
    found = place.single(answer)
    if found is None:
        raise place.refusal(answer, role)
    return found


def token_string(model: Any, token: int) -> str:
    """Display string of one token id; the id itself for a model without a tokenizer."""
    return token_strings(model.tokenizer if has_tokenizer(model) else None, [token])[0]


def named(model: Any, tokens: Iterable[Any]) -> dict[int, str]:
    """Display string of each of these token ids; of -1, which is no token, a dash."""
    ids = np.unique(np.fromiter(tokens, np.int64)).tolist()
    strings = token_strings(model.tokenizer if has_tokenizer(model) else None, [token for token in ids if token >= 0])
    return dict(zip(ids, [*([NO_TOKEN] if ids and ids[0] < 0 else []), *strings], strict=True))


def _given_id(model: Any, answer: Any, role: str) -> int:
    value = answer
    if hasattr(value, "tolist"):  # numpy and torch numbers, also in arrays that hold just one
        value = value.tolist()
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
    if not is_integer(value):
        raise AnswerError(f"The {role} is {answer!r}.", "Give one token as text or as its id.")
    token, count = integer(role, value), int(model.cfg.d_vocab)
    if not 0 <= token < count:
        raise AnswerError(
            f"The {role} {token} is outside the vocabulary.", f"Ids of this model run from 0 to {count - 1}."
        )
    return token


class _Place:
    """The end of one prompt, where a word is to be one token."""

    def __init__(self, model: Any, tokens: Tokens) -> None:
        self._model, self._tokenizer, self._tokens = model, model.tokenizer, tokens
        self._ids = tokens.ids.tolist()

    @cached_property
    def _way(self) -> bool | str | None:
        """The `prepend_bos` under which the prompt's text gives its very ids; `"ids"` if none does."""
        if self._tokens.text is not None:
            for way in (None, True, False):
                if self._tokenized(self._tokens.text, way) == self._ids:
                    return way
        return "ids"

    def _tokenized(self, text: str, way: bool | None) -> list[int] | None:
        try:
            return self._model.to_tokens(text, prepend_bos=way, truncate=False, move_to_device=False)[0].tolist()
        except (UnicodeEncodeError, TypeError, ValueError, IndexError):
            return None  # text that the tokenizer cannot read adds no token

    def added(self, word: str) -> list[int] | None:
        """The tokens that `word` adds to the prompt; None if it changes those before it, or cannot be told."""
        if self._way == "ids":
            return None
        whole = self._tokenized(f"{self._tokens.text}{word}", self._way)  # type: ignore[arg-type]
        count = len(self._ids)
        return whole[count:] if whole is not None and whole[:count] == self._ids else None

    def single(self, word: str) -> int | None:
        """The one known token that `word` is in place, or None."""
        if self._way == "ids":
            return self._reading(word)
        added = self.added(word)
        if added is None:
            # Tokenizers that read words between spaces show them without: "w5" then is what " w5" adds.
            spaced = self.added(f" {word}")
            added = spaced if spaced is not None and token_strings(self._tokenizer, spaced) == [word] else []
        return added[0] if len(added) == 1 and self._known(added[0], word) else None

    def _known(self, token: int, word: str) -> bool:
        """Whether `token` stands for `word`, not for everything that is unknown."""
        unknown = getattr(self._tokenizer, "unk_token_id", None)
        return token < int(self._model.cfg.d_vocab) and (token != unknown or word.strip() == self._tokenizer.unk_token)

    def _reading(self, word: str) -> int | None:
        """The entry of the vocabulary whose display string is exactly `word`, however the tokenizer would cut text."""
        found = [*self._alone(word), *self._alone(word.strip())]
        with contextlib.suppress(UnicodeEncodeError):
            pieces = self._tokenizer.convert_tokens_to_ids([word, word.replace(" ", "▁")])
            found += [token for token in pieces if token is not None]
        readings = dict(zip(found, token_strings(self._tokenizer, found), strict=True))
        return next((token for token, string in readings.items() if string == word and self._known(token, word)), None)

    def _alone(self, word: str) -> list[int]:
        """The tokens of `word` by itself."""
        try:
            return list(self._tokenizer.encode(word, add_special_tokens=False))
        except (UnicodeEncodeError, TypeError, ValueError):
            return []

    def refusal(self, word: str, role: str) -> AnswerError:
        """Why `word` is not one token here, with its pieces and what to take instead."""
        added = self.added(word)
        split = min(self._alone(word), self._alone(word.strip()), key=len) if added is None else added
        pieces = tuple(token_strings(self._tokenizer, split))
        offers = self._offers(word, split if added is not None or self._way == "ids" else [])
        hint = "Choose one token: " + ", ".join(repr(string) for _, string in offers) + "." if offers else ""
        if not split or not all(self._known(token, word) for token in split):
            message = f"The {role} {word!r} is not in this model's vocabulary."
        elif added is None and self._way != "ids":
            message = f"After this prompt, the {role} {word!r} is read together with the token before it."
            hint = hint or "Add a space before it, or take one away from the prompt's end."
        elif len(split) == 1:
            message = f"The {role} {word!r} is no token of this model's vocabulary by itself."
        else:
            message = f"The {role} {word!r} is {len(split)} tokens here: {' | '.join(pieces)}."
        return AnswerError(message, hint or "Give one token as text or as its id.", word, pieces, offers)

    def _offers(self, word: str, pieces: list[int]) -> tuple[tuple[int, str], ...]:
        """Single tokens near `word`: with and without its space, in other case, and its first piece."""
        bare = word.strip()
        spaced = [word, f" {bare}", bare]
        cased = [bare.capitalize(), bare.lower(), bare.upper()]
        near = dict.fromkeys([*spaced, *(form for case in cased for form in (f" {case}", case))])
        offers: dict[int, str] = {}
        for form in near:
            if form.strip():
                token = self.single(form)
                # Where the end of the prompt melts into what follows, the bare token can still be the next one.
                token = self._reading(form) if token is None and self.added(form) is None else token
                if token is not None:
                    offers.setdefault(token, token_strings(self._tokenizer, [token])[0])
        for piece, string in zip(pieces, token_strings(self._tokenizer, pieces), strict=True):
            if string.strip() and self._known(piece, ""):
                offers.setdefault(piece, string)
                break
        return tuple(list(offers.items())[:MOST_OFFERS])
