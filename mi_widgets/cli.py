"""The command line: `mi-widgets lab`, `mi-widgets selfcheck [MODEL]`, `mi-widgets --version`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mi_widgets.version import __version__

QUICKSTART = "00_quickstart.ipynb"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="mi-widgets", description="Look inside a transformer, in the notebook.")
    parser.add_argument("--version", action="version", version=f"mi_widgets {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "lab",
        help="open JupyterLab on the quick-start notebook; other options go to JupyterLab, e.g. --no-browser",
    )
    check = commands.add_parser("selfcheck", help="check every number and export on this machine and model")
    check.add_argument("model", nargs="?", default=None, help="a Hugging Face name or folder; else the embedded model")
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if chosen.command == "lab":
        return open_lab(rest)
    return selfcheck(chosen.model)


# --- lab --------------------------------------------------------------------------------------------------


def open_lab(options: Sequence[str]) -> int:  # noqa: RET503 (the process becomes JupyterLab)
    """Become JupyterLab on the quick-start notebook. It asks nothing of the network."""
    if importlib.util.find_spec("jupyterlab") is None:
        print('JupyterLab is not installed. Install it: pip install "mi_widgets[lab]"', file=sys.stderr)
        return 1
    notebook = notebooks_folder() / QUICKSTART
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        str(notebook),
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
        *options,
    ]
    print(f"JupyterLab opens {notebook}", flush=True)
    os.execve(sys.executable, command, lab_environment())  # Ctrl-C and signals then reach JupyterLab itself


#: Settings that this JupyterLab starts from; the user's own settings win over them.
LAB_SETTINGS = {
    # without it a saved notebook holds no picture for readers without a kernel
    "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True},
    # both would ask the network
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}


def lab_environment() -> dict[str, str]:
    """The environment of a JupyterLab that starts from `LAB_SETTINGS`."""
    folder = Path(tempfile.mkdtemp(prefix="mi-widgets-"))
    (folder / "labconfig").mkdir()
    (folder / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(LAB_SETTINGS))
    paths = [str(folder), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def notebooks_folder() -> Path:
    """The manual: this checkout's notebooks, or a copy of the packaged ones in `./mi_widgets_notebooks`."""
    for folder in (Path.cwd() / "notebooks", Path(__file__).parents[1] / "notebooks"):
        if (folder / QUICKSTART).exists():
            return folder
    packaged, copy = Path(__file__).parent / "notebooks", Path.cwd() / "mi_widgets_notebooks"
    if not copy.exists():  # never over a reader's own edits
        shutil.copytree(packaged, copy)
    return copy


# --- selfcheck --------------------------------------------------------------------------------------------

VIEWS = ("attention", "logit_attribution", "logit_lens", "prompt")
PROMPTS = ("When Mary and John went to the store , John gave a drink to", "The cat sat on the mat . The cat sat on the")


class CheckFailed(Exception):
    """A self-check that does not hold; its text is the detail."""


def selfcheck(name: str | None) -> int:
    """Print a table of checks; 1 if one fails."""
    from mi_widgets.models import load_demo, load_model

    state: dict[str, Any] = {}

    def load() -> str:
        state["model"] = load_demo() if name is None else load_model(name)
        info = describe(state["model"])
        return f"{info.n_layers} layers × {info.n_heads} heads, {info.kv_heads} KV heads, vocabulary {info.d_vocab:,}"

    from mi_widgets.models import describe

    checks: list[tuple[str, Callable[[], str]]] = [
        ("page bundles are there", _bundles),
        ("model loads", load),
        ("attention rows sum to 1", lambda: _row_sums(state["model"])),
        ("patterns = Hugging Face's", lambda: _hugging_face(state["model"], name)),
        ("softmax(scores) = patterns", lambda: _scores(state["model"])),
        ("lens' last row = the output", lambda: _lens(state["model"])),
        ("attribution sums to the logits", lambda: _attribution(state["model"])),
        ("model is left unchanged", lambda: _unchanged(state["model"])),
        ("a view computes and redraws", lambda: _view(state["model"], state)),
        ("offline page is written", lambda: _page(state)),
        ("figures can be written", _browser),
    ]
    print(f"mi_widgets {__version__}, {name or 'embedded model'}\n")
    bad = 0
    for label, check in checks:
        try:
            mark, detail = "ok  ", check()
        except CheckFailed as reason:
            mark, detail = "FAIL", str(reason)
        except KeyError:
            mark, detail = "FAIL", "needs the checks above"
        except Exception as reason:  # a self-check reports whatever goes wrong
            mark, detail = "FAIL", f"{type(reason).__name__}: {reason}"
        bad += mark == "FAIL"
        print(f"{mark}  {label:<30} {detail}", flush=True)
    print(f"\n{len(checks) - bad} of {len(checks)} hold." if bad else "\nAll hold.")
    return 1 if bad else 0


def _prompts(model: Any) -> list[Any]:
    from mi_widgets.models import describe, has_tokenizer

    if has_tokenizer(model):
        return list(PROMPTS)
    info = describe(model)
    length = min(12, info.n_ctx or 12)
    return [[position % info.d_vocab for position in range(length)]]


