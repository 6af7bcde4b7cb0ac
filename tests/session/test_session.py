"""One model, one prompt, one selection, one pass: what linked views and their user can rely on."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import torch
from fake_view import FakeView, count_passes

import mi_widgets as mw
from mi_widgets.errors import Cancelled, ModelError, PromptError
from mi_widgets.session import Session
from mi_widgets.session.prompts import from_wire, plain, to_wire


def test_four_views_share_one_pass_for_each_edit(model):
    passes = count_passes(model)
    session = Session(model, "w3 w4")
    views = [FakeView(session) for _ in range(4)]
    assert len(passes) == session.passes == 1  # the later three found it cached
    session.prompt = "w5 w6"
    assert len(passes) == session.passes == 2
    for view in views:
        assert view.drawn["A"].tokens.strings[-1] == "w6"
        assert (
            view.drawn["A"].activations.arrays["attn.hook_pattern"]
            is views[0].drawn["A"].activations.arrays["attn.hook_pattern"]
        )


def test_views_with_different_needs_still_share_the_pass(in_loop, model):
    async def main():
        session = Session(model, "w3 w4")
        first, second = FakeView(session), FakeView(session, ("attn.hook_pattern", "attn.hook_v"))
        session.wait()
        assert session.passes == 1
        assert "attn.hook_v" in second.drawn["A"].activations.arrays
        assert first.drawn is not None

    in_loop(main)


def test_a_view_whose_site_is_missing_fails_alone(in_loop, model):
    async def main():
        session = Session(model, "w3 w4")
        good, bad = FakeView(session), FakeView(session, ("attn.hook_nonsense",))
        with pytest.raises(ModelError, match="hook_nonsense"):
            session.wait()
        assert good.log[-1][0] == "draws"
        assert bad.log[-1] == ("fails", "ModelError")

    in_loop(main)


def test_progress_then_picture_in_order(model):
    view = FakeView(Session(model, "w3 w4"), second="w5")
    assert view.log == [("waits", 0, 0), ("waits", 0, 3), ("waits", 1, 3), ("draws", ("<bos>", "w3", "w4"))]


def test_the_newest_of_many_edits_wins(in_loop, model):
    async def main():
        session = Session(model, "w3")
        view = FakeView(session)
        session.wait()
        for number in range(4, 20):
            session.prompt = f"w{number}"
        while session.runner.busy:
            await asyncio.sleep(0)
        assert session.passes == 2
        assert view.drawn["A"].tokens.strings[-1] == "w19"

    in_loop(main)


def test_an_edit_during_the_pass_makes_it_stale(in_loop, model):
    async def main():
        session = Session(model, "w3")
        view = FakeView(session)
        once = []

        def edit(value, hook):
            if not once:
                once.append(1)
                session.prompt = "w9"

        model.add_hook("blocks.1.hook_resid_pre", edit)
        session.wait()
        drawn = [entry[1][-1] for entry in view.log if entry[0] == "draws"]
        assert drawn == ["w9"]

    in_loop(main)


def test_an_edit_while_the_last_view_draws_is_not_lost(model):
    """The edit arrives in the very last step of a run, as from a handler's thread or from an observer."""
    session = Session(model, "w3")
    view = FakeView(session)
    draws = view.session_draws

    def draw_and_edit(progress, answers):
        yield from draws(progress, answers)
        if session.prompt == "w4":
            session.prompt = "w5"

    view.session_draws = draw_and_edit
    session.prompt = "w4"
    session.wait()
    assert view.drawn["A"].tokens.strings[-1] == "w5"
    assert view.log[-1][0] == "draws"


def test_stop_keeps_the_last_picture(in_loop, model):
    async def main():
        session = Session(model, "w3")
        view = FakeView(session)
        session.wait()
        session.prompt = "w4"
        session.stop()
        while session.runner.busy:
            await asyncio.sleep(0)
        assert view.log[-1] == ("stops",)
        assert view.drawn["A"].tokens.strings[-1] == "w3"
        assert session.passes == 1
        with pytest.raises(Cancelled):  # the view is not current
            session.wait()
        session.prompt = "w5"
        session.wait()

    in_loop(main)


