"""What a lens on the residual stream reads: at every layer and position, the next tokens the model would predict if it
stopped there.

Knows nothing of models, torch or the page.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any

import numpy as np
import pandas as pd

from mi_widgets.data.arrays import read_only
from mi_widgets.data.integers import integer, integers, is_integer
from mi_widgets.data.interventions import Change
from mi_widgets.data.record import Record, count_from_0, floats, one_of, record, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError, choose

#: Which vectors a lens can read, in the order in which a block makes them.
STREAMS = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
#: How a vector is brought to the last layer before it is read.
LENSES = ("logit", "tuned", "jacobian")
#: Tokens that can be pinned at once; as many colours can be told apart.
MOST_TARGETS = 8
#: Arrays of one number for each cell.
CELLS = ("entropy", "kl", "change", "final_rank", "next_prob", "next_rank")
#: Arrays with an axis of their own behind row and position.
TOPS, PINS = ("top_ids", "top_probs"), ("target_probs", "target_ranks")
#: `to_pandas` refuses longer tables than this.
MAX_ROWS = 20_000_000


@record
class LogitLens(Record):
    """A lens on one prompt: every row is one vector of the residual stream at every position, read as the model reads
    its last one (nostalgebraist 2020; tuned lens: Belrose et al. 2023). The last row is the model's own output.

    Arrays are read-only, and the record's own. Where a row is no number (NaN), so are its probabilities and
    divergences, and its ranks are -1.

    Attributes:
        tokens: the whole prompt as run.
        layers: the model's layer number of each row.
        streams: what each row reads: `"resid_pre"`, `"resid_mid"`, `"resid_post"` (the residual stream before, inside
            and after the block), `"attn_out"`, `"mlp_out"` (what attention and MLP add to it). The last row is always
            `"resid_post"` of the last layer.
        top_ids: int32 `[row, position, k]`, the likeliest next tokens, most likely first.
        top_probs: float32 `[row, position, k]`, their probabilities over the whole vocabulary.
        entropy: float32 `[row, position]`, nats.
        kl: float32 `[row, position]`, nats: KL(the model's output ‖ this row); 0 in the last row.
        change: float32 `[row, position]`, nats: KL(this row ‖ the row before); NaN in the first row.
        final_rank: int32 `[row, position]`: rank in this row of the token that the model's output puts first.
        next_prob: float32 `[row, position]`: of the token that follows in the prompt; NaN at its last position.
        next_rank: int32 `[row, position]`: of that token; -1 at the prompt's last position.
        target_ids: int32 `[target]`, the pinned tokens.
        target_probs: float32 `[row, position, target]`.
        target_ranks: int32 `[row, position, target]`. Every rank counts the tokens with a strictly larger logit, so 0
            is the likeliest.
        names: display string of every token id that occurs.
        positions: the prompt's positions that the position axis holds; all of them if empty.
        lens: `"logit"`, `"tuned"` or `"jacobian"`.
        max_error: the self-check: largest difference between the last row's logits and those the model gave, of its
            likeliest tokens, relative to the largest of these logits; None where it was not made.
        d_vocab: size of the vocabulary.
        not_finite: "" where every number is finite; else where in the model that ended. Such cells have NaN, and -1 for
            ids and ranks.
        model: the model's name, or "".
        interventions: made in the run; () for the untouched one.
        read: of a partial result, the positions that are read so far; the others hold NaN, and -1 for ids and ranks.
            None where all are read.
    """

    tokens: Tokens
    layers: tuple[int, ...]
    streams: tuple[Annotated[str, one_of("stream", STREAMS)], ...]
    top_ids: Annotated[np.ndarray, whole_numbers("row", "position", "k")]
    top_probs: Annotated[np.ndarray, floats("row", "position", "k")]
    entropy: Annotated[np.ndarray, floats("row", "position")]
    kl: Annotated[np.ndarray, floats("row", "position")]
    change: Annotated[np.ndarray, floats("row", "position")]
    final_rank: Annotated[np.ndarray, whole_numbers("row", "position")]
    next_prob: Annotated[np.ndarray, floats("row", "position")]
    next_rank: Annotated[np.ndarray, whole_numbers("row", "position")]
    target_ids: Annotated[np.ndarray, whole_numbers("target")] = field(default_factory=lambda: np.zeros(0, np.int32))
    target_probs: Annotated[np.ndarray, floats("row", "position", "target")] | None = None
    target_ranks: Annotated[np.ndarray, whole_numbers("row", "position", "target")] | None = None
    names: dict[int, str] = field(default_factory=dict)
    positions: tuple[int, ...] = ()
    lens: Annotated[str, one_of("lens", LENSES)] = "logit"
    max_error: float | None = None
    d_vocab: Annotated[int, count_from_0] = 0
    model: str = ""
    not_finite: str = ""
    interventions: tuple[Change, ...] = ()
    read: tuple[int, ...] | None = None

    LATER = ("read",)

    def _complete(self) -> None:
        self._set("positions", self.positions or tuple(range(len(self.tokens))))
        for name, dtype in zip(PINS, (np.float32, np.int32), strict=True):
            if getattr(self, name) is None and self.target_ids.size:
                raise DataError(f"{name} is missing.", "Give it for every pinned token.")
            if getattr(self, name) is None:
                self._set(name, read_only(np.zeros((len(self.layers), len(self.positions), 0), dtype)))
        if self.read is not None:
            read, positions = set(self.read), set(self.positions)
            if not read <= positions:
                raise DataError(f"read positions {sorted(read - positions)} are not in this result.")
            kept = tuple(position for position in self.positions if position in read)
            self._set("read", None if len(kept) == len(self.positions) else kept)

    def _sizes(self) -> dict[str, int]:
        return {"row": len(self.layers), "position": len(self.positions)}

    def _check(self) -> None:
        layers, positions = self.layers, self.positions
        if len(self.streams) != len(layers):
            raise DataError(f"{len(self.streams)} streams for {len(layers)} rows.", "Give one for each row.")
        if not layers or min(layers) < 0:
            raise DataError(f"layers are {list(layers)}.", "Give one for each row, counted from 0.")
        if not 0 < len(set(positions)) == len(positions) or not set(positions) <= set(range(len(self.tokens))):
            raise DataError(f"positions {list(positions)} are not distinct positions of {len(self.tokens)} tokens.")
        if not self.top_k:
            raise DataError("top_ids has no place on its axis k.", "Keep at least the likeliest token.")

    @property
    def shape(self) -> tuple[int, int]:
        """Sizes of row and position."""
        return len(self.layers), len(self.positions)

    @property
    def stream(self) -> str:
        """What the rows before the last one read."""
        return self.streams[0]

    @property
    def top_k(self) -> int:
        """Tokens kept for each cell."""
        return self.top_ids.shape[-1]

    @property
    def is_read(self) -> np.ndarray:
        """bool `[position]`: which positions are read; all, unless the result is partial."""
        read = None if self.read is None else set(self.read)
        return np.array([read is None or position in read for position in self.positions])

    def row_labels(self) -> list[str]:
        """One label per row: its layer; `"output"` for a last row that is no row of the chosen stream."""
        own = [str(layer) for layer in self.layers]
        return own if self.streams[-1] == self.stream else [*own[:-1], "output"]

    def row(self, layer: int) -> int:
        """The row that reads the chosen stream at the model's layer `layer`.

        Raises:
            DataError: no such row.
        """
        layer = integer("layer", layer)
        for row, (own, stream) in enumerate(zip(self.layers, self.streams, strict=True)):
            if own == layer and stream == self.stream:
                return row
        raise DataError(f"layer {layer} is not in this result.", f"It holds {self.stream} of {list(self.layers)}.")

    def column(self, position: int) -> int:
        """The index on the position axis of the prompt's position `position`; negative ones count from the end.

        Raises:
            DataError: that position is not in this result.
        """
        position = integer("position", position)
        wanted = position + len(self.tokens) if position < 0 else position
        if wanted not in self.positions:
            raise DataError(f"position {position} is not in this result.", f"It holds {list(self.positions)}.")
        return self.positions.index(wanted)

    def target(self, token: int | str) -> int:
        """The index on the target axis of a pinned token, by id or display string.

        Raises:
            DataError: it is not pinned.
        """
        for index, pinned in enumerate(self.target_ids.tolist()):
            if token == self.name(pinned) if isinstance(token, str) else is_integer(token) and token == pinned:
                return index
        pinned_names = [self.name(pinned) for pinned in self.target_ids.tolist()]
        raise DataError(f"{token!r} is not pinned.", f"Pinned are {pinned_names}; give it as a target.")

    def name(self, token: int) -> str:
        """Display string of a token id."""
        token = integer("token", token)
        return self.names.get(token, str(token))

    def targets(self, ids: Any) -> LogitLens:
        """The same result with only these pinned tokens, in this order.

        Raises:
            DataError: one of them is not pinned.
        """
        kept = [self.target(token) for token in integers("targets", ids)]
        return replace(
            self,
            target_ids=self.target_ids[kept],
            target_probs=self.target_probs[..., kept],  # type: ignore[index]
            target_ranks=self.target_ranks[..., kept],  # type: ignore[index]
        )

    def to_pandas(self, by: str = "cell") -> pd.DataFrame:
        """Long form. Every row has stream, layer, position, token and, for

        `by="cell"` (one row per cell): top_id, top_token, probability (of the top token), entropy, kl, change (nats),
            final_rank, next_prob, next_rank, and for each pinned token `probability of <token>`, `rank of <token>`;
        `by="top"` (one row per cell and place in its top k): place (0 is the likeliest), id, top_token, probability;
        `by="target"` (one row per cell and pinned token): id, target, probability, rank.

        Raises:
            DataError: another `by`, or more than 20 million rows.
        """
        depth = {"cell": 1, "top": self.top_k, "target": len(self.target_ids)}
        if not isinstance(by, str) or by not in depth:
            raise DataError(f"unknown by={by!r}.", choose(by, depth))
        rows, columns = self.shape
        if rows * columns * depth[by] > MAX_ROWS:
            raise DataError(f"the table would have {rows * columns * depth[by]:,} rows.", 'Take by="cell".')
        row, column, place = (part.ravel() for part in np.indices((rows, columns, depth[by])))
        positions = np.array(self.positions)[column]
        table: dict[str, Any] = {
            "stream": np.array(self.streams, object)[row],
            "layer": np.array(self.layers)[row],
            "position": positions,
            "token": np.array(self.tokens.strings, object)[positions],
        }
        if by == "target":
            table["id"] = self.target_ids[place]
            table["target"] = self._strings(self.target_ids)[place]
            table["probability"] = self.target_probs[row, column, place]  # type: ignore[index]
            table["rank"] = self.target_ranks[row, column, place]  # type: ignore[index]
            return pd.DataFrame(table)
        if by == "top":
            table["place"] = place
        ids = self.top_ids[row, column, place]
        table["id" if by == "top" else "top_id"] = ids
        table["top_token"] = self._strings(ids)
        table["probability"] = self.top_probs[row, column, place]
        if by == "cell":
            table |= {name: getattr(self, name).ravel() for name in CELLS}
            for index, token in enumerate(self.target_ids.tolist()):
                for name, array in (("probability", self.target_probs), ("rank", self.target_ranks)):
                    label = f"{name} of {self.name(token)}"
                    # Two ids may look alike; their columns may not.
                    label = f"{label} ({token})" if label in table else label
                    table[label] = array[..., index].ravel()  # type: ignore[index]
        return pd.DataFrame(table)

    def _strings(self, ids: np.ndarray) -> np.ndarray:
        """Display strings of ids of any shape."""
        unique, inverse = np.unique(ids, return_inverse=True)
        return np.array([self.name(token) for token in unique.tolist()], object)[inverse.reshape(ids.shape)]
