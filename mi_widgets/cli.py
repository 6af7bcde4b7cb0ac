"""The command line: `mi-widgets lab`, `mi-widgets selfcheck [MODEL]`, `mi-widgets --version`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mi_widgets.version import __version__

QUICKSTART = "00_quickstart.ipynb"
#: What a shell calls a program that wrote to a closed pipe: 128 + SIGPIPE.
CLOSED_PIPE = 141


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
    check.add_argument(
        "--incomplete",
        choices=("refuse", "allow"),
        default="refuse",
        help="a checkpoint that does not fit its model: refuse it, or check all the rest",
    )
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if chosen.command == "lab":
        return open_lab(rest)
    try:
        status = selfcheck(chosen.model, chosen.incomplete)
        print(end="", flush=True)
    except BrokenPipeError:  # the reader has gone, as `| head -1` does; there is nobody left to tell
        with contextlib.suppress(OSError, ValueError):  # the interpreter flushes once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as reason:  # a full disk behind `>`
        print(f"the table cannot be written: {reason}", file=sys.stderr)
        return 1
    return status


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

#: Rounding steps of bfloat16 or float16 by which logits may differ from Hugging Face's: nearly all architectures are
#: the same to the last bit, those whose softmax TransformerLens computes itself (OLMo 2) differ by two.
HALF_STEPS = 8


class CheckFailed(Exception):
    """A self-check that does not hold; its text is the detail."""


class NotApplicable(Exception):
    """A self-check of something that this model does not have; its text says why."""


def selfcheck(name: str | None, incomplete: str = "refuse") -> int:
    """Print a table of checks; 1 if one that applies fails.

    Args:
        name: a Hugging Face name or folder; the embedded model if None.
        incomplete: as `load_model` takes it.
    """
    from mi_widgets.errors import ModelError

    state = _State(name=name)
    checks: list[tuple[str, Callable[[_State], str]]] = [
        ("page bundles are there", _bundles),
        ("model loads", lambda state: _load(state, incomplete)),
        ("checkpoint fits the model", _whole),
        ("weights are numbers", _weights),
        ("attention rows sum to 1", _row_sums),
        ("patterns = Hugging Face's", _patterns),
        ("logits = Hugging Face's", _logits),
        ("softmax(scores) = patterns", _scores),
        ("lens' last row = the output", _lens),
        ("attribution sums to the logits", _attribution),
        ("model is left unchanged", _unchanged),
        ("a view computes and redraws", _view),
        ("offline page is written", _page),
        ("figures can be written", _figure),
    ]
    print(f"mi_widgets {__version__}, {name or 'embedded model'}\n")
    marks = []
    for label, check in checks:
        try:
            mark, detail = "ok", check(state)
        except CheckFailed as reason:
            mark, detail = "FAIL", str(reason)
        except NotApplicable as reason:
            mark, detail = "n/a", str(reason)
        except ModelError as reason:  # a refusal is right, where the numbers would not be
            mark, detail = "n/a", reason.message
        except Exception as reason:  # a self-check reports whatever goes wrong
            mark, detail = "FAIL", f"{type(reason).__name__}: {reason}"
        marks.append(mark)
        print(f"{mark:<4}  {label:<30} {detail}", flush=True)
    bad, without = marks.count("FAIL"), marks.count("n/a")
    told = f"{bad} of {len(marks) - without} fail" if bad else "All hold" if not without else "All that apply hold"
    print(f"\n{told}{f', {without} do not apply' if without else ''}.")
    return 1 if bad else 0


class _State(dict[str, Any]):
    """What one check makes for those after it, by name; where it could make none they do not apply."""

    def __missing__(self, name: str) -> Any:
        raise NotApplicable(f"needs a {name}")


def _load(state: _State, incomplete: str) -> str:
    from mi_widgets.errors import ModelError
    from mi_widgets.models import describe, load_demo, load_model

    name = state["name"]
    try:
        model = load_demo() if name is None else load_model(name, incomplete=incomplete)
    except ModelError as reason:
        raise CheckFailed(str(reason)) from reason
    state["model"] = model
    with contextlib.suppress(ModelError):
        info = describe(model)
        return f"{info.n_layers} layers × {info.n_heads} heads, {info.kv_heads} KV heads, vocabulary {info.d_vocab:,}"
    return f"{model.cfg.n_layers} layers without attention heads"


def _whole(state: _State) -> str:
    from mi_widgets.models import load_notes

    if notes := load_notes(state["model"]):
        raise CheckFailed(" ".join(notes))
    return "every weight of the model, of its shape"


def _weights(state: _State) -> str:
    named = dict(state["model"].original_model.named_parameters())
    broken = [name.replace("._original_component", "") for name, weight in named.items() if not _finite(weight)]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise CheckFailed(f"NaN or infinite: {', '.join(broken[:3])}{more}")
    return f"{sum(weight.numel() for weight in named.values()):,}, all finite"


def _finite(weight: Any) -> bool:
    return not weight.is_floating_point() or bool(weight.isfinite().all())


def _prompts(model: Any) -> list[Any]:
    """Two prompts, as long as the model reads; ids counted up where it reads no text."""
    from mi_widgets.models import describe, has_tokenizer, token_ids

    info = describe(model)
    if not has_tokenizer(model):
        return [[position % info.d_vocab for position in range(min(12, info.n_ctx or 12))]]
    ids = [token_ids(model, text) for text in PROMPTS]
    return [
        text if info.n_ctx is None or len(text_ids) <= info.n_ctx else text_ids[: info.n_ctx]
        for text, text_ids in zip(PROMPTS, ids, strict=True)
    ]


def _within(error: float, allowed: float, what: str = "max error") -> str:
    """`error` in words; CheckFailed where it is larger than allowed, or no number."""
    if not error <= allowed:
        raise CheckFailed(f"{what} {error:.1e}, allowed {allowed:.0e}")
    return f"{what} {error:.1e}"


def _largest(errors: Iterable[Any]) -> float:
    """The largest; NaN where one is NaN, which Python's own `max` passes over. None is no measurement."""
    import numpy as np

    measured = [float(error) for error in errors if error is not None]
    if not measured:
        raise NotApplicable("nothing to measure")
    return float(np.max(measured))


