"""The tuned lens: untrained it is the logit lens, trained it is nearer to the model's output, and it leaves the model be."""

from __future__ import annotations

import json
import random

import lens_oracle
import numpy as np
import pandas as pd
import pytest
import tiny_oracle
import torch
from compute.test_forward import state_of

from mi_widgets import compute
from mi_widgets.compute import TunedLens, train_tuned_lens
from mi_widgets.compute.tuned_lens_training import tuned_lens_steps
from mi_widgets.errors import DataError, ExportError, ModelError, PromptError
from mi_widgets.models import load_demo, load_model

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
    with pytest.warns(UserWarning, match="reads as the logit lens"):
        lens = train_tuned_lens(model, texts(6), epochs=3, learning_rate=1e4)
    assert lens.training["kl_after"][0] == lens.training["kl_before"][0]
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
    with pytest.raises(ModelError, match="other weights"):
        compute.logit_lens(tiny_model("llama"), IDS, lens=lens)
    with pytest.raises(ModelError, match="d_model 32"):
        lens.validate_model(load_model(shared / "models" / "stories260K-llama"))


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_every_precision_of_the_same_model_fits_every_other(architecture, tiny_model):
    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
    models = [tiny_model(architecture, dtype=dtype) for dtype in dtypes]
    models += [tiny_model(architecture).to(torch.bfloat16), tiny_model(architecture).half()]
    for lens in map(TunedLens.untrained, models):
        for model in models:
            assert lens.validate_model(model) is lens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_edited_weight_makes_it_another_model(dtype, tiny_model):
    lens = TunedLens.untrained(tiny_model("llama"))
    plain = tiny_model("llama", dtype=dtype)
    names = [name for name, _ in plain.original_model.named_parameters()]
    assert len(names) > 20
    for name in names:
        weight = plain.original_model.get_parameter(name)
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.view(-1)[5] += 0.05 * (1 + weight.abs().max())
        with pytest.raises(ModelError, match="other weights") as raised:
            lens.validate_model(plain)
        assert name.replace("._original_component", "") in str(raised.value)
        with torch.no_grad():
            weight.copy_(kept)
    assert lens.validate_model(plain) is lens


def test_a_fine_tune_is_another_model(tiny_model):
    model = tiny_model("gpt2")
    lens = TunedLens.untrained(model)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1e-4 * weight.std() * torch.randn(weight.shape, generator=draw)
    for tuned in (model, model.to(torch.bfloat16)):
        with pytest.raises(ModelError, match="other weights"):
            lens.validate_model(tuned)


def test_two_layers_that_changed_places_are_another_model(tiny_model):
    model = tiny_model("gpt2")
    lens = TunedLens.untrained(model)
    first, second = (block.mlp.c_proj.weight for block in model.original_model.transformer.h)
    with torch.no_grad():
        kept = first.clone()
        first.copy_(second)
        second.copy_(kept)
    with pytest.raises(ModelError, match="other weights"):
        lens.validate_model(model)


def test_the_weights_are_read_once_for_any_number_of_edits_of_the_prompt(tiny_model, monkeypatch):
    from mi_widgets.compute import signature as signatures

    read = []
    plain = signatures._numbers
    monkeypatch.setattr(signatures, "_numbers", lambda weight: (read.append(1), plain(weight))[1])
    model = tiny_model("gpt2")
    lens = TunedLens.untrained(model)
    once = len(read)
    assert once > 20
    for last in range(5):
        compute.logit_lens(model, [*IDS.tolist(), last], lens=lens)
        model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value)
    assert len(read) == once
    with torch.no_grad():
        model.original_model.transformer.wte.weight[3, 3] += 1
    with pytest.raises(ModelError):
        compute.logit_lens(model, IDS, lens=lens)
    assert len(read) == 2 * once


def version_1(lens, path, sample):
    """A file as the first version wrote it."""
    from safetensors.torch import save_file

    about = {
        "format": "mi_widgets tuned lens", "version": "1", "model": lens.model, "d_model": str(lens.d_model),
        "n_layers": str(lens.n_layers), "d_vocab": str(lens.d_vocab), "sample": json.dumps(sample), "training": "{}",
    }  # fmt: skip
    tensors = {f"layers.{layer}.{part}": getattr(lens, part)[layer] for layer in lens.A for part in "Ab"}
    save_file(tensors, str(path), about)
    return path


