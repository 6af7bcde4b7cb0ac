"""The tuned lens: untrained it is the logit lens, trained it is nearer to the model's output, and it leaves the model be."""

from __future__ import annotations

import json

import lens_oracle
import numpy as np
import pytest
import tiny_oracle
import torch
from compute.test_forward import state_of

from mi_widgets import compute
from mi_widgets.compute import TunedLens, train_tuned_lens
from mi_widgets.compute.tuned_lens_training import tuned_lens_steps
from mi_widgets.errors import DataError, ModelError, PromptError
from mi_widgets.models import load_model

IDS = np.random.default_rng(0).integers(3, 128, 12)
PARTS = ("top_ids", "top_probs", "entropy", "kl", "change", "final_rank", "next_prob", "next_rank")


def texts(count=40, seed=0):
    return [np.random.default_rng(seed + number).integers(3, 128, 24) for number in range(count)]


def trained(model, **options):
    return train_tuned_lens(model, texts(), **{"epochs": 6, "seed": 3, **options})


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_untrained_it_is_the_logit_lens_to_the_last_bit(architecture, dtype, tiny_model):
    model = tiny_model(architecture, dtype=dtype)
    plain, tuned = compute.logit_lens(model, IDS), compute.logit_lens(model, IDS, lens=TunedLens.untrained(model))
    assert (plain.lens, tuned.lens) == ("logit", "tuned")
    for name in PARTS:
        assert np.array_equal(getattr(plain, name), getattr(tuned, name), equal_nan=name in {"change", "next_prob"})


def test_it_reads_h_plus_ah_plus_b_through_hugging_faces_norm_and_head(tiny_model, tiny_folder):
    model, hugging = tiny_model("gemma2"), tiny_oracle.load(tiny_folder("gemma2"))
    lens = TunedLens.untrained(model)
    draw = torch.Generator().manual_seed(0)
    lens.A[0].copy_(torch.randn(32, 32, generator=draw) * 0.1)
    lens.b[0].copy_(torch.randn(32, generator=draw))
    streams = lens_oracle.hidden(hugging, IDS, "resid_post")
    moved = streams[0] + torch.einsum("ij,pj->pi", lens.A[0], streams[0]) + lens.b[0]
    want = lens_oracle.numbers(np.stack([lens_oracle.read(hugging, vectors) for vectors in (moved, streams[1])]), IDS)
    got = compute.logit_lens(model, IDS, lens=lens)
    for name in ("entropy", "kl", "next_prob"):
        assert np.allclose(getattr(got, name), want[name], rtol=1e-4, atol=1e-4, equal_nan=True)


def held_out_kl(model, lens, prompts):
    """Mean KL(final ‖ lens) of the rows before the last, by the lens itself."""
    return np.mean([compute.logit_lens(model, prompt, lens=lens).kl[:-1].mean() for prompt in prompts])


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_training_brings_it_nearer_to_the_output_on_text_it_has_not_seen(architecture, tiny_model):
    model = tiny_model(architecture)
    lens = trained(model)
    unseen = texts(5, seed=1000)
    assert held_out_kl(model, lens, unseen) < 0.8 * held_out_kl(model, "logit", unseen)


def test_it_says_what_each_layer_gained_on_held_out_text(model):
    lens = trained(model)
    told = lens.training
    assert (told["tokens"], told["held_out_tokens"], told["layers"]) == (36 * 24, 4 * 24, [0])
    assert told["kl_after"][0] < told["kl_before"][0]
    assert told["kl_before"][0] == pytest.approx(held_out_kl(model, "logit", texts()), rel=0.2)


@pytest.mark.shared
def test_on_real_stories_every_layer_gains(shared):
    model = load_model(shared / "models" / "stories260K-llama")
    stories = json.loads((shared / "data" / "tinystories_1000.json").read_text())
    lens = train_tuned_lens(model, stories[:60], max_tokens=3000, epochs=4)
    before, after = np.array(lens.training["kl_before"]), np.array(lens.training["kl_after"])
    assert (after < 0.85 * before).all()


def test_the_model_has_no_gradients_left_and_learns_nothing(tiny_model):
    model = tiny_model("gpt2")
    next(model.parameters()).requires_grad_(False)
    model.blocks[1].train()
    model(torch.tensor([[3, 4, 5]]))
    before = state_of(model)
    trained(model, epochs=2)
    assert state_of(model) == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradients_of_the_users_own_stay_as_they_were(model):
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trained(model, epochs=1)
    assert all((parameter.grad == 1).all() for parameter in model.parameters())


def test_it_can_be_stopped_between_steps(model):
    steps = tuned_lens_steps(model, texts(), epochs=5)
    seen = [next(steps) for _ in range(44)]  # past the forty texts, into the training
    assert [step.done for step in seen] == list(range(44))
    assert torch.is_grad_enabled()
    model(torch.tensor([[3, 4, 5]]))
    before = state_of(model)
    next(steps)
    steps.close()
    assert state_of(model) == before


