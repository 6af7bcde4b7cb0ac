"""A model is loaded as its checkpoint has it, or not at all, or with a note that stays with it."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mi_widgets.errors import ModelError
from mi_widgets.models import load_model, load_notes

Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """`folder(change, architecture)`: a tiny model's folder with its weights changed in place by `change`."""

    def changed(change: Callable[[Weights], Any], architecture: str = "llama") -> Path:
        copy = tmp_path / architecture
        shutil.copytree(tiny_folder(architecture), copy)
        weights = load_file(copy / "model.safetensors")
        change(weights)
        save_file(weights, copy / "model.safetensors", {"format": "pt"})
        return copy

    return changed


def configured(folder: Path, **values: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return folder


UP = "model.layers.0.mlp.up_proj.weight"


@pytest.mark.parametrize("architecture", ["gpt2", "neox", "llama", "mistral", "gemma2", "gemma3", "qwen3"])
def test_a_whole_checkpoint_loads_without_a_note(architecture: str, tiny_model: Callable[..., Any]) -> None:
    assert load_notes(tiny_model(architecture)) == ()


def test_a_missing_weight_is_refused_by_name(folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=rf"1 weight is missing .*\({UP}\)"):
        load_model(folder(lambda weights: weights.pop(UP)))


def test_a_renamed_weight_is_told_twice(folder: Callable[..., Path]) -> None:
    def rename(weights: Weights) -> None:
        weights[UP.replace("up", "upp")] = weights.pop(UP)

    with pytest.raises(ModelError, match=r"1 weight is missing .*; 1 weight is unknown to the model"):
        load_model(folder(rename))


def test_a_weight_of_another_shape_is_refused_with_both_shapes(folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"up_proj.weight \[48, 33\] for \[48, 32\]"):
        load_model(folder(lambda weights: weights.update({UP: torch.zeros(48, 33)})))


def test_blocks_that_the_configuration_leaves_out_are_refused_and_counted(folder: Callable[..., Path]) -> None:
    short = configured(folder(lambda weights: None), num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"9 weights are unknown .*layers\.1\..* and 6 more"):
        load_model(short)
    with pytest.raises(ModelError, match=r"9 weights are missing .*layers\.2\..* and 6 more"):
        load_model(configured(short, num_hidden_layers=3))


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.bias", "lm_head.bias"])
def test_a_bias_that_the_model_would_not_add_is_refused(name: str, folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="left out"):
        load_model(folder(lambda weights: weights.update({name: torch.ones(32)})))


def test_a_layers_missing_expert_is_refused_by_name(tmp_path: Path) -> None:
    import tiny_models

    config = transformers.MixtralConfig(**tiny_models.ROTARY, num_local_experts=4, num_experts_per_tok=2)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    assert load_notes(load_model(tmp_path)) == ()
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.block_sparse_moe.experts.0.w1.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.experts"):
        load_model(tmp_path)


def test_who_insists_gets_the_model_and_a_note_that_stays_with_it(folder: Callable[..., Path]) -> None:
    model = load_model(folder(lambda weights: weights.pop(UP)), incomplete="allow")
    [note] = load_notes(model)
    assert UP in note
    assert "random" in note
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None, "a note must not keep its model alive"


def test_a_checkpoint_in_pickled_form_is_read_the_same(folder: Callable[..., Path]) -> None:
    pickled = folder(lambda weights: None, "gpt2")
    weights = load_file(pickled / "model.safetensors")
    (pickled / "model.safetensors").unlink()
    torch.save(weights, pickled / "pytorch_model.bin")
    assert load_notes(load_model(pickled)) == ()
    del weights["transformer.h.0.ln_1.weight"]
    torch.save(weights, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"ln_1\.weight"):
        load_model(pickled)


def test_a_checkpoint_in_shards_is_read_the_same(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    import tiny_models

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    model.save_pretrained(tmp_path, max_shard_size="20kB")
    tiny_models.tokenizer().save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert load_notes(load_model(tmp_path)) == ()
    shards[1].unlink()
    with pytest.raises(ModelError, match="Cannot load"):
        load_model(tmp_path)


def old_names(weights: Weights) -> None:
    """As the first GPT-2 checkpoints were: no prefix, and each block's causal mask."""
    for name in list(weights):
        weights[name.removeprefix("transformer.")] = weights.pop(name)
    for layer in (0, 1):
        weights[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64)
        weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)


def rotary_tables(weights: Weights) -> None:
    for layer in (0, 1):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)