def test_a_file_of_the_first_version_warns_that_it_knows_its_model_by_little(tiny_model, tmp_path):
    from mi_widgets.compute.tuned_lens import unembedding_sample

    model = tiny_model("gpt2")
    made = TunedLens.untrained(model)
    with pytest.warns(UserWarning, match="few weights"):
        lens = TunedLens.load(version_1(made, tmp_path / "old.safetensors", unembedding_sample(model)))
    assert lens.validate_model(model) is lens
    with torch.no_grad():
        model.original_model.transformer.h[0].mlp.c_proj.weight.mul_(2)
    assert lens.validate_model(model) is lens
    with torch.no_grad():
        model.original_model.transformer.wte.weight.mul_(2)
    with pytest.raises(ModelError, match="unembedding"):
        lens.validate_model(model)
    with pytest.raises(DataError, match="not whole"):
        TunedLens.load(version_1(made, tmp_path / "short.safetensors", [1.0, 2.0]))


class TestTheShippedLens:
    def test_its_translators_are_those_of_the_first_version(self):
        import hashlib

        from safetensors.torch import load_file

        from mi_widgets.models import DEMO_FOLDER

        digest = hashlib.sha256()
        for name, tensor in sorted(load_file(DEMO_FOLDER / "tuned_lens.safetensors").items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        assert digest.hexdigest() == "d82e4b1729bee897548ed5a5a319ec7e14c27f540d8abf3253e72879c94c40c8"

    def test_it_comes_with_the_demo_model_in_every_precision_but_not_after_an_edit(self, recwarn):
        from mi_widgets.compute.tuned_lens import shipped_lens

        model = load_demo()
        assert shipped_lens(model) is not None
        assert shipped_lens(load_demo().to(torch.bfloat16)) is not None
        with torch.no_grad():
            model.original_model.transformer.h[2].mlp.c_fc.weight[3, 4] += 0.1
        assert shipped_lens(model) is None
        assert not [warning for warning in recwarn if "tuned lens" in str(warning.message)]


def test_texts_may_come_from_anywhere(model):
    told = trained(model, epochs=1).training
    for given in (iter(texts()), (text for text in texts()), tuple(texts()), np.stack(texts()), pd.Series(texts())):
        again = train_tuned_lens(model, given, epochs=1, seed=3).training
        assert again == told


@pytest.mark.parametrize("number", [np.int64, np.int32, torch.tensor, np.array])
def test_numbers_of_every_type_are_numbers_and_can_be_saved(number, model, tmp_path):
    counts = {"epochs": 1, "patience": 2, "length": 24, "max_tokens": 400, "seed": 3}
    given = {name: number(value) for name, value in counts.items()}
    lens = train_tuned_lens(
        model, texts(), learning_rate=np.float32(0.5), held_out=torch.tensor(0.25), layers=np.arange(1), **given
    )
    again = TunedLens.load(lens.save(tmp_path / "lens.safetensors"))
    assert again.training == lens.training
    assert (again.training["seed"], again.training["learning_rate"]) == (3, 0.5)


def test_it_trains_in_inference_mode_too_and_leaves_it_on(tiny_model):
    model = tiny_model("gpt2")
    told = trained(model, epochs=1)
    with torch.inference_mode():
        steps = tuned_lens_steps(model, texts(), epochs=1, seed=3)
        for _ in range(45):
            next(steps)
            assert torch.is_inference_mode_enabled()
        steps.close()
        inside = trained(model, epochs=1)
        assert torch.is_inference_mode_enabled()
    assert torch.equal(inside.A[0], told.A[0])
    with torch.no_grad():
        assert torch.equal(trained(model, epochs=1).A[0], told.A[0])


def test_weights_made_in_inference_mode_are_refused(tiny_model):
    with torch.inference_mode():
        model = tiny_model("gpt2").to(torch.bfloat16)
    with pytest.raises(ModelError, match="inference_mode"):
        trained(model)


def test_a_model_whose_output_is_no_number_is_refused(tiny_model):
    model = tiny_model("llama")
    with torch.no_grad():
        model.original_model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="no numbers"):
        trained(model)


