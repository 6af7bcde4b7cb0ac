"""The model's head scores beside the pictures: behind them, measured once, and told where they cannot be had."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_view import count_passes
from on_screen import PROMPT, manifest_of

import mi_widgets as mw
from mi_widgets.compute.head_scores import SEQUENCES
from mi_widgets.widgets import attention, live


@pytest.fixture
def slow(monkeypatch):
    """Head scores never count as quick, and the page hears of every step."""
    monkeypatch.setattr(attention, "QUICK_SECONDS", -1.0)
    monkeypatch.setattr(live, "TELL_SECONDS", -1.0)


def sortable(view):
    """Whether the wall can be sorted by scores of the model."""
    return any("random" in column["description"] for column in manifest_of(view)["scores"])


@pytest.mark.usefixtures("slow")
class TestBehindThePictures:
    """On a slow model every view has its picture before the first of their passes."""

    def test_first_pictures_of_all_views_come_first(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            views = [mw.Attention(session), mw.Prompt(session), mw.LogitLens(session)]
            passes, before = count_passes(model), {}
            for view in views:
                view.observe(lambda _, view=view: before.setdefault(view, len(passes)), "picture")
            session.wait()
            assert list(before.values()) == [1, 1, 1]
            assert len(passes) == 1 + SEQUENCES
            assert sortable(views[0])
            assert views[0].head_scores is not None

        in_loop(main)

    def test_the_cell_does_not_wait_for_them(self, in_loop, model):
        async def main():
            session, passes = mw.Session(model, PROMPT), count_passes(model)
            view = mw.Attention(session)
            assert "image/png" in view._repr_mimebundle_()[0]
            assert len(passes) == 1
            assert not session.head_scores.measured
            session.wait()
            assert session.head_scores.measured

        in_loop(main)

    def test_what_is_left_is_said_from_what_was_measured(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Attention(session)
            said = []
            view.observe(lambda change: said.append(change["new"]), "status")
            session.wait()
            about = [status["estimate"] for status in said if "head scores" in status["estimate"]]
            assert about[0] == "measuring head scores"
            assert about[1:] == ["measuring head scores, about 1 s left"] * (SEQUENCES - 1)
            assert said[-1]["state"] == "idle"
            assert {status["run"] for status in said} == {session.run}

        in_loop(main)

    def test_the_wait_for_other_pictures_is_no_time_of_theirs(self, in_loop, model, monkeypatch):
        async def main():
            session = mw.Session(model, PROMPT)
            view, other = mw.Attention(session), mw.Prompt(session)
            drawing, clock = other.session_draws, [0.0]
            monkeypatch.setattr("mi_widgets.session.head_scores.time", SimpleNamespace(perf_counter=lambda: clock[0]))

            def slowly(progress, answers):
                clock[0] += 100
                yield from drawing(progress, answers)

            monkeypatch.setattr(other, "session_draws", slowly)
            said = []
            view.observe(lambda change: said.append(change["new"]["estimate"]), "status")
            session.wait()
            assert "measuring head scores, about 1 s left" in said

        in_loop(main)

    def test_an_edit_is_drawn_first_and_does_not_begin_them_anew(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Attention(session)
            lengths = []
            model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: lengths.append(value.shape[1]))
            edited = []

            def edit(change):
                if "left" in change["new"]["estimate"] and not edited:
                    edited.append(True)
                    session.prompt = "w3 w5"

            view.observe(edit, "status")
            session.wait()
            assert [length for length in lengths if length < 20] == [6, 3]
            assert lengths.index(3) < len(lengths) - 1  # before the others of them
            assert len(lengths) == 2 + SEQUENCES
            assert sortable(view)
            assert manifest_of(view)["tokens"]["text"] == "w3 w5"

        in_loop(main)

    def test_they_begin_anew_where_the_model_is_said_to_have_changed_meanwhile(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Attention(session)
            edited = []

            def edit(change):
                if "left" in change["new"]["estimate"] and not edited:
                    edited.append(True)
                    for weight in model.parameters():
                        weight.data.mul_(1.5)
                    session.refresh()

            view.observe(edit, "status")
            session.wait()
            assert edited
            assert session.head_scores.known()[0].equals(mw.compute.head_scores(model))

        in_loop(main)

    def test_stop_keeps_the_picture_and_says_what_is_missing(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Attention(session)
            view.observe(lambda change: "left" in change["new"]["estimate"] and view.stop(), "status")
            view.wait()
            assert view.status["state"] == "idle"
            assert view.status["run"] == manifest_of(view)["run"]  # as current as before
            assert "no scores" in view.status["message"]
            assert not sortable(view)

        in_loop(main)

    def test_one_job_serves_two_views_and_ends_with_the_last(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            views = [mw.Attention(session), mw.Attention(session)]
            views[0].observe(lambda change: "head scores" in change["new"]["estimate"] and views[0].close(), "status")
            session.wait()
            assert sortable(views[1])
            assert session.head_scores._listeners == []

        in_loop(main)


@pytest.mark.parametrize("quick", [True, False])
def test_why_there_are_none_is_told_and_not_tried_again(quick, model, monkeypatch):
    monkeypatch.setattr(attention, "QUICK_SECONDS", 9.0 if quick else -1.0)

    tried = []

    def only_short(value, hook):
        if value.shape[1] > 10:
            tried.append(value.shape[1])
            raise ValueError("my hook is for short prompts")

    model.add_hook("blocks.0.hook_resid_pre", only_short)
    session = mw.Session(model, PROMPT)
    view = mw.Attention(session)
    assert "my hook is for short prompts" in " ".join(manifest_of(view)["notes"])
    session.prompt = "w3 w5"
    assert view.last_error is None
    assert len(tried) == 1
