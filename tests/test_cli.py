"""The command line, without starting anything that stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mi_widgets import cli


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


def test_selfcheck_holds_on_a_model_and_fails_on_none(tiny_folder, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["selfcheck", str(tiny_folder("llama"))])
    out = capsys.readouterr().out
    for check in (
        "attention rows sum to 1",
        "patterns = Hugging Face's",
        "softmax(scores) = patterns",
        "model is left unchanged",
    ):
        assert any(line.startswith("ok") and check in line for line in out.splitlines()), out
    assert cli.main(["selfcheck", "/nowhere/at/all"]) == 1
    assert "There is no folder" in capsys.readouterr().out
