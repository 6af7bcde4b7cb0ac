"""The last step of the model taken apart at one position: the final residual stream as a sum, and how one logit
difference reads it.

Works on activations of `logit_attribution.attribution_sites`; runs no block. Knows nothing of heads and neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import Activations
from mi_widgets.compute.readout import Readout
from mi_widgets.compute.rounding import additions, explained
from mi_widgets.compute.stream_changes import ATTENTION, MLP, changes_of, read
from mi_widgets.compute.writes import tolerance_of
from mi_widgets.errors import DataError, ModelError


class NotFiniteError(ArithmeticError):
    """NaN or ±inf where the final stream is read; caught by `logit_attribution`, which says where that began."""


SCALE = "ln_final.hook_scale"
FIRST, EMBEDDING, POSITIONS = "blocks.0.hook_resid_pre", "hook_embed", "hook_pos_embed"
OUTPUT = ("output.top_ids", "output.top_logits")


def last_site(model: Any) -> str:
    """The residual stream after the last block."""
    return f"blocks.{int(model.cfg.n_layers) - 1}.hook_resid_post"


class Stream:
    """The final residual stream at one position and what it is the sum of; float64 throughout.

    Attributes:
        first: `[d_model]`, what enters the first block, without what an intervention puts there.
        embeddings: the token's and the position's share of it, each `[d_model]`, where they are all there is; or ().
        attention: `[layer, d_model]`, what the attention of each layer adds (after a norm behind it).
        mlps: the same for the MLPs; None for a model without.
        last: `[d_model]`, the stream after the last block.
        changes: what interventions put in, `StreamChanges`; the stream is the sum of `first`, `attention`, `mlps` and
            `changes.stream`.

    Raises:
        ModelError: the stream is not that sum.
        DataError: activations that are not those of `attribution_sites`.
    """

    def __init__(self, model: Any, activations: Activations, position: int) -> None:
        self.position, self.activations = position, activations
        self.dtype: torch.dtype = model.W_U.dtype
        self.tolerance = tolerance_of(self.dtype)
        if activations.layers != tuple(range(int(model.cfg.n_layers))):
            raise DataError("an attribution needs the activations of every layer.", "Leave layers= out.")
        d_model = int(model.cfg.d_model)
        first, last = self.at(FIRST), self.at(last_site(model))
        attention, self.mlps = self.at(ATTENTION), self.at(MLP)
        if first is None or last is None or attention is None:
            raise DataError("these activations are not those of attribution_sites at this position.")
        self.changes = changes_of(model, activations, position)
        first = first if self.changes.first is None else self.changes.first
        self.first, self.last, self.attention = first, last, attention
        for name, array in (("stream", first), ("attention", attention), ("MLPs", self.mlps)):
            if array is not None and array.shape[-1] != d_model:
                raise ModelError(f"{name} of this architecture have {array.shape[-1]} numbers, not {d_model}.")
        if not all(np.isfinite(array).all() for array in (first, last, attention, self.mlps) if array is not None):
            raise NotFiniteError
        put = list(self.changes.stream.values())
        parts = first + attention.sum(0) + (0.0 if self.mlps is None else self.mlps.sum(0)) + sum(put)
        # What is put in may take nearly all away: then the sum is as exact as what it took.
        size = max(float(np.linalg.norm(vector)) for vector in [last, *put])
        error = float(np.linalg.norm(parts - last)) / max(size, 1e-30)
        if not error <= self.tolerance:  # also where it is not a number
            raise ModelError(
                "the residual stream of this model is not the sum of its embedding, attention and MLPs "
                f"(they are off by {100 * error:.2g} %).",
                "It cannot be attributed to them; norms between them do that, and hooks of your own that edit it.",
            )
        shares = self.at(EMBEDDING), self.at(POSITIONS)
        self.embeddings: tuple[np.ndarray, ...] = ()
        if shares[0] is not None and shares[1] is not None and shares[0].shape == shares[1].shape == first.shape:
            apart = float(np.linalg.norm(shares[0] + shares[1] - first))
            if apart <= self.tolerance * float(np.linalg.norm(first)):
                self.embeddings = shares[0], shares[1]

    @property
    def own_attention(self) -> np.ndarray:
        """`attention` as the heads gave it, before an intervention on it."""
        return _without(self.attention, self.changes.attention)

    @property
    def own_mlps(self) -> np.ndarray | None:
        """`mlps` as the neurons gave it, before an intervention on it."""
        return None if self.mlps is None else _without(self.mlps, self.changes.mlps)

    def at(self, site: str) -> np.ndarray | None:
        """float64 of `site` at the position; None where the activations lack it."""
        array = read(self.activations, site, self.position)
        return None if array is None else array.astype(np.float64)


def _without(added: np.ndarray, changes: dict[int, np.ndarray]) -> np.ndarray:
    """`[layer, d_model]` less what was put into some layers."""
    own = added.copy() if changes else added
    for layer, change in changes.items():
        own[layer] = own[layer] - change
    return own


@dataclass(frozen=True)
class Reading:
    """How one logit difference reads the final stream: `stream · direction + norm_bias + unembedding_bias +
    output_transform` is the model's `difference`.

    Attributes:
        direction: float64 `[d_model]`, with the norm's scale frozen.
        norm_bias: what the final norm's bias adds; None where it has none.
        unembedding_bias: what `b_U` adds; None where the model has none.
        output_transform: what a soft-cap of the logits changes; None where the model has none. (A plain multiplier of
            the logits is in `direction`.)
        difference: the model's own, by its own modules.
        tolerance: residue that rounding explains, logits.
        max_error: largest relative error against the model's output, or None.
    """

    direction: np.ndarray
    norm_bias: float | None
    unembedding_bias: float | None
    output_transform: float | None
    difference: float
    tolerance: float
    max_error: float | None


def reading_of(model: Any, stream: Stream, answer: int, foil: int | None) -> Reading:
    """How the logit of `answer` minus that of `foil` (None: of `answer` alone) reads `stream`.

    Raises:
        ModelError: logits that are not read from the stream through a norm and an unembedding.
    """
    readout = Readout(model)
    last = torch.from_numpy(stream.last.astype(np.float32))[None]
    raw = readout.raw_logits(last)
    logits = readout.transformed(raw)[0].cpu().double().numpy()
    raw = raw[0].float().cpu().double().numpy()
    multiplier = _multiplier(readout)

    def apart(values: np.ndarray) -> float:
        return float(values[answer] - (0.0 if foil is None else values[foil]))

    column = readout.unembedding(answer).double().numpy()
    if foil is not None:
        column = column - readout.unembedding(foil).double().numpy()
    gain, bias = readout.gain.double().numpy(), readout.bias.double().numpy()
    scale = _norm_scale(stream, readout, last, gain, bias)
    factor = 1.0 if multiplier is None else multiplier
    direction = factor * gain * column / scale
    if readout.centred:
        direction = direction - direction.mean()
    b_U = readout.b_U
    known = [token for token in (answer, foil) if token is not None]
    difference = apart(logits)
    if not np.isfinite(difference):
        raise NotFiniteError
    bound = 1e-4 * max(1.0, abs(difference))
    # What is put into the stream may leave little of it, on which the rounding of what was there weighs more.
    if stream.changes.stream or stream.dtype not in (torch.float32, torch.float64):
        steps = additions(stream.first, stream.attention, stream.mlps, stream.changes.stream)
        normed, read = direction * stream.last, np.array([raw[token] for token in known])
        bound = max(bound, explained(stream.dtype, steps, normed, factor * read, direction))
    return Reading(
        direction=direction,
        norm_bias=factor * float(bias @ column) if bias.any() else None,
        unembedding_bias=None if b_U is None else factor * apart(b_U.detach().float().cpu().double().numpy()),
        output_transform=difference - apart(raw) if multiplier is None else None,
        difference=difference,
        tolerance=bound,
        max_error=_output_error(stream, logits, known),
    )


def _norm_scale(stream: Stream, readout: Readout, last: torch.Tensor, gain: np.ndarray, bias: np.ndarray) -> float:
    """The final norm's own scale at the position, once it is seen that the norm is division, gain and bias."""
    cached = stream.at(SCALE)
    scale = 1.0 if cached is None else float(cached.reshape(-1)[0])
    centred = stream.last - stream.last.mean() if readout.centred else stream.last
    normalized = readout.normalized(last)[0].float().cpu().double().numpy()
    if not np.isfinite(normalized).all():
        raise NotFiniteError
    error = float(np.linalg.norm(gain * centred / scale + bias - normalized))
    if not error <= stream.tolerance * float(np.linalg.norm(normalized)):
        raise ModelError(
            "the final norm of this model is not a division by one scale, a gain and a bias.",
            "Its parts cannot be told apart; hooks of your own that edit it do the same.",
        )
    return scale


def _multiplier(readout: Readout) -> float | None:
    """What the logits are multiplied by last (Cohere, Granite), 1 for most; None where it is no plain multiplier."""
    probe = torch.tensor([[-40.0, 0.0, 0.5, 20.0]])
    after = readout.transformed(probe.clone())[0]
    factor = float(after[3]) / 20.0
    return factor if torch.allclose(after, factor * probe[0], rtol=1e-5, atol=1e-6) else None


def _output_error(stream: Stream, logits: np.ndarray, tokens: list[int]) -> float | None:
    """Largest error of the logits against those that are kept of the model's output, its likeliest tokens.

    Relative to max(1, the largest magnitude among these and `tokens`): what is wrong with some is wrong with all.
    """
    ids, tops = (stream.activations.arrays.get(site) for site in OUTPUT)
    if ids is None or tops is None:
        return None
    own = tops[stream.position].astype(np.float64)
    read = logits[ids[stream.position].astype(int)]
    size = max(1.0, float(np.abs(own).max()), *(abs(float(logits[token])) for token in tokens))
    return float(np.abs(read - own).max()) / size
