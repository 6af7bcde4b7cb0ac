"""Path patching: how much of what one part of a model writes reaches the answer through each of the parts that hear it.

Exact edges: the change is added to one receiver's own input, and everything behind that receiver is computed anew
(Wang et al. 2022 and Goldowsky-Dill et al. 2023 define paths; older papers froze norm scales). Knows nothing of hooks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.answers import named
from mi_widgets.compute.interventions import Interventions
from mi_widgets.compute.patch_cells import planned
from mi_widgets.compute.patch_grids import NO_DIFFERENCE, Making
from mi_widgets.compute.patch_metrics import OwnMetric
from mi_widgets.compute.patch_runs import PatchRuns, Prompts, aligned_note, as_pairs, runs_steps, tokenized
from mi_widgets.compute.patching import batch_memory
from mi_widgets.compute.path_edges import LOGITS, Edges, Node, Wiring
from mi_widgets.compute.step import Step, Steps, as_one, run_at_once, steps_of
from mi_widgets.data.integers import integer, several, word
from mi_widgets.data.pairs import Pairs
from mi_widgets.data.patching import DIRECTIONS
from mi_widgets.data.paths import RECEIVERS, STATIONS, PathEffects, named_node
from mi_widgets.errors import DataError
from mi_widgets.models import Prompt, describe


@run_at_once("path patching")
def path_patch(
    model: Any,
    clean: Prompt | Pairs,
    corrupt: Prompt = None,
    answer: Any = None,
    foil: Any = None,
    sender: tuple[int, int | None] | None = None,
    receivers: Iterable[Any] | str | None = None,
    path: Iterable[tuple[int, int | None, str]] = (),
    metric: str | OwnMetric = "logit_difference",
    direction: str = "denoise",
    *,
    position: int = -1,
    memory: int | None = None,
    prepend_bos: bool | None = None,
    interventions: Interventions = (),
    progress: bool = False,  # noqa: ARG001
) -> Steps[PathEffects]:
    """Path patching: the effect of what one head writes, through each part that hears it. Ctrl-C leaves the model as it
    was.

    What the sender writes otherwise is what its block's attention (or MLP) adds otherwise to the stream where the
    sender alone is as in the other run, a norm behind it computed anew. That is added to one receiver's own input: the
    query, key or value input of a head, an MLP's input, or what the final norm reads; all that comes behind the
    receiver is computed anew. With a `path` the first station hears the sender, what it then writes otherwise is what
    the next one hears, and so on: the effect is that of this very path.

    As steps (`path_patch_steps`): the logits first, then the receivers from the last layer to the first.
    `Step.partial` is what is known, NaN elsewhere: of the first pair while that is worked at, then of all pairs
    that are finished. Between steps the model is as it was.

    Args:
        model: a TransformerBridge.
        clean: text, token ids or chat messages; or several pairs, which bring all of the next three.
        corrupt: the other prompt. Prompts of one length correspond position by position, others by their alignment.
        answer: see `patch`.
        foil: see `patch`.
        sender: layer and head, `(2, 6)`; the head None for the layer's MLP.
        receivers: kinds (`"q"`, `"k"`, `"v"`, `"mlp"`, `"logits"`), or single ones, `(3, 0, "q")`, `(3, None, "mlp")`;
            all if None. Heads of k and v are key-value heads, which all query heads of their group read.
        path: stations that the change goes through before, each as a single receiver: `[(3, 0, "q")]`.
        metric: see `patch`.
        direction: `"denoise"`: what the clean run writes in the corrupt one; `"noise"`: the other way.
        position: where the logits are read, counted from the end of each prompt: -1 is the last.
        memory: bytes that batches may take; at most a quarter of what is free and 1 GB if None.
        prepend_bos: None means what `model.to_tokens(prompt)` does.
        interventions: made in both runs beside: `mw.Ablate`, `mw.Patch`, `mw.Add`, `mw.Splice`, `mw.Clamp` …
        progress: show a bar.

    Returns:
        PathEffects, one number for each receiver.

    Raises:
        AnswerError: an answer or foil that is no single token.
        PromptError: a prompt that cannot be run.
        ModelError: a sender that this architecture lacks or does not read, numbers that are not finite, a model that
            sees ahead.
        DataError: no sender, a layer or head that does not exist, a station or receiver that does not hear, no such
            metric, or a metric function that raised or gave no number.
    """
    pairs, direction = as_pairs(clean, corrupt, answer, foil), word("direction", direction, DIRECTIONS)
    prompts = [tokenized(model, pair, direction, prepend_bos) for pair in pairs]
    layer, head = _sender(sender)
    site, by = ("mlp_out", ("layer",)) if head is None else ("z", ("layer", "head"))
    heads = None if head is None else [head]
    cells = planned(model, prompts[0].base, site, by, layers=[layer], heads=heads)
    wiring = Wiring(model, prompts[0].base.ids)
    yield from wiring.found_steps(layer, Step(0, 1))
    stations = _stations(wiring, (layer, head, "mlp" if head is None else "z"), path)
    last = stations[-1] if stations else (layer, head, "mlp" if head is None else "z")
    nodes = _chosen(receivers, wiring.receivers(last[0], last[2] == "mlp"), named_node(*last))
    memory = batch_memory(model, memory)
    making = _Making(model, prompts, (layer, head), stations, nodes, wiring, position)
    for one in prompts:
        runs = yield from runs_steps(
            model, one, cells, metric, position, making.step(), memory=memory, prepend_bos=prepend_bos,
            interventions=interventions,
        )  # fmt: skip
        making.begin(runs)
        yield from _receivers_steps(making, runs, Edges(runs, wiring, memory), stations, nodes)
    return making.made()


path_patch_steps = steps_of(path_patch)


def _receivers_steps(
    making: _Making, runs: PatchRuns, edges: Edges, stations: Sequence[Node], nodes: Sequence[Node]
) -> Steps[None]:
    """All receivers of one pair."""
    first, place = edges.first, runs.onward.position
    if first is None or first > place:  # nothing is written otherwise, or not where it could be heard
        making.set(range(len(nodes)), runs.base_value)
        yield making.step()
        return
    change = edges.sent()
    for station in stations:
        yield making.step()
        change = edges.passed_on(station, change)
    yield making.step()
    order = sorted(range(len(nodes)), key=lambda number: (nodes[number] != LOGITS, -nodes[number][0]))
    for layer, group in groupby(order, lambda number: nodes[number][0]):
        numbers = list(group)
        if layer < 0:
            final = runs.after(int(runs.model.cfg.n_layers) - 1)[place] + change[place]
            yield from _read_steps(making, runs, numbers, final[None, None], place, int(runs.model.cfg.n_layers))
            continue
        puts = edges.heard(layer, [nodes[number] for number in numbers], change)
        yield making.step()
        for start in range(0, len(numbers), edges.at_once):
            streams = edges.streams(layer, puts[start : start + edges.at_once])[:, first : place + 1]
            yield making.step()
            yield from _read_steps(making, runs, numbers[start : start + edges.at_once], streams, first, layer + 1)


def _read_steps(
    making: _Making, runs: PatchRuns, numbers: Sequence[int], streams: torch.Tensor, first: int, layer: int
) -> Steps[None]:
    """The metric of runs that go on at `layer` from `streams`."""
    final = yield from as_one(runs.onward.steps(layer, first, streams), Step(making.done, making.total))
    for rows, values, _ in runs.values_of(final):
        making.set(numbers[rows], values)
    yield making.step()


class _Making(Making):
    """Effects while they are made."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Prompts],
        sender: tuple[int, int | None],
        stations: Sequence[Node],
        nodes: Sequence[Node],
        wiring: Wiring,
        position: int,
    ) -> None:
        notes = [f"left out: {', '.join(wiring.deaf)}"] if wiring.deaf else []
        super().__init__(len(prompts), len(nodes), [*aligned_note(prompts), *notes])
        self._model, self._prompts, self._position = model, prompts, position
        self._sender, self._stations, self._nodes = sender, stations, nodes

    def made(self) -> PathEffects:
        """See `Making`."""
        count, notes = self._finished()
        metrics, (clean, corrupt) = self._metrics[:count], np.array(self._ends[:count], np.float32).T
        answers, foils = ([getattr(one, name) for one in metrics] for name in ("answer", "foil"))
        layer, head = self._sender

        def numbers(nodes: Sequence[Node], axis: int) -> list[int]:
            return [-1 if node[axis] is None else int(node[axis]) for node in nodes]  # type: ignore[arg-type]

        made = PathEffects(
            clean_tokens=self._prompts[0].clean,
            corrupt_tokens=self._prompts[0].corrupt,
            sender_layer=layer,
            sender_head=-1 if head is None else head,
            path_kinds=tuple(kind for _, _, kind in self._stations),
            path_layers=tuple(numbers(self._stations, 0)),
            path_heads=tuple(numbers(self._stations, 1)),
            kinds=tuple(kind for _, _, kind in self._nodes),
            layers=np.array(numbers(self._nodes, 0), np.int32),
            heads=np.array(numbers(self._nodes, 1), np.int32),
            values=self.values[:count].copy(),
            clean_values=clean,
            corrupt_values=corrupt,
            direction=self._prompts[0].direction,
            metric=metrics[0].metric,
            metric_name=metrics[0].name,
            position=self._position,
            answers=np.array(answers, np.int32),
            foils=np.array(foils, np.int32),
            names=named(self._model, [*answers, *foils]),
            notes=tuple(notes),
            seconds=time.perf_counter() - self._since,
            model=describe(self._model).label,
            interventions=self._edits.interventions,
        )
        if made.differs:
            return made
        return replace(made, notes=(*notes, NO_DIFFERENCE))


