"""Whether a grid of patches or ablations is what it says: some of its cells made again as whole runs.

Knows nothing of how the grid was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.activations import Activations
from mi_widgets.compute.forward import forward_steps
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.patch_metrics import OwnMetric, patch_metric
from mi_widgets.compute.step import Steps
from mi_widgets.data import PatchGrid, Tokens
from mi_widgets.data.interventions import Change, Patch
from mi_widgets.models import Prompt, tokenize

#: The names of the checks.
WHOLE = "patched at layer 0, every position = {} run"
CELL = "a cell = its run"
#: Given a prompt, sites, and interventions, steps that return the pass.
Made = Callable[[Tokens, Sequence[str], tuple[Change, ...]], Steps[Activations]]


def check_steps(
    model: Any,
    grid: PatchGrid,
    clean: Prompt,
    corrupt: Prompt | None = None,
    *,
    function: OwnMetric | None = None,
    prepend_bos: bool | None = None,
    made: Made | None = None,
) -> Steps[dict[str, float]]:
    """Errors of a grid's numbers, by what is compared, relative to the metric of its runs: of its first pair.

    Args:
        model: a TransformerBridge.
        grid: of that model, whose logits were read at the last position.
        clean: the clean prompt of the first pair.
        corrupt: the corrupt one; of an ablation None.
        function: the user's metric, where the grid's is one.
        prepend_bos: for prompts given as text, as when the grid was made.
        made: finds or makes the runs; `compute.forward` if None.

    Returns:
        The error of the exact cell that changes most against its run, made whole with the cell's intervention; and of
        prompts of one length, without interventions, that of a run whose whole stream before block 0 is the other's,
        against that other run. None of what the grid does not hold.
    """
    denoise = grid.method == "patching" and grid.direction == "denoise"
    base, other = (corrupt, clean) if denoise else (clean, corrupt)

    def logits(prompt: Prompt, changes: tuple[Change, ...]) -> Steps[torch.Tensor]:
        tokens = tokenize(model, prompt, prepend_bos)
        if made is not None:
            found = yield from made(tokens, (LAST_LOGITS,), changes)
        else:
            edits = resolve(model, tokens, changes, prepend_bos=prepend_bos)
            found = yield from forward_steps(model, tokens.ids, (LAST_LOGITS,), (), writes=edits.writes)
        return torch.tensor(found.arrays[LAST_LOGITS])

    answer, foil = (None if ids is None or ids[0] < 0 else int(ids[0]) for ids in (grid.answers, grid.foils))
    asked: Any = grid.metric if function is None else function
    before = yield from logits(clean, grid.interventions)
    metric = patch_metric(model, asked, grid.clean_tokens, before, answer, foil)
    ends = float(grid.clean_values[0]), float(grid.corrupt_values[0])

    def error(changes: tuple[Change, ...], held: float) -> Steps[float]:
        after = yield from logits(base, changes)
        found = float(metric(after[None])[0])
        return abs(found - held) / max(abs(ends[0]), abs(ends[1]), abs(held), 1e-6)

    errors: dict[str, float] = {}
    changed = np.abs(np.where(grid.exact, grid.change_in_metric, np.nan))
    if np.isfinite(changed).any():
        index = tuple(int(one) for one in np.unravel_index(int(np.nanargmax(changed)), grid.shape))
        changes = (*grid.interventions, grid.change(index, other))
        held = float(grid.values[0].reshape(grid.shape)[index])
        errors[CELL] = yield from error(changes, held)
    alike = len(grid.clean_tokens) == len(grid.corrupt_tokens) and not grid.interventions
    if grid.method == "patching" and alike:
        name, end = ("clean", ends[0]) if denoise else ("corrupt", ends[1])
        errors[WHOLE.format(name)] = yield from error((Patch("resid_pre", layer=0, source=other),), end)
    return errors
