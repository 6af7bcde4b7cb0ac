"""Long computations are generators of `Step` that return their result; this file runs them.

Knows nothing of what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Step:
    """Progress between two pieces of work: a computation can be stopped wherever it yields one.

    Attributes:
        done: pieces finished.
        total: pieces in all.
        partial: what is known so far, or None.
    """

    done: int
    total: int
    partial: Any = None


Steps = Generator[Step, None, Result]


def as_one(steps: Steps[Result], step: Step) -> Steps[Result]:
    """The steps of a part of some work, each of which says the same: `step`."""
    return saying(steps, lambda _: step)


def saying(steps: Steps[Result], said: Callable[[Step], Step]) -> Steps[Result]:
    """`steps`, with what `said` makes of each in its place."""
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            yield said(step)
    finally:
        steps.close()


def run(steps: Steps[Result], progress: bool = False, label: str = "") -> Result:
    """Run to the end, at once, on this thread. Ctrl-C leaves the model as it was.

    Args:
        steps: the computation.
        progress: show a bar (tqdm, in notebooks its widget).
        label: text before the bar.
    """
    bar = None
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            if progress:
                if bar is None:
                    from tqdm.auto import tqdm

                    bar = tqdm(total=step.total, desc=label or None)
                bar.update(step.done - bar.n)
    finally:
        steps.close()
        if bar is not None:
            bar.close()
