"""Reads a lens, some positions at a time: logits of every row, and all that is kept of them.

The walk over the vocabulary is in here; nothing of size `[layer, position, d_vocab]` is ever made. Knows nothing of
steps, sessions or pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from mi_widgets.compute.answers import named
from mi_widgets.compute.distributions import divergence, entropies, largest, ranks
from mi_widgets.compute.forward import Activations
from mi_widgets.compute.lens_rows import check_positions, lens_name, transported
from mi_widgets.compute.not_finite import LOGITS, not_finite
from mi_widgets.compute.readout import Readout, check_readable
from mi_widgets.compute.walks import FEW, softmaxes
from mi_widgets.data import LogitLens, Tokens
from mi_widgets.data.integers import integer, integers
from mi_widgets.data.logit_lens import MOST_TARGETS
from mi_widgets.errors import DataError
from mi_widgets.models import describe

#: Vectors that are unembedded together: fewer would read the whole unembedding for little. Less than a tenth of
#: a second for GPT-2's on two cores.
TOGETHER = 96
#: Positions that are read together, at least, of every row.
FEWEST = 8


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    Attributes:
        tokens: the prompt as run.
        activations: of `lens_sites(stream)`.
        lens: `"logit"`, a `TunedLens` or a `JacobianLens`.
        positions: only these, negative ones from the end; all if None.
        model: whose prompt and activations these are; None: that of the comparison.
    """

    tokens: Tokens
    activations: Activations
    lens: Any = "logit"
    positions: Sequence[int] | None = None
    model: Any = None


def checked_targets(targets: Sequence[int], d_vocab: int) -> list[int]:
    """The ids, each once, in order. DataError for more than eight, or one outside the vocabulary."""
    wanted = list(dict.fromkeys(integers("targets", targets)))
    if len(wanted) > MOST_TARGETS:
        raise DataError(f"{len(wanted)} pinned tokens.", f"Pin at most {MOST_TARGETS}.")
    outside = [token for token in wanted if not 0 <= token < d_vocab]
    if outside:
        raise DataError(f"token id {outside[0]} is outside the vocabulary.", f"Ids run from 0 to {d_vocab - 1}.")
    return wanted


class Read(NamedTuple):
    """Distributions `[position, d_vocab]` of one row of one chunk, good until the next is read."""

    row: int
    p: torch.Tensor
    log_p: torch.Tensor
    scratch: torch.Tensor