def test_ctrl_c_in_a_script_leaves_all_in_order(model):
    session = Session(model, "w3")
    view = FakeView(session)

    def interrupt(value, hook):
        raise KeyboardInterrupt

    model.add_hook("blocks.1.hook_resid_pre", interrupt)
    with pytest.raises(KeyboardInterrupt):
        session.prompt = "w4"
    assert view.log[-1] == ("stops",)
    model.reset_hooks()
    session.refresh()
    assert view.drawn["A"].tokens.strings[-1] == "w4"


def test_wait_inside_a_running_loop_returns_with_the_picture(in_loop, model):
    async def main():
        session = Session(model, "w3 w4")
        view = FakeView(session)
        assert view.drawn is None
        session.wait(timeout=30)
        assert view.drawn is not None

    in_loop(main)


def test_wait_says_when_time_is_up(in_loop, model):
    async def main():
        session = Session(model, "w3 w4")
        FakeView(session)
        with pytest.raises(TimeoutError):
            session.wait(timeout=0)
        session.wait()

    in_loop(main)


def test_wait_raises_the_error_until_a_good_prompt(model):
    session = Session(model, "w3")
    view = FakeView(session)
    session.prompt = ""
    assert view.log[-1] == ("fails", "PromptError")
    assert view.drawn["A"].tokens.strings[-1] == "w3"
    for _ in range(2):
        with pytest.raises(PromptError, match="empty"):
            session.wait()
    session.prompt = "w4"
    session.wait()
    assert session.last_error is None


def test_one_views_error_is_not_cleared_by_another_views_picture(model):
    session = Session(model, "w3")
    bad = FakeView(session, second="")
    FakeView(session)
    with pytest.raises(PromptError):
        session.wait()
    session.leave(bad)
    session.wait()


def test_a_view_that_left_hears_nothing_more(in_loop, model):
    async def main():
        session = Session(model, "w3")
        stays, leaves = FakeView(session), FakeView(session)
        session.leave(leaves)
        session.wait()
        assert leaves.drawn is None
        assert stays.drawn is not None
        heard = len(leaves.log)
        session.prompt = "w4"
        session.wait()
        assert len(leaves.log) == heard

    in_loop(main)


def test_the_last_view_to_leave_stops_the_work(in_loop, model):
    async def main():
        session = Session(model, "w3")
        view = FakeView(session)
        session.leave(view)
        assert not session.runner.busy
        assert session.passes == 0

    in_loop(main)


def test_two_sessions_on_one_model_do_not_touch_each_other(model):
    first, second = Session(model, "w3"), Session(model, "w4")
    one, two = FakeView(first), FakeView(second)
    first.prompt = "w5"
    second.selection = mw.Selection(layer=1)
    assert two.drawn["A"].tokens.strings[-1] == "w4"
    assert one.drawn["A"].tokens.strings[-1] == "w5"
    assert first.selection == mw.Selection()
    assert first.id != second.id


def test_the_model_runs_only_on_the_owners_thread(in_loop, model):
    passes = count_passes(model)

    async def main():
        session = Session(model, "w3")
        view = FakeView(session)
        session.wait()

        def handler():
            session.prompt = "w4"
            session.wait(timeout=30)

        await asyncio.gather(*(asyncio.to_thread(handler) for _ in range(3)))
        assert view.drawn["A"].tokens.strings[-1] == "w4"
        assert set(passes) == {threading.get_ident()}

    in_loop(main)


class TestNotes:
    """What the status line says of a pass."""

    def test_training_mode_also_of_a_cached_picture(self, model):
        session = Session(model, "w3")
        view = FakeView(session)
        assert view.notes == []
        model.train()
        session.compute([view])
        assert session.passes == 1
        assert "training mode" in view.notes[0]
        assert model.training

    def test_only_special_tokens(self, model):
        view = FakeView(Session(model, [0, 0]))
        assert view.notes == ["The prompt holds only special tokens."]

    def test_beyond_the_context(self, model):
        session = Session(model, [3] * 70)
        view = FakeView(session)
        assert view.log[-1] == ("fails", "PromptError")
        session.beyond_context = True
        assert "64 positions" in view.notes[0]


def test_a_pass_that_would_not_fit_is_refused_before_it_starts(model, monkeypatch):
    from mi_widgets.session import estimate

    class Memory:
        available = 5_000

    monkeypatch.setattr(estimate.psutil, "virtual_memory", Memory)
    session = Session(model, [3] * 20)  # 2 layers × 4 heads × 20² × 4 bytes = 12,800
    view = FakeView(session)
    assert view.log[-1] == ("fails", "MiWidgetsError")
    assert session.passes == 0
    Memory.available = 8_000
    one = FakeView(session, layers=(1,))  # what the hint advises
    assert one.log[-1][0] == "draws"


