"""Stands in for the computation of grids: one run for each cell, made as the intervention that the cell stands for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from mi_widgets.compute.answers import resolve as answer_of
from mi_widgets.compute.forward import forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.step import Step, run
from mi_widgets.data import Patch, PatchGrid
from mi_widgets.models import tokenize


def value(model, prompt, changes, answer, foil):
    tokens = tokenize(model, prompt)
    logits = forward(model, tokens.ids, (LAST_LOGITS,), (), writes=resolve(model, tokens, changes).writes)
    logits = logits.arrays[LAST_LOGITS]
    return float(logits[answer] - (0 if foil is None else logits[foil]))


def grid(model, clean, corrupt, answer, foil, site, by, direction, metric, prepend_bos=None, layer=None,
         interventions=(), **changes):  # fmt: skip
    tokens = [tokenize(model, prompt) for prompt in (clean, corrupt)]
    base = tokens[direction == "denoise"]
    resolve(model, base, [Patch(site, layer=0, source=clean)])  # refuses what this architecture lacks
    answer, foil = (None if one is None else answer_of(model, tokens[0], one) for one in (answer, foil))
    sizes = {"layer": model.cfg.n_layers, "head": model.cfg.n_heads, "position": len(base), "query": len(base),
             "key": len(base), "neuron": getattr(model.cfg, "d_mlp", 0)}  # fmt: skip
    numbers = tuple(tuple(range(sizes[axis])) for axis in by)
    cells = int(np.prod([len(one) for one in numbers]))
    ends = [value(model, prompt, interventions, answer, foil) for prompt in (clean, corrupt)]
    return PatchGrid(
        *tokens, "patching", site, by, numbers, np.full((1, cells), np.nan), [ends[0]], [ends[1]],
        direction=direction, layer=layer, answers=[answer], foils=[-1 if foil is None else foil],
        names={one: f"w{one}" for one in (answer, foil) if one is not None}, interventions=interventions, **changes,
    )  # fmt: skip


def finished(model, clean, corrupt, answer, foil, site="resid_pre", by=("layer", "position"), direction="denoise"):
    how = {"site": site, "by": by, "direction": direction, "metric": "logit_difference"}
    return run(patch_steps(model, clean, corrupt, answer, foil, estimate=False, **how))


def patch_steps(model, clean, corrupt, answer, foil, *, estimate, interventions=(), **how):
    made = estimate or grid(model, clean, corrupt, answer, foil, interventions=interventions, **how)
    base, other = (corrupt, clean) if made.direction == "denoise" else (clean, corrupt)
    values = np.full(made.values.shape, np.nan, np.float32)
    count = values.shape[1]
    for cell in range(count):
        change = made.change(np.unravel_index(cell, made.shape), other)
        values[0, cell] = value(model, base, (*interventions, change), made.answers[0], max(made.foils[0], 0) or None)
        made = replace(made, values=values.copy())
        yield Step(cell + 1, count, made)
    return made


def attribution_patch_steps(*asked, **how):
    made = grid(*asked, **how)
    yield Step(1, 1)
    estimates = np.full(made.values.shape, made.base, np.float32)
    return replace(made, estimates=estimates, estimated_by="attribution patching")


def patch_cost(model, clean, corrupt, answer, foil, *, site, by, **_):
    return SimpleNamespace(cells=10, seconds=0.1, estimate_seconds=0.01)


def ablate_steps(*_asked, **_how):
    raise NotImplementedError
    yield
