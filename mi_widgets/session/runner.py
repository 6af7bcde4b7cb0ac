"""Runs jobs on the thread that made them: newest request wins, work yields to the loop, Stop stops.

A job is a generator of `Step`. In a notebook it advances on the kernel's own event loop, between messages, so progress
shows, a newer edit can replace it, and a job that matters more goes first; jobs that matter alike share the time, so
that short ones are done first. Without a loop (scripts, pytest) it runs at once. `flush` runs what is pending now, for
a cell that cannot wait for its own loop. Knows nothing of models or views.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import Any

from mi_widgets.data.integers import number
from mi_widgets.errors import Cancelled
from mi_widgets.session.interrupts import leave, listen

#: Work goes on this long before the loop gets its turn, and before a job of the same priority gets its own.
SLICE_SECONDS = 0.05
#: What matters more goes first: the passes that pictures wait for; pictures; what they do not wait for (the rest of a
#: partial one, text being written); measurements of the model.
PASS, PICTURE, BEHIND, LAST = -1, 0, 1, 2
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
        priority: lower runs first. It may be changed between two steps; of those alike the job goes on that has had
            the least time.
        order: of two jobs of a slot the higher is the newer; threads may submit them the other way round.
    """

    slot: Hashable
    steps: Generator[Any, None, Any]
    failed: Callable[[Exception], None]
    stopped: Callable[[bool], None] = lambda _replaced: None
    stepped: Callable[[Any], None] = lambda _step: None
    priority: int = PICTURE
    order: int = 0
    #: Seconds spent in its steps.
    used: float = field(default=0.0, init=False)
    begun: bool = field(default=False, init=False)
    advancing: bool = field(default=False, init=False)
    cancelled: bool = field(default=False, init=False)
    #: What cancelled it is a newer job of its slot.
    replaced: bool = field(default=False, init=False)
    finished: bool = field(default=False, init=False)
    number: int = field(default_factory=itertools.count().__next__, init=False)

    @property
    def rank(self) -> tuple[Any, ...]:
        """Lower goes first. What is cancelled only has to be put away."""
        return not self.cancelled, self.priority, int(self.used / SLICE_SECONDS), self.number


