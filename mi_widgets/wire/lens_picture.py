"""One picture of the logit lens: everything that may cross to the page of one finished run.

Takes `data` once, gives manifest and blocks as they are asked for. Knows nothing of widgets or models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mi_widgets.data import LogitLens, LogitLensComparison
from mi_widgets.data.logit_lens import CELLS
from mi_widgets.errors import DataError
from mi_widgets.wire.attention import token_table
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.checks import finite_checks, output_check
from mi_widgets.wire.messages import CheckValue, TokenName
from mi_widgets.wire.picture import Picture
from mi_widgets.wire.view_messages import LensCompare, LensManifest, LensRead, LensRows

#: Numbers of [row, position, k] up to which the whole top k crosses with the picture.
WHOLE = 120_000


class LensPicture(Picture[LogitLens, LogitLensComparison]):
    """What one run shows, as `Picture`.

    Args:
        data: see `Picture`, as the others.
        comparison: with a second lens or prompt.
        lenses: the lenses that can be chosen.
        streams: the streams that this architecture has.
        n_layers: blocks of the model.
        d_vocab: size of the vocabulary.
        half: the model computes in half precision.
    """

    def __init__(
        self,
        data: LogitLens,
        comparison: LogitLensComparison | None = None,
        *,
        lenses: Sequence[str] = ("logit",),
        streams: Sequence[str] = ("resid_post",),
        n_layers: int | None = None,
        d_vocab: int | None = None,
        half: bool = False,
        **how: Any,
    ) -> None:
        super().__init__(data, comparison, **how)
        self.lenses, self.streams, self.half = tuple(lenses), tuple(streams), half
        self.n_layers = max(data.layers) + 1 if n_layers is None else n_layers
        self.d_vocab = int(max(data.names, default=0)) + 1 if d_vocab is None else d_vocab

    @property
    def columns(self) -> tuple[int, int]:
        """How many columns are read, and how many there are; of two prompts, aligned ones."""
        read = (self.data if self.comparison is None else self.comparison).is_read
        return int(read.sum()), len(read)

    @property
    def partial(self) -> bool:
        """Whether some columns are not read yet."""
        read, count = self.columns
        return read < count

    def between(self, first: int, last: int, side: str) -> tuple[int, int] | None:
        """The first and the last column that show positions `first` to `last` of one side's prompt; None for none."""
        lens = self.sides.get(side, self.data)
        places = {place for place, position in enumerate(lens.positions) if first <= position <= last}
        if self.comparison is not None:
            pairs = self.comparison.pairs
            places = {column for column, pair in enumerate(pairs) if pair["AB".index(side)] in places}
        return (min(places), max(places)) if places else None

    @property
    def whole(self) -> bool:
        """Whether every cell's top k is in the picture itself: not of one that a fuller one will soon replace."""
        sides = self.sides.values()
        return all(side.read is None for side in sides) and sum(side.top_ids.size for side in sides) <= WHOLE

    def parcel(self, whole: bool | None = None, live: bool | None = None) -> bytes:
        """The picture; `whole` with every cell's top k whatever its size, as an offline page needs it."""
        whole = self.whole if whole is None else whole
        kept = None if whole else 1
        blocks = [block for side, lens in self.sides.items() for block in _side_blocks(side, lens, kept)]
        if self.comparison is not None:
            kl = self.comparison.kl[:, self.comparison.is_read]
            blocks.append(Block("difference/kl", kl, ("row", "column"), "f16"))
        return pack(blocks, self.manifest(whole, live))

    def rows(self, rows: Iterable[int], sides: Iterable[str]) -> bytes:
        """The top k of single rows, with the names of their tokens.

        Raises:
            DataError: a row or side that is not there.
        """
        blocks, ids = [], set()
        for side in sides:
            if side not in self.sides:
                raise DataError(f"there is no side {side!r}.")
            lens = self.sides[side]
            for row in rows:
                if not 0 <= row < len(lens.layers):
                    raise DataError(f"row {row} does not exist.", f"The lens has rows 0 to {len(lens.layers) - 1}.")
                top_ids, top_probs = lens.top_ids[row, lens.is_read], lens.top_probs[row, lens.is_read]
                ids |= set(top_ids.ravel().tolist())
                blocks += [
                    Block(f"{side}/top_ids/{row}", top_ids.astype(np.float32), ("position", "k")),
                    Block(f"{side}/top_probs/{row}", top_probs, ("position", "k"), "f16"),
                ]
        manifest: LensRows = {"names": self._names(ids)}
        return pack(blocks, manifest)

    def manifest(self, whole: bool, live: bool | None = None) -> LensManifest:
        """What the picture means."""
        lens = self.data
        ids: set[int] = set(lens.target_ids.tolist())
        for side in self.sides.values():
            ids |= set(side.top_ids[:, side.is_read, : None if whole else 1].ravel().tolist())
        return {
            **self.of_any_view(live),
            "kind": "logit_lens",
            "other": self.other(),
            "tokens": token_table(lens.tokens),
            "positions": list(lens.positions),
            "read": self._read(),
            "layers": list(lens.layers),
            "streams": list(lens.streams),  # type: ignore[typeddict-item]
            "lens": lens.lens,  # type: ignore[typeddict-item]
            "lenses": list(self.lenses),  # type: ignore[typeddict-item]
            "available_streams": list(self.streams),  # type: ignore[typeddict-item]
            "n_layers": self.n_layers,
            "d_vocab": self.d_vocab,
            "top_k": int(lens.top_ids.shape[-1]),
            "whole": whole,
            "names": self._names(ids),
            "targets": self._names(lens.target_ids.tolist()),
            "compare": self._compare(),
        }

    def _names(self, ids: Iterable[int]) -> list[TokenName]:
        known = {token: name for side in self.sides.values() for token, name in side.names.items()}
        return [{"id": int(token), "string": known.get(int(token), str(token))} for token in dict.fromkeys(ids)]

    def _read(self) -> LensRead | None:
        if not self.partial:
            return None
        read = {side: np.flatnonzero(lens.is_read).tolist() for side, lens in self.sides.items()}
        return {"A": read["A"], "B": read.get("B", [])}

    def _compare(self) -> LensCompare | None:
        if self.comparison is None:
            return None
        other = self.comparison.b
        same = other.tokens == self.data.tokens and other.lens != self.data.lens
        return {
            "what": "lens" if same else "prompt",
            "lens": other.lens,  # type: ignore[typeddict-item]
            "tokens": token_table(other.tokens),
            "positions": list(other.positions),
            "pairs": self.pairs(self.comparison.pairs),
        }

    def _checks(self) -> list[CheckValue]:
        checks = finite_checks(*(lens.not_finite for lens in self.sides.values()))
        for side, lens in self.sides.items():
            if lens.max_error is not None:
                where = f" ({side})" if len(self.sides) > 1 else ""
                detail = "exactly" if lens.max_error == 0 else f"max relative error {lens.max_error:.0e}"
                if math.isnan(lens.max_error):
                    detail = "no numbers to compare"
                checks.append(output_check(f"last row = the model's output{where}", lens.max_error, self.half, detail))
        return checks


def _side_blocks(side: str, lens: LogitLens, kept: int | None) -> list[Block]:
    tops, pins = ("row", "position", "k"), ("row", "position", "target")
    read = slice(None) if lens.read is None else lens.is_read
    blocks = [
        # Ids stay below 2²⁴, so that float32 holds them exactly.
        Block(f"{side}/top_ids", lens.top_ids[:, read, :kept].astype(np.float32), tops),
        Block(f"{side}/top_probs", lens.top_probs[:, read, :kept], tops, "f16"),
        *(_cells(f"{side}/{name}", getattr(lens, name)[:, read], ("row", "position")) for name in CELLS),
    ]
    if lens.target_probs is not None and lens.target_ranks is not None and lens.target_ids.size:
        blocks += [
            _cells(f"{side}/target_probs", lens.target_probs[:, read], pins),
            _cells(f"{side}/target_ranks", lens.target_ranks[:, read], pins),
        ]
    return blocks


def _cells(name: str, values: np.ndarray, axes: tuple[str, ...]) -> Block:
    """Whole numbers cross exactly, all others in half precision."""
    if np.issubdtype(values.dtype, np.integer):
        return Block(name, values.astype(np.float32), axes)
    return Block(name, values, axes, "f16")
