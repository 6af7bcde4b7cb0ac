"""Peak memory of one view's first picture beyond one bare forward pass that keeps nothing.

Each is run in a process of its own; the peak is the kernel's own count (VmHWM, set back just before), so nothing is
missed between samples. Both processes have made a small view first, so that imports do not count, and free memory is
given back before. Linux only. Knows nothing of how the view is made.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import gpt2_shape, median, verdict, words

SHARE = 1.2
LAYERS = HEADS = 12


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Give free memory back to the system and set the peak to what is held now."""
    import ctypes

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def bare(model: Any, prompt: str) -> None:
    """One forward pass that computes every pattern and keeps none."""
    import torch

    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(LAYERS)]
    with torch.no_grad():
        model.run_with_hooks(
            model.to_tokens(prompt), return_type=None, fwd_hooks=[(name, lambda pattern, hook: None) for name in names]
        )


def child(what: str, tokens: int, width: int, weighting: str) -> None:
    """Measure one of the two, and print bytes."""
    import mi_widgets as mw

    model = gpt2_shape(width=width, vocab=2000)
    small = mw.Attention(model, words(8, seed=0), weighting=weighting)
    small.wait()
    small._repr_mimebundle_()
    small.close()
    del small
    prompt = words(tokens, seed=1)
    forget_peak()
    if what == "bare":
        bare(model, prompt)
    else:
        view = mw.Attention(model, prompt, weighting=weighting)
        view.wait()
        if what == "displayed":
            view._repr_mimebundle_()
    print(peak_bytes())


def measured(what: str, tokens: int, width: int, weighting: str, rounds: int) -> float:
    """The median peak in bytes."""
    peaks = []
    for _ in range(rounds):
        command = [sys.executable, __file__, "--child", what, "--tokens", str(tokens), "--width", str(width)]
        done = subprocess.run([*command, "--weighting", weighting], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.splitlines()[-1]))
    return median(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--width", type=int, default=768, help="d_model; the bound is the same for every width")
    parser.add_argument("--weighting", default="pattern")
    parser.add_argument("--rounds", type=int, default=1, help="processes of each kind; the counts hardly vary")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.tokens[0], arguments.width, arguments.weighting)
        return
    for tokens in arguments.tokens:
        one = LAYERS * HEADS * tokens**2 * 4
        found = {
            what: measured(what, tokens, arguments.width, arguments.weighting, arguments.rounds)
            for what in ("bare", "view", "displayed")
        }
        peaks = ", ".join(f"{what} {peak / 1e6:.0f} MB" for what, peak in found.items())
        print(f"144 heads × {tokens} tokens, {arguments.weighting}: one copy is {one / 1e6:.0f} MB; peaks: {peaks}")
        for what in ("view", "displayed"):
            beyond = found[what] - found["bare"]
            verdict(f"{what}: peak beyond the bare pass, in copies of the patterns", beyond / one, SHARE, "×")


if __name__ == "__main__":
    main()
