"""What a sparse coder makes of a run: where it reads there, which features are active, what it decodes.

Works on activations; runs no model. Of the coder it knows what `sae.coder.SparseCoder` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.activations import unwritten
from mi_widgets.compute.recoding import acting, pieces
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.data.coder_interventions import CoderChange
from mi_widgets.data.interventions import Change, written_hook
from mi_widgets.errors import DataError


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a coder makes of some positions of one prompt. Entries are as in `data.FeatureActivations`.

    Attributes:
        positions: int64 `[entry]`, rows of what was encoded.
        features: int64 `[entry]`.
        activation: float32 `[entry]`.
        decoded: float32 `[position, d_out]`, heads flat; NaN where the coder does not act.
        scale: float32 `[position]`: what `W_dec` is multiplied by there.
        acts: bool `[position]`: where it acts.
    """

    positions: np.ndarray
    features: np.ndarray
    activation: np.ndarray
    decoded: np.ndarray
    scale: np.ndarray
    acts: np.ndarray


@without_gradients
def encoded(coder: Any, x: np.ndarray, first: int = 0) -> Encoded:
    """What a coder makes of `x`.

    Args:
        coder: of one layer.
        x: float32 `[position, d_in]` (heads may be apart), finite where the coder acts.
        first: place in the prompt of the first position.

    Raises:
        DataError: numbers that are not finite.
    """
    flat = coder.flat(torch.from_numpy(np.array(x, np.float32))[None])[0]
    acts = acting(coder, None, first, len(flat))
    if not bool(flat[acts].isfinite().all()):
        raise DataError("what the coder is to encode holds numbers that are not finite.")
    decoded = torch.full((len(flat), coder.d_out), torch.nan)
    scale = torch.ones(len(flat))
    where: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    # What reads positions in order must hear those before, too.
    read, done = (torch.arange(len(flat)) if coder.reads_sequence else acts.nonzero()[:, 0]), 0
    for piece in pieces(coder, flat[read][None] if coder.reads_sequence else flat[read]):
        rows = read[done : done + len(piece)]
        done += len(piece)
        found = coder.encode(piece)
        decoded[rows] = coder.decode(found, piece).float().cpu()
        scale[rows] = torch.as_tensor(coder.scale(piece)).float().cpu().reshape(-1).expand(len(rows))
        found = found * acts[rows].to(found.device)[:, None]
        active = found.nonzero()
        values.append(found[active[:, 0], active[:, 1]].float().cpu())
        active = active.cpu()
        where.append(torch.stack([rows[active[:, 0]], active[:, 1]], -1))
    decoded[~acts] = torch.nan
    entries = torch.cat(where) if where else torch.zeros((0, 2), dtype=torch.long)
    activation = torch.cat(values) if values else torch.zeros(0)
    positions, features = entries.T.numpy()
    return Encoded(positions, features, activation.numpy(), decoded.numpy(), scale.numpy(), acts.numpy())


def read_at(model: Any, interventions: Iterable[Change], coder: Any) -> tuple[str, str]:
    """The sites of what a coder encodes and decodes in a run: what stands there with the interventions, but before a
    splice or clamp of this very coder.

    Raises:
        DataError: a splice or clamp of this coder behind another intervention at the same hook: what it read cannot be
            told from what stood there.
    """
    known, before = model.hook_dict, False
    point = known.get(coder.hook_out)
    changes = list(interventions)
    own = [isinstance(one, CoderChange) and one.coder.fingerprint == coder.fingerprint for one in changes]
    if not any(own):
        return coder.hook_in, coder.hook_out
    for change in changes[: own.index(True)]:
        before = before or known.get(written_hook(change)) is point
    if before:
        raise DataError(
            f"another intervention acts at {coder.hook_out} before {changes[own.index(True)].label}.",
            "Give that of the coder first, or leave it out.",
        )
    written = unwritten(coder.hook_out)
    return (written if known.get(coder.hook_in) is point else coder.hook_in), written


def directions(coder: Any, features: np.ndarray, along: np.ndarray) -> np.ndarray:
    """float64 `[feature]`: what one unit of each of these features adds along a direction `[d_out]`, before `scale`."""
    found = np.empty(len(features))
    rows = max(1, 8_000_000 // coder.d_out)
    for start in range(0, len(features), rows):
        chosen = torch.as_tensor(features[start : start + rows], device=coder.device)
        found[start : start + rows] = coder.W_dec[chosen].detach().float().cpu().double().numpy() @ along
    return found
