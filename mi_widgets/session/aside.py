"""Work that would hold the loop, done beside it: on a worker thread, while the loop has its turns.

Only what is pure may go there: functions of arrays and records that set no trait and run no model. Knows nothing of
jobs, views or models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from mi_widgets.workers import Work

Result = TypeVar("Result")

#: The loop has its turn this often while the work goes on beside it.
TURN_EVERY = 0.05
#: Left to the loop in each turn of what is no job.
TURN_SECONDS = 0.005

_tasks: set[asyncio.Task[None]] = set()


class Aside:
    """One function on its way on a worker thread; several may wait for it.

    Args:
        function: called there once, without gradients.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._work = Work(self.run, "mi_widgets aside")
        self._work.start()

    def steps(self) -> Generator[None, None, Any]:
        """Yields until it is done; returns the result, or raises what the function raised."""
        while not self._work.join(TURN_EVERY):
            yield None
        if self._error is not None:
            raise self._error
        return self._result

    def run(self) -> None:
        """On the worker thread."""
        function, self._function = self._function, None
        assert function is not None
        try:
            self._result = _without_gradients(function)
        except BaseException as error:  # whoever waits raises it
            self._error = error


def aside(function: Callable[[], Result], large: bool = True) -> Generator[None, None, Result]:
    """Run `function` on a worker thread, and give the loop its turn until it is done; `yield from` it in a job.

    Where no loop runs on this thread there is none to hold: then it runs here, at once, and so it does where the work
    is not `large`, for a thread costs more than little work. An interrupt while this waits is raised here; the function
    goes on to its end, and its result is dropped.

    Args:
        function: pure: it reads arrays and records, and sets no trait.
        large: it may take longer than the loop should be held (`Progress.large` says so of a run).

    Returns:
        What `function` returns.
    """
    if not large or not loop_runs():
        return function()
    return (yield from Aside(function).steps())


def in_turns(steps: Generator[Any, None, Any], large: bool) -> None:
    """Steps that are no job: where they are `large`, in turns with the loop of this thread, else now."""
    if not large or not loop_runs():
        at_once(steps)
        return
    task = asyncio.get_running_loop().create_task(_drive(steps))
    _tasks.add(task)  # a loop holds its tasks weakly
    task.add_done_callback(_tasks.discard)


async def _drive(steps: Generator[Any, None, Any]) -> None:
    for _ in steps:
        await asyncio.sleep(TURN_SECONDS)


def at_once(steps: Generator[Any, None, Result]) -> Result:
    """Every step, now; returns what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def loop_runs() -> bool:
    """Whether this thread is that of a running loop, which work here would hold."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _without_gradients(function: Callable[[], Result]) -> Result:
    """The mode is each thread's own; where torch is not loaded there is none."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None:
        return function()
    with torch.no_grad():
        return function()
