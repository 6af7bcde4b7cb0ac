"""Whether a grid of patches or ablations is what it says: some of its cells made again as whole runs.

Knows nothing of how the grid was computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.forward import forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.patch_metrics import OwnMetric, PatchMetric, patch_metric
from mi_widgets.compute.step import Step, Steps
from mi_widgets.data import PatchGrid
from mi_widgets.data.interventions import Change, Patch
from mi_widgets.models import Prompt, tokenize

#: The names of the checks.
WHOLE = "patched at layer 0, every position = {} run"
CELL = "a cell = its run"


def check_steps(
    model: Any,
    grid: PatchGrid,
    clean: Prompt,
    corrupt: Prompt | None = None,
    *,
    function: OwnMetric | None = None,
    prepend_bos: bool | None = None,
) -> Steps[dict[str, float]]:
    """Errors of a grid's numbers, by what is compared, relative to the metric of its runs: of its first pair.

    Args:
        model: a TransformerBridge.
        grid: of that model, whose logits were read at the last position.
        clean: the clean prompt of the first pair.
        corrupt: the corrupt one; of an ablation None.
        function: the user's metric, where the grid's is one.
        prepend_bos: for prompts given as text, as when the grid was made.

    Returns:
        The error of the exact cell that changes most against its run, made whole with the cell's intervention; and of
        prompts of one length, without interventions, that of a run whose whole stream before block 0 is the other's,
        against that other run.
        None of what the grid does not hold.
    """
    patching = corrupt is not None
    denoise = patching and grid.direction == "denoise"
    base, other = (corrupt, clean) if denoise else (clean, corrupt)
    metric = _metric(model, grid, clean, function, prepend_bos)
    yield Step(1, 3)
    known = np.abs(np.where(grid.exact, grid.change_in_metric, np.nan))
    errors: dict[str, float] = {}
    if np.isfinite(known).any():
        index = np.unravel_index(int(np.nanargmax(known)), grid.shape)
        found = _value(model, base, (*grid.interventions, grid.change(index, other)), metric, prepend_bos)
        errors[CELL] = _relative(grid, found, grid.values[0, np.ravel_multi_index(index, grid.shape)])
        yield Step(2, 3)
    if patching and len(grid.clean_tokens) == len(grid.corrupt_tokens) and not grid.interventions:
        found = _value(model, base, [Patch("resid_pre", layer=0, source=other)], metric, prepend_bos)
        name, ends = ("clean", grid.clean_values) if denoise else ("corrupt", grid.corrupt_values)
        errors[WHOLE.format(name)] = _relative(grid, found, ends[0])
    return errors


def _metric(
    model: Any, grid: PatchGrid, clean: Prompt, function: OwnMetric | None, prepend_bos: bool | None
) -> PatchMetric:
    """The grid's metric of its first pair."""
    tokens = tokenize(model, clean, prepend_bos)
    answer, foil = (None if ids is None or ids[0] < 0 else int(ids[0]) for ids in (grid.answers, grid.foils))
    metric: Any = grid.metric if function is None else function
    return patch_metric(model, metric, tokens, _logits(model, clean, grid.interventions, prepend_bos), answer, foil)


def _value(
    model: Any, prompt: Prompt, changes: Sequence[Change], metric: PatchMetric, prepend_bos: bool | None
) -> float:
    return float(metric(_logits(model, prompt, changes, prepend_bos)[None])[0])


def _logits(model: Any, prompt: Prompt, changes: Sequence[Change], prepend_bos: bool | None) -> torch.Tensor:
    """`[d_vocab]`, after the last position of a run with these interventions."""
    tokens = tokenize(model, prompt, prepend_bos)
    edits = resolve(model, tokens, changes, prepend_bos=prepend_bos)
    found = forward(model, tokens.ids, (LAST_LOGITS,), (), writes=edits.writes)
    return torch.from_numpy(found.arrays[LAST_LOGITS].copy())


def _relative(grid: PatchGrid, found: float, held: float) -> float:
    """The difference of two metrics in the size of those of the first pair's own runs."""
    size = max(abs(float(grid.clean_values[0])), abs(float(grid.corrupt_values[0])), abs(float(held)), 1e-6)
    return abs(found - float(held)) / size