def _bundles() -> str:
    from mi_widgets.widgets.view import STATIC

    names = [f"{view}.{suffix}" for view in VIEWS for suffix in ("js", "css")]
    sizes = [(name, STATIC / name) for name in [*names, "standalone.js"]]
    missing = [name for name, path in sizes if not path.exists() or path.stat().st_size < 100]
    if missing:
        raise CheckFailed(f"missing or empty: {', '.join(missing)}; reinstall, or `npm ci && npm run build` in js/")
    return ", ".join(f"{name} {path.stat().st_size / 1e3:.0f} kB" for name, path in sizes if name.endswith("js"))


def _row_sums(model: Any) -> str:
    from mi_widgets.compute import attention_patterns

    error = max(attention_patterns(model, prompt).row_sum_error or 0.0 for prompt in _prompts(model))
    if error > 2e-2:
        raise CheckFailed(f"max error {error:.1e}")
    return f"max error {error:.1e}"


def _lens(model: Any) -> str:
    from mi_widgets.compute import logit_lens
    from mi_widgets.models import in_half_precision
    from mi_widgets.wire.checks import agrees

    error = max(logit_lens(model, prompt).max_error or 0.0 for prompt in _prompts(model))
    if not agrees(error, in_half_precision(model)):
        raise CheckFailed(f"max relative error {error:.1e}")
    return f"max relative error {error:.1e}"


def _attribution(model: Any) -> str:
    from mi_widgets.compute import logit_attribution, next_tokens

    worst = 0.0
    for prompt in _prompts(model):
        answer, foil = next_tokens(model, prompt, top_k=2).top_ids[-1].tolist()
        for by in ("component", "head"):
            found = logit_attribution(model, prompt, answer, foil, by=by)
            if not found.holds:
                raise CheckFailed(f"by {by}: residue {found.residue:.1e} of {found.difference:.2f}")
            worst = max(worst, abs(found.residue))
    return f"largest residue {worst:.1e}"


def _hugging_face(model: Any, name: str | None) -> str:
    import torch
    from transformers import AutoModelForCausalLM

    from mi_widgets.compute import attention_patterns
    from mi_widgets.models import DEMO_FOLDER

    parameter = next(model.parameters())
    source = name or DEMO_FOLDER
    oracle = AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager", dtype=parameter.dtype).eval()
    worst = 0.0
    for prompt in _prompts(model):
        patterns = attention_patterns(model, prompt)
        with torch.no_grad():
            output = oracle(torch.as_tensor(patterns.tokens.ids)[None], output_attentions=True)
        for row, theirs in enumerate(output.attentions):
            worst = max(worst, float((theirs[0].float() - torch.from_numpy(patterns.base[row])).abs().max()))
    tolerance = 1e-5 if parameter.dtype == torch.float32 else 2e-2
    if worst > tolerance:
        raise CheckFailed(f"max error {worst:.1e}, allowed {tolerance:.0e}")
    return f"max error {worst:.1e}"


def _scores(model: Any) -> str:
    import numpy as np

    from mi_widgets.compute import attention_patterns
    from mi_widgets.errors import ModelError

    worst = 0.0
    for prompt in _prompts(model):
        try:
            scores = attention_patterns(model, prompt, weighting="scores").values
        except ModelError as reason:  # refusing is right where the scores are not what the softmax sees
            return f"refused: {reason.message}"
        patterns = attention_patterns(model, prompt).values
        weights = np.exp(scores - np.nanmax(scores, -1, keepdims=True))
        weights = np.nan_to_num(weights)
        worst = max(worst, float(np.abs(weights / weights.sum(-1, keepdims=True) - patterns).max()))
    if worst > 2e-2:
        raise CheckFailed(f"max error {worst:.1e}")
    return f"max error {worst:.1e}"


def _unchanged(model: Any) -> str:
    from mi_widgets.compute import attention_patterns, head_scores
    from mi_widgets.models import fingerprint

    def state() -> tuple[Any, ...]:
        flags = tuple(module.training for module in model.modules())
        gradients = tuple(parameter.grad is None for parameter in model.parameters())
        return fingerprint(model), flags, gradients

    before = state()
    attention_patterns(model, _prompts(model)[0], weighting="output")
    head_scores(model)
    if state() != before:
        raise CheckFailed("hooks, flags, gradients or weights differ after a computation")
    return "hooks, flags, gradients, weights"


def _view(model: Any, state: dict[str, Any]) -> str:
    from mi_widgets.session import Session
    from mi_widgets.widgets import Attention

    prompts = _prompts(model)
    session = Session(model, prompts[0])
    state["view"] = view = Attention(session)
    session.wait()
    session.prompt = prompts[-1]
    session.wait()
    return f"{len(view.picture) + len(view.focus):,} bytes, {view.status['elapsed_ms']:.0f} ms"


def _page(state: dict[str, Any]) -> str:
    html = state["view"].to_html()
    if "http://" in html.split("miw-module")[0] or "miw-page" not in html:
        raise CheckFailed("the page is not self-contained")
    return f"{len(html) / 1e3:.0f} kB"


def _browser() -> str:
    from mi_widgets.figures.export import find_browser

    browser = find_browser()
    if browser is None:
        raise CheckFailed("no browser found: install Chromium (Debian: apt install chromium) or Google Chrome")
    return browser


if __name__ == "__main__":
    sys.exit(main())
