"""A grid of patches the slow way: one whole run for each cell, made as the intervention that the cell stands for."""

from __future__ import annotations

import numpy as np

from mi_widgets.compute.forward import forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.data import Patch
from mi_widgets.models import tokenize


def difference(model, prompt, changes, answer, foil):
    """The logit difference of two ids after the last position of a run with these interventions."""
    tokens = tokenize(model, prompt)
    found = forward(model, tokens.ids, (LAST_LOGITS,), (), writes=resolve(model, tokens, changes).writes)
    logits = found.arrays[LAST_LOGITS]
    return float(logits[answer] - logits[foil])


def by_layer_and_position(model, clean, corrupt, answer, foil, site="resid_pre"):
    """`[layer, position]`: of the corrupt run with the clean one's activation at one place."""
    places = range(len(tokenize(model, corrupt)))
    return np.array([
        [difference(model, corrupt, [Patch(site, layer=layer, position=place, source=clean)], answer, foil) for place in places]
        for layer in range(model.cfg.n_layers)
    ])  # fmt: skip