class LensReader:
    """Reads rows at some positions at a time and collects what is kept of them.

    Args:
        model: a TransformerBridge.
        side: prompt, activations, lens and positions.
        rows: `(stream, layer)` of each, the model's output last.
        top_k: tokens kept for each cell.
        targets: ids of pinned tokens.
        share: how many readers work at once, which divides the size of a chunk.

    Attributes:
        size: positions that are read together.
        work: products that reading everything takes.
    """

    def __init__(
        self, model: Any, side: Side, rows: list[tuple[str, int]], top_k: int, targets: Sequence[int], share: int = 1
    ) -> None:
        check_readable(side.activations.interventions)
        self.readout = Readout(model)
        self._model, self._side, self._rows = model, side, rows
        self.positions = check_positions(side.tokens, side.positions)
        d_vocab = self.readout.d_vocab
        top_k = integer("top_k", top_k)
        if top_k < 1:
            raise DataError(f"top_k is {top_k}.", "Keep at least one token for each cell.")
        self.size, self._together = max(1, max(FEWEST, FEW // d_vocab) // share), max(1, TOGETHER // share)
        self.work = len(rows) * len(self.positions) * d_vocab * int(model.cfg.d_model)
        self._targets = checked_targets(targets, d_vocab)
        self._room: torch.Tensor | None = None
        self._names: dict[int, str] = {}
        self._lost_at: str | None = None
        ids = side.tokens.ids
        following = [int(ids[position + 1]) if position + 1 < len(ids) else -1 for position in self.positions]
        self._following = np.array(following, np.int64)
        cells, kept = (len(rows), len(self.positions)), min(top_k, d_vocab)
        self._found: dict[str, np.ndarray] = {
            name: np.full((*cells, *last), np.nan if kind is np.float32 else -1, kind)
            for name, last, kind in (
                ("top_ids", (kept,), np.int32),
                ("top_probs", (kept,), np.float32),
                ("entropy", (), np.float32),
                ("kl", (), np.float32),
                ("change", (), np.float32),
                ("final_rank", (), np.int32),
                ("next_prob", (), np.float32),
                ("next_rank", (), np.int32),
                ("target_probs", (len(self._targets),), np.float32),
                ("target_ranks", (len(self._targets),), np.int32),
            )
        }
        self._difference, self._largest = 0.0, 1e-30

    def chunks(self, chosen: np.ndarray | None = None) -> list[np.ndarray]:
        """Indices of the position axis, all or those `chosen`, as many at a time as are read together."""
        chosen = np.arange(len(self.positions)) if chosen is None else chosen
        return [chosen[start : start + self.size] for start in range(0, len(chosen), self.size)]

    def room(self, count: int) -> torch.Tensor:
        """Room for six times `count` rows of logits, `[6, count, d_vocab]`; always the same."""
        if self._room is None or self._room.shape[1] != count:
            self._room = torch.empty((6, count, self.readout.d_vocab), device=self.readout.device)
        return self._room

    def logits(self, places: np.ndarray, rows: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
        """float32 `[position, d_vocab]` of one row after the other, several unembedded at once."""
        held, last = self._side.activations, len(self._rows) - 1
        positions = [self.positions[place] for place in places]
        step = max(1, self._together // len(places))
        for start in range(0, len(rows), step):
            vectors = []
            for row in rows[start : start + step]:
                stream, layer = self._rows[row]
                array = held.arrays[f"hook_{stream}"][held.layers.index(layer)]
                found = torch.from_numpy(array[positions]).to(self.readout.device)
                vectors.append(found if row == last else transported(self._side.lens, found, layer))
            yield from zip(rows[start : start + step], self.readout.logits(torch.cat(vectors)).split(len(places)))

    def read(self, places: np.ndarray) -> Iterator[Read]:
        """Every row at `places`, first to last. The model's output is read before them all: they are compared to it."""
        last = len(self._rows) - 1
        final_p, final_log_p, p, log_p, before, scratch = self.room(len(places))
        top = None
        for row, logits in self.logits(places, [last, *range(last)]):
            if row == last:
                softmaxes(logits, final_p, final_log_p)
                top = self._keep(row, places, logits, final_p, final_log_p, None, scratch)
                self._check(places, logits)
                continue
            softmaxes(logits, p, log_p)
            self._keep(row, places, logits, p, log_p, top, scratch)
            self._put("kl", row, places, divergence(final_p, final_log_p, log_p, scratch))
            if row > 0:
                self._put("change", row, places, divergence(p, log_p, before, scratch))
            yield Read(row, p, log_p, scratch)
            log_p, before = before, log_p
        self._found["kl"][last, places] = np.where(self._found["top_ids"][last, places, 0] < 0, np.nan, 0.0)
        if last > 0:
            self._found["change"][last, places] = self._found["kl"][last - 1, places]
        fresh = set(np.unique(self._found["top_ids"][:, places]).tolist()) - self._names.keys()
        self._names |= named(self._model, fresh)  # a few at a time: a reading of many positions has thousands
        yield Read(last, final_p, final_log_p, scratch)

    def _keep(
        self,
        row: int,
        places: np.ndarray,
        logits: torch.Tensor,
        p: torch.Tensor,
        log_p: torch.Tensor,
        top: torch.Tensor | None,
        scratch: torch.Tensor,
    ) -> torch.Tensor:
        """What one row's distributions say by themselves, and of the model's own `top` token `[position, 1]`: that of
        this row if None. Returns it."""
        ids = largest(logits, self._found["top_ids"].shape[-1])[1]
        top = ids[:, :1] if top is None else top
        following = torch.as_tensor(self._following[places], device=logits.device)
        targets = torch.tensor(self._targets, dtype=torch.long, device=logits.device).expand(len(places), -1)
        # The last position has no next token: any stands in for it, and its numbers are left out below.
        watched = torch.cat([top, following.clamp(min=0)[:, None], targets], dim=1)
        order, probs = ranks(logits, logits.gather(1, watched), scratch), p.gather(1, watched)
        found = p.gather(1, ids)
        # One NaN or +inf among the logits leaves NaN everywhere in p, and no token likelier than another.
        lost = found[:, 0].isnan()
        ids, order = (torch.where(lost[:, None], -1, values) for values in (ids, order))
        self._put("top_ids", row, places, ids)
        self._put("top_probs", row, places, found)
        self._put("entropy", row, places, entropies(p, log_p, scratch))
        self._put("final_rank", row, places, torch.where(self._without_top(places, lost, row), -1, order[:, 0]))
        self._put("target_probs", row, places, probs[:, 2:])
        self._put("target_ranks", row, places, order[:, 2:])
        known = (following >= 0).cpu().numpy()
        self._found["next_prob"][row, places[known]] = probs[:, 1].cpu().numpy()[known]
        self._found["next_rank"][row, places[known]] = order[:, 1].cpu().numpy()[known]
        return top

    def _without_top(self, places: np.ndarray, lost: torch.Tensor, row: int) -> torch.Tensor:
        """bool `[position]`: where the model's own output has no likeliest token."""
        own = self._found["top_ids"][-1, places, 0] < 0  # the last row is read first
        return torch.from_numpy(own).to(lost.device) if row < len(self._rows) - 1 else lost

    def _put(self, name: str, row: int, places: np.ndarray, values: torch.Tensor) -> None:
        self._found[name][row, places] = values.cpu().numpy()

    def _check(self, places: np.ndarray, logits: torch.Tensor) -> None:
        """The last row against what is kept of the model's own output."""
        arrays = self._side.activations.arrays
        if "output.top_logits" not in arrays:
            return
        positions = [self.positions[place] for place in places]
        kept = np.maximum(arrays["output.top_ids"][positions], 0).astype(np.int64)  # -1 where nothing is finite
        ids = torch.as_tensor(kept, device=logits.device)
        wanted = torch.from_numpy(arrays["output.top_logits"][positions])
        error = (logits.gather(1, ids).cpu() - wanted).abs().max()
        # numpy's maximum, since Python's would pass over NaN.
        self._difference = float(np.maximum(self._difference, float(error)))
        self._largest = float(np.maximum(self._largest, float(wanted.abs().max())))

    def result(self, read: np.ndarray | None = None) -> LogitLens:
        """All that was read: whole, or a partial result of these indices of the position axis."""
        info, found, tokens = describe(self._model), self._found, self._side.tokens
        checked = "output.top_logits" in self._side.activations.arrays
        return LogitLens(
            tokens=tokens,
            layers=tuple(layer for _, layer in self._rows),
            streams=tuple(stream for stream, _ in self._rows),
            target_ids=np.array(self._targets, np.int32),
            names=self._names | named(self._model, [*tokens.ids, *self._targets]),
            positions=self.positions,
            lens=lens_name(self._side.lens),
            max_error=self._difference / self._largest if checked else None,
            d_vocab=self.readout.d_vocab,
            model=info.label,
            not_finite=self._not_finite(slice(None) if read is None else read),
            read=None if read is None else tuple(self.positions[place] for place in read),
            interventions=self._side.activations.interventions,
            **found,
        )

    def _not_finite(self, read: Any) -> str:
        """Where numbers stop being finite: in the model, or in what a lens makes of a row; "" if nowhere."""
        lost: np.ndarray = np.any(self._found["top_ids"][:, read, 0] < 0, axis=1)
        if not lost.any():
            return ""
        if self._lost_at is None:
            held = self._side.activations
            self._lost_at = not_finite(self._model, self._side.tokens.ids, held.known, held.writes)
        if lost[-1] or self._lost_at != LOGITS:
            return self._lost_at
        stream, layer = self._rows[int(lost.argmax())]
        return f"in the lens's logits of {stream} at layer {layer}"
