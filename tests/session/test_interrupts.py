"""Interrupt Kernel stops what a loop computes between two cells, where the kernel itself ignores the signal."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal

import pytest

from mi_widgets.session.interrupts import _interrupted, leave, listen
from mi_widgets.session.runner import Job, Runner

SENT = "the signal was sent"


@pytest.fixture
def ignored():
    """As a kernel is between two cells."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_after(steps: int, runner: Runner, told: list[object]) -> None:
    """A job without end that is interrupted in one of its steps."""

    def working():
        for step in itertools.count():
            if step == steps:
                os.kill(os.getpid(), signal.SIGINT)
                told.append(SENT)
            yield

    runner.submit(Job("picture", working(), told.append, lambda replaced: told.append(replaced)))


async def driven(runner: Runner) -> None:
    while runner.busy or runner._driving:
        await asyncio.sleep(0.001)


@pytest.mark.usefixtures("ignored")
def test_an_interrupt_between_cells_stops_what_is_computed():
    told: list[object] = []

    async def kernel():
        runner = Runner()
        interrupted_after(3, runner, told)
        await driven(runner)

    asyncio.run(kernel())
    assert told == [SENT, False]  # stopped, and not by a newer job
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("ignored")
def test_one_interrupt_stops_every_session():
    told: list[object] = []

    async def kernel():
        runners = [Runner(), Runner()]
        runners[0].submit(Job("picture", (None for _ in itertools.count()), told.append, told.append))
        interrupted_after(3, runners[1], told)
        for runner in runners:
            await driven(runner)

    asyncio.run(kernel())
    assert sorted(told, key=str) == [False, False, SENT]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_whoever_handles_interrupts_goes_on_handling_them():
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        listen("a loop", lambda: heard.append(0))
        os.kill(os.getpid(), signal.SIGINT)
        leave("a loop")
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ignored")
def test_a_cell_that_puts_the_listener_back_leaves_interrupts_ignored():
    listen("a loop", lambda: pytest.fail("nobody computes any more"))
    cell = signal.signal(signal.SIGINT, signal.default_int_handler)
    leave("a loop")
    signal.signal(signal.SIGINT, cell)  # the cell ends
    assert signal.getsignal(signal.SIGINT) is _interrupted
    os.kill(os.getpid(), signal.SIGINT)