def test_one_seed_gives_one_lens(tiny_model):
    first, again, other = (trained(tiny_model("gpt2"), epochs=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.A[0], again.A[0])
    assert torch.equal(first.b[0], again.b[0])
    assert not torch.equal(first.A[0], other.A[0])


def test_it_stops_early_where_held_out_text_gains_nothing(model):
    lens = train_tuned_lens(model, texts(6), epochs=400, patience=2, learning_rate=30.0)
    assert lens.training["epochs"] < 400
    assert lens.training["kl_after"][0] <= lens.training["kl_before"][0]


def test_a_rate_far_too_high_never_gives_less_than_the_logit_lens(model):
    lens = train_tuned_lens(model, texts(6), epochs=3, learning_rate=1e4)
    assert lens.training["kl_after"][0] <= lens.training["kl_before"][0]
    assert torch.isfinite(lens.A[0]).all()


def test_long_texts_are_cut_and_the_token_limit_is_kept(model):
    lens = train_tuned_lens(model, [np.random.default_rng(0).integers(3, 128, 1000)], max_tokens=320, epochs=1)
    told = lens.training
    assert told["tokens"] + told["held_out_tokens"] == 320  # five pieces of the model's 64 positions
    lens = train_tuned_lens(model, ["w5 w6 w7 w8 w9 w10"] * 3, length=4, epochs=1)
    assert lens.training["tokens"] > 0


def test_saved_and_loaded_it_is_the_same(model, tmp_path):
    lens = trained(model)
    path = lens.save(tmp_path / "lens.safetensors")
    again = TunedLens.load(path)
    assert torch.equal(again.A[0], lens.A[0])
    assert torch.equal(again.b[0], lens.b[0])
    assert (again.model, again.n_layers, again.d_vocab) == (lens.model, lens.n_layers, lens.d_vocab)
    assert again.training == lens.training
    again.validate_model(model)


def test_the_file_is_plain_safetensors_with_metadata(model, tmp_path):
    from safetensors import safe_open

    lens = trained(model, epochs=1)
    with safe_open(lens.save(tmp_path / "lens.safetensors"), "pt") as file:
        assert set(file.keys()) == {"layers.0.A", "layers.0.b"}
        assert file.get_tensor("layers.0.A").shape == (32, 32)
        about = file.metadata()
    assert about["d_model"] == "32"
    assert json.loads(about["training"])["seed"] == 3


def test_a_file_of_another_kind_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, str(path))
    with pytest.raises(DataError, match="no tuned lens"):
        TunedLens.load(path)
    with pytest.raises(DataError, match="cannot be read"):
        TunedLens.load(tmp_path / "absent.safetensors")
    path.write_bytes(b"not safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        TunedLens.load(path)


def test_a_lens_of_another_model_is_refused(tiny_model, shared):
    lens = TunedLens.untrained(tiny_model("gpt2"))
    with pytest.raises(ModelError, match="another unembedding"):
        compute.logit_lens(tiny_model("llama"), IDS, lens=lens)
    with pytest.raises(ModelError, match="d_model 32"):
        lens.validate_model(load_model(shared / "models" / "stories260K-llama"))


def test_half_precision_of_the_same_model_fits(tiny_model):
    lens = TunedLens.untrained(tiny_model("gpt2"))
    assert lens.validate_model(tiny_model("gpt2", dtype=torch.bfloat16)) is lens


def test_compatibility_mode_makes_it_another_model(tiny_model):
    model = tiny_model("gpt2")
    lens = TunedLens.untrained(model)
    model.enable_compatibility_mode()
    with pytest.raises(ModelError, match="compatibility mode"):
        lens.validate_model(model)


@pytest.mark.parametrize(
    ("given", "options", "error", "word"),
    [
        (["w5 w6"], {}, DataError, "held-out"),
        ("one text", {}, DataError, "one string"),
        ([3.5], {}, PromptError, "neither text"),
        (["w5"] * 4, {"layers": [1]}, DataError, "layers"),
        (["w5"] * 4, {"layers": [7]}, DataError, "layers"),
        (["w5"] * 4, {"length": 0}, DataError, "length"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_the_reason(given, options, error, word, model):
    with pytest.raises(error, match=word):
        train_tuned_lens(model, given, **options)


def test_translators_of_a_wrong_shape_are_refused():
    with pytest.raises(DataError, match="d_model"):
        TunedLens({0: torch.zeros(3, 4)}, {0: torch.zeros(3)}, "m", 2, 5)
    with pytest.raises(DataError, match="same layers"):
        TunedLens({0: torch.zeros(3, 3)}, {1: torch.zeros(3)}, "m", 3, 5)
    with pytest.raises(DataError, match="last layer"):
        TunedLens({1: torch.zeros(3, 3)}, {1: torch.zeros(3)}, "m", 2, 5)
