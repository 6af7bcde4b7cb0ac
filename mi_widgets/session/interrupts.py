"""Interrupt Kernel while a loop computes between two cells: there a kernel ignores the signal, so that whoever computes
listens for it.

Acts only where the signal is ignored; a script's own handling, and that of a running cell, are left as they are. Knows
nothing of what is computed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

#: Who listens, and what to call.
_LISTENING: dict[object, Callable[[], None]] = {}


def listen(who: object, heard: Callable[[], None]) -> None:
    """Call `heard` for every interrupt until `leave(who)`, in the midst of whatever the main thread does; never while
    somebody else handles interrupts. Does nothing in another thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupted)
    _LISTENING[who] = heard


def leave(who: object) -> None:
    """The signal is ignored again when the last has left."""
    if _LISTENING.pop(who, None) is None or _LISTENING:
        return
    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupted(_signal: int, _frame: Any) -> None:
    """A cell that runs meanwhile has put its own handler in place, and puts this one back; with nobody listening it
    does what ignoring did."""
    for heard in list(_LISTENING.values()):
        heard()
