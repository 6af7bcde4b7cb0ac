"""Runs every test there is and says what it left out: Python, TypeScript, browser, notebooks.

    .venv/bin/python tests/run_all.py

Where Chromium or Node.js is missing, their tests are left out and named at the end, with how to get them; with
CI set in the environment, anything left out is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import chrome

ROOT = Path(__file__).parents[1]
IN_CI = bool(os.environ.get("CI"))


def main() -> int:
    """Run all parts; 1 if one fails or, in CI, if one is left out."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    browser = chrome.find()
    node = shutil.which("npm")
    left_out: list[str] = []
    python = [sys.executable, "-m"]
    parts: list[tuple[str, list[str], Path]] = [
        ("style", [*python, "ruff", "check", "."], ROOT),
        ("python and browser", [*python, "pytest", "-q", *([] if browser else ["-m", "not browser"])], ROOT),
        ("notebooks", [*python, "pytest", "-q", "--nbval-lax", "-p", "no:cacheprovider", "notebooks"], ROOT),
    ]
    if node:
        parts += [
            ("types", [*python, "pyright", "--pythonpath", sys.executable], ROOT),  # runs on Node
            ("page: install", ["npm", "ci", "--no-audit", "--no-fund"], ROOT / "js"),
            ("page: types", ["npm", "run", "--silent", "check"], ROOT / "js"),
            ("page: tests", ["npm", "test", "--silent"], ROOT / "js"),
            ("page: bundles are fresh", [sys.executable, str(ROOT / "tests" / "fresh_bundles.py")], ROOT),
        ]
    else:
        left_out.append(
            "type checks, TypeScript tests and bundle freshness: install Node.js 20 or newer (https://nodejs.org)"
        )
    if not browser:
        left_out.append("browser tests: install Chromium (Debian and Ubuntu: apt install chromium) or Google Chrome")
    if not shared().is_dir():
        left_out.append("tests on pretrained models: put the shared material at ../shared or set MI_WIDGETS_SHARED")

    results = []
    for name, command, folder in parts:
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
        results.append((name, status == 0, time.monotonic() - started))
    print()
    for name, passed, seconds in results:
        print(f"{'passed' if passed else 'FAILED'}  {name}  ({seconds:.0f} s)")
    for text in left_out:
        print(f"LEFT OUT  {text}")
    failed = not all(passed for _, passed, _ in results)
    return 1 if failed or (IN_CI and left_out) else 0


def shared() -> Path:
    """The shared test material."""
    return Path(os.environ.get("MI_WIDGETS_SHARED", ROOT.parent / "shared"))


if __name__ == "__main__":
    sys.exit(main())