def _bundles(state: _State) -> str:  # noqa: ARG001 (every check is given it)
    from mi_widgets.widgets.view import STATIC

    names = [f"{view}.{suffix}" for view in VIEWS for suffix in ("js", "css")]
    sizes = [(name, STATIC / name) for name in [*names, "standalone.js"]]
    missing = [name for name, path in sizes if not path.exists() or path.stat().st_size < 100]
    if missing:
        raise CheckFailed(f"missing or empty: {', '.join(missing)}; reinstall, or `npm ci && npm run build` in js/")
    return ", ".join(f"{name} {path.stat().st_size / 1e3:.0f} kB" for name, path in sizes if name.endswith("js"))


def _row_sums(state: _State) -> str:
    from mi_widgets.compute import attention_patterns

    model = state["model"]
    error = _largest(attention_patterns(model, prompt).row_sum_error for prompt in _prompts(model))
    return _within(error, _pattern_tolerance(model))


def _lens(state: _State) -> str:
    from mi_widgets.compute import logit_lens

    model = state["model"]
    error = _largest(logit_lens(model, prompt).max_error for prompt in _prompts(model))
    return _within(error, _output_tolerance(model), "max relative error")


def _attribution(state: _State) -> str:
    from mi_widgets.compute import logit_attribution, next_tokens

    model, residues = state["model"], []
    for prompt in _prompts(model):
        expected = next_tokens(model, prompt, top_k=2)
        if expected.not_finite:
            raise CheckFailed(f"the model's numbers are not finite {expected.not_finite}")
        answer, foil = expected.top_ids[-1].tolist()
        for by in ("component", "head"):
            found = logit_attribution(model, prompt, answer, foil, by=by)
            if not found.holds:
                raise CheckFailed(f"by {by}: residue {found.residue:.1e} of {found.difference:.2f}")
            residues.append(abs(found.residue))
    return f"largest residue {_largest(residues):.1e}"


def _pattern_tolerance(model: Any) -> float:
    """How far attention weights may be off."""
    from mi_widgets.models import in_half_precision

    return 2e-2 if in_half_precision(model) else 1e-5


def _output_tolerance(model: Any) -> float:
    """How far logits may be from the model's own, relative to their size."""
    from mi_widgets.models import in_half_precision
    from mi_widgets.wire.checks import HALF_TOLERANCE, OUTPUT_TOLERANCE

    return HALF_TOLERANCE if in_half_precision(model) else OUTPUT_TOLERANCE


def _oracle(state: _State) -> Any:
    """The same model as Hugging Face runs it, loaded for itself."""
    from mi_widgets.loading import DEMO_FOLDER, hugging_face_model, load_notes

    model = state["model"]
    if load_notes(model):
        raise NotApplicable("Hugging Face would fill what is missing with other random numbers")
    if getattr(model.original_model.config, "is_encoder_decoder", False):
        raise NotApplicable("an encoder-decoder reads two prompts")
    if "oracle" not in state:
        weight = next(model.parameters())
        state["oracle"] = hugging_face_model(state["name"] or DEMO_FOLDER, weight.dtype).to(weight.device)
    return state["oracle"]


