"""The residue of a half-precision attribution stays within what rounding explains, which is not much more."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch

from mi_widgets import compute


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("architecture", list(tiny_models.CONFIGS))
def test_the_bound_holds_and_is_near(architecture, dtype, tiny_model):
    model = tiny_model(architecture, dtype=dtype)
    draw = np.random.default_rng(0)
    for by in ("component", "layer", "head", "neuron"):
        found = []
        for case in range(14):
            ids = draw.integers(3, 128, int(draw.integers(2, 30)))
            answer, foil = draw.choice(np.arange(3, 128), 2, replace=False)
            found.append(compute.logit_attribution(model, ids, answer, None if case % 4 == 0 else foil, by=by))
        assert all(one.holds for one in found)
        worst = max(abs(one.residue) for one in found)
        assert np.median([one.tolerance for one in found]) < 15 * worst, by


@pytest.mark.parametrize("by", ["component", "head", "neuron"])
def test_a_pretrained_model_keeps_its_bound_too(by, shared):
    from mi_widgets.models import load_model

    model = load_model(shared / "models" / "stories260K-llama", dtype=torch.bfloat16)
    found = [
        compute.logit_attribution(model, "Once upon a time there was a little", answer, foil, by=by)
        for answer, foil in [(300, 301), (310, None), (290, 320), (400, 299)]
    ]
    assert all(one.holds for one in found)
    assert max(one.tolerance for one in found) < 0.7  # logits of about 10, of which one step is 0.06


def test_a_part_that_is_missing_is_no_rounding(tiny_model):
    from dataclasses import replace

    found = compute.logit_attribution(tiny_model("llama", dtype=torch.bfloat16), np.arange(5, 20), 9, 8)
    largest = int(np.abs(found.contribution).argmax())
    broken = found.contribution.copy()
    broken[largest] = 0.0
    assert found.holds and not replace(found, contribution=broken).holds
