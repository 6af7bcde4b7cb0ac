"""What it costs that a forward pass can be heard, and how long it holds the loop; on GPT-2's shape with random weights.

The same pass in turn: at once, and pausing under an event loop that has its turn after every step. "held" is the
longest time that one step of it, or its closing at any step, kept the loop; the block it is compared with is the mean
of those of a bare pass in the same round. Knows nothing of how a pass pauses.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import numpy as np
from measure import gpt2_shape, median, spread, verdict

FACTOR, HELD_BLOCKS, HELD_SECONDS = 1.06, 1.5, 0.3
#: What the four views of a session read together.
SITES = ("attn.hook_pattern", "hook_resid_post", "ln_final.hook_scale", "output.top_ids", "output.next_rank")


def block_seconds(model: Any, ids: np.ndarray) -> float:
    """The mean of all blocks in one bare pass."""
    import torch

    last, times = int(model.cfg.n_layers) - 1, {}

    def note(name: str) -> Any:
        return lambda _activation, hook: times.__setitem__(name, time.perf_counter())

    hooks = [("blocks.0.hook_in", note("first")), (f"blocks.{last}.hook_out", note("last"))]
    with torch.no_grad():
        model.run_with_hooks(torch.tensor(ids)[None], return_type=None, fwd_hooks=hooks)
    return (times["last"] - times["first"]) / (last + 1)


async def paused(steps: Any, held: list[float], until: int | None = None) -> Any:
    """Drive `steps` as a session does, to the end or until so many were made, and note how long each held the loop."""
    made = 0
    while True:
        start = time.perf_counter()
        try:
            if made == until:
                steps.close()
                return None
            next(steps)
            made += 1
        except StopIteration as finished:
            return finished.value
        finally:
            held.append(time.perf_counter() - start)
        await asyncio.sleep(0)


def measure(model: Any, ids: np.ndarray, rounds: int) -> bool:
    """Print times, and whether the bounds hold."""
    from mi_widgets.compute.forward import forward, forward_steps

    plain, pausing, held, closing, blocks, processor = [], [], [], [], [], []
    for number in range(rounds + 1):
        block = block_seconds(model, ids)
        start, worked = time.perf_counter(), time.process_time()
        whole = forward(model, ids, SITES)
        middle, between = time.perf_counter(), time.process_time()
        steps: list[float] = []
        parts = asyncio.run(paused(forward_steps(model, ids, SITES, pausing=True), steps))
        end, after = time.perf_counter(), time.process_time()
        assert all(np.array_equal(whole.arrays[site], parts.arrays[site], equal_nan=True) for site in SITES)
        del whole, parts
        ended: list[float] = []
        asyncio.run(paused(forward_steps(model, ids, SITES, pausing=True), ended, until=number % (len(steps) + 1)))
        if number:  # the first round warms up
            plain.append(middle - start)
            pausing.append(end - middle)
            processor.append((after - between) / (between - worked))
            held.append(max(steps))
            closing.append(ended[-1])
            blocks.append(block)
    print(f"{len(ids)} tokens, {rounds} rounds, median (least – most):")
    print(f"  at once {spread(plain)}, pausing {spread(pausing)}; one block {spread(blocks)}")
    print(f"  one step held the loop for at most {spread(held)}, closing for {spread(closing)}")
    bound = max(HELD_SECONDS, HELD_BLOCKS * median(blocks))
    print(f"  processor time, pausing against at once: {spread(processor, '×', 1, 2)}")
    print(f"  in blocks: a step {max(held) / median(blocks):.2f}, closing {max(closing) / median(blocks):.2f}")
    return all(
        [
            verdict(
                "pausing, against at once",
                median([slow / fast for slow, fast in zip(pausing, plain, strict=True)]),
                FACTOR,
                "×",
            ),
            verdict("longest step", 1000 * median(held), 1000 * bound, "ms"),
            verdict("longest closing", 1000 * max(closing), 1000 * bound, "ms"),
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=472)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, help="of torch; default: its own")
    given = parser.parse_args()
    import torch

    if given.threads:
        torch.set_num_threads(given.threads)
    prompt = np.random.default_rng(0).integers(3, 1000, given.tokens)
    raise SystemExit(not measure(gpt2_shape(), prompt, given.rounds))