def _theirs(oracle: Any, ids: Any, **options: Any) -> Any:
    import torch

    device = next(oracle.parameters()).device
    with torch.no_grad():
        return oracle(torch.tensor(ids)[None].to(device), **options)


def _patterns(state: _State) -> str:
    import numpy as np

    from mi_widgets.compute import attention_patterns

    model, errors = state["model"], []
    for prompt in _prompts(model):
        ours = attention_patterns(model, prompt)
        theirs = _theirs(_oracle(state), ours.tokens.ids, output_attentions=True).attentions
        if theirs is None or len(theirs) != len(ours.base):
            raise NotApplicable("Hugging Face gives no patterns of this model")
        errors += [
            np.abs(layer[0].float().cpu().numpy() - pattern).max()
            for layer, pattern in zip(theirs, ours.base, strict=True)
        ]
    return _within(_largest(errors), _pattern_tolerance(model))


def _logits(state: _State) -> str:
    import numpy as np
    import torch

    from mi_widgets.compute.forward import forward
    from mi_widgets.compute.lens_rows import CHECKS
    from mi_widgets.models import token_ids

    model, errors = state["model"], []
    dtype = next(model.parameters()).dtype
    allowed = 1e-4 if dtype.itemsize >= 4 else HALF_STEPS * torch.finfo(dtype).eps
    for prompt in _prompts(model):
        ids = token_ids(model, prompt)
        places, ours = forward(model, ids, CHECKS).arrays.values()  # each position's likeliest
        theirs = _theirs(_oracle(state), ids).logits[0].float().cpu().numpy()
        error = np.abs(ours - np.take_along_axis(theirs, places, -1)).max()
        errors.append(error / (np.ptp(theirs) or 1.0))  # a range: a constant shifts nothing
    return _within(_largest(errors), allowed, "max error relative to their range")


def _scores(state: _State) -> str:
    import numpy as np

    from mi_widgets.compute import attention_patterns

    model, errors = state["model"], []
    for prompt in _prompts(model):
        scores = attention_patterns(model, prompt, weighting="scores").values
        patterns = attention_patterns(model, prompt).values
        scores = np.where(np.isnan(scores), -np.inf, scores)  # NaN are masked
        with np.errstate(invalid="ignore"):  # a row of NaN stays one, and fails
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            errors.append(np.abs(weights / weights.sum(-1, keepdims=True) - patterns).max())
    return _within(_largest(errors), _pattern_tolerance(model))


def _unchanged(state: _State) -> str:
    from mi_widgets.compute import attention_patterns, head_scores, next_tokens
    from mi_widgets.errors import MiWidgetsError
    from mi_widgets.models import fingerprint

    model = state["model"]

    def all_of_it() -> tuple[Any, ...]:
        flags = tuple(module.training for module in model.modules())
        gradients = tuple(parameter.grad is None for parameter in model.parameters())
        hooks = tuple(len(point.fwd_hooks) for point in model.hook_dict.values())  # ours too, were one left
        return fingerprint(model), hooks, flags, gradients

    before = all_of_it()
    computations: tuple[Callable[[], Any], ...] = (
        lambda: attention_patterns(model, _prompts(model)[0], weighting="output"),
        lambda: next_tokens(model, _prompts(model)[0]),
        lambda: head_scores(model),
    )
    for compute in computations:
        with contextlib.suppress(MiWidgetsError):  # a refusal leaves it unchanged too
            compute()
    if all_of_it() != before:
        raise CheckFailed("hooks, flags, gradients or weights differ after a computation")
    return "hooks, flags, gradients, weights"


def _view(state: _State) -> str:
    from mi_widgets.session import Session
    from mi_widgets.widgets import Attention

    prompts = _prompts(state["model"])
    session = Session(state["model"], prompts[0])
    view = Attention(session)
    session.wait()
    session.prompt = prompts[-1]
    session.wait()
    state["view"] = view
    return f"{len(view.picture) + len(view.focus):,} bytes, {view.status['elapsed_ms']:.0f} ms"


def _page(state: _State) -> str:
    html = state["view"].to_html()
    if "http://" in html.split("miw-module")[0] or "miw-page" not in html:
        raise CheckFailed("the page is not self-contained")
    return f"{len(html) / 1e3:.0f} kB"


def _figure(state: _State) -> str:
    from mi_widgets.figures.export import printed
    from mi_widgets.figures.sheet import sheet_of

    sheet = sheet_of(state["view"].figure())
    if sheet is None:
        raise CheckFailed("the view's figure is not one of ours")
    return ", ".join(f"{form} {len(printed(sheet, form)) / 1e3:.0f} kB" for form in ("pdf", "svg", "png"))


if __name__ == "__main__":
    sys.exit(main())
