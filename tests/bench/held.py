"""How long the kernel's loop is held, on a GPT-2 shape with a long prompt, in every stage of every view.

A task that sleeps 10 ms at a time writes down the longest gap between two of its turns. The bound is the longer of
300 ms and one and a half blocks of a bare forward pass, measured in the same run. Knows nothing of how anything works
inside.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any

from measure import gpt2_shape, verdict, words

VIEWS = ("Attention", "LogitLens", "LogitAttribution", "Prompt")
BOUND, BLOCKS, TICK = 0.3, 1.5, 0.01


class Ticker:
    """The longest time between two turns of the loop."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.perf_counter()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.longest, self._last = max(self.longest, now - self._last), now


def bare_seconds(model: Any, prompt: str) -> float:
    """One forward pass that keeps nothing, the quicker of two."""
    import torch

    ids, seconds = model.to_tokens(prompt), []
    for _ in range(3):
        start = time.perf_counter()
        with torch.no_grad():
            model.forward(ids, return_type=None)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


async def measure(model: Any, tokens: int) -> None:
    import mi_widgets as mw

    block = bare_seconds(model, words(tokens, seed=0)) / model.cfg.n_layers
    print(f"{tokens} tokens, one block {1000 * block:.0f} ms")
    session = mw.Session(model, words(tokens, seed=1))
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())

    async def stage(name: str, edit: Callable[[], Any]) -> None:
        await asyncio.sleep(2 * TICK)
        ticker.longest, start = 0.0, time.perf_counter()
        edit()
        await asyncio.sleep(2 * TICK)
        while session.runner.busy:
            await asyncio.sleep(TICK)
        seconds = time.perf_counter() - start
        verdict(f"{name} ({seconds:.1f} s)", 1000 * ticker.longest, 1000 * max(BOUND, BLOCKS * block), "ms")

    views: dict[str, Any] = {}
    for name in VIEWS:
        await stage(f"first {name}", lambda name=name: views.update({name: getattr(mw, name)(session)}))
    await stage("an edit of the prompt", lambda: setattr(session, "prompt", words(tokens, seed=2)))
    for weighting in ("output", "scores", "value"):
        await stage(weighting, lambda to=weighting: setattr(views["Attention"], "options", {"weighting": to}))
    await stage("a second prompt", lambda: setattr(views["Attention"], "compare", words(tokens, seed=3)))
    for by in ("head", "neuron"):
        await stage(f"by {by}", lambda to=by: setattr(views["LogitAttribution"], "options", {"by": to}))
    reference = [words(tokens - 50, seed=4)]
    changes = [mw.Ablate(layer=2, head=3), mw.Ablate(layer=5, head=1, by="mean", reference=reference)]
    await stage("interventions", lambda: setattr(session, "interventions", changes))
    session.wait()
    ticking.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=472)
    parser.add_argument("--threads", type=int, default=1, help="of torch; 1 is steadiest where others use the machine")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    asyncio.run(measure(gpt2_shape(), arguments.tokens))


if __name__ == "__main__":
    main()
