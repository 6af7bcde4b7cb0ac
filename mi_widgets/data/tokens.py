"""A prompt as the model saw it: ids, display strings and where each token stands in the text.

Knows nothing of tokenizers; `models.py` makes these records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_widgets.data.arrays import as_integers
from mi_widgets.data.integers import is_integer, place, several, text, truth
from mi_widgets.errors import DataError

#: How a token that is none (id -1 among likeliest tokens) is named.
NO_TOKEN = "–"


@dataclass(frozen=True, eq=False)
class Tokens:
    """The positions of one prompt, exactly as run (BOS included where it was run).

    Attributes:
        ids: int64 `[position]`, token ids, read-only; -1 where a token has no id (plain data).
        strings: display strings, one per position, leading spaces kept. A piece of a character that is split
            over tokens shows as its bytes, e.g. `⟨E2⟩`.
        special: one bool per position, True for BOS and other special tokens.
        spans: `(start, end)` character span of each token in `text`, `(-1, -1)` where it has none.
        text: the prompt as text, or None.
    """

    ids: np.ndarray
    strings: tuple[str, ...]
    special: tuple[bool, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    text: str | None = None

    def __post_init__(self) -> None:
        ids, strings = as_integers("ids", self.ids), several("strings", self.strings)
        if ids.ndim != 1:
            raise DataError(f"ids has shape {list(ids.shape)}; it must be [position].")
        if len(strings) != len(ids):
            raise DataError(
                f"{len(strings)} token strings for {len(ids)} positions.", "Give one string for each position."
            )
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "strings", tuple(whole_characters(str(string)) for string in strings))
        if self.text is not None:
            object.__setattr__(self, "text", whole_characters(text("text", self.text)))
        special = tuple(truth("special", one) for one in several("special", self.special))
        object.__setattr__(self, "special", special or (False,) * len(ids))
        spans = as_integers("spans", several("spans", self.spans) or np.full((len(ids), 2), -1))
        if spans.ndim != 2 or spans.shape[1] != 2:
            raise DataError(
                f"spans has shape {list(spans.shape)}; it must be [position, 2].", "Give (start, end) each."
            )
        object.__setattr__(self, "spans", tuple((start, end) for start, end in spans.tolist()))
        for name in ("special", "spans"):
            if len(getattr(self, name)) != len(ids):
                raise DataError(f"{name} has {len(getattr(self, name))} entries for {len(ids)} positions.")

    @classmethod
    def of(cls, tokens: Tokens | Sequence[Any] | None, count: int) -> Tokens:
        """`tokens` as a record of `count` positions: a record, strings, ids, or None for plain numbers.

        Raises:
            DataError: not `count` of them.
        """
        if isinstance(tokens, Tokens):
            record = tokens
        elif tokens is None:
            record = cls(np.full(count, -1), tuple(str(position) for position in range(count)))
        else:
            if isinstance(tokens, str):
                raise DataError("tokens is one string.", "Give a list with one string for each position.")
            if not hasattr(tokens, "__iter__"):
                raise DataError(f"tokens={tokens!r} is no list.", "Give a list with one token for each position.")
            try:
                listed = tokens.tolist() if hasattr(tokens, "tolist") else tokens  # type: ignore[union-attr]
            except (RuntimeError, NotImplementedError) as reason:  # a tensor without numbers
                raise DataError(f"cannot read the tokens ({reason}).", "Give ids or strings.") from None
            listed = list(listed) if hasattr(listed, "__iter__") else [listed]  # an array of no axis is one token
            if len(listed) == 1 and isinstance(listed[0], (list, tuple)):
                listed = list(listed[0])  # [1, position], as model.to_tokens gives it
            if listed and all(is_integer(token) for token in listed):
                ids = as_integers("tokens", listed)
                record = cls(ids, tuple(str(token) for token in ids.tolist()))
            else:
                record = cls(np.full(len(listed), -1), tuple(str(token) for token in listed))
        if len(record) != count:
            raise DataError(
                f"{len(record)} tokens, but the position axis has {count} entries.",
                "Give one token for each position, BOS included.",
            )
        return record

    def __len__(self) -> int:
        return len(self.strings)

    def __iter__(self) -> Iterator[str]:
        return iter(self.strings)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Tokens)
            and self.strings == other.strings
            and bool(np.array_equal(self.ids, other.ids))
            and self.special == other.special
        )

    def __hash__(self) -> int:
        return hash((self.strings, self.ids.tobytes()))

    def labels(self) -> list[str]:
        """One one-line label per position for axes and tables: visible whitespace."""
        return [visible(string) for string in self.strings]

    def upto(self, position: int) -> Tokens:
        """The prompt that ends with `position`: with its text as far as that is known to end there.

        Raises:
            DataError: the prompt has no such position.
        """
        position = place("position", position, len(self))
        count = position + 1
        if count == len(self):
            return self
        end = self.spans[position][1]
        text = self.text[:end] if self.text is not None and end >= 0 else None
        return Tokens(self.ids[:count], self.strings[:count], self.special[:count], self.spans[:count], text)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "ids": self.ids.tolist(),
            "strings": list(self.strings),
            "special": list(self.special),
            "spans": [list(span) for span in self.spans],
            "text": self.text,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Tokens:
        """The record that `to_dict` wrote."""
        return cls(
            values["ids"],
            tuple(values["strings"]),
            tuple(values["special"]),
            tuple(values["spans"]),
            values["text"],
        )


def checked_tokens(tokens: Any) -> Tokens:
    """`tokens`, if they are such a record.

    Raises:
        DataError: they are not.
    """
    if not isinstance(tokens, Tokens):
        raise DataError(f"tokens is a {type(tokens).__name__}.", "Give a Tokens record: Tokens.of(strings, count).")
    return tokens


def whole_characters(string: str) -> str:
    """`string` with halves of surrogate pairs, which no file or page can hold, as `⟨D800⟩`."""
    if string.isascii() or not any(0xD800 <= ord(character) <= 0xDFFF for character in string):
        return string
    joined = string.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # a pair becomes its character
    return "".join(
        f"⟨{ord(character):04X}⟩" if 0xD800 <= ord(character) <= 0xDFFF else character for character in joined
    )


def visible(string: str) -> str:
    """`string` on one line with whitespace and control characters as marks: `·` space, `↵` newline, `⇥` tab."""
    marks = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u200b": "⟨ZWSP⟩", "\u200d": "\u200d"}
    out = []
    for character in string:
        if character in marks:
            out.append(marks[character])
        elif ord(character) < 32:
            out.append(chr(0x2400 + ord(character)))
        elif 0x80 <= ord(character) < 0xA0 or character in "\u00ad\u2060\ufeff":
            out.append(f"⟨{ord(character):02X}⟩")
        elif character == "\x7f":
            out.append("␡")
        elif character in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f":
            out.append(f"⟨{ord(character):04X}⟩")
        else:
            out.append(character)
    return "".join(out)