def test_head_scores_are_measured_once_and_again_for_a_changed_model(model):
    session = Session(model, "w3")

    def measure():
        for _ in session.head_scores.steps():
            pass
        return session.head_scores.known()[0]

    first = measure()
    assert measure() is first
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    assert not session.head_scores.measured
    assert not measure().equals(first)


def test_history_holds_each_prompt_once_newest_last(model):
    session = Session(model, "w3")
    for prompt in ("w4", [5, 6], "w3"):
        session.prompt = prompt
    assert session.history == ["w4", [5, 6], "w3"]
    session.prompt = torch.tensor([[5, 6]])
    assert session.prompt == [5, 6]
    assert session.history == ["w4", "w3", [5, 6]]


def test_tokens_are_those_that_are_run(model):
    session = Session(model, "w3 w4", prepend_bos=True)
    assert session.tokens.strings == ("<bos>", "w3", "w4")
    session.prompt = ""
    with pytest.raises(PromptError):
        _ = session.tokens


@pytest.mark.parametrize(
    "prompt",
    ["text", "", [1, 2], [{"role": "user", "content": "hi"}], None, "日本🙂", np.array([[1, 2]]), (np.int64(1), 2)],
    ids=str,
)
def test_prompts_cross_the_wire_and_come_back(prompt):
    assert from_wire(to_wire(prompt)) == plain(prompt)


class Odd:
    def tolist(self):
        raise RuntimeError("gone")


@pytest.mark.parametrize(
    "strange",
    [None, float("nan"), 5, [1.5], [True], [{"role": "user"}, 3], [[1], [2]], {"a": 1}, b"text", {1, 2}, np.zeros((2, 2), int),
     np.array([0.5]), torch.tensor(3.0), Odd()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_prompt_is_refused_and_the_last_one_stays(model, strange):
    session = Session(model, "w3 w4")
    view = FakeView(session)
    before, log = session.prompt, list(view.log)
    with pytest.raises(PromptError, match="prompt"):
        session.prompt = strange
    with pytest.raises(PromptError), session.hold_trait_notifications():
        session.prompt = strange
    assert session.prompt == before
    assert view.log == log


@pytest.mark.parametrize(
    "value",
    [5, "text", {}, {"kind": "ids", "ids": 5}, {"kind": "text"}, {"kind": ["text"]}, {"kind": "chat", "messages": [1]},
     {"kind": "ids", "ids": [{"role": "user", "content": ""}]}, {"kind": "ids", "ids": [None]}, [], True],
    ids=repr,
)  # fmt: skip
def test_what_a_page_sends_as_a_prompt_and_is_none_is_refused(value):
    with pytest.raises(PromptError):
        from_wire(value)


def test_a_session_needs_a_model():
    with pytest.raises(ModelError):
        Session("gpt2", "text")


class TestHidden:
    """A view that no page shows any more costs nothing, and is not to blame for anything."""

    def test_is_computed_again_only_when_asked(self, model):
        session = Session(model, "w3")
        shown, hidden = FakeView(session), FakeView(session)
        hidden.session_hidden = True
        session.prompt = "w4"
        assert shown.drawn["A"].tokens.strings[-1] == "w4"
        assert hidden.drawn["A"].tokens.strings[-1] == "w3"
        session.catch_up(hidden)
        assert hidden.drawn["A"].tokens.strings[-1] == "w4"
        assert session.passes == 2

    def test_its_error_is_nobodys(self, model):
        session = Session(model, "w3")
        view = FakeView(session)
        view.fail = True
        session.prompt = ""
        assert session.last_error is not None
        view.session_hidden = True
        assert session.last_error is None
        session.wait()


def test_views_of_different_layers_share_one_pass(model):
    session = Session(model, "w3 w4")
    every, second = mw.Attention(session), mw.Attention(session, layers=[1])
    before = session.passes
    session.prompt = "w5 w6"
    session.wait()
    assert session.passes == before + 1
    assert second.data.layers == (1,)
    assert np.array_equal(second.data.head(1, 2), every.data.head(1, 2))
