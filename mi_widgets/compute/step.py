"""Long computations are generators of `Step` that return their result; this file runs them.

Knows nothing of what is computed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
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


def run_at_once(label: str, hidden: str = "") -> Callable[[Callable[P, Steps[Result]]], Callable[P, Result]]:
    """Make of a function that gives steps one that runs them to the end, and shows a bar named `label` where its
    argument `progress` says so. `steps_of` finds the way back. The argument `hidden` is for the steps alone."""

    def decorated(steps: Callable[P, Steps[Result]]) -> Callable[P, Result]:
        @functools.wraps(steps)
        def whole(*args: P.args, **options: P.kwargs) -> Result:
            return run(steps(*args, **options), bool(options.get("progress")), label)

        seen = inspect.signature(steps)
        given = steps.__annotations__["return"].removeprefix("Steps[").removesuffix("]")
        signature = [parameter for name, parameter in seen.parameters.items() if name != hidden]
        named = cast(Any, whole)
        named.__annotations__ = {**steps.__annotations__, "return": given}
        named.__signature__ = seen.replace(parameters=signature, return_annotation=given)
        return whole

    return decorated


def steps_of(whole: Callable[P, Result]) -> Callable[P, Steps[Result]]:
    """The steps of what `run_at_once` made."""
    steps = cast(Any, whole).__wrapped__
    seen = inspect.signature(steps)
    steps.__signature__ = seen.replace(parameters=[one for one in seen.parameters.values() if one.name != "progress"])
    steps.__name__ += "_steps"
    return steps
