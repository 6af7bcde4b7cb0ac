"""All tests run side by side: nothing is lost, nothing interleaved, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import run_all

ENVIRONMENT = dict(os.environ)


def part(name: str, code: str) -> run_all.Part:
    return run_all.Part(name, [sys.executable, "-c", textwrap.dedent(code)])


def test_what_a_part_prints_stays_together_and_what_fails_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # each waits for the other's file between its two lines: they do run side by side
    meet = """
        import pathlib, time
        print("{mine} first", flush=True)
        pathlib.Path({folder!r}, "{mine}").touch()
        while not pathlib.Path({folder!r}, "{other}").exists(): time.sleep(0.01)
        print("{mine} last")
        raise SystemExit({status})
    """
    folder = str(tmp_path)
    lanes = [
        [
            part("one", meet.format(mine="one", other="two", folder=folder, status=0)),
            part("after one", "print('then')"),
        ],
        [part("two", meet.format(mine="two", other="one", folder=folder, status=3))],
    ]
    results = {ended.name: ended.passed for ended in run_all.Running(lanes, 2, ENVIRONMENT).wait()}
    assert results == {"one": True, "two": False, "after one": True}
    told = capsys.readouterr().out
    for name in ("one", "two"):
        assert f"=== {name}\n{name} first\n{name} last\n" in told
    assert told.index("one last") < told.index("then")


def test_a_stop_ends_all_that_runs_and_all_that_it_started(tmp_path: Path) -> None:
    stubborn = f"""
        import pathlib, signal, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path({str(tmp_path)!r}, "child").write_text(str(child.pid) + "\\n")
        time.sleep(600)
    """
    running = run_all.Running([[part("long", stubborn), part("never", "print()")]], 2, ENVIRONMENT)
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().endswith("\n"):
        time.sleep(0.01)
    running.stop()
    assert [ended.name for ended in running.wait()] == ["long"]
    child = int((tmp_path / "child").read_text())
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_every_python_test_is_in_exactly_one_lane() -> None:
    lanes = run_all.lanes_here(browser=True, node=True)
    selected = [
        tuple(part.command[part.command.index("no:cacheprovider") + 1 :])
        for lane in lanes
        for part in lane
        if "pytest" in part.command
    ]
    halves = tuple(run_all.HALF)
    assert selected == [
        ("-m", "browser"),
        ("-m", "not browser", *halves),
        ("-m", "not browser", *(f"--ignore={folder}" for folder in halves)),
        ("--nbval-lax", "notebooks"),
    ]
    assert all((run_all.ROOT / folder).is_dir() for folder in halves)


def test_the_pages_packages_are_there_before_any_test_wants_them() -> None:
    first = [part.command[:2] for lane in run_all.first_here(node=True) for part in lane]
    assert first == [["npm", "ci"]] and run_all.first_here(node=False) == []
    assert "npm ci" not in [" ".join(part.command[:2]) for lane in run_all.lanes_here(True, True) for part in lane]


def test_what_a_machine_lacks_is_said() -> None:
    assert len(run_all.left_out_here(browser=False, node=False)) >= 2
    names = [part.name for lane in run_all.lanes_here(browser=False, node=False) for part in lane]
    assert not [name for name in names if "browser" in name or "page" in name or name == "types"]


def test_ctrl_c_ends_it_with_its_own_status() -> None:
    code = """
        import os, signal, sys, threading, run_all
        run_all.first_here = lambda node: []  # else it would empty the folder of the page's packages, and be stopped in it
        run_all.lanes_here = lambda browser, node: [[run_all.Part("long", [sys.executable, "-c", "import time; time.sleep(600)"])]]
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        sys.exit(run_all.main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(run_all.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (130, "stopped")
