"""Runs every test there is and says what it left out: Python, TypeScript, browser, notebooks.

    .venv/bin/python tests/run_all.py

The page's packages are installed first. Then lanes run side by side, as many as there are processor cores and at least
two; what stands in one lane runs one after the other. A part's output is shown whole when the part ends. Where Chromium
or Node.js is missing, their tests are left out and named at the end, with how to get them; with CI set in the
environment, anything left out is a failure.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import chrome

ROOT = Path(__file__).parents[1]
IN_CI = bool(os.environ.get("CI"))
#: These and all others are about the same work.
HALF = ["tests/compute", "tests/demo"]
PATIENCE = 15.0


@dataclass(frozen=True)
class Part:
    """One command, which passes where its exit status is 0."""

    name: str
    command: Sequence[str]
    folder: Path = ROOT


@dataclass(frozen=True)
class Ended:
    """How a part ended."""

    name: str
    passed: bool
    seconds: float


class Running:
    """Lanes that run side by side, until `wait` returns their parts' ends or `stop` ends them all."""

    def __init__(self, lanes: Sequence[Sequence[Part]], side_by_side: int, environment: dict[str, str]) -> None:
        self.environment = environment
        self.waiting: queue.SimpleQueue[Sequence[Part]] = queue.SimpleQueue()
        for lane in lanes:
            self.waiting.put(lane)
        self.results: list[Ended] = []
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self.telling = threading.Lock()
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(side_by_side, len(lanes)))]
        for thread in self.threads:
            thread.start()

    def _work(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                for part in self.waiting.get_nowait():
                    self._run(part)

    def _run(self, part: Part) -> None:
        started = time.monotonic()
        with tempfile.TemporaryFile() as output:
            with self.telling:  # no part starts behind the back of `stop`
                if self.stopped:
                    return
                print(f"... {part.name}", flush=True)
                process = subprocess.Popen(
                    part.command,
                    cwd=part.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that `stop` reaches all that it starts
                )
                self.processes.add(process)
            status = process.wait()
            with self.telling:
                self.processes.discard(process)
                self.results.append(Ended(part.name, status == 0, time.monotonic() - started))
                output.seek(0)
                print(f"\n=== {part.name}\n{output.read().decode(errors='replace')}", flush=True)

    def wait(self) -> list[Ended]:
        """The end of every part, in the order in which they ended."""
        for thread in self.threads:
            while thread.is_alive():
                thread.join(0.2)  # a wait without end would not hear Ctrl-C on every system
        return self.results

    def stop(self) -> None:
        """End everything: asked first, then made to."""
        with self.telling:
            self.stopped = True
            running = list(self.processes)
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            if number == signal.SIGINT:
                deadline = time.monotonic() + PATIENCE
                for process in running:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.0, deadline - time.monotonic()))


def lanes_here(browser: bool, node: bool) -> list[list[Part]]:
    """What can run on this machine, the longest lane first."""
    python = [sys.executable, "-m"]
    pytest = [*python, "pytest", "-q", "-p", "no:cacheprovider"]
    lanes = [
        [Part("python: " + ", ".join(HALF), [*pytest, "-m", "not browser", *HALF])],
        [Part("python: all others", [*pytest, "-m", "not browser", *(f"--ignore={folder}" for folder in HALF)])],
        [Part("notebooks", [*pytest, "--nbval-lax", "notebooks"])],
    ]
    if browser:
        lanes.insert(0, [Part("browser", [*pytest, "-m", "browser"])])
    if node:
        page = ROOT / "js"
        lanes += [
            [
                Part("page: types", ["npm", "run", "--silent", "check"], page),
                Part("page: tests", ["npm", "test", "--silent"], page),
                Part("page: bundles are fresh", [sys.executable, str(ROOT / "tests" / "fresh_bundles.py")]),
            ],
            [Part("types", [*python, "pyright", "--pythonpath", sys.executable])],  # runs on Node
        ]
    return [*lanes, [Part("style", [*python, "ruff", "check", "."])]]


def first_here(node: bool) -> list[list[Part]]:
    """What has to end before the lanes begin: tests of the new view want the page's packages too."""
    return [[Part("page: install", ["npm", "ci", "--no-audit", "--no-fund"], ROOT / "js")]] if node else []


def left_out_here(browser: bool, node: bool) -> list[str]:
    """What cannot run on this machine, and how to get it."""
    left_out = []
    if not node:
        left_out.append(
            "type checks, TypeScript tests and bundle freshness: install Node.js 20 or newer (https://nodejs.org)"
        )
    if not browser:
        left_out.append("browser tests: install Chromium (Debian and Ubuntu: apt install chromium) or Google Chrome")
    if not shared().is_dir():
        left_out.append("tests on pretrained models: put the shared material at ../shared or set MI_WIDGETS_SHARED")
    return left_out


def main() -> int:
    """Run all parts; 1 if one fails or, in CI, if one is left out."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    browser, node = chrome.find() is not None, shutil.which("npm") is not None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    results: list[Ended] = []
    for lanes in (first_here(node), lanes_here(browser, node)):
        running = Running(lanes, max(2, os.cpu_count() or 1), environment)
        try:
            results += running.wait()
        except KeyboardInterrupt:
            running.stop()
            print("\nstopped")
            return 130
    print()
    for ended in results:
        print(f"{'passed' if ended.passed else 'FAILED'}  {ended.name}  ({ended.seconds:.0f} s)")
    left_out = left_out_here(browser, node)
    for text in left_out:
        print(f"LEFT OUT  {text}")
    print(f"all together {time.monotonic() - started:.0f} s")
    failed = not all(ended.passed for ended in results)
    return 1 if failed or (IN_CI and left_out) else 0


def shared() -> Path:
    """The shared test material."""
    return Path(os.environ.get("MI_WIDGETS_SHARED", ROOT.parent / "shared"))


if __name__ == "__main__":
    sys.exit(main())