def _sender(given: Any) -> tuple[int, int | None]:
    if given is None:
        raise DataError("there is no sender.", "Give layer and head: sender=(2, 6).")
    parts = several("sender", given)
    if len(parts) != 2:
        raise DataError(f"sender={given!r} is no sender.", "Give layer and head: (2, 6); of an MLP (2, None).")
    return parts[0], parts[1]


def _stations(wiring: Wiring, sender: Node, path: Iterable[Any]) -> tuple[Node, ...]:
    """The path, once it is seen that each station hears the one before."""
    found: list[Node] = []
    for given in several("path", path):
        before = found[-1] if found else sender
        node = _node(given)
        if node[2] not in STATIONS:
            raise DataError(f"a path cannot go on from {node[2]}.", f"Stations are entered by {', '.join(STATIONS)}.")
        if node not in wiring.receivers(before[0], before[2] == "mlp"):
            raise DataError(
                f"{named_node(*node)} does not hear {named_node(*before)}.",
                "A station is a head or MLP of this model that comes behind the one before it.",
            )
        found.append(node)
    return tuple(found)


def _chosen(given: Any, there: list[Node], sender: str) -> list[Node]:
    """The receivers that are asked for, of those that there are, in their order."""
    if given is None:
        return there
    asked: set[Node] = set()
    for one in [given] if isinstance(given, str) else several("receivers", given):
        if isinstance(one, str):
            kind = word("receiver", one, RECEIVERS)
            some = [node for node in there if node[2] == kind]
        else:
            some = [node for node in there if node == _node(one)]
        if not some:
            raise DataError(
                f"{one!r} does not hear {sender}.", f"E.g. {', '.join(named_node(*one) for one in there[:4])} do."
            )
        asked |= set(some)
    if not asked:
        raise DataError("there are no receivers.", "Give one or more, or leave receivers= out.")
    return [node for node in there if node in asked]


def _node(given: Any) -> Node:
    parts = several("receiver", given)
    if len(parts) != 3:
        raise DataError(f"{given!r} is no receiver.", 'Give layer, head and kind: (3, 0, "q"), (3, None, "mlp").')
    layer, head, kind = parts
    return integer("layer", layer), None if head is None else integer("head", head), word("receiver", kind, RECEIVERS)
