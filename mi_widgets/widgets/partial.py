"""Pictures of what is known so far, put on the page while a long computation goes on: when it is worth one.

Knows nothing of what is computed or drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

#: Where everything is there within so many seconds, it is waited for.
SOON_SECONDS = 0.5
#: Between two pictures at least.
APART_SECONDS = 0.3


class PartialPictures:
    """Takes partial results out of the steps of a computation, and puts pictures of them on the page.

    The steps that it gives on say `partial=True` where a picture was put, and hold no results: a session then lets the
    pictures of others go first.

    Args:
        put: called with the step and its partial result; puts the picture, in steps of its own.
    """

    def __init__(self, put: Callable[[Any, Any], Generator[Any, None, None]]) -> None:
        self._put = put
        self._began = time.perf_counter()
        self._last: float | None = None

    def of(self, steps: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
        """`steps`, with pictures; returns what they return."""
        known = None
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            if step is None:
                yield None
                continue
            known = step.partial if step.partial is not None else known
            if known is None or not self._worth(step):
                yield replace(step, partial=None)
                continue
            yield from self._put(step, known)
            known, self._last = None, time.perf_counter()
            yield replace(step, partial=True)

    def _worth(self, step: Any) -> bool:
        now = time.perf_counter()
        if self._last is not None:
            return now - self._last >= APART_SECONDS
        rest = step.total - step.done
        return (now - self._began) * rest > SOON_SECONDS * step.done
