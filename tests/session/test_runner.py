"""The runner alone: newest request wins, work yields to the loop, Stop stops, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mi_widgets.errors import Cancelled
from mi_widgets.session.runner import Job, Runner


class Log(list):
    """Jobs that write down what happens to them."""

    def job(self, name, steps=3, slot="slot", body=None, **options):
        def work():
            for step in range(steps):
                self.append((name, step))
                if body is not None:
                    body(step)
                yield step

        return Job(
            slot,
            work(),
            failed=lambda error: self.append((name, type(error).__name__)),
            stopped=lambda replaced: self.append((name, "replaced" if replaced else "stopped")),
            **options,
        )


class FakeTime:
    """A clock that stands still between two pieces of work."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, clock):
        self.perf_counter = lambda: clock[0]


def advance(clock, seconds):
    clock[0] += seconds


def test_without_a_loop_a_job_runs_at_once():
    log, runner = Log(), Runner()
    runner.submit(log.job("a"))
    assert log == [("a", 0), ("a", 1), ("a", 2)]
    assert not runner.busy


def test_with_a_loop_a_job_runs_after_the_cell(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("a"))
        assert log == []
        assert runner.busy
        while runner.busy:
            await asyncio.sleep(0)
        assert log == [("a", 0), ("a", 1), ("a", 2)]

    in_loop(main)


def test_the_newest_request_wins_before_anything_starts(in_loop):
    async def main():
        log, runner = Log(), Runner()
        for name in "abc":
            runner.submit(log.job(name, steps=1))
        while runner.busy:
            await asyncio.sleep(0)
        assert log == [("a", "replaced"), ("b", "replaced"), ("c", 0)]

    in_loop(main)


def test_a_newer_request_stops_a_running_one_between_steps():
    log, runner = Log(), Runner()

    def submit_newer(step):
        if step == 1:
            runner.submit(log.job("new", steps=1))

    runner.submit(log.job("old", body=submit_newer))
    assert log == [("old", 0), ("old", 1), ("old", "replaced"), ("new", 0)]


def test_an_older_request_that_another_thread_submits_late_gives_way(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("new", steps=1, order=2))
        runner.submit(log.job("old", steps=1, order=1))
        runner.flush()
        assert log == [("old", "replaced"), ("new", 0)]

    in_loop(main)


def test_jobs_of_other_slots_wait_their_turn():
    log, runner = Log(), Runner()

    def submit_others(step):
        if step == 0:
            runner.submit(log.job("late", steps=1, slot="late", priority=1))
            runner.submit(log.job("soon", steps=1, slot="soon"))

    runner.submit(log.job("first", steps=2, body=submit_others))
    assert log == [("first", 0), ("first", 1), ("soon", 0), ("late", 0)]


def test_a_job_that_matters_more_goes_first_between_the_steps_of_one_that_has_begun():
    log, runner = Log(), Runner()

    def submit_others(step):
        if step == 1:
            runner.submit(log.job("as late", steps=1, slot="as late", priority=1))
            runner.submit(log.job("urgent", steps=2, slot="urgent"))

    runner.submit(log.job("late", steps=4, slot="late", priority=1, body=submit_others))
    urgent = [("urgent", 0), ("urgent", 1)]
    assert log == [("late", 0), ("late", 1), *urgent, ("late", 2), ("late", 3), ("as late", 0)]


def test_jobs_that_matter_alike_share_the_time_and_the_short_one_is_done_first(monkeypatch):
    log, runner, clock = Log(), Runner(), [0.0]
    monkeypatch.setattr("mi_widgets.session.runner.time", FakeTime(clock))

    def work(step):
        clock[0] += 0.06
        if step == 1:
            runner.submit(log.job("short", steps=2, slot="short", body=lambda _step: advance(clock, 0.01)))

    runner.submit(log.job("long", steps=4, slot="long", body=work))
    assert log == [("long", 0), ("long", 1), ("short", 0), ("short", 1), ("long", 2), ("long", 3)]


def test_a_job_that_comes_to_matter_less_stands_behind_the_others_and_is_still_done():
    log, runner = Log(), Runner()

    def work(step):
        if step == 0:
            runner.submit(log.job("picture", steps=2, slot="picture"))
        if step == 1:
            partial.priority = 1

    partial = log.job("partial", steps=4, slot="partial", body=work)
    runner.submit(partial)
    pictures = [("picture", 0), ("picture", 1)]
    assert log == [("partial", 0), ("partial", 1), *pictures, ("partial", 2), ("partial", 3)]


