"""Threads that stay, for what goes on beside the event loop.

A thread that comes anew brings torch's own threads anew, and those of several put each other to sleep, so passes and
all other work beside the loop share these: the thread that was free last is taken first, and none that is not needed
is made. Knows nothing of what is done there.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections import deque
from collections.abc import Callable

#: A thread that has nothing to do is called this.
IDLE = "mi_widgets, idle"
#: The end of Python waits this long for work that nobody waits for any more.
EXIT_SECONDS = 10.0


class Work:
    """One function on its way on a thread that stays; it raises nothing.

    Args:
        function: called there once.
        name: of the thread meanwhile.
        at_exit: called when Python ends before the work does, so that it comes to an end.
    """

    def __init__(self, function: Callable[[], None], name: str, at_exit: Callable[[], None] = lambda: None) -> None:
        self._function: Callable[[], None] | None = function
        self.name, self.at_exit = name, at_exit
        #: The thread that does it, from when it has begun.
        self.thread: threading.Thread | None = None
        self._given, self._over = False, threading.Event()

    def start(self) -> None:
        """A Ctrl-C here leaves it to run unheard of, or never: what it must not do then, it has to ask first."""
        try:
            thread = _idle.pop()
        except IndexError:
            thread = _Worker()
            thread.start()
        thread.given.put(self)
        self._given = True

    def is_alive(self) -> bool:
        """Whether it is under way."""
        return self._given and not self._over.is_set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it is over; whether it is."""
        return not self._given or self._over.wait(timeout)

    def run(self) -> None:
        """On the thread."""
        function, self._function = self._function, None
        assert function is not None
        self.thread = threading.current_thread()
        self.thread.name = self.name
        _under_way.append(self)
        try:
            function()
        finally:
            _under_way.remove(self)
            self.thread.name = IDLE

    def over(self) -> None:
        """Its thread is free for other work already, so whoever waits for this one may have it."""
        self._over.set()


class _Worker(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name=IDLE, daemon=True)
        self.given: queue.SimpleQueue[Work] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            work = self.given.get()
            work.run()
            _idle.append(self)
            work.over()
            del work  # what it holds may be large, and the next may be long in coming


_idle: deque[_Worker] = deque()
_under_way: list[Work] = []


def under_way() -> list[Work]:
    """All that goes on beside the loops of this process."""
    return list(_under_way)


def _forget() -> None:
    """A forked process has none of the threads."""
    _idle.clear()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _end_all() -> None:
    """Python must not end around a thread that computes: it would be torn down in the middle of torch."""
    for work in under_way():
        work.at_exit()
    for work in under_way():
        work.join(EXIT_SECONDS)
