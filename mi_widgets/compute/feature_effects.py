"""What the weights of a coder say of its features, without any text: which tokens they favour, which other features
point the same way, which neurons they are written on.

Runs no model. Knows nothing of corpora.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.readout import Readout
from mi_widgets.compute.step import Step, Steps
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.errors import ModelError

#: Kept of each feature.
BEST = 10
#: Numbers of a product that are held at once.
AT_ONCE = 1 << 22
#: Hooks whose activations are added to the residual stream, or are the stream.
WRITTEN = (
    "hook_embed", "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out",
    "attn.hook_out", "mlp.hook_out",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FeatureEffects:
    """Of each feature; -1 and NaN where there are fewer than `BEST`.

    Attributes:
        promoted: int32 `[feature, rank]`: tokens whose logits its direction raises most, directly; the most first.
        promoted_by: float32 likewise: by how much, of one unit of activation before the final norm's division.
        suppressed: int32 likewise: those that it lowers most.
        suppressed_by: float32 likewise.
        neighbours: int32 likewise: features whose decoder directions are nearest.
        cosines: float32 likewise: their cosines.
        neurons: int32 likewise: coordinates of the coder's output that the direction is largest on.
        weights: float32 likewise: its coordinate there.
        shares: float32 likewise: the size of that, as a share of the sizes of all coordinates.
        notes: what could not be found, and why.
    """

    promoted: np.ndarray
    promoted_by: np.ndarray
    suppressed: np.ndarray
    suppressed_by: np.ndarray
    neighbours: np.ndarray
    cosines: np.ndarray
    neurons: np.ndarray
    weights: np.ndarray
    shares: np.ndarray
    notes: tuple[str, ...] = ()


def effects_steps(model: Any, coder: Any, features: list[int] | None = None) -> Steps[FeatureEffects]:
    """The effects of some features (all if None), in their order.

    A logit effect is `W_dec[feature] · gain ⊙ W_U`: what the direction adds to the logits if no later block changes it
    and the final norm divides by 1. Of a coder at `hook_z` the direction goes through `W_O` first.

    Args:
        model: a TransformerBridge.
        coder: a sparse coder of it.
        features: their numbers.
    """
    chosen = torch.arange(int(coder.d_sae)) if features is None else torch.tensor(features, dtype=torch.long)
    notes: tuple[str, ...] = ()
    try:
        reader = _Reader(model, coder)
    except ModelError as reason:
        reader, notes = None, (f"No logit effects: {reason.message}",)
    widest = max(int(coder.d_sae), 0 if reader is None else reader.d_vocab)
    several = max(1, AT_ONCE // widest)
    parts = []
    for start in range(0, len(chosen), several):
        yield Step(start, len(chosen))
        parts.append(_part(coder, chosen[start : start + several], reader))
    empty = _part(coder, chosen[:0], reader)
    columns = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
    return FeatureEffects(*columns, notes=notes)


@without_gradients
def _part(coder: Any, features: torch.Tensor, reader: _Reader | None) -> list[np.ndarray]:
    """The arrays of `FeatureEffects`, of some features."""
    W_dec, norms = coder.W_dec.detach(), coder.decoder_norms.to(coder.W_dec.device)
    features = features.to(W_dec.device)
    rows = W_dec[features].float()
    if reader is None:
        logits = [_nothing(len(features), np.int32), _nothing(len(features), np.float32)] * 2
    else:
        effects = reader.logits(rows)
        up, down = _best(effects), _best(-effects)
        logits = [*up, down[0], -down[1]]
    lengths = norms[features].float()[:, None] * norms.float()[None]
    cosines = (rows.to(W_dec.dtype) @ W_dec.T).float() / lengths.clamp_min(torch.finfo(torch.float32).tiny)
    cosines[torch.arange(len(features)), features] = -torch.inf
    near = _best(cosines)
    near[0][np.isneginf(near[1])], near[1][np.isneginf(near[1])] = -1, np.nan
    neurons, _ = _best(rows.abs())
    sizes = rows.abs().sum(1, keepdim=True).cpu().numpy()
    weights = np.full(neurons.shape, np.nan, np.float32)
    inside = neurons >= 0
    whole = rows.cpu().numpy()
    weights[inside] = whole[np.nonzero(inside)[0], neurons[inside]]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (np.abs(weights) / sizes).astype(np.float32)
    return [*logits, *near, neurons, weights, shares]


def _best(values: torch.Tensor) -> list[np.ndarray]:
    """Places and values of the largest of each row, `BEST` of them, -1 and NaN behind."""
    found = values.topk(min(BEST, values.shape[1]), dim=1)
    places, sizes = _nothing(len(values), np.int32), _nothing(len(values), np.float32)
    places[:, : found.indices.shape[1]] = found.indices.cpu().numpy()
    sizes[:, : found.indices.shape[1]] = found.values.float().cpu().numpy()
    return [places, sizes]


def _nothing(n_features: int, dtype: Any) -> np.ndarray:
    return np.full((n_features, BEST), -1 if dtype is np.int32 else np.nan, dtype)


class _Reader:
    """Reads directions of the coder's output as logits.

    Raises:
        ModelError: the model or the place of the coder does not allow it.
    """

    def __init__(self, model: Any, coder: Any) -> None:
        readout = Readout(model)
        self.d_vocab = readout.d_vocab
        W_U = model.W_U.detach()
        self._read = readout.gain.to(W_U.device)[:, None] * W_U.float()
        hook = coder.hook_out or ""
        self._out: torch.Tensor | None = None
        if hook.endswith("attn.hook_z"):
            try:
                self._out = model.blocks[int(hook.split(".")[1])].attn.W_O.detach().float().flatten(0, -2)
            except Exception as reason:  # quantised or fused weights refuse in their own ways
                raise ModelError(f"W_O of {hook} cannot be read ({reason}).") from reason
        elif not hook.endswith(WRITTEN):
            raise ModelError(f"what stands at {hook} is not added to the residual stream as it is.")
        width = int(model.cfg.d_model) if self._out is None else len(self._out)
        if int(coder.d_out) != width:
            raise ModelError(f"the coder's output is {coder.d_out} wide, not {width}.")

    def logits(self, directions: torch.Tensor) -> torch.Tensor:
        """float32 `[row, d_vocab]` of `[row, d_out]`."""
        directions = directions.to(self._read.device)
        if self._out is not None:
            directions = directions @ self._out.to(directions.device)
        return directions @ self._read
