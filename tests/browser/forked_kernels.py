"""Kernels that are forked from one process which has imported the model's libraries already: each test has a kernel of
its own, and none waits for the seven seconds of processor time that the imports cost. Knows nothing of notebooks.

    python forked_kernels.py serve ADDRESS      imports, then forks a kernel for whoever asks
    python forked_kernels.py ask ADDRESS FILE   what the kernel's specification starts: asks for one with this connection
                                                file, hands signals on to it, and ends when it ends
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

#: What notebooks name to have such a kernel.
NAME = "forked"


def specification(address: Path) -> dict[str, object]:
    """The kernel's specification for Jupyter."""
    return {
        "argv": [sys.executable, __file__, "ask", str(address), "{connection_file}"],
        "display_name": "Python 3 (forked)",
        "language": "python",
    }


def serve(address: str) -> None:
    """Import, then fork a kernel for each connection."""
    import mi_widgets as mw

    mw.load_demo()  # whatever a first model imports late
    import ipykernel.kernelapp  # noqa: F401

    assert "ipywidgets" not in sys.modules, "imported outside a kernel it does not listen for its pages"
    assert threading.active_count() == 1, "what has threads cannot be forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended kernels leave nothing behind
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    while True:
        asked, _ = listening.accept()
        told = asked.makefile("r").readline()
        if told and os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(asked, **json.loads(told))
        asked.close()


def become(asked: socket.socket, folder: str, environment: dict[str, str], file: str) -> None:
    """Be the kernel of this connection file, until it ends or the one who asked has gone."""
    import ipykernel.kernelapp

    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.environ.pop("JPY_PARENT_PID", None)  # not our parent: the thread below sees its end
    asked.sendall(f"{os.getpid()}\n".encode())

    def end_with_asker() -> None:
        asked.recv(1)
        os._exit(1)

    threading.Thread(target=end_with_asker, daemon=True).start()
    sys.argv = ["ipykernel_launcher", "-f", file]
    ipykernel.kernelapp.launch_new_instance()
    os._exit(0)


def ask(address: str, file: str) -> None:
    """Have a kernel forked, and stand for it: signals go on to it, and its end is ours."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    told = {"folder": str(Path.cwd()), "environment": dict(os.environ), "file": file}
    connection.sendall(f"{json.dumps(told)}\n".encode())
    kernel = int(connection.makefile("r").readline())

    def hand_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kernel, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    connection.recv(1)  # nothing is ever said: it ends


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
