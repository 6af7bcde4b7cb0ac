"""Every view's numbers of a changed run held against a Hugging Face model that was edited by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lens_oracle
import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
from attribution_oracle import Attribution
from edited_oracle import edited

from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.models import load_model

ARCHITECTURES = list(tiny_models.CONFIGS)
IDS = np.random.default_rng(5).integers(3, tiny_models.D_VOCAB, 12)
ANSWER, FOIL, INNER = 5, 9, 0


def only_at(places, change):
    """`change` at these positions alone."""

    def some(value):
        changed = value.clone()
        changed[places] = change(value)[places]
        return changed

    return some


def pairs(tiny_folder: Any) -> Callable[[str], tuple[Any, Any]]:
    """`pair(architecture)`: the Bridge and the Hugging Face model; made once each, tests leave them as they were."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = load_model(tiny_folder(name)), tiny_oracle.load(tiny_folder(name))
            forward(made[name][0], IDS, ("output.top_ids",))  # libraries put hooks of their own on it in a first pass
        return made[name]

    return get


def check_all(model, hugging, ids, changes, edits, answer=ANSWER, foil=FOIL):
    """Every view's numbers of the changed run against the model edited by hand."""
    with edited(hugging, edits):
        patterns = tiny_oracle.patterns(hugging, ids)
        rows = lens_oracle.logits(hugging, ids, "resid_post")
        oracle = Attribution(hugging, ids)
    untouched = tiny_oracle.patterns(hugging, ids)
    found = compute.attention_patterns(model, ids, interventions=changes)
    np.testing.assert_allclose(found.base, patterns, atol=3e-5)
    assert found.row_sum_error is not None
    assert found.row_sum_error < 1e-5
    want = torch.from_numpy(rows[-1]).log_softmax(-1).numpy()
    expected = compute.next_tokens(model, ids, top_k=3, interventions=changes)
    followed = want[np.arange(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(expected.log_prob[1:], followed, atol=2e-4)
    lens = compute.logit_lens(model, ids, targets=[answer], top_k=3, interventions=changes)
    assert lens.target_probs is not None
    for row in (INNER, -1):
        log_p = torch.from_numpy(rows[row]).log_softmax(-1).numpy()
        np.testing.assert_allclose(lens.target_probs[row, :, 0], np.exp(log_p[:, answer]), atol=2e-5)
        np.testing.assert_allclose(lens.entropy[row], -(np.exp(log_p) * log_p).sum(-1), atol=5e-4)
    assert lens.max_error is not None
    assert lens.max_error < 1e-4
    for by in ("component", "layer", "head", "neuron"):
        data = compute.logit_attribution(model, ids, answer, foil, by=by, interventions=changes)
        difference = oracle.difference(-1, answer, foil)
        assert data.difference == pytest.approx(difference, abs=5e-5 * max(1.0, abs(difference)))
        assert data.holds, (by, data.residue, data.tolerance)
        assert data.max_error is not None
        assert data.max_error < 1e-4
    for record in (found, expected, lens, data):
        assert record.interventions == (tuple(changes) if isinstance(changes, list) else (changes,))
    assert np.abs(untouched - patterns).max() > 0 or np.abs(want - _log_p(hugging, ids)).max() > 1e-4, "nothing changed"


def _log_p(hugging, ids):
    with torch.no_grad():
        return hugging(torch.tensor(ids)[None], use_cache=False).logits[0].double().log_softmax(-1).numpy()
