"""The logit lens against the bare products: time, and peak memory beyond the model and its cached activations.

Shape of GPT-2 small, 12 layers × 1,024 tokens × 50,257 vocabulary, top 10, random weights. "bare" is, for the same
cached streams in the same chunks: final norm, product with the unembedding, `topk(10)`, entropy by `log_softmax`; it
keeps nothing. "lens" is the whole of `lens_steps`: also KL to the output, change between layers, ranks of the output's
token and of the next one, and the self-check. "targets" pins eight tokens more. "whole" also runs the forward pass that
fills the cache, `compute.logit_lens`, and is held against a pass of the model and "bare" together. Time is taken in turn
in one process; memory in processes of their own, as the kernel's own count (VmHWM). Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

from measure import alternate, gpt2_shape, median, spread, verdict, words
from memory import forget_peak, peak_bytes

TIME, TIME_WITH_TARGETS, BYTES = 1.35, 2.0, 400e6
LAYERS, CHUNK = 12, 8_000_000
TARGETS = tuple(range(100, 108))
#: What can be measured.
JOBS = ("lens", "targets", "pin later", "two lenses", "whole")


def prepare(tokens: int, width: int) -> tuple[Any, Any, Any, str]:
    """Model, prompt as run, its cached streams, its text."""
    from mi_widgets.compute.forward import forward
    from mi_widgets.compute.lens_rows import lens_sites
    from mi_widgets.models import tokenize

    model, prompt = gpt2_shape(width=width), words(tokens, seed=1)
    prepared = tokenize(model, prompt)
    return model, prepared, forward(model, prepared.ids, lens_sites()), prompt


def bare(model: Any, activations: Any) -> None:
    """What must be computed at the least."""
    import torch

    streams = activations.arrays["hook_resid_post"]
    size = CHUNK // int(model.cfg.d_vocab)
    with torch.no_grad():
        for stream in streams:
            for start in range(0, streams.shape[1], size):
                vectors = torch.from_numpy(stream[start : start + size])
                logits = model.ln_final(vectors[None])[0] @ model.W_U
                logits.topk(10)
                log_p = logits.log_softmax(-1)
                -(log_p.exp() * log_p).sum(-1)


def one_pass(model: Any, prepared: Any) -> None:
    """The model's own pass, logits and all, that keeps the streams."""
    import torch

    with torch.no_grad():
        model.run_with_cache(torch.tensor(prepared.ids)[None], names_filter=lambda name: "resid_post" in name)


def job(name: str, model: Any, prepared: Any, activations: Any, prompt: str) -> Any:
    """The function that does one of `JOBS`."""
    from mi_widgets import compute
    from mi_widgets.compute.lens_reading import Side
    from mi_widgets.compute.logit_lens import comparison_steps, lens_steps, target_steps

    if name == "pin later":
        known = compute.run(lens_steps(model, prepared, activations))
        return lambda: compute.run(target_steps(model, activations, known, TARGETS[:1]))
    side = Side(prepared, activations)
    other = Side(prepared, activations, compute.TunedLens.untrained(model)) if name == "two lenses" else side
    return {
        "bare": lambda: bare(model, activations),
        "pass": lambda: one_pass(model, prepared),
        "lens": lambda: compute.run(lens_steps(model, prepared, activations)),
        "targets": lambda: compute.run(lens_steps(model, prepared, activations, targets=TARGETS)),
        "two lenses": lambda: compute.run(comparison_steps(model, side, other)),
        "whole": lambda: compute.logit_lens(model, prompt),
    }[name]


def child(name: str, tokens: int, width: int, threads: int) -> None:
    """Print the bytes of the peak beyond what was held just before, model and cache among it."""
    import torch

    torch.set_num_threads(threads)
    model, prepared, activations, prompt = prepare(tokens, width)
    small = [array[:, :8] if array.ndim == 3 else array[:8] for array in activations.arrays.values()]
    from mi_widgets.compute.forward import Activations

    begun = type(prepared)(prepared.ids[:8], prepared.strings[:8])
    few = Activations(activations.layers, dict(zip(activations.arrays, small, strict=True)))
    job(name, model, begun, few, words(8, seed=0))()  # what is made once and kept does not count
    forget_peak()
    held = peak_bytes()
    job(name, model, prepared, activations, prompt)()
    print(peak_bytes() - held)


def peak(name: str, arguments: argparse.Namespace) -> float:
    """Bytes, measured in a process of its own."""
    command = [sys.executable, __file__, "--child", name, "--tokens", str(arguments.tokens)]
    command += ["--width", str(arguments.width), "--threads", str(arguments.threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--width", type=int, default=768, help="d_model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument("--only", choices=("time", "memory"))
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.tokens, arguments.width, arguments.threads)
        return
    print(f"{LAYERS} layers × {arguments.tokens} tokens, d_model {arguments.width}, {arguments.threads} thread(s)")
    if arguments.only != "memory":
        import torch

        torch.set_num_threads(arguments.threads)
        ready = prepare(arguments.tokens, arguments.width)
        measured_too = ("bare", "pass") if "whole" in arguments.jobs else ("bare",)
        seconds = alternate(arguments.rounds, {name: job(name, *ready) for name in (*measured_too, *arguments.jobs)})
        for name, measured in seconds.items():
            print(f"  {name}: {spread(measured, 's', 1.0, 1)}")
        for name in arguments.jobs:
            bound = {"targets": TIME_WITH_TARGETS, "pin later": 1.0, "two lenses": 2 * TIME}.get(name, TIME)
            least = seconds["bare"]
            if name == "whole":
                least = [reading + one for reading, one in zip(least, seconds["pass"], strict=True)]
            ratio = median([ours / other for ours, other in zip(seconds[name], least, strict=True)])
            verdict(f"{name}: time", ratio, bound, "× a pass and bare" if name == "whole" else "× bare")
    if arguments.only != "time":
        for name in arguments.jobs:
            # A pass has a peak of its own; of the whole only what goes beyond it is the lens's.
            beyond = peak(name, arguments) - (peak("pass", arguments) if name == "whole" else 0.0)
            what = "a pass that keeps the streams" if name == "whole" else "model and cache"
            verdict(f"{name}: peak beyond {what}", beyond / 1e6, BYTES / 1e6, "MB")


if __name__ == "__main__":
    main()