def other_heads(weights: Weights) -> None:
    weights["score.weight"] = torch.ones(3, 32)
    weights["model.pooler.dense.weight"] = torch.ones(32, 32)


@pytest.mark.parametrize(
    ("architecture", "change"), [("gpt2", old_names), ("llama", rotary_tables), ("llama", other_heads)]
)
def test_what_changes_no_number_is_no_fault(
    architecture: str, change: Callable[[Weights], None], folder: Callable[..., Path]
) -> None:
    assert load_notes(load_model(folder(change, architecture))) == ()


def test_random_weights_on_demand_are_noted(tiny_folder: Callable[[str], Path]) -> None:
    [note] = load_notes(load_model(tiny_folder("llama"), load_weights=False))
    assert "random" in note


def test_a_model_the_user_loaded_is_taken_as_it_is(tiny_folder: Callable[[str], Path]) -> None:
    own = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    assert load_notes(load_model(tiny_folder("llama"), hf_model=own)) == ()


def test_the_users_choice_of_a_class_is_kept(tiny_folder: Callable[[str], Path]) -> None:
    model = load_model(tiny_folder("llama"), model_class=transformers.LlamaForCausalLM)
    assert type(model.original_model) is transformers.LlamaForCausalLM


def test_the_weights_are_read_once(tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    plain = transformers.PreTrainedModel.from_pretrained.__func__

    def counted(cls: Any, *given: Any, **options: Any) -> Any:
        loads.append(cls)
        return plain(cls, *given, **options)

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(counted))
    load_model(tiny_folder("gpt2"))
    assert len(loads) == 1


def test_anything_else_has_no_notes() -> None:
    assert load_notes(None) == load_notes([]) == load_notes(5) == ()


ODD = [
    None, 5, 3.5, float("nan"), "", "   ", b"gpt2", [], {}, object(), torch.zeros(2), "a" * 10_000, "no/such\0thing",
    "~nobody_at_all/model", "\ud800", "gpt 2 or so",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=lambda name: repr(name)[:30])
def test_what_names_no_model_is_refused(name: Any) -> None:
    with pytest.raises(ModelError) as raised:
        load_model(name)
    assert raised.value.hint


@pytest.mark.parametrize("option", [{"incomplete": "alow"}, {"incomplete": None}, {"blub": 3}, {"device": "gpu7"}])
def test_an_odd_option_is_refused(option: dict[str, Any], tiny_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError):
        load_model(tiny_folder("llama"), **option)


def test_a_file_is_no_folder(tiny_folder: Callable[[str], Path]) -> None:
    for path in (tiny_folder("llama") / "config.json", str(tiny_folder("llama") / "model.safetensors")):
        with pytest.raises(ModelError, match="is a file"):
            load_model(path)


def test_damaged_files_load_or_are_refused_but_never_break(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    draw = random.Random(0)
    refused = 0
    for attempt in range(60):
        damaged = tmp_path / str(attempt)
        shutil.copytree(tiny_folder("llama"), damaged)
        path = damaged / draw.choice(["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
        content = bytearray(path.read_bytes())
        for _ in range(draw.choice([1, 3, 30])):
            content[draw.randrange(min(len(content), 1500))] = draw.randrange(256)
        path.write_bytes(draw.choice([content, content, content[: draw.randrange(len(content))], b"", b"[]", b"null"]))
        with contextlib.suppress(ModelError):
            load_model(damaged)
            refused -= 1
        refused += 1
    assert 30 < refused < 60
