"""Jobs of a session: what one view draws, no other view's edit delays or restarts; long passes pause."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from fake_view import FakeView, count_passes

from mi_widgets.compute.forward import forward
from mi_widgets.compute.step import Step
from mi_widgets.session import Session, explain

STREAM = "hook_resid_post"
#: As torch says it on a CPU.
TORCHS = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 999 bytes.")


class SlowView(FakeView):
    """A view that draws in many steps; after `partial_at` of them a first picture stands."""

    def __init__(self, session, steps=6, partial_at=None, **options):
        self.steps, self.partial_at = steps, partial_at
        super().__init__(session, **options)

    def session_draws(self, progress, answers):
        for step in range(self.steps):
            self.log.append(("step", step))
            yield Step(step, self.steps, step == self.partial_at)
        yield from super().session_draws(progress, answers)

    @property
    def begun(self):
        return self.log.count(("step", 0))


class TestOwnJobs:
    """What one view draws is no other view's to delay or restart."""

    def test_a_neighbours_edit_restarts_nothing(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            slow, other = SlowView(session), FakeView(session)

            def edit():
                if ("step", 3) in slow.log and not edited:
                    edited.append(True)
                    other.sites = (STREAM,)
                    session.compute([other])

            edited = []
            slow.log = Heard(edit)
            session.wait()
            assert [entry[1] for entry in slow.log if entry[0] == "step"] == list(range(6))
            assert set(other.drawn["A"].activations.arrays) == {STREAM}

        in_loop(main)

    def test_an_edit_of_the_same_view_replaces_its_drawing(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            slow = SlowView(session)

            def edit():
                if ("step", 3) in slow.log and not edited:
                    edited.append(True)
                    session.compute([slow])

            edited = []
            slow.log = Heard(edit)
            session.wait()
            assert [entry[1] for entry in slow.log if entry[0] == "step"] == [0, 1, 2, 3, *range(6)]
            assert [entry for entry in slow.log if entry[0] == "draws"] == [slow.log[-1]]

        in_loop(main)

    def test_an_edit_of_the_prompt_replaces_everything(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            views = [SlowView(session), SlowView(session)]

            def edit():
                if ("step", 3) in views[0].log and session.prompt == "w3":
                    session.prompt = "w4"

            views[0].log = Heard(edit)
            session.wait()
            assert [view.drawn["A"].tokens.strings[-1] for view in views] == ["w4", "w4"]
            assert all(len([entry for entry in view.log if entry[0] == "draws"]) == 1 for view in views)

        in_loop(main)

    def test_a_pass_that_another_still_waits_for_is_not_begun_anew(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            first, second = FakeView(session), FakeView(session)
            edited = []

            def edit(value, hook):
                if not edited:
                    edited.append(True)
                    second.sites = (STREAM,)
                    session.compute([second])

            model.add_hook("blocks.0.hook_resid_pre", edit)
            passes = count_passes(model)
            session.wait()
            assert len(passes) == 2  # that which the first waits for, and the second's own
            assert len([entry for entry in first.log if entry[0] == "draws"]) == 1
            assert set(second.drawn["A"].activations.arrays) == {STREAM}

        in_loop(main)

    def test_the_rest_of_a_partial_picture_stands_behind_all_pictures(self, in_loop, model):
        async def main():
            session, order = Session(model, "w3"), []
            slow = SlowView(session, partial_at=1)
            others = [SlowView(session, steps=3), SlowView(session, steps=3)]
            for name, view in zip("abc", [slow, *others], strict=True):
                view.log = Heard(lambda name=name: order.append(name))
            session.runner.flush(priority=0)
            assert all(view.drawn is not None for view in others)
            assert slow.drawn is None
            assert slow.log[-1] == ("step", 1)
            session.wait()
            assert slow.log[-1][0] == "draws"

        in_loop(main)

    def test_stop_stops_them_all(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            views = [SlowView(session), SlowView(session)]
            views[0].log = Heard(lambda: ("step", 2) in views[0].log and session.stop())
            session.runner.flush()
            assert [view.log[-1] for view in views] == [("stops",), ("stops",)]
            assert not session.runner.busy

        in_loop(main)

    def test_a_view_that_leaves_takes_its_own_drawing_along(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            leaves, stays = SlowView(session), SlowView(session)
            leaves.log = Heard(lambda: ("step", 2) in leaves.log and session.leave(leaves))
            session.wait()
            assert leaves.log[-1] == ("step", 2)
            assert stays.log[-1][0] == "draws"

        in_loop(main)

    def test_what_one_view_raises_is_its_own(self, in_loop, model):
        async def main():
            session = Session(model, "w3")
            bad, good = SlowView(session), SlowView(session)

            def fail():
                if ("step", 2) in bad.log and bad.log[-1][0] == "step":
                    raise ValueError("no")

            bad.log = Heard(fail)
            with pytest.raises(ValueError, match="no"):
                session.wait()
            assert bad.log[-1] == ("fails", "ValueError")
            assert good.log[-1][0] == "draws"

        in_loop(main)

    @pytest.mark.parametrize("full_memory", [MemoryError, TORCHS])
    def test_a_pass_without_memory_is_not_repeated(self, full_memory, in_loop, model, monkeypatch):
        from mi_widgets.compute import forward as module

        tried = []

        def full(*_given, **_named):
            tried.append(True)
            raise full_memory
            yield

        monkeypatch.setattr(module, "forward_steps", full)

        async def main():
            session = Session(model, "w3")
            views = [FakeView(session), FakeView(session, (STREAM,))]
            with pytest.raises((MemoryError, RuntimeError)) as raised:
                session.wait()
            assert len(tried) == 1
            assert [view.log[-1] for view in views] == [("fails", raised.type.__name__)] * 2
            assert "not enough memory" in explain(raised.value)[0]

        in_loop(main)


class Heard(list):
    """A log that says when something is written into it."""

    def __init__(self, heard):
        super().__init__()
        self._heard = heard

    def append(self, entry):
        super().append(entry)
        self._heard()


class TestPauses:
    """A pass that takes long gives the loop its turn between blocks."""

    def test_stop_within_a_pass_is_heard_at_the_next_block(self, in_loop, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.passes.LARGE_SECONDS", -1.0)

        async def main():
            session, blocks = Session(model, "w3 w4"), []
            for block in range(2):
                model.add_hook(f"blocks.{block}.hook_resid_pre", lambda value, hook, block=block: blocks.append(block))
            view = FakeView(session)
            monkeypatch.setattr("mi_widgets.session.runner.SLICE_SECONDS", -1.0)
            while not blocks:
                await asyncio.sleep(0)
            session.stop()
            while session.runner.busy:
                await asyncio.sleep(0)
            assert blocks == [0]
            assert view.log[-1] == ("stops",)
            session.refresh()
            session.wait()
            assert blocks == [0, 0, 1]

        monkeypatch.setattr(
            "mi_widgets.session.runner.Job.rank", property(lambda job: (not job.cancelled, job.priority, 0, job.number))
        )
        in_loop(main)

    def test_little_passes_make_no_thread(self, in_loop, model):
        async def main():
            session, threads = Session(model, "w3 w4"), count_passes(model)
            FakeView(session)
            session.wait()
            assert threads == [threading.get_ident()]

        in_loop(main)

    def test_a_script_makes_no_thread(self, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.passes.LARGE_SECONDS", -1.0)
        session, threads = Session(model, "w3 w4"), count_passes(model)
        FakeView(session)
        assert threads == [threading.get_ident()]

    def test_blocks_that_are_done_are_told(self, in_loop, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.passes.LARGE_SECONDS", -1.0)
        monkeypatch.setattr("mi_widgets.session.pictures.TELL_SECONDS", -1.0)

        async def main():
            session = Session(model, "w3 w4")
            view = FakeView(session)
            session.wait()
            told = [entry[1:] for entry in view.log if entry[0] == "waits"]
            assert told[:2] == [(0, 0), (0, 2)]
            shares = [done / total for done, total in told[1:]]
            assert shares == sorted(shares)
            assert len(set(shares)) > 2
            assert view.log[-1][0] == "draws"

        in_loop(main)

    @pytest.mark.parametrize("stays", [True, False])
    def test_a_model_that_is_changed_in_a_pause_is_run_as_it_is_then(self, stays, in_loop, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.passes.LARGE_SECONDS", -1.0)
        monkeypatch.setattr("mi_widgets.session.runner.SLICE_SECONDS", -1.0)
        monkeypatch.setattr(
            "mi_widgets.session.runner.Job.rank", property(lambda job: (not job.cancelled, job.priority, 0, job.number))
        )

        def twice(value, hook):
            return 2 * value

        async def main():
            session, blocks = Session(model, "w3 w4"), []
            model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: blocks.append(0))
            view = FakeView(session, (STREAM,))
            while not blocks:
                await asyncio.sleep(0)
            model.blocks[1].hook_resid_pre.add_hook(twice)
            session.wait()
            changed = view.drawn["A"].activations.arrays[STREAM]
            assert np.array_equal(changed, forward(model, session.tokens.ids, (STREAM,)).arrays[STREAM])
            if not stays:
                model.blocks[1].hook_resid_pre.remove_hooks()
            session.compute([view])
            session.wait()
            known = view.drawn["A"].activations.arrays[STREAM]
            assert np.array_equal(known, forward(model, session.tokens.ids, (STREAM,)).arrays[STREAM])
            assert np.array_equal(known, changed) == stays

        in_loop(main)

    def test_head_scores_of_a_model_that_is_changed_in_a_pause_are_not_kept(self, in_loop, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.head_scores.LARGE_SECONDS", -1.0)

        async def main():
            scores = Session(model, "w3 w4").head_scores
            steps = scores.steps()
            next(steps)
            next(steps)
            model.blocks[1].hook_resid_pre.add_hook(lambda value, hook: 2 * value)
            for _ in steps:
                pass
            model.reset_hooks()
            assert scores.known() == (None, "")
            for _ in scores.steps():
                pass
            assert scores.measured

        in_loop(main)
