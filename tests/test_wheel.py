"""What is installed from a wheel: all but the embedded model's trainer, and it works without that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def left_out() -> list[str]:
    """Files of the checkout that no wheel holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]


def test_no_wheel_holds_what_trains_the_embedded_model() -> None:
    assert all((ROOT / name.lstrip("/")).is_file() for name in left_out())  # a moved one would come back unseen
    trains = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mi_widgets" / "demo").glob("*.py")
        if "import torch" in path.read_text(encoding="utf-8") or "import tokenizers" in path.read_text(encoding="utf-8")
    }
    trains -= {"mi_widgets/demo/toy.py"}  # a model of its own, for whoever wants to see superposition
    assert {f"/{name}" for name in trains} <= set(left_out())


def test_the_embedded_model_its_prompts_and_its_lens_work_without_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mi_widgets", tmp_path / "mi_widgets", ignore=shutil.ignore_patterns("__pycache__"))
    for name in left_out():
        (tmp_path / name.lstrip("/")).unlink()
    code = f"""
import mi_widgets as mw
assert mw.__file__.startswith({str(tmp_path)!r}), mw.__file__
model = mw.load_demo()
record = mw.demo.prompts("ioi", n=1)[0]
lens = mw.LogitLens(model, record.text, lens="tuned")
assert lens.data.names[int(lens.data.top_ids[-1, -1, 0])] == record.answer
assert mw.compute.attention_patterns(model, record.text).values.ndim == 4
mw.demo.coder(2).fits(model)
assert mw.demo.superposition(steps=2).data.directions.shape == (5, 2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
