"""Attribution patching: what every patch of a grid would do, estimated from one gradient instead of one run for each.

(a_source − a_base) · ∂m/∂a in the run that is changed (Nanda 2023; Syed 2023) at each place of a site, summed over the
places that a cell holds. Knows nothing of how exact patches are run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.activations import Activations, Layers
from mi_widgets.compute.acts import LAST, MIDDLE
from mi_widgets.compute.forward import PATTERN, Write, forward_steps, gradients
from mi_widgets.compute.interventions import Edits, Interventions, resolve
from mi_widgets.compute.not_finite import not_finite, refusal
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.patch_cells import Cells, read_position
from mi_widgets.compute.patch_grids import prepared
from mi_widgets.compute.patch_metrics import OwnMetric, PatchMetric, patch_metric
from mi_widgets.compute.patch_runs import Prompts, logits_at
from mi_widgets.compute.reach import carries
from mi_widgets.compute.step import Step, Steps, as_one, run_at_once, steps_of
from mi_widgets.data import Tokens
from mi_widgets.data.interventions import HEADS, SITES
from mi_widgets.data.pairs import Pairs
from mi_widgets.data.patching import DIRECTIONS, PatchGrid
from mi_widgets.data.record import count_from_0
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt

#: The residual stream before all blocks: what integrated gradients go along.
BEGINNING = "blocks.0.hook_resid_pre"
#: Given a prompt and the layers of each site, steps that return a pass over it.
Made = Callable[[Tokens, Mapping[str, Layers]], Steps[Activations]]


@run_at_once("attribution patching", hidden="made")
def attribution_patch(
    model: Any,
    clean: Prompt | Pairs,
    corrupt: Prompt = None,
    answer: Any = None,
    foil: Any = None,
    site: str = "resid_pre",
    metric: str | OwnMetric = "logit_difference",
    direction: str = "denoise",
    by: Any = None,
    *,
    layer: int | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
    position: int = -1,
    steps: int = 0,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    progress: bool = False,  # noqa: ARG001
    made: Made | None = None,
) -> Steps[PatchGrid]:
    """Estimate the grid that `patch` computes, at the cost of three forward passes for each pair of prompts.

    The estimate is the metric to first order, m + (a_source − a_base) · ∂m/∂a in the run that is changed (attribution
    patching): one pass over the other prompt, one forward and back over this one. Sums over positions and over what a
    head holds are exact in it; what is nonlinear is not. With `steps` above 1 the gradient is the mean of those at so
    many points between the runs (integrated gradients, as EAP-IG of Hanna 2024 on the inputs): at point k the whole
    stream before the first block stands k / steps of the way from this run to the other, k = 0 … steps − 1.

    As steps (`attribution_patch_steps`): one for each pass of each pair.

    Args:
        model: a TransformerBridge.
        clean: text, token ids or chat messages; or `Pairs`.
        corrupt: likewise; None where pairs are given.
        answer: see `patch`.
        foil: see `patch`.
        site: see `patch`.
        metric: see `patch`; it must have a gradient, so not the rank; nor, of noising without `steps`, KL to clean.
        direction: see `patch`.
        by: see `patch`.
        layer: see `patch`.
        layers: see `patch`.
        positions: see `patch`.
        heads: see `patch`.
        neurons: see `patch`.
        position: see `patch`.
        steps: points of integrated gradients; 0 and 1: the gradient in the run that is changed alone.
        prepend_bos: see `patch`.
        interventions: see `patch`.
        progress: show a bar.
        made: of steps alone: where it is given, it finds or makes the pass over the run that activations are taken
            from, with these interventions.

    Returns:
        A grid with `estimates`, and NaN for all `values`.

    Raises:
        DataError: a metric without a gradient, and what `patch` raises.
        AnswerError, PromptError, ModelError: as `patch`.
    """
    since = time.perf_counter()
    points = max(1, count_from_0("steps", steps))
    refused = why_no_estimate(metric, direction, points)
    if refused:
        other = "choose another metric" if metric == "rank" else "give steps=5 (integrated gradients)"
        raise DataError(refused, f"Compute the grid exactly, or {other}.")
    ready = prepared(
        model, clean, corrupt, answer, foil, site, direction, by, layer=layer, layers=layers, positions=positions,
        heads=heads, neurons=neurons, prepend_bos=prepend_bos,
    )  # fmt: skip
    prompts, cells = ready.prompts, ready.cells
    for one in prompts:
        for tokens in (one.clean, one.corrupt):
            read_position(position, len(tokens))
    found: list[PairEstimate] = []
    for order, one in enumerate(prompts):
        steps_of_pair = pair_estimate_steps(
            model, one, cells, metric, position, points=points, prepend_bos=prepend_bos, interventions=interventions,
            made=made,
        )  # fmt: skip
        found.append((yield from as_one(steps_of_pair, Step(order, len(prompts)))))
    values = [one.values(direction) for one in found]
    return ready.grid(
        np.full((len(found), len(cells)), np.nan, np.float32),
        [clean for clean, _ in values],
        [corrupt for _, corrupt in values],
        [one.metric for one in found],
        found[0].edits,
        estimates=np.stack([one.estimates for one in found]),
        position=position,
        estimated_by=estimated_by(points),
        notes=tuple(dict.fromkeys([*ready.notes, *(note for one in found for note in one.edits.notes)])),
        seconds=time.perf_counter() - since,
    )


attribution_patch_steps = steps_of(attribution_patch)


def estimated_by(points: int) -> str:
    """How estimates of so many points are made, in words."""
    return "attribution patching" if points < 2 else f"integrated gradients, {points} points between the inputs"


def why_no_estimate(metric: str | OwnMetric, direction: str, points: int = 1) -> str:
    """Why attribution patching says nothing of this metric; "" where it does."""
    if metric == "rank":
        return "the rank of the answer has no gradient: it cannot be estimated."
    if metric == "kl" and direction == "noise" and points < 2:
        return "the divergence from the clean run has no gradient in the clean run itself, where it is smallest."
    return ""


@dataclass(frozen=True, eq=False)
class PairEstimate:
    """What attribution patching found of one pair.

    Attributes:
        estimates: float32 `[cell]`: the metric; NaN where a cell has no partner in the other run.
        base: the metric of the run that is changed, untouched.
        source: of the other run.
        metric: with its answers.
        edits: what interventions are in the run that is changed.
    """

    estimates: np.ndarray
    base: float
    source: float
    metric: PatchMetric
    edits: Edits

    def values(self, direction: str) -> tuple[float, float]:
        """The metric of the clean and of the corrupt run."""
        return (self.source, self.base) if direction == DIRECTIONS[0] else (self.base, self.source)


def pair_estimate_steps(
    model: Any,
    prompts: Prompts,
    cells: Cells,
    metric: str | OwnMetric,
    position: int = -1,
    *,
    points: int = 1,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    made: Made | None = None,
) -> Steps[PairEstimate]:
    """Estimate the cells of one pair: a pass over the other prompt (`made`), then a gradient for each point.

    Raises:
        DataError: a metric that gives no finite number, or that was not computed from the logits.
        ModelError: numbers that are not finite.
    """
    base, source = prompts.base, prompts.source
    edits = {id(tokens): resolve(model, tokens, interventions, prepend_bos=prepend_bos) for tokens in (base, source)}
    writes = edits[id(source)].writes
    sites = {cells.hook: cells.layers, LAST_LOGITS: None, **({BEGINNING: None} if points > 1 else {})}
    passed = (
        forward_steps(model, source.ids, tuple(sites), {cells.hook: cells.layers}, writes=writes, pausing=True)
        if made is None
        else made(source, sites)
    )
    other = yield from as_one(passed, Step(0, 1 + points))
    logits = torch.tensor(other.arrays[LAST_LOGITS])
    if not np.isfinite(other.arrays[LAST_LOGITS].max()):
        raise refusal(not_finite(model, source.ids, other.known, writes))
    if position != -1:
        logits = yield from logits_at(model, source, position, edits[id(source)], None, Step(0, 1 + points))
    yield Step(1, 1 + points)
    place = read_position(position, len(base))
    ready: list[PatchMetric] = []

    def measured(found: torch.Tensor) -> torch.Tensor:
        row = found[:, place]
        if not ready:  # the first pass is over the clean prompt itself where that is changed
            clean = prompts.clean
            before = clean.upto(read_position(position, len(clean)))
            seen = logits if clean is source else row[0].detach()
            ready.append(patch_metric(model, metric, before, seen, prompts.pair.answer, prompts.pair.foil))
        return ready[0](row).sum()

    value, worth = yield from worth_steps(
        model,
        base.ids,
        measured,
        cells.site,
        cells.layers,
        other.arrays[cells.hook],
        prompts.partners,
        cells.n_heads,
        writes=edits[id(base)].writes,
        beginning=other.arrays.get(BEGINNING),
        points=points,
    )
    if not np.isfinite(value):
        raise refusal(not_finite(model, base.ids, writes=edits[id(base)].writes))
    estimates = np.float32(value) + summed(worth, cells, prompts.partners, len(base))
    return PairEstimate(estimates, value, float(ready[0](logits[None])[0]), ready[0], edits[id(base)])


def summed(worth: np.ndarray, cells: Cells, partners: Mapping[int, int], count: int) -> np.ndarray:
    """float32 `[cell]`: of each cell what its places are worth together, `worth` as `worth_steps` gives it; NaN where
    it stands at a position without a partner, in a prompt of `count`."""
    axes = ["layer", "position", "head"] if cells.site in HEADS else ["layer", "position", "neuron"]
    if cells.hook == PATTERN:
        axes = ["layer", "head", "query" if "query" in cells.by else "position", "key"]
    axes = axes[: worth.ndim]
    gone = tuple(order for order, axis in enumerate(axes) if axis not in (*cells.by, "layer"))
    total = worth.sum(gone)
    known = np.full(len(cells), True)
    index = []
    for axis in (axis for axis in axes if axis in (*cells.by, "layer")):
        numbers = cells.along(axis)
        assert numbers is not None
        if axis == "layer":
            numbers = np.searchsorted(cells.layers, numbers)
        elif axis in ("position", "query", "key"):
            known &= np.isin(numbers, list(partners))
            numbers = np.minimum(numbers, count - 1)
        index.append(numbers)
    return np.where(known, total[tuple(index)], np.nan).astype(np.float32)


def worth_steps(
    model: Any,
    ids: np.ndarray,
    metric: Callable[[torch.Tensor], torch.Tensor],
    site: str,
    layers: Sequence[int],
    source: np.ndarray,
    partners: Mapping[int, int],
    n_heads: int,
    *,
    writes: Sequence[Write] = (),
    beginning: np.ndarray | None = None,
    points: int = 1,
) -> Steps[tuple[float, np.ndarray]]:
    """What putting another run's activation at each place of a site would change in the metric, to first order.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`, the prompt of the run that is changed.
        metric: a number made of its logits `[run, position, d_vocab]`, as `forward.gradients` takes it.
        site: a word of `SITES`.
        layers: blocks.
        source: float32 `[layer, position, …]` (of a pattern `[layer, head, query, key]`), the other run's.
        partners: by position of `ids`, that of the other run which answers to it.
        n_heads: heads at the site.
        writes: made in the run that is changed.
        beginning: of the other run at `BEGINNING`, float32 `[position, d_model]`; for more points than one.
        points: gradients are taken at so many points of the straight line from this run's stream before all blocks to
            the other's, k / points of the way (k = 0 … points − 1), and averaged; 1: in the run that is changed alone.

    Returns:
        The metric of the run that is changed, and float32 `[layer, position]`, of heads `[layer, position, head]`, of
        neurons `[layer, position, neuron]`, of a pattern `[layer, head, query, key]`: 0 where there is no partner.
    """
    hook = SITES[site]
    own, other = np.array(list(partners), int), np.array(list(partners.values()), int)
    every = np.arange(n_heads)
    here, there = (np.ix_(every, places, places) if hook == PATTERN else (places,) for places in (own, other))
    row = {layer: order for order, layer in enumerate(layers)}
    differences: dict[int, np.ndarray] = {}
    begun: list[np.ndarray] = []

    def keep_difference(layer: int, activation: torch.Tensor) -> None:
        base = activation.float().cpu().numpy()
        differences[layer] = np.zeros_like(base)
        differences[layer][here] = source[row[layer]][there] - base[here]

    def keep_beginning(_layer: int, activation: torch.Tensor) -> None:
        begun.append(activation.float().cpu().numpy().copy())

    def product(layer: int, gradient: np.ndarray) -> np.ndarray:
        """At each place, summed over the numbers of a position or head."""
        each = differences[layer] * gradient
        if hook == PATTERN or site == "post":
            return each
        return (each.reshape(len(ids), n_heads, -1) if n_heads else each).sum(-1)

    # Of the hook in the middle of most blocks only the MLP reads: the stream passes it by, to the block's end.
    beside = [layer for layer in layers if hook == MIDDLE and not carries(model, ids, layer)]
    taken = {hook: tuple(layers)} | ({LAST: tuple(beside)} if beside else {})
    value, total = 0.0, np.zeros(0, np.float32)
    for point in range(points):
        if not point:
            readers = {hook: keep_difference} | ({BEGINNING: keep_beginning} if points > 1 else {})
            value, found = gradients(model, ids, metric, tuple(taken), taken, writes, readers=readers)
        else:
            assert beginning is not None
            stream = begun[0].copy()
            stream[own] += np.float32(point / points) * (beginning[other] - stream[own])
            moved = (*writes, Write(BEGINNING, partial(_put, stream)))
            found = gradients(model, ids, metric, tuple(taken), taken, moved)[1]
        worth = np.stack([product(layer, gradient) for layer, gradient in zip(layers, found.arrays[hook], strict=True)])
        for order, layer in enumerate(beside):
            worth[row[layer]] += product(layer, found.arrays[LAST][order])
        total = total + worth / np.float32(points) if point else worth / np.float32(points)
        yield Step(point + 1, points)
    return value, total


def _put(stream: np.ndarray, activation: torch.Tensor, _first: int) -> torch.Tensor:
    return torch.from_numpy(stream).to(activation)[None]
