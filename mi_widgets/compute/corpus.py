"""A corpus: prompts in an order, from a list, a Parquet file or a `datasets` object, read as a stream, as often as
wanted.

Never held as a whole. Knows nothing of models nor of what is computed of the texts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mi_widgets.data.store import MissingFileError
from mi_widgets.errors import DataError, choose

#: Rows of a Parquet file read at a time.
ROWS = 256
#: A prime below 2²⁵⁶: `Identity` counts modulo it.
PRIME = 2**255 - 19
#: Its base; any large number would do.
BASE = int.from_bytes(hashlib.sha256(b"mi_widgets corpus").digest(), "big") % PRIME


@dataclass(frozen=True)
class Identity:
    """Which texts, in which order. That of two corpora one after the other follows from theirs (`then`).

    Attributes:
        n_texts: how many.
        number: Σ sha256(text) · BASE^(texts after it), modulo PRIME.
    """

    n_texts: int = 0
    number: int = 0

    def then(self, other: Identity) -> Identity:
        """Of this corpus with the other behind it."""
        moved = self.number * pow(BASE, other.n_texts, PRIME)
        return Identity(self.n_texts + other.n_texts, (moved + other.number) % PRIME)

    @property
    def fingerprint(self) -> str:
        """In hexadecimal digits."""
        return f"{self.number:064x}"


class Corpus:
    """Texts, token ids or chat messages, one after the other.

    Args:
        texts: a list of them, or a column of a table; an array of ids `[text, position]`; the path of a Parquet file; a
            `datasets` object (one split; streaming ones too); whatever else can be read more than once.
        column: of a Parquet file or `datasets` object; where None, `"text"`, or the only one there is.

    Raises:
        DataError: one text alone, a generator (it could be read once only), or a column that is not there.
    """

    def __init__(self, texts: Any, column: str | None = None) -> None:
        self._texts: Any = texts
        self._column: str | None = None
        if isinstance(texts, Path) or (isinstance(texts, str) and texts.lower().endswith((".parquet", ".pq"))):
            self._texts, self.name = Path(texts), Path(texts).name
            self._column = _column(_parquet(self._texts).schema_arrow.names, column, self.name)
        elif hasattr(texts, "column_names"):  # of `datasets`
            info = getattr(texts, "info", None)
            self.name = str(getattr(info, "dataset_name", None) or "") or f"a {type(texts).__name__}"
            names = self._texts.column_names or list(next(iter(texts), {}))  # a stream may not know them
            if isinstance(names, Mapping):
                raise DataError(
                    f"{self.name} has the splits {', '.join(names)}.", f"Give one: texts[{next(iter(names))!r}]."
                )
            self._column = _column(list(names), column, self.name)
        else:
            self._check_plain(texts, column)
            self.name = f"{len(texts):,} text{'' if len(texts) == 1 else 's'}" if hasattr(texts, "__len__") else "texts"

    @staticmethod
    def _check_plain(texts: Any, column: str | None) -> None:
        if isinstance(texts, (str, bytes)):
            raise DataError("texts is one string.", "Give a list of texts, or the path of a .parquet file.")
        if isinstance(texts, Mapping) or hasattr(texts, "columns"):
            raise DataError(f"texts is a {type(texts).__name__}.", "Give one column of it.")
        if not hasattr(texts, "__iter__") or getattr(texts, "ndim", 1) == 0:
            raise DataError(f"texts is a {type(texts).__name__}.", "Give a list of texts.")
        if iter(texts) is texts:
            raise DataError(
                "texts can be read once only, and is read more often.",
                "Give a list, a Parquet file or a datasets object.",
            )
        if column is not None:
            raise DataError(f"column={column!r} of texts that have no columns.", "Leave it out.")

    def __iter__(self) -> Iterator[Any]:
        """The texts, in order; None where a table has none."""
        if isinstance(self._texts, Path):
            for batch in _parquet(self._texts).iter_batches(ROWS, columns=[self._column]):
                yield from batch.column(0).to_pylist()
        elif self._column is not None:
            column = self._column
            chosen = self._texts.select_columns([column]) if hasattr(self._texts, "select_columns") else self._texts
            yield from (row[column] for row in chosen)
        else:
            yield from self._texts

    @property
    def n_texts(self) -> int | None:
        """How many, where that is known without reading them."""
        if isinstance(self._texts, Path):
            return _parquet(self._texts).metadata.num_rows
        return len(self._texts) if hasattr(self._texts, "__len__") else None

    def identity(self) -> Iterator[Identity]:
        """What tells this corpus from others: reads it whole, and gives what is known after each text."""
        number, count = 0, 0
        yield Identity()
        for text in self:
            digest = int.from_bytes(hashlib.sha256(_content(text)).digest(), "big")
            number, count = (number * BASE + digest) % PRIME, count + 1
            yield Identity(count, number)


def _content(text: Any) -> bytes:
    """The bytes that tell one text from another."""
    if isinstance(text, str):
        return b"text " + text.encode("utf-8", "surrogatepass")
    if _is_empty_cell(text):
        return b"none"
    plain = text.tolist() if hasattr(text, "tolist") else text
    return b"prompt " + json.dumps(plain, sort_keys=True, default=str).encode()


def is_missing(text: Any) -> bool:
    """Whether there is nothing to read: an empty text, or a table's empty cell."""
    return _is_empty_cell(text) or (hasattr(text, "__len__") and len(text) == 0)


def _is_empty_cell(text: Any) -> bool:
    return text is None or (isinstance(text, float) and math.isnan(text))


def _column(names: list[str], column: str | None, where: str) -> str:
    if column is None and len(names) == 1:
        return names[0]
    chosen = "text" if column is None else str(column)
    if chosen not in names:
        raise DataError(f"{where} has no column {chosen!r}.", choose(chosen, names, "Give column=: there are"))
    return chosen


def _parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except FileNotFoundError:
        raise MissingFileError(f"there is no file {path}.", "Look at the path.") from None
    except (OSError, pyarrow.ArrowException) as reason:
        raise DataError(f"{path} is no Parquet file ({str(reason)[:200]}).", "Get it again, or give a list.") from None


def mixed(numbers: np.ndarray) -> np.ndarray:
    """uint64 of the same shape, as if drawn by chance, the same for the same number (splitmix64's last steps)."""
    with np.errstate(over="ignore"):
        found = numbers.astype(np.uint64)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return found ^ (found >> np.uint64(31))
