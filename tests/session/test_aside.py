"""Work beside the loop: pure functions on a worker thread, the loop in its turns meanwhile, results as if done here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest
import torch

from mi_widgets.data.interventions import Run
from mi_widgets.session.aside import aside, at_once
from mi_widgets.session.protocol import Answered
from mi_widgets.session.runner import Job, Runner


def job_of(steps, results, errors=None):
    """A job that keeps what `steps` return."""

    def work():
        results.append((yield from steps))

    return Job("slot", work(), failed=(errors if errors is not None else []).append)


def test_without_a_loop_it_is_done_here_at_once():
    steps = aside(threading.get_ident)
    assert at_once(steps) == threading.get_ident()


def test_little_work_makes_no_thread(in_loop):
    async def main():
        assert at_once(aside(threading.get_ident, large=False)) == threading.get_ident()

    in_loop(main)


def test_the_loop_has_its_turn_until_it_is_done(in_loop):
    async def main():
        runner, results, ticks, release = Runner(), [], [], threading.Event()

        def function():
            assert release.wait(30)
            return threading.get_ident()

        runner.submit(job_of(aside(function), results))
        while len(ticks) < 5:
            await asyncio.sleep(0.001)
            ticks.append(bool(results))
        release.set()
        while runner.busy:
            await asyncio.sleep(0)
        assert not any(ticks)
        assert results != [threading.get_ident()]

    in_loop(main)


def test_what_it_raises_is_raised_where_it_is_waited_for(in_loop):
    async def main():
        runner, errors = Runner(), []

        def function():
            raise ValueError("no")

        runner.submit(job_of(aside(function), [], errors))
        runner.flush()
        assert [str(error) for error in errors] == ["no"]

    in_loop(main)


def test_it_makes_no_graph(in_loop):
    async def main():
        runner, results = Runner(), []
        weight = torch.ones(1, requires_grad=True)
        runner.submit(job_of(aside(lambda: (weight * 2).requires_grad), results))
        runner.flush()
        assert results == [False]
        assert torch.is_grad_enabled()

    in_loop(main)


def test_ctrl_c_while_it_waits_stops_the_job_and_drops_the_result(in_loop):
    async def main():
        runner, results, release = Runner(), [], threading.Event()
        steps = aside(lambda: release.wait(30))

        def interrupted():
            next(steps)
            yield
            raise KeyboardInterrupt  # as if it came in the wait

        stopped = []
        job = Job("slot", interrupted(), failed=results.append, stopped=stopped.append)
        runner.submit(job)
        with pytest.raises(KeyboardInterrupt):
            runner.flush()
        release.set()
        assert stopped == [False]
        assert results == []
        assert not runner.busy
        again: list[int] = []
        runner.submit(job_of(aside(lambda: 7), again))
        runner.flush()
        assert again == [7]

    in_loop(main)


def test_two_who_ask_for_the_same_of_an_answer_wait_for_one_making(in_loop):
    async def main():
        runner, results, jobs, made, release = Runner(), [], [], [], threading.Event()
        answered = Answered(None, None, Run())  # type: ignore[arg-type]

        def make():
            made.append(threading.get_ident())
            assert release.wait(30)
            return object()

        for slot in ("a", "b"):
            job = job_of(answered.once_aside("key", make, large=True), results)
            job.slot = slot
            jobs.append(job)
            runner.submit(job)
        while not all(job.begun for job in jobs):
            await asyncio.sleep(0.001)
        release.set()
        runner.flush()
        assert len(made) == 1
        assert len(results) == 2
        assert results[0] is results[1]

    in_loop(main)


def test_one_who_is_stopped_meanwhile_leaves_it_to_the_other(in_loop):
    async def main():
        runner, results, release = Runner(), [], threading.Event()
        answered = Answered(None, None, Run())  # type: ignore[arg-type]

        def make():
            assert release.wait(30)
            return 7

        for slot in ("a", "b"):
            job = job_of(answered.once_aside("key", make, large=True), results)
            job.slot = slot
            runner.submit(job)
        while not answered._making:
            await asyncio.sleep(0.001)
        runner.drop("a")
        release.set()
        runner.flush()
        assert results == [7]

    in_loop(main)


def test_python_ends_while_something_works_aside():
    code = """
import asyncio, torch
from mi_widgets.session.aside import Aside
def work():
    square = torch.rand(400, 400)
    for _ in range(200):
        square = square @ square / square.norm()
async def main():
    for _ in range(3):
        next(Aside(work).steps())
    print("begun")
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "begun"), ended.stderr
