"""The first estimate of a grid against four bare forward passes over the same prompt, and what it holds at its peak.

Ours and the bare passes take turns in one process, one thread; seconds are the processor's own (`--wall` for the
clock's), so that others on the machine weigh less. The peak is the kernel's own count beyond what stands. Linux only.
"""

from __future__ import annotations

import argparse
import time

from measure import alternate, gpt2_shape, median, spread, verdict, words
from memory import forget_peak, peak_bytes

PASSES = 4
#: Sites with the axes that keep most.
SITES = (("resid_pre", None), ("z", ("layer", "head", "position")), ("pattern", ("head", "query", "key")))


def main() -> None:
    """Print ratios and bounds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tokens", type=int, default=32)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--layers", type=int, default=12)
    options.add_argument("--wall", action="store_true", help="the clock's seconds")
    given = options.parse_args()
    import torch

    from mi_widgets import compute

    torch.set_num_threads(1)
    if not given.wall:
        time.perf_counter = time.process_time
    model = gpt2_shape(layers=given.layers)
    clean = model.to_tokens(words(given.tokens, seed=1))
    corrupt = clean.clone()
    corrupt[0, 2] = 77

    def bare() -> None:
        with torch.no_grad():
            model(clean)

    holds = True
    for site, by in SITES:

        def estimate(site: str = site, by: tuple[str, ...] | None = by) -> None:
            compute.attribution_patch(model, clean, corrupt, 5, 9, site, by=by)

        taken = alternate(given.rounds, {"bare": bare, "estimate": estimate})
        ratio = median([ours / one for ours, one in zip(taken["estimate"], taken["bare"], strict=True)])
        print(f"{site} by {by or 'the usual axes'}, {given.tokens} tokens: {spread(taken['estimate'])}")
        print(f"  one bare pass: {spread(taken['bare'])}")
        holds &= verdict("the estimate, in bare passes", ratio, PASSES)
        cost = compute.patch_cost(model, clean, corrupt, site, by=by, pass_seconds=median(taken["bare"]))
        forget_peak()
        standing = peak_bytes()
        estimate()
        beyond = (peak_bytes() - standing) / 1e6
        holds &= verdict("peak beyond the model, against what is predicted", beyond, cost.estimate_bytes / 1e6, "MB")
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
