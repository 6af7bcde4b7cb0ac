"""What interventions put into the residual stream, or in place of what attention and MLPs add to it, at one position.

What a write adds is what stands at its hook after it less what stood there before. Runs no model. Knows nothing of
logits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_widgets.compute.activations import Activations, at_position, take_position, unwritten
from mi_widgets.data.interventions import Change, Intervention, written_hook
from mi_widgets.errors import DataError

BEFORE, MIDDLE, AFTER = "hook_resid_pre", "hook_resid_mid", "hook_resid_post"
ATTENTION, MLP = "hook_attn_out", "hook_mlp_out"
#: What stands in the stream: a write there adds to it directly.
STREAM = (BEFORE, AFTER)


def hooks_of(interventions: Iterable[Change]) -> list[str]:
    """The hooks that they write at, in full. What is put in the middle of a block enters the stream at its end."""
    found = []
    for change in interventions:
        hook = written_hook(change)
        carried = hook.endswith(f".{MIDDLE}") and not isinstance(change, Intervention)
        found.append(hook.removesuffix(MIDDLE) + AFTER if carried else hook)
    return found


def changed(model: Any, interventions: Iterable[Change]) -> list[str]:
    """Hooks of the residual stream, and of what attention and MLPs add to it, where these interventions write."""
    known = model.hook_dict
    points = {id(known[hook]) for hook in hooks_of(interventions) if hook in known}
    hooks = [f"blocks.{layer}.{site}" for layer in range(len(model.blocks)) for site in (*STREAM, ATTENTION, MLP)]
    return [hook for hook in hooks if points and id(known.get(hook)) in points]


def read(activations: Activations, site: str, position: int) -> np.ndarray | None:
    """What `activations` hold of `site` at one position, whether they hold that alone or all; None if neither.

    A hook of every block gives `[layer, …]`, any other its own axes.
    """
    alone = at_position(site, position)
    if alone in activations.arrays:
        return activations.arrays[alone]
    whole = activations.arrays.get(site)
    return None if whole is None else take_position(alone, whole)


@dataclass(frozen=True, eq=False)
class StreamChanges:
    """What was put in at one position, float64 `[d_model]` by layer; layers where nothing was are left out.

    Attributes:
        first: what entered the first block, where it was changed, before that; else None.
        stream: what was added to the stream itself.
        attention: what was added to that which the heads gave.
        mlps: what was added to that which the neurons gave.
    """

    first: np.ndarray | None
    stream: dict[int, np.ndarray]
    attention: dict[int, np.ndarray]
    mlps: dict[int, np.ndarray]


def changes_of(model: Any, activations: Activations, position: int) -> StreamChanges:
    """What the interventions of a run put in.

    Raises:
        DataError: activations that lack what stood there before.
    """
    first, into = None, {site: {} for site in (*STREAM, ATTENTION, MLP)}
    for hook in changed(model, activations.interventions):
        _, number, site = hook.split(".", 2)
        before, after = (read(activations, name, position) for name in (unwritten(hook), hook))
        if before is None or after is None:
            raise DataError(
                f"these activations do not say what stood at {hook} before the intervention.",
                "Get those of attribution_sites with the same interventions.",
            )
        into[site][int(number)] = after.astype(np.float64) - before.astype(np.float64)
        if (site, int(number)) == (BEFORE, 0):
            first = before.astype(np.float64)
    stream = dict(into[BEFORE])
    for layer, change in into[AFTER].items():
        stream[layer] = stream[layer] + change if layer in stream else change
    return StreamChanges(first, stream, into[ATTENTION], into[MLP])


def sites_of(model: Any, interventions: Iterable[Change]) -> list[str]:
    """The sites that `changes_of` reads."""
    return [site for hook in changed(model, interventions) for site in (unwritten(hook), hook)]