class Runner:
    """The queue of one session. Make it on the thread that owns the model."""

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None
        self._changed = threading.Condition(threading.RLock())
        #: All that run or wait to, and the one whose turn it is.
        self._jobs: list[Job] = []
        self._current: Job | None = None
        self._driving = False
        self._turn = threading.RLock()
        #: The thread that is inside a step.
        self._stepping: int | None = None

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits to."""
        return bool(self._jobs)

    def submit(self, job: Job) -> None:
        """Queue `job`, replacing an older one of its slot; from any thread."""
        with self._changed:
            known = [other for other in self._jobs if other.slot == job.slot]
            late = any(other.order > job.order for other in known)
            if not late:
                self._jobs.append(job)
        self._end([job] if late else known, replaced=True)
        if late:
            return
        if self.loop is not None and not self.loop.is_closed() and self.loop.is_running():
            self.loop.call_soon_threadsafe(self._start_driving)
        elif self._current is None or not self._current.advancing:
            self.flush()

    def stop(self) -> None:
        """Stop everything: what is in a step after that step, all else at once; from any thread."""
        with self._changed:
            jobs = list(self._jobs)
        self._end(jobs, replaced=False)

    def drop(self, slot: Hashable) -> None:
        """Stop the job of this slot, running or waiting; others go on. From any thread."""
        with self._changed:
            jobs = [job for job in self._jobs if job.slot == slot]
        self._end(jobs, replaced=False)

    def _end(self, jobs: list[Job], replaced: bool) -> None:
        """Cancel these. One that has begun is closed by the owner, between two of its steps; one that has not, here.
        Whoever closes a job holds no lock: who is told of it may ask for anything."""
        mine = threading.get_ident() == self.owner
        for job in jobs:
            with self._changed:
                if job.cancelled or job.finished:
                    continue
                job.cancelled, job.replaced = True, replaced
                now = not job.advancing and (mine or not job.begun)
            if now:
                self._settle(job, replaced)
        with self._changed:
            self._changed.notify_all()  # a thread in `flush` may have waited for what was dropped

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
                if not self._changed.wait_for(lambda: not self._pending(priority), timeout):
                    raise TimeoutError(f"still computing after {timeout} s")
            return
        while (job := self._take()) is not None:
            if job.advancing and self._stepping == threading.get_ident():
                return  # called from inside this very job: what is pending is being delivered
            if priority is not None and job.priority > priority and not job.cancelled:
                return
            if self._advance(job, interruptible=True) and deadline is not None and time.monotonic() > deadline:
                if self.loop is None:
                    self.stop()
                raise TimeoutError(f"still computing after {timeout} s")

    def _pending(self, priority: int | None) -> bool:
        """Whether anything is left that matters so much."""
        return any(priority is None or job.priority <= priority for job in self._jobs)

    # --- the loop's side -----------------------------------------------------------------------------

    def _start_driving(self) -> None:
        if not self._driving:
            self._driving = True
            assert self.loop is not None
            self._task = self.loop.create_task(self._drive())

    async def _drive(self) -> None:
        listen(self, self._interrupted)
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
            leave(self)
            if self._driving:
                self._driving = False
                if self._jobs and self.loop is not None and not self.loop.is_closed():
                    self.loop.call_soon(self._start_driving)

    def _interrupted(self) -> None:
        """Steps are short: all are stopped when the loop has its turn, and nothing is raised into it."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stop)

    def _take(self) -> Job | None:
        """The job whose turn it is: the one in a step, else the first by rank, also before one that has begun."""
        with self._changed:
            if self._current is None or not self._current.advancing:
                self._current = min(self._jobs, key=lambda job: job.rank, default=None)
            return self._current

    def _advance(self, job: Job, interruptible: bool = False) -> bool:
        """One step of `job`; False when it is over. Ctrl-C stops all jobs, and is raised on if `interruptible`."""
        with self._turn:  # without a loop several threads may wait for one session: they step in turns
            outer, self._stepping = self._stepping, threading.get_ident()
            try:
                return self._step(job, interruptible)
            finally:
                self._stepping = outer

    def _step(self, job: Job, interruptible: bool) -> bool:
        with self._changed:
            if job is not self._current or job.finished:  # another thread has ended it, or taken one that matters more
                return False
            job.advancing = job.begun = not job.cancelled
        if job.cancelled:
            self._settle(job, job.replaced)
            return False
        since = time.perf_counter()
        try:
            step = next(job.steps)
            job.stepped(step)
        except StopIteration:
            self._settle(job, None)
            return False
        except Exception as error:  # every error is a state of the view, never a traceback in a callback
            self._settle(job, None)
            if isinstance(error, Cancelled):
                job.stopped(False)
            else:
                job.failed(error)
            return False
        except KeyboardInterrupt:
            with self._changed:
                others = [other for other in self._jobs if other is not job]
            self._settle(job, replaced=False)
            self._end(others, replaced=False)
            if interruptible:
                raise
            return False
        except BaseException:
            self._settle(job, replaced=False)
            raise
        finally:
            job.used += time.perf_counter() - since
            job.advancing = False
        return True

    def _settle(self, job: Job, replaced: bool | None) -> None:
        """Take `job` off; `replaced` None means that it ended by itself."""
        with self._changed:
            if job.finished:
                return
            job.finished, job.advancing = True, False
            self._jobs = [other for other in self._jobs if other is not job]
            if self._current is job:
                self._current = None
        if replaced is not None:
            job.steps.close()
            job.stopped(replaced)
        with self._changed:
            self._changed.notify_all()
