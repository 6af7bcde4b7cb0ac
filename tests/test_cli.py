"""The command line, without starting anything that stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers
from safetensors.torch import load_file, save_file

from mi_widgets import cli, loading


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("mi_widgets 0.")


def test_lab_opens_the_quick_start_and_hands_on_jupyterlabs_options(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _path, command, environment: started.append((command, environment)))
    cli.main(["lab", "--no-browser", "--port=8890"])
    [(command, environment)] = started
    assert any(part.endswith("00_quickstart.ipynb") and Path(part).exists() for part in command)
    assert command[-2:] == ["--no-browser", "--port=8890"]
    folder = Path(environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0])
    settings = json.loads((folder / "labconfig" / "default_setting_overrides.json").read_text())
    assert settings["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}


def test_strange_options_of_other_commands_are_refused() -> None:
    with pytest.raises(SystemExit):
        cli.main(["selfcheck", "--loud"])


def checked(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, dict[str, str]]:
    """Exit status of a self-check, and its lines: from what was checked to its mark and detail."""
    status = cli.main(["selfcheck", *map(str, arguments)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("ok ", "FAIL ", "n/a "))]
    return status, {line[6:37].strip(): line[:4].strip() + line[36:] for line in lines}


def failing(lines: dict[str, str]) -> list[str]:
    return [label for label, told in lines.items() if told.startswith("FAIL")]


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_selfcheck_holds_on_a_model(architecture: str, tiny_folder: Callable[[str], Path], capsys: Any) -> None:
    status, lines = checked(capsys, tiny_folder(architecture))
    assert status == 0
    assert len(lines) == 14
    assert all(told.startswith("ok") for told in lines.values()), lines


def test_selfcheck_fails_on_no_model(capsys: Any) -> None:
    status, lines = checked(capsys, "/nowhere/at/all")
    assert status == 1
    assert failing(lines) == ["model loads"]
    assert "There is no folder" in lines["model loads"]


def made(folder: Path, config: Any, kind: Any = transformers.AutoModelForCausalLM) -> Path:
    torch.manual_seed(0)
    kind.from_config(config).save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return folder


def test_what_does_not_apply_is_no_failure(tmp_path: Path, capsys: Any) -> None:
    mamba = transformers.MambaConfig(vocab_size=128, hidden_size=32, num_hidden_layers=2, state_size=4)
    bert = transformers.BertConfig(**tiny_models.SHAPE, max_position_embeddings=64)
    for name, folder, absent in (
        ("mamba", made(tmp_path / "mamba", mamba), "attention rows sum to 1"),
        ("bert", made(tmp_path / "bert", bert, transformers.AutoModelForMaskedLM), "lens' last row = the output"),
    ):
        status, lines = checked(capsys, folder)
        assert (status, failing(lines)) == (0, []), name
        assert lines[absent].startswith("n/a")
        assert lines["logits = Hugging Face's"].startswith("ok")
        assert lines["model is left unchanged"].startswith("ok")


def test_logits_that_are_all_the_same_are_right_where_they_are_hugging_faces(tmp_path: Path, capsys: Any) -> None:
    folder = made(tmp_path, transformers.LlamaConfig(**tiny_models.SHAPE, tie_word_embeddings=False))
    flat = with_weights(folder, tmp_path / "flat", lambda weights: weights["lm_head.weight"].zero_())
    status, lines = checked(capsys, flat)
    assert (status, failing(lines)) == (0, [])


def test_its_prompts_fit_a_model_of_eight_positions(tmp_path: Path, capsys: Any) -> None:
    values = tiny_models.CONFIGS["gpt2"][1] | {"n_positions": 8}
    status, lines = checked(capsys, made(tmp_path, transformers.GPT2Config(**values)))
    assert (status, failing(lines)) == (0, [])


def with_weights(folder: Path, at: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    shutil.copytree(folder, at)
    weights = load_file(at / "model.safetensors")
    change(weights)
    save_file(weights, at / "model.safetensors", {"format": "pt"})
    return at


def test_a_weight_that_is_no_number_fails_wherever_it_reaches(
    tiny_folder: Callable[[str], Path], tmp_path: Path, capsys: Any
) -> None:
    def break_one(weights: dict[str, torch.Tensor]) -> None:
        weights["model.layers.0.mlp.up_proj.weight"][0, 0] = float("nan")

    status, lines = checked(capsys, with_weights(tiny_folder("llama"), tmp_path / "nan", break_one))
    assert status == 1
    assert "model.layers.0.mlp.up_proj.weight" in lines["weights are numbers"]
    reached = {"weights are numbers", "patterns = Hugging Face's", "logits = Hugging Face's"}
    assert reached <= set(failing(lines))


def test_a_missing_weight_fails_and_can_be_looked_past(
    tiny_folder: Callable[[str], Path], tmp_path: Path, capsys: Any
) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    folder = with_weights(tiny_folder("llama"), tmp_path / "less", lambda weights: weights.pop(name))
    status, lines = checked(capsys, folder)
    assert (status, failing(lines)) == (1, ["model loads"])
    status, lines = checked(capsys, folder, "--incomplete", "allow")
    assert (status, failing(lines)) == (1, ["checkpoint fits the model"])
    assert name in lines["checkpoint fits the model"]
    assert lines["attention rows sum to 1"].startswith("ok")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_logits_than_hugging_faces_fail(
    dtype: torch.dtype, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    plain = loading.hugging_face_model

    def edited(name: Any, _dtype: torch.dtype) -> Any:
        oracle = plain(name, dtype)
        with torch.no_grad():
            oracle.model.layers[1].mlp.down_proj.weight.mul_(10 if dtype.itemsize < 4 else 1.1)
        return oracle

    monkeypatch.setattr(loading, "hugging_face_model", edited)
    load = loading.load_model
    monkeypatch.setattr("mi_widgets.models.load_model", lambda name, **options: load(name, dtype=dtype, **options))
    status, lines = checked(capsys, tiny_folder("llama"))
    assert (status, failing(lines)) == (1, ["logits = Hugging Face's"])


def test_a_reader_who_goes_ends_it_quietly(tiny_folder: Callable[[str], Path]) -> None:
    command = [sys.executable, "-m", "mi_widgets.cli", "selfcheck", str(tiny_folder("llama"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline().startswith("mi_widgets")
        run.stdout.close()
        told = run.stderr.read()
    assert (run.returncode, told) == (cli.CLOSED_PIPE, "")
