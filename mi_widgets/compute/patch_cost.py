"""What a grid of patches will cost, said before it is run: its cells, the seconds of all exact runs and of the
estimate, and the memory they take at their peak.

From the model's shape and the time of one pass. Knows nothing of how a pass is made, nor of sessions.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mi_widgets.compute.forward import forward
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.pass_bytes import FLOAT, kept_bytes, working_bytes
from mi_widgets.compute.patch_cells import POINTWISE, Cells, read_position
from mi_widgets.compute.patch_grids import prepared
from mi_widgets.compute.patch_metrics import OwnMetric
from mi_widgets.compute.patch_runs import Prompts
from mi_widgets.compute.patching import batch_memory
from mi_widgets.data.integers import integer
from mi_widgets.data.pairs import Pairs
from mi_widgets.models import ModelInfo, Prompt, describe, own_hooks

#: Rows of a batch of changed runs, and of how many rows the time goes into reading a layer's weights, however many are
#: multiplied (measured on GPT-2's shape).
ROWS, WEIGHTS = 128, 12
#: What goes on through hooks of the user's own takes so many times as long as without.
HOOKED = 1.6
#: Copies of all logits that stand on the way back from one row of them, beyond those of any pass back (measured on
#: GPT-2's shape). Of the site there are four: the other run's, the difference, the graph's and the gradient.
MORE_LOGITS = 3
#: A pass forward and back, in passes forward (`session.estimate.BACK`).
BACK = 2.0


@dataclass(frozen=True)
class PatchCost:
    """Of a whole grid.

    Attributes:
        cells: of one pair.
        runs: cells of all pairs that change something, and so are run.
        pass_seconds: of one forward pass over the prompt.
        exact_seconds: of all exact runs, predicted: right within a factor of two or so.
        estimate_seconds: of attribution patching.
        exact_bytes: at the peak, beside the model; of the exact runs.
        estimate_bytes: of attribution patching.
    """

    cells: int
    runs: int
    pass_seconds: float
    exact_seconds: float
    estimate_seconds: float
    exact_bytes: int
    estimate_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.runs} runs: about {_time(self.exact_seconds)}, {self.exact_bytes / 1e9:.1f} GB; "
            f"the estimate: {_time(self.estimate_seconds)}, {self.estimate_bytes / 1e9:.1f} GB"
        )


def patch_cost(
    model: Any,
    clean: Prompt | Pairs,
    corrupt: Prompt = None,
    site: str = "resid_pre",
    direction: str = "denoise",
    by: Iterable[str] | None = None,
    *,
    layer: int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
    position: int = -1,
    steps: int = 0,
    memory: int | None = None,
    metric: str | OwnMetric = "logit_difference",
    prepend_bos: bool | None = None,
    pass_seconds: float | None = None,
) -> PatchCost:
    """Predict what `patch` and `attribution_patch` will cost.

    Args:
        model: a TransformerBridge.
        clean: as for `patch`.
        corrupt: as for `patch`.
        site: as for `patch`.
        direction: as for `patch`.
        by: as for `patch`.
        layer: as for `patch`.
        layers: as for `patch`.
        positions: as for `patch`.
        heads: as for `patch`.
        neurons: as for `patch`.
        position: as for `patch`.
        steps: as for `attribution_patch`.
        memory: as for `patch`.
        metric: as for `patch`.
        prepend_bos: as for `patch`.
        pass_seconds: that one forward pass over the first prompt takes; measured by two passes if None.

    Raises:
        DataError, ModelError, PromptError: as `patch`, of what can be known before anything is run.
    """
    ready = prepared(
        model, clean, corrupt, None, None, site, direction, by, layer=layer, layers=layers, positions=positions,
        heads=heads, neurons=neurons, prepend_bos=prepend_bos,
    )  # fmt: skip
    info, cells, first = describe(model), ready.cells, ready.prompts[0].base
    seconds = _measured(model, first.ids) if pass_seconds is None else float(pass_seconds)
    points, limit = max(1, integer("steps", steps)), batch_memory(model, memory)
    blocks_share, slower = _blocks_share(model), HOOKED if own_hooks(model) else 1.0
    read = 0.0 if metric == "logit_difference" else 1 - blocks_share  # else all logits of each run
    runs, exact, estimate = 0, 0.0, 0.0
    for prompts in ready.prompts:
        count = len(prompts.base)
        live, work = _work(info, cells, prompts, position)
        whole = seconds * count / len(first)
        runs += live
        batched = slower * blocks_share * (1 + WEIGHTS / ROWS) / (1 + WEIGHTS / count)
        exact += whole * (2 + batched * work / (info.n_layers * count) + read * live / count)
        estimate += whole * (len(prompts.source) / count + (1 + BACK / 2) * points)
    rows = max(len(one.base) for one in ready.prompts)
    site_bytes = kept_bytes(info, cells.hook, len(cells.layers), rows, rows)
    streams = 3 * kept_bytes(info, "hook_resid_pre", info.n_layers, rows, rows)
    return PatchCost(
        cells=len(cells),
        runs=runs,
        pass_seconds=seconds,
        exact_seconds=exact,
        estimate_seconds=estimate,
        exact_bytes=2 * site_bytes + streams + max(limit, working_bytes(info, rows, rows)),
        estimate_bytes=4 * site_bytes
        + working_bytes(info, rows, rows, gradients=True)
        + FLOAT * MORE_LOGITS * rows * info.d_vocab,
    )


def _work(info: ModelInfo, cells: Cells, prompts: Prompts, position: int) -> tuple[int, float]:
    """How many cells change something, and at how many positions of blocks their runs compute anew."""
    count, end = len(prompts.base), read_position(position, len(prompts.base)) + 1
    differs = np.array([
        prompts.partners.get(place) is not None
        and prompts.base.ids[place] != prompts.source.ids[prompts.partners[place]]
        for place in range(count)
    ])  # fmt: skip
    begins = int(differs.argmax()) if differs.any() else end
    place, layer, key = cells.along("position", "query"), cells.along("layer"), cells.along("key")
    assert layer is not None
    first = np.full(len(cells), begins) if place is None else place
    live = (first >= begins) & (first < end)
    if place is not None:
        live &= ~np.isin(place, prompts.alone)
        if cells.site in ("resid_pre", "q", "k", "v"):  # in the first block only those of other tokens differ
            live &= (layer > 0) | differs[place]
    if key is not None:
        live &= key <= first
    above = info.n_layers - layer - (cells.site != "resid_pre")
    onward = float(((end - first) * above)[live].sum())
    if cells.site in ("resid_pre", "resid_post"):
        return int(live.sum()), onward
    if place is None or cells.site not in POINTWISE:
        return int(live.sum()), onward + count * float(live.sum())
    parts = [axis for axis in (layer, cells.along("head", "neuron"), key) if axis is not None]
    return int(live.sum()), onward + count * np.unique(np.stack(parts)[:, live], axis=1).shape[1]


def _blocks_share(model: Any) -> float:
    """Of the time of a pass that of its blocks; the rest is unembedding."""
    inside = sum(weight.numel() for block in model.blocks for weight in block.parameters())
    return inside / (inside + int(model.cfg.d_model) * int(model.cfg.d_vocab))


def _measured(model: Any, ids: np.ndarray) -> float:
    """Seconds of one pass, the faster of two."""
    taken = []
    for _ in range(2):
        since = time.perf_counter()
        forward(model, ids, (LAST_LOGITS,))
        taken.append(time.perf_counter() - since)
    return min(taken)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 2 else f"{seconds:.2g} s"
