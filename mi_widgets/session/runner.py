"""Runs jobs on the thread that made them: newest request wins, work yields to the loop, Stop stops.

A job is a generator of `Step`. In a notebook it advances on the kernel's own event loop, between messages, so progress
shows, a newer edit can replace it, and a job that matters more goes first; without a loop (scripts, pytest) it runs at
once. `flush` runs what is pending now, for a cell that cannot wait for its own loop. Knows nothing of models or views.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from mi_widgets.data.integers import number
from mi_widgets.errors import Cancelled

#: Work goes on this long before the loop gets its turn.
SLICE_SECONDS = 0.05
#: Left to the loop in each turn: long enough for a queued edit to be read.
TURN_SECONDS = 0.005


@dataclass(eq=False)
class Job:
    """One computation and whom to tell.

    Attributes:
        slot: a newer job of the same slot replaces this one.
        steps: the generator; its callbacks deliver the result.
        failed: called with the exception if it raises.
        stopped: called if it was stopped or replaced; with True if a newer job of its slot replaced it.
        stepped: called with each Step.
        priority: lower runs first.
        order: of two jobs of a slot the higher is the newer; threads may submit them the other way round.
    """

    slot: str
    steps: Generator[Any, None, Any]
    failed: Callable[[Exception], None]
    stopped: Callable[[bool], None] = lambda _replaced: None
    stepped: Callable[[Any], None] = lambda _step: None
    priority: int = 0
    order: int = 0
    advancing: bool = field(default=False, init=False)
    cancelled: bool = field(default=False, init=False)
    finished: bool = field(default=False, init=False)


class Runner:
    """The queue of one session. Make it on the thread that owns the model."""

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None
        self._changed = threading.Condition(threading.RLock())
        self._pending: list[Job] = []
        self._current: Job | None = None
        self._driving = False
        self._turn = threading.RLock()
        #: The thread that is inside a step.
        self._stepping: int | None = None

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits to."""
        return self._current is not None or bool(self._pending)

    def submit(self, job: Job) -> None:
        """Queue `job`, replacing an older one of its slot; from any thread."""
        with self._changed:
            known = [*self._pending, *([] if self._current is None else [self._current])]
            late = any(other.slot == job.slot and other.order > job.order for other in known)
            replaced = [job] if late else self._taken_off(job.slot)
            if not late:
                self._pending.append(job)
                self._pending.sort(key=lambda waiting: waiting.priority)
                if self._current is not None and self._current.slot == job.slot:
                    self._current.cancelled = True
        for older in replaced:
            self._close(older, replaced=True)
        if late:
            return
        if self.loop is not None and not self.loop.is_closed() and self.loop.is_running():
            self.loop.call_soon_threadsafe(self._start_driving)
        elif self._current is None or not self._current.advancing:
            self.flush()

    def _taken_off(self, slot: str) -> list[Job]:
        """The jobs of this slot that waited. Whoever takes them off closes them, holding no lock: who is told of that
        may ask for anything."""
        taken = [job for job in self._pending if job.slot == slot]
        self._pending = [job for job in self._pending if job.slot != slot]
        return taken

    def stop(self) -> None:
        """Stop what runs (after the step it is in) and drop what waits; from any thread."""
        with self._changed:
            waiting, self._pending = self._pending, []
            current = self._current
        self._end(waiting, current)

    def drop(self, slot: str) -> None:
        """Stop the job of this slot, running or waiting; others go on. From any thread."""
        with self._changed:
            waiting = self._taken_off(slot)
            current = self._current if self._current is not None and self._current.slot == slot else None
        self._end(waiting, current)

    def _end(self, waiting: list[Job], current: Job | None) -> None:
        for job in waiting:
            self._close(job, replaced=False)
        if current is not None:
            self._cancel(current)
        with self._changed:
            self._changed.notify_all()  # a thread in `flush` may have waited for what was dropped

    def _cancel(self, current: Job) -> None:
        """Stop the job whose turn it is: at once between two of its steps, else after the one that it is in."""
        current.cancelled = True
        if not current.advancing and threading.get_ident() == self.owner:
            self._settle(current, replaced=False)

    def flush(self, timeout: float | None = None, priority: int | None = None) -> None:
        """Run everything pending now, on the calling thread if it is the owner; else wait for the owner.

        Args:
            timeout: seconds.
            priority: leave to the loop what matters less.

        Raises:
            TimeoutError: not done in `timeout` seconds; the work goes on if there is a loop.
        """
        timeout = None if timeout is None else number("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if threading.get_ident() != self.owner and self.loop is not None and self.loop.is_running():
            with self._changed:
                if not self._changed.wait_for(lambda: not self.busy, timeout):
                    raise TimeoutError(f"still computing after {timeout} s")
            return
        while (job := self._take()) is not None:
            if job.advancing and self._stepping == threading.get_ident():
                return  # called from inside this very job: what is pending is being delivered
            if priority is not None and job.priority > priority:
                return
            if self._advance(job, interruptible=True) and deadline is not None and time.monotonic() > deadline:
                if self.loop is None:
                    self.stop()
                raise TimeoutError(f"still computing after {timeout} s")

    # --- the loop's side -----------------------------------------------------------------------------

    def _start_driving(self) -> None:
        if not self._driving:
            self._driving = True
            assert self.loop is not None
            self._task = self.loop.create_task(self._drive())

    async def _drive(self) -> None:
        try:
            await asyncio.sleep(TURN_SECONDS)  # edits that are queued already make this one stale
            since = time.monotonic()
            while (job := self._take()) is not None:
                if not self._advance(job):
                    await asyncio.sleep(0)
                elif time.monotonic() - since > SLICE_SECONDS:
                    await asyncio.sleep(TURN_SECONDS)
                    since = time.monotonic()
        except asyncio.CancelledError:  # the loop is shutting down; `flush` still does what is left
            self._driving = False
            raise
        finally:
            if self._driving:
                self._driving = False
                if self._pending and self.loop is not None and not self.loop.is_closed():
                    self.loop.call_soon(self._start_driving)

    def _take(self) -> Job | None:
        """The job whose turn it is; what matters more goes first, also between the steps of one that has begun."""
        with self._changed:
            current, ahead = self._current, self._pending[0] if self._pending else None
            if ahead is not None and (current is None or _gives_way(current, ahead)):
                self._current = self._pending.pop(0)
                if current is not None:
                    self._pending.insert(0, current)  # it goes on before all others of its kind
                    self._pending.sort(key=lambda waiting: waiting.priority)
            return self._current

    def _advance(self, job: Job, interruptible: bool = False) -> bool:
        """One step of `job`; False when it is over. Ctrl-C stops the job, and is raised on if `interruptible`."""
        with self._turn:  # without a loop several threads may wait for one session: they step in turns
            outer, self._stepping = self._stepping, threading.get_ident()
            try:
                return self._step(job, interruptible)
            finally:
                self._stepping = outer

    def _step(self, job: Job, interruptible: bool) -> bool:
        with self._changed:
            if job is not self._current:  # another thread has ended it, or taken one that matters more
                return False
            cancelled = job.cancelled
            job.advancing = not cancelled
        if cancelled:
            self._settle(job, replaced=any(waiting.slot == job.slot for waiting in self._pending))
            return False
        try:
            step = next(job.steps)
            job.stepped(step)
        except StopIteration:
            job.advancing = False
            self._settle(job, None)
            return False
        except Exception as error:  # every error is a state of the view, never a traceback in a callback
            job.advancing = False
            self._settle(job, None)
            if isinstance(error, Cancelled):
                job.stopped(False)
            else:
                job.failed(error)
            return False
        except KeyboardInterrupt:
            job.advancing = False
            self._settle(job, replaced=False)
            if interruptible:
                raise
            return False
        except BaseException:
            job.advancing = False
            self._settle(job, replaced=False)
            raise
        job.advancing = False
        return True

    def _settle(self, job: Job, replaced: bool | None) -> None:
        """Take `job` off; `replaced` None means that it ended by itself."""
        with self._changed:
            if job.finished:
                return
            job.finished = True
            if self._current is job:
                self._current = None
        if replaced is not None:
            self._close(job, replaced)
        with self._changed:
            self._changed.notify_all()

    @staticmethod
    def _close(job: Job, replaced: bool) -> None:
        job.steps.close()
        job.finished = True
        job.stopped(replaced)


def _gives_way(current: Job, ahead: Job) -> bool:
    """Whether `ahead` may come before `current` goes on."""
    return ahead.priority < current.priority and not current.advancing and not current.cancelled
