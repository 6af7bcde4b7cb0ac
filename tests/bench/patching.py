"""Grids of patches against `transformer_lens.patching`, cell by cell, on the same model in the same run.

Of the peer's cells a sample drawn at random is timed before and after each grid of ours and scaled to all of them, for
every cell of the peer's costs one whole pass; the numbers of those cells are compared too. The two prompts differ at
every position, so that no cell is free. Knows nothing of how either works inside.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from typing import Any

import numpy as np
from measure import gpt2_shape, median, verdict, words

ANSWER, FOIL = 11, 12
#: At least so many times faster, by tokens; with a hook of the user's own on the model; heads by position.
BOUNDS = {32: 9.0, 64: 10.0}
HOOKED, HEADS = 6.0, 10.0


class Prompts:
    """Two prompts of one length, and what the peer must know of the clean one."""

    def __init__(self, model: Any, tokens: int) -> None:
        self.model, self.tokens = model, tokens
        self.clean, self.corrupt = (model.to_tokens(words(tokens, seed)) for seed in (0, 1))
        _, self.cache = model.run_with_cache(self.clean)

    def theirs(self, cells: np.ndarray, site: str) -> np.ndarray:
        """What the peer says of these cells, `[cell, axis]`: layer and position, or layer, position and head."""
        import pandas as pd
        import torch
        from transformer_lens import patching

        heads = site == "z"
        setter = patching.layer_pos_head_vector_patch_setter if heads else patching.layer_pos_patch_setter
        frame = pd.DataFrame(cells, columns=["layer", "pos", "head"][: cells.shape[1]])

        def metric(logits: Any) -> Any:
            return logits[0, -1, ANSWER] - logits[0, -1, FOIL]

        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            found = patching.generic_activation_patch(
                self.model, self.corrupt, self.cache, metric, setter, site, index_df=frame
            )
        return found.numpy()

    def ours(self, site: str, positions: list[int] | None = None) -> np.ndarray:
        """Our grid, `[layer, position]` or `[layer, position, head]`."""
        from mi_widgets import compute

        by = ("layer", "head", "position") if site == "z" else None
        clean, corrupt = self.clean[0].tolist(), self.corrupt[0].tolist()
        grid = compute.patch(self.model, clean, corrupt, ANSWER, FOIL, site, by=by, positions=positions)
        count = self.tokens if positions is None else len(positions)
        values = grid.values.reshape(int(self.model.cfg.n_layers), -1)
        return values.reshape(len(values), -1, count).transpose(0, 2, 1) if site == "z" else values.reshape(-1, count)


def compare(what: str, prompts: Prompts, site: str, clock: Any, rounds: int, sample: int, every: int = 1) -> float:
    """Print and give the median ratio; of heads only each `every`th position is a cell, for both."""
    draw = np.random.default_rng(0)
    places = list(range(prompts.tokens - 1, 0, -every))[::-1]
    prompts.ours(site, places)
    ratios, errors = [], []
    for _round in range(rounds):
        grid_clock = clock()
        grid = prompts.ours(site, places)
        seconds = clock() - grid_clock
        chosen = draw.choice(grid.size, sample, replace=False)
        axes = np.stack(np.unravel_index(chosen, grid.shape), 1)
        cells = axes.copy()
        cells[:, 1] = np.array(places)[axes[:, 1]]
        peer_clock = clock()
        wanted = prompts.theirs(cells, site)
        theirs = (clock() - peer_clock) * grid.size / sample
        ratios.append(theirs / seconds)
        errors.append(float(np.abs(grid[tuple(axes.T)] - wanted).max() / max(1.0, float(np.abs(wanted).max()))))
        print(f"  {what}: {seconds:.2f} s, the peer {theirs:.1f} s: {ratios[-1]:.2f} ×", flush=True)
    ratio = median(ratios)
    print(f"{what}: {ratio:.2f} × ({min(ratios):.2f} – {max(ratios):.2f}), cells {grid.size}, error {max(errors):.1e}")
    assert max(errors) < 1e-4
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=16, help="of the peer's cells, each round")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--tokens", type=int, nargs="*", default=[16, 32, 64], help="lengths of the prompts")
    parser.add_argument("--depths", type=int, nargs="*", default=[6, 24], help="numbers of layers, at 32 tokens")
    parser.add_argument("--only", nargs="*", choices=["stream", "hook", "heads", "depth"], help="parts of it")
    parser.add_argument("--processor", action="store_true", help="processor time, where others use the machine")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.processor else time.perf_counter
    parts = arguments.only or ["stream", "hook", "heads", "depth"]
    given = clock, arguments.rounds, arguments.sample
    print(f"GPT-2's shape, {arguments.threads} thread(s), {arguments.sample} of the peer's cells timed and scaled")
    model = gpt2_shape()
    model.eval()
    if "stream" in parts:
        for tokens in arguments.tokens:
            ratio = compare(f"resid_pre, {tokens} tokens", Prompts(model, tokens), "resid_pre", *given)
            if tokens in BOUNDS:
                verdict(f"resid_pre at {tokens} tokens", ratio, BOUNDS[tokens], "×", at_least=True)
    if "heads" in parts:
        ratio = compare("heads by position, 32 tokens", Prompts(model, 32), "z", *given, every=4)
        verdict("heads by position", ratio, HEADS, "×", at_least=True)
    if "hook" in parts:
        prompts = Prompts(model, 32)
        model.add_hook("blocks.3.hook_resid_pre", lambda value, hook: value)
        ratio = compare("resid_pre, 32 tokens, a hook of the user's own", prompts, "resid_pre", *given)
        verdict("resid_pre with a hook", ratio, HOOKED, "×", at_least=True)
        model.reset_hooks()
    if "depth" in parts:
        for layers in arguments.depths:
            deep = gpt2_shape(layers=layers)
            deep.eval()
            compare(f"resid_pre, 32 tokens, {layers} layers", Prompts(deep, 32), "resid_pre", *given)


if __name__ == "__main__":
    main()
