"""What splices and clamps of one sparse coder do inside a pass: they hear what it encodes, and change what it decodes.

All of one coder read one encoding. The graph is kept where gradients are taken. Knows nothing of models; of the coder
what `sae.coder.SparseCoder` says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mi_widgets.data.coder_interventions import Clamp, CoderChange, Splice
from mi_widgets.errors import ModelError

#: Numbers of one chunk of activations of features: 128 MB in float32.
CHUNK = 32_000_000


class Recoding:
    """The act of every splice and clamp of one coder in one run.

    Args:
        coder: of one layer.
        same: what it encodes and what it decodes stand at one hook.
        change: the first of them.
        places: where, as for `add`.
    """

    def __init__(self, coder: Any, same: bool, change: CoderChange, places: tuple[int, ...] | None) -> None:
        self.coder, self.same = coder, same
        self._changes = [(change, places)]
        self._pass = threading.local()  # one pass on each thread

    def add(self, change: CoderChange, places: tuple[int, ...] | None) -> None:
        """One more change, at these positions counted from the start; None: wherever the coder acts."""
        self._changes.append((change, places))

    def hear(self, activation: torch.Tensor, _first: int) -> None:
        """As `Write.act`, at the hook that the coder encodes, behind all that is written there."""
        self._pass.heard = activation

    def __call__(self, activation: torch.Tensor, first: int) -> torch.Tensor | None:
        """As `Write.act`, at the hook that it decodes."""
        x = activation if self.same else self._taken(activation)
        coder, count = self.coder, activation.shape[1]
        rows = [acting(coder, places, first, count) for _, places in self._changes]
        if not any(bool(row.any()) for row in rows):
            return None
        features = [change.feature for change, _ in self._changes if isinstance(change, Clamp)]
        splicing = any(isinstance(change, Splice) for change, _ in self._changes)
        x = coder.flat(x)
        chosen, decoded = self._read(x, features, splicing)
        stood = activation.flatten(2)
        made = stood.float()
        changed = [(change, row) for (change, _), row in zip(self._changes, rows, strict=True)]
        for change, row in changed:
            if isinstance(change, Splice) and decoded is not None:
                out = decoded.to(made.device, torch.float32)
                out = out + (stood.float() - out) if change.error else out
                made = torch.where(row.to(made.device)[:, None], out, made)
        held = [
            (change, row) for (change, _), row in zip(self._changes, rows, strict=True) if isinstance(change, Clamp)
        ]
        for (change, row), own in zip(held, chosen.unbind(-1), strict=True):
            apart = (change.value - own).float()[..., None] * coder.scale(x)
            put = (apart * coder.W_dec[change.feature].float()).to(made.device, torch.float32)
            made = torch.where(row.to(made.device)[:, None], made + put, made)
        touched = torch.stack(rows).any(0).to(activation.device)[:, None]
        # What a coder makes of NaN may look like a number.
        lost = ~x.isfinite().all(-1, keepdim=True).to(made.device)
        made = torch.where(lost & touched, torch.nan, made).to(activation.dtype)
        return torch.where(touched, made, stood).reshape(activation.shape)

    def _taken(self, activation: torch.Tensor) -> torch.Tensor:
        x = vars(self._pass).pop("heard", None)
        if x is None or x.shape[:2] != activation.shape[:2]:
            raise ModelError(
                f"{self.coder.name} encodes what stands at {self.coder.hook_in}, which this pass begins behind.",
                "It cannot be spliced in here.",
            )
        return x

    def _read(self, x: torch.Tensor, features: list[int], splicing: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Of `[run, position, d_in]` the activations of some features, and if `splicing` what is decoded."""
        coder = self.coder
        chosen, decoded = [], []
        for piece in pieces(coder, x):
            if splicing:
                acts = with_graph(coder.encode)(piece)
                decoded.append(with_graph(coder.decode)(acts, piece))
                chosen.append(acts[..., features])
            else:
                chosen.append(with_graph(coder.encode_some)(piece, features))
        return _whole(chosen, x), _whole(decoded, x) if splicing else None


def acting(coder: Any, places: tuple[int, ...] | None, first: int, count: int) -> torch.Tensor:
    """bool `[position]`: of `count` positions from `first` on, those that a coder acts at: these places, or if None all
    that its metadata does not leave out."""
    if places is None:
        row = torch.ones(count, dtype=torch.bool)
        row[: max(0, int(coder.skips_first) - first)] = False
        return row
    row = torch.zeros(count, dtype=torch.bool)
    row[[place - first for place in places if first <= place < first + count]] = True
    return row


def replaced(coder: Any, made: torch.Tensor | float, activation: torch.Tensor, first: int = 0) -> torch.Tensor:
    """`made`, `[position, …]` or one number, at every position that the coder acts at; as `Write.act`."""
    row = acting(coder, None, first, activation.shape[1]).to(activation.device)
    put = torch.as_tensor(made, dtype=activation.dtype, device=activation.device)
    return torch.where(row.reshape(-1, *(1,) * (activation.ndim - 2)), put, activation)


def pieces(coder: Any, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """`[…, d_in]` in pieces whose activations of features fit a chunk: `[row, d_in]`, or of a coder that reads
    positions in order `[position, d_in]` of one run each."""
    if coder.reads_sequence:
        yield from x.reshape(-1, *x.shape[-2:])
    else:
        yield from x.reshape(-1, x.shape[-1]).split(max(1, CHUNK // coder.d_sae))


def with_graph(method: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A method of a coder with the graph that it leaves out for everyone else, where one is made at all."""
    whole = getattr(method, "__wrapped__", None)
    if whole is None or not torch.is_grad_enabled():
        return method
    return whole.__get__(method.__self__)  # type: ignore[attr-defined]


def _whole(parts: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return torch.cat(parts).reshape(*x.shape[:-1], -1)
