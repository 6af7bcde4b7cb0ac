"""A clean and a corrupt prompt for the tiny models, and grids of patches made one intervention and one pass at a time."""

from __future__ import annotations

import numpy as np
import torch

from mi_widgets.compute.forward import forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.models import tokenize

ANSWER, FOIL = 7, 9
CLEAN = np.array([0, 11, 12, 13, 14, 15])
CORRUPT = np.array([0, 30, 12, 41, 14, 52])


def difference(logits):
    """As TransformerLens calls a metric."""
    return logits[0, -1, ANSWER] - logits[0, -1, FOIL]


def one_at_a_time(model, grid, source, direction="denoise", base=None, metric=difference, interventions=()):
    """The grid's cells by the interventions that they stand for, one pass each."""
    base = CORRUPT if base is None else base
    tokens, values = tokenize(model, base), []
    for index in np.ndindex(*grid.shape):
        edits = resolve(model, tokens, [*interventions, grid.change(index, list(source))])
        logits = forward(model, tokens.ids, (LAST_LOGITS,), (), writes=edits.writes).arrays[LAST_LOGITS]
        values.append(float(metric(torch.tensor(logits)[None, None])))
    return np.array(values, np.float32).reshape(grid.shape)


def close(found, wanted, scale=None):
    """Ten times closer than must be, relative to the largest number there is."""
    size = np.abs(wanted).max() if scale is None else scale
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * size)
