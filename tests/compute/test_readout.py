"""The readout gives what the Hugging Face model's own norm and head give, whole and taken apart."""

from __future__ import annotations

import lens_oracle
import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
from compute.test_forward import state_of

from mi_widgets.compute.forward import forward
from mi_widgets.compute.readout import Readout
from mi_widgets.errors import ModelError

ARCHITECTURES = list(tiny_models.CONFIGS)
IDS = np.random.default_rng(2).integers(3, tiny_models.D_VOCAB, 10)


@pytest.fixture
def vectors():
    """`[row, d_model]` of three sizes: statistics of the norm are each row's own."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(6, 32, generator=draw) * torch.tensor([0.1, 0.1, 1, 1, 30, 30])[:, None] + 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_of_any_vector_equal_hugging_faces_norm_and_head(architecture, dtype, vectors, tiny_folder, tiny_model):
    readout = Readout(tiny_model(architecture, dtype=dtype))
    want = lens_oracle.read(tiny_oracle.load(tiny_folder(architecture), dtype), vectors)
    got = readout.logits(vectors)
    assert got.dtype == torch.float32
    assert not got.requires_grad
    assert np.allclose(got.numpy(), want, rtol=1e-4 if dtype == torch.float32 else 1e-2, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_stream_gives_the_models_logits(architecture, tiny_folder, tiny_model):
    model, hugging = tiny_model(architecture), tiny_oracle.load(tiny_folder(architecture))
    stream = forward(model, IDS, ("hook_resid_post",), [1]).arrays["hook_resid_post"][0]
    with torch.no_grad():
        want = hugging(torch.as_tensor(IDS)[None]).logits[0]
    assert torch.allclose(Readout(model).logits(torch.tensor(stream)), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_parts_of_the_norm_make_up_the_norm(architecture, vectors, tiny_model):
    readout = Readout(tiny_model(architecture))
    assert readout.centred == (architecture in {"gpt2", "neox"})
    large = vectors * 100  # so that the norm's epsilon is lost
    centred = large - large.mean(-1, keepdim=True) if readout.centred else large
    by_hand = centred / centred.pow(2).mean(-1, keepdim=True).sqrt() * readout.gain + readout.bias
    assert torch.allclose(readout.normalized(large), by_hand, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_the_unembedding_the_bias_and_the_transform(architecture, vectors, tiny_model):
    readout = Readout(tiny_model(architecture))
    columns = torch.stack([readout.unembedding(token) for token in range(readout.d_vocab)], dim=1)
    by_hand = readout.normalized(vectors) @ columns
    by_hand = by_hand if readout.b_U is None else by_hand + readout.b_U
    assert torch.allclose(readout.raw_logits(vectors), by_hand, rtol=1e-4, atol=1e-5)
    capped = 5 * torch.tanh(by_hand / 5) if architecture == "gemma2" else by_hand
    assert torch.allclose(readout.logits(vectors), capped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_gradients_reach_the_stream_and_leave_the_model_alone(architecture, vectors, tiny_model):
    model = tiny_model(architecture)
    model(torch.tensor([[3, 4, 5]]))
    before = state_of(model)
    stream = vectors.clone().requires_grad_()
    logits = Readout(model).differentiable_logits(stream)
    (gradient,) = torch.autograd.grad(logits[:, 7].sum(), stream)
    nudge = (
        1e-2 * vectors.std(-1, keepdim=True) * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))
    )
    ahead, behind = (Readout(model).logits(vectors + sign * nudge)[:, 7] for sign in (1, -1))
    assert torch.allclose((gradient * nudge).sum(-1), (ahead - behind) / 2, rtol=1e-2, atol=1e-4)
    assert state_of(model) == before


def test_what_does_not_unembed_one_stream_is_refused(model, monkeypatch):
    monkeypatch.setitem(model._modules, "project_out", torch.nn.Identity())
    with pytest.raises(ModelError, match="project_out"):
        Readout(model)
    monkeypatch.undo()
    monkeypatch.setattr(type(model), "W_U", torch.zeros(32, 128, dtype=torch.uint8))
    with pytest.raises(ModelError, match="quantised"):
        Readout(model)
