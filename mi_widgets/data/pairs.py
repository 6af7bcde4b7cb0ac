"""Pairs of prompts that a causal question is asked of: clean, corrupt, and the next tokens that tell them apart.

Knows nothing of models or torch: answers are words or ids until a model reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mi_widgets.data.held import checked_prompt
from mi_widgets.data.integers import is_integer, several
from mi_widgets.errors import DataError

#: Columns of a table of pairs.
COLUMNS = ("clean", "corrupt", "answer", "foil")


@dataclass(frozen=True)
class Pair:
    """One clean and one corrupt prompt.

    Attributes:
        clean: text, token ids or chat messages.
        corrupt: likewise.
        answer: the next token that is right after the clean prompt: text as it stands there (`" Mary"`), or its id;
            None where the metric needs none.
        foil: the one it is compared with, likewise.
    """

    clean: Any
    corrupt: Any
    answer: str | int | None = None
    foil: str | int | None = None

    def __post_init__(self) -> None:
        for name in ("clean", "corrupt"):
            object.__setattr__(self, name, checked_prompt(name, getattr(self, name)))
        for name in ("answer", "foil"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                if not is_integer(value):
                    raise DataError(f"{name}={value!r:.60} is no token.", "Give text of one token, or its id.")
                object.__setattr__(self, name, int(value))


@dataclass(frozen=True)
class Pairs:
    """Several pairs, in order.

    ```python
    pairs = mw.Pairs([mw.data.Pair("The capital of France is", "The capital of Italy is", " Paris", " Rome")])
    pairs = mw.Pairs.from_pandas(table)          # columns clean, corrupt, answer, foil
    ```

    Attributes:
        pairs: `Pair`s, or tuples of what one is made of.

    Raises:
        DataError: none at all, or something that is no pair.
    """

    pairs: tuple[Pair, ...]

    def __post_init__(self) -> None:
        given = [self.pairs] if isinstance(self.pairs, Pair) else several("pairs", self.pairs)
        made = []
        for one in given:
            if not isinstance(one, Pair):
                if not isinstance(one, (tuple, list)) or not 2 <= len(one) <= 4:
                    raise DataError(f"{one!r:.60} is no pair.", "Give (clean, corrupt, answer, foil).")
                one = Pair(*one)
            made.append(one)
        if not made:
            raise DataError("there are no pairs.", "Give one or more.")
        object.__setattr__(self, "pairs", tuple(made))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __getitem__(self, index: int) -> Pair:
        return self.pairs[index]

    def to_pandas(self) -> pd.DataFrame:
        """One row per pair: clean, corrupt, answer, foil."""
        return pd.DataFrame({name: [getattr(pair, name) for pair in self.pairs] for name in COLUMNS})

    @classmethod
    def from_pandas(cls, table: pd.DataFrame) -> Pairs:
        """The pairs in a table with columns clean and corrupt, and answer and foil where the metric needs them.

        Raises:
            DataError: a column that is missing, or a row that is no pair.
        """
        lacking = [name for name in COLUMNS[:2] if name not in table.columns]
        if lacking:
            raise DataError(f"the table has no column {lacking[0]!r}.", f"Columns are {', '.join(COLUMNS)}.")
        held = [name for name in COLUMNS if name in table.columns]
        rows = table[held].itertuples(index=False, name=None)
        return cls(tuple(Pair(**dict(zip(held, map(_value, row), strict=True))) for row in rows))


def exchanged(prompt: Any, answer: str, foil: str) -> str:
    """A corrupt prompt to propose: `prompt` with both words exchanged; "" where it is no text, or holds neither."""
    answer, foil = answer.strip(), foil.strip()
    if not isinstance(prompt, str) or not answer or not foil:
        return ""
    other = {answer: foil, foil: answer}
    words = rf"\b({re.escape(answer)}|{re.escape(foil)})\b"
    found = re.sub(words, lambda word: other[word[0]], prompt)
    return "" if found == prompt else found


def _value(value: Any) -> Any:
    """A cell of a table: what is missing there is None, an id that pandas made a float an id again."""
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() else value
    return None if value is None or value is pd.NA else value