def test_a_missing_folder_is_told_and_the_lens_lives_on(model, tmp_path):
    lens = trained(model, epochs=1)
    with pytest.raises(ExportError, match="folder"):
        lens.save(tmp_path / "absent" / "lens.safetensors")
    assert TunedLens.load(lens.save(tmp_path / "lens.safetensors")).training == lens.training


def test_an_error_while_saving_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = TunedLens.untrained(model).save(tmp_path / "lens.safetensors")
    before = path.read_bytes()
    lens = trained(model, epochs=1)
    lens.training["note"] = object()
    with pytest.raises(DataError, match="training"):
        lens.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_is_refused_with_its_path(model, tmp_path):
    whole = trained(model, epochs=1).save(tmp_path / "lens.safetensors").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    path = tmp_path / "damaged.safetensors"
    read = 0
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 2, 10])):
            content[draw.randrange(draw.choice([header, len(content)]))] = draw.randrange(256)
        path.write_bytes(draw.choice([content, content, content, content[: draw.randrange(len(content))]]))
        try:
            TunedLens.load(path)
        except DataError as reason:
            told = str(reason)
            assert str(path) in told
        else:
            read += 1
    assert read < 600


@pytest.mark.parametrize(
    "change",
    [
        {"version": "two"}, {"version": "3"}, {"n_layers": "-1"}, {"n_layers": "1"}, {"sample": "[[1]]"},
        {"sample": "x"}, {"training": "[]"}, {"training": "{"}, {"weights": "5"}, {"weights": '["float32", []]'},
        {"weights": '["float32", {"w": [1]}]'}, {"weights": '[5, {"w": [1, 2, 3]}]'}, {"d_vocab": "many"},
        {"weights": "[" * 100_000}, {"model": None}, {"training": None},
    ],
    ids=str,
)  # fmt: skip
def test_metadata_that_makes_no_sense_is_refused(change, model, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = TunedLens.untrained(model).save(tmp_path / "lens.safetensors")
    with safe_open(path, "pt") as file:
        about = {**file.metadata(), **change}
    save_file(load_file(path), path, {name: value for name, value in about.items() if value is not None})
    with pytest.raises(DataError, match=r"lens\.safetensors"):
        TunedLens.load(path)


@pytest.mark.parametrize("name", ["layers.0.C", "layers.A", "layers.x.A", "weight", "layers.1.A", "layers.-1.A"])
def test_tensors_that_are_no_translators_are_refused(name, model, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = TunedLens.untrained(model).save(tmp_path / "lens.safetensors")
    with safe_open(path, "pt") as file:
        about = file.metadata()
    save_file({**load_file(path), name: torch.zeros(32, 32)}, path, about)
    with pytest.raises(DataError, match=r"lens\.safetensors"):
        TunedLens.load(path)


def test_a_translator_of_nan_is_refused(model):
    lens = TunedLens.untrained(model)
    with pytest.raises(DataError, match="NaN"):
        TunedLens({0: torch.full((32, 32), float("nan"))}, lens.b, "m", 2, 128)


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
        (["w5"] * 4, {"layers": []}, DataError, "layers"),
        (["w5"] * 4, {"layers": 0}, DataError, "layers"),
        ({"w5": "w6"}, {}, DataError, "texts is a dict"),
        (b"w5 w6", {}, DataError, "texts is one string"),
        (5, {}, DataError, "texts is a int"),
        (None, {}, DataError, "texts is a NoneType"),
        (pd.DataFrame({"text": ["w5"] * 4}), {}, DataError, "texts is a DataFrame"),
        ([], {}, DataError, "held-out"),
        *[
            (["w5"] * 4, {name: value}, DataError, name)
            for name, values in {
                "learning_rate": [float("nan"), float("inf"), 0, -1, "1", None, True, [1.0], 1j],
                "epochs": [0, -1, 1.5, None, True, "3"],
                "held_out": [0, 1, -0.1, float("nan"), "0.1", None],
                "patience": [0, -2, 0.5, None],
                "length": [0, -5, 2.0, "8"],
                "max_tokens": [0, -1, 1e3, None],
                "seed": [-1, 1.0, None, "0", True],
            }.items()
            for value in values
        ],
        (["w5"] * 4, {"prepend_bos": "yes"}, PromptError, "prepend_bos"),
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