def test_a_still_picture_does_not_wait_for_what_stands_behind_the_pictures(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("picture", steps=1, slot="picture"))
        runner.submit(log.job("rest", steps=1, slot="rest", priority=1))
        runner.flush(priority=0)
        assert log == [("picture", 0)]
        runner.flush(priority=1)
        assert log == [("picture", 0), ("rest", 0)]

    in_loop(main)


def test_a_newer_job_of_a_slot_replaces_one_that_gave_way_to_another():
    log, runner = Log(), Runner()

    def submit_urgent(step):
        if step == 0:
            runner.submit(log.job("urgent", steps=1, slot="urgent", priority=-1, body=submit_newer))

    def submit_newer(_step):
        runner.submit(log.job("new", steps=1))

    runner.submit(log.job("old", body=submit_urgent))
    assert log == [("old", 0), ("urgent", 0), ("old", "replaced"), ("new", 0)]


def test_an_interrupt_stops_every_job():
    log, runner = Log(), Runner()

    def interrupt(_step):
        runner.submit(log.job("other", steps=1, slot="other"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.submit(log.job("a", body=interrupt))
    assert log == [("a", 0), ("a", "stopped"), ("other", "stopped")]
    assert not runner.busy


def test_stop_from_another_thread_lets_the_owner_close_what_has_begun():
    runner, closed = Runner(), []

    def steps():
        try:
            for step in range(3):
                if step == 1:
                    thread = threading.Thread(target=runner.stop)
                    thread.start()
                    thread.join(30)
                yield step
        finally:
            closed.append(threading.get_ident())

    log = Log()
    runner.submit(Job("a", steps(), failed=log.append, stopped=log.append))
    assert closed == [runner.owner]
    assert log == [False]


def test_one_slot_is_dropped_and_the_others_go_on(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("a", steps=1, slot="a"))
        runner.submit(log.job("b", steps=1, slot="b"))
        runner.drop("b")
        runner.flush()
        assert log == [("b", "stopped"), ("a", 0)]

    in_loop(main)


def test_several_threads_without_a_loop_step_one_job_in_turns():
    log, runner = Log(), Runner()
    started, inside = threading.Event(), []

    def work(step):
        started.set()
        inside.append(step)
        threading.Event().wait(0.002)

    threads = [threading.Thread(target=runner.submit, args=(log.job("a", steps=20, body=work),))]
    threads[0].start()
    started.wait(30)
    threads += [threading.Thread(target=runner.flush) for _ in range(4)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert log == [("a", step) for step in range(20)]
    assert inside == list(range(20))


def test_a_job_that_gives_way_as_another_thread_is_about_to_step_it_goes_on_later(monkeypatch):
    log, runner = Log(), Runner()
    late = log.job("late", steps=1, slot="late", priority=1)
    advance, overtaken = runner._advance, []

    def overtake(job, interruptible=False):
        if job is late and not overtaken:
            overtaken.append(True)
            thread = threading.Thread(target=runner.submit, args=(log.job("urgent", steps=1, slot="urgent"),))
            monkeypatch.setattr(runner, "flush", runner._take)  # no further than its turn
            thread.start()
            thread.join(30)
            monkeypatch.undo()
        return advance(job, interruptible)

    monkeypatch.setattr(runner, "_advance", overtake)
    runner.submit(late)
    assert log == [("urgent", 0), ("late", 0)]
    assert not runner.busy


def test_who_is_told_that_a_job_was_stopped_may_wait_for_a_step_of_another_thread():
    log, runner = Log(), Runner()
    inside, told = threading.Event(), threading.Event()

    def work(_step):
        inside.set()
        told.wait(30)
        raise ValueError("and ends with it")

    def stopped(_replaced):
        told.set()
        runner.flush()

    def stop():
        waiting = log.job("b", slot="b")
        waiting.stopped = stopped
        runner.submit(waiting)
        runner.stop()

    threads = [threading.Thread(target=runner.submit, args=(log.job("a", steps=1, body=work),), daemon=True)]
    threads[0].start()
    assert inside.wait(30)
    threads.append(threading.Thread(target=stop, daemon=True))
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert log == [("a", 0), ("a", "ValueError")]


def test_stop_ends_the_job_after_its_step():
    log, runner = Log(), Runner()
    runner.submit(log.job("a", body=lambda step: runner.stop() if step == 1 else None))
    assert log == [("a", 0), ("a", 1), ("a", "stopped")]
    assert not runner.busy


def test_stop_drops_what_waits(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("a"))
        runner.stop()
        assert log == [("a", "stopped")]
        assert not runner.busy

    in_loop(main)


@pytest.mark.parametrize(("error", "seen"), [(ValueError, "ValueError"), (Cancelled, "stopped")])
def test_an_error_is_told_and_the_runner_goes_on(error, seen):
    log, runner = Log(), Runner()

    def break_off(step):
        raise error("no")

    runner.submit(log.job("bad", body=break_off))
    runner.submit(log.job("good", steps=1))
    assert log == [("bad", 0), ("bad", seen), ("good", 0)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_script_stops_and_is_raised(error):
    log, runner = Log(), Runner()

    def interrupt(step):
        raise error

    with pytest.raises(error):
        runner.submit(log.job("a", body=interrupt))
    assert log == [("a", 0), ("a", "stopped")]
    runner.submit(log.job("b", steps=1))
    assert log[-1] == ("b", 0)


def test_an_interrupt_on_the_loop_stops_and_keeps_the_loop(in_loop):
    async def main():
        log, runner = Log(), Runner()

        def interrupt(step):
            raise KeyboardInterrupt

        runner.submit(log.job("a", body=interrupt))
        while runner.busy:
            await asyncio.sleep(0)
        assert log == [("a", 0), ("a", "stopped")]

    in_loop(main)


def test_flush_inside_a_running_loop_does_the_work_now(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("a"))
        runner.flush()
        assert log == [("a", 0), ("a", 1), ("a", 2)]

    in_loop(main)


def test_flush_takes_over_a_job_that_the_loop_began(in_loop):
    async def main():
        log, runner, begun = Log(), Runner(), asyncio.Event()
        runner.submit(log.job("a", steps=4, body=lambda step: begun.set()))
        import mi_widgets.session.runner as module

        slices, module.SLICE_SECONDS = module.SLICE_SECONDS, -1.0  # yields after every step
        try:
            await begun.wait()
            assert runner.busy
            runner.flush()
        finally:
            module.SLICE_SECONDS = slices
        await asyncio.sleep(0)
        assert log == [("a", step) for step in range(4)]

    in_loop(main)


def test_flush_from_within_the_job_does_not_hang():
    log, runner = Log(), Runner()
    runner.submit(log.job("a", body=lambda step: runner.flush()))
    assert log == [("a", 0), ("a", 1), ("a", 2)]


def test_flush_gives_up_after_its_timeout(in_loop):
    async def main():
        log, runner = Log(), Runner()
        runner.submit(log.job("a"))
        with pytest.raises(TimeoutError):
            runner.flush(timeout=0)
        assert runner.busy  # the loop goes on with it
        runner.flush()
        assert log[-1] == ("a", 2)

    in_loop(main)


def test_another_thread_waits_for_the_owner(in_loop):
    async def main():
        log, runner, threads = Log(), Runner(), set()

        def other():
            runner.submit(log.job("a", body=lambda step: threads.add(threading.get_ident())))
            runner.flush(timeout=30)
            log.append("flushed")

        await asyncio.to_thread(other)
        assert threads == {threading.get_ident()}
        assert log[-1] == "flushed"

    in_loop(main)


def test_another_thread_is_released_when_what_it_waits_for_is_dropped(in_loop):
    async def main():
        runner, log, waiting = Runner(), Log(), threading.Event()
        runner._start_driving = lambda: None  # the owner is blocked by a cell
        runner.submit(log.job("a"))

        def other():
            waiting.set()
            runner.flush(timeout=30)

        thread = threading.Thread(target=other)
        thread.start()
        waiting.wait(30)
        runner.stop()
        thread.join(30)
        assert not thread.is_alive()

    in_loop(main)


def test_a_loop_that_ends_leaves_the_rest_to_flush(recwarn):
    log, made = Log(), []

    async def main():
        made.append(Runner())
        made[0].submit(log.job("a"))
        await asyncio.sleep(0)

    asyncio.run(main())
    made[0].flush()
    assert log == [("a", 0), ("a", 1), ("a", 2)]
    made[0].submit(log.job("b", steps=1))
    assert log[-1] == ("b", 0)
    assert not [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)]
