"""What takes long is done beside the loop: on worker threads, while traits are set on the loop's own."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import mi_widgets as mw
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.attribution_picture import AttributionPicture
from mi_widgets.wire.lens_picture import LensPicture
from mi_widgets.wire.prompt_picture import PromptPicture

PROMPT = "w3 w4 w5 w3 w4"
#: By view, the functions that take long for a long prompt: where they are looked up, and their names.
LONG = {
    "Attention": [
        ("mi_widgets.compute.attention", "assemble"),
        (AttentionPicture, "parcel"),
        (AttentionPicture, "kept"),
    ],
    "Prompt": [("mi_widgets.compute.next_tokens", "read_next_tokens"), (PromptPicture, "parcel")],
    "LogitAttribution": [
        ("mi_widgets.compute.next_tokens", "likeliest"),
        ("mi_widgets.compute.logit_attribution", "attribute"),
        (AttributionPicture, "parcel"),
    ],
}


@pytest.fixture
def threads_of(monkeypatch):
    """`threads_of(place, name)`: the threads on which that function is called from now on."""

    def watch(place, name):
        if isinstance(place, str):
            import importlib

            place = importlib.import_module(place)
        own, seen = getattr(place, name), set()

        def watched(*given, **named):
            seen.add(threading.get_ident())
            return own(*given, **named)

        monkeypatch.setattr(place, name, watched)
        return seen

    return watch


@pytest.fixture
def all_is_large(monkeypatch):
    """Every prompt is taken for one that takes long."""
    monkeypatch.setattr("mi_widgets.session.estimate.LARGE_SECONDS", -1.0)
    monkeypatch.setattr("mi_widgets.widgets.attention.QUICK_SECONDS", -1.0)


async def idle(session):
    while session.runner.busy:
        await asyncio.sleep(0.001)


@pytest.mark.usefixtures("all_is_large")
@pytest.mark.parametrize("kind", LONG)
def test_long_work_leaves_the_loops_thread_and_traits_do_not(kind, in_loop, model, threads_of):
    seen = {name: threads_of(place, name) for place, name in LONG[kind]}
    expected = getattr(mw, kind)(mw.Session(model, PROMPT))

    async def main():
        for threads in seen.values():
            threads.clear()
        session = mw.Session(model, PROMPT)
        view, set_on = getattr(mw, kind)(session), set()
        view.observe(lambda _change: set_on.add(threading.get_ident()))
        await idle(session)
        own = threading.get_ident()
        assert set_on == {own}
        assert all(threads and own not in threads for threads in seen.values()), seen
        table, other = view.to_pandas(), expected.to_pandas()
        columns = table.select_dtypes("number").columns
        numbers = [one[columns].to_numpy(float, na_value=np.nan) for one in (table, other)]
        assert np.array_equal(*numbers, equal_nan=True)

    in_loop(main)


@pytest.mark.parametrize("kind", LONG)
def test_a_short_prompt_makes_no_thread(kind, in_loop, model, threads_of):
    seen = {name: threads_of(place, name) for place, name in LONG[kind]}

    async def main():
        session = mw.Session(model, PROMPT)
        getattr(mw, kind)(session)
        await idle(session)
        assert all(threads == {threading.get_ident()} for threads in seen.values())

    in_loop(main)


@pytest.mark.usefixtures("all_is_large")
def test_a_request_of_the_page_is_answered_aside(in_loop, model, threads_of):
    heads = threads_of(AttentionPicture, "heads")

    async def main():
        session = mw.Session(model, PROMPT)
        view, sent = mw.Attention(session), []
        await idle(session)
        heads.clear()
        view.send = lambda content, buffers=None: sent.append((content, buffers))
        run = view.status["run"]
        view._receive(view, {"kind": "request", "req": 7, "want": "heads", "run": run, "heads": [[0, 1]]}, [])
        view._receive(view, {"kind": "request", "req": 8, "want": "heads", "run": run - 1, "heads": [[0, 1]]}, [])
        while len(sent) < 2:
            await asyncio.sleep(0.001)
        answers = {content["req"]: (content, buffers) for content, buffers in sent}
        assert answers[7][0]["ok"]
        assert answers[7][1]
        assert answers[8][0]["error"]["code"] == "stale"
        assert heads
        assert threading.get_ident() not in heads

    in_loop(main)


@pytest.mark.usefixtures("all_is_large")
def test_the_saved_state_catches_up_aside(in_loop, model, monkeypatch):
    monkeypatch.setattr("mi_widgets.widgets.view.SETTLE_SECONDS", 0.0)

    async def main():
        session = mw.Session(model, PROMPT)
        view = mw.Attention(session)
        await idle(session)
        before = view.focus
        view.selection = mw.Selection(layer=1, head=2)
        while view.focus == before:
            await asyncio.sleep(0.001)
        assert view.focus == view._picture.kept([(1, 2)])

    in_loop(main)


@pytest.mark.usefixtures("all_is_large")
def test_head_scores_are_drawn_aside_when_they_are_there(in_loop, model, threads_of):
    parcels = threads_of(AttentionPicture, "parcel")

    async def main():
        session = mw.Session(model, PROMPT)
        view = mw.Attention(session)
        await idle(session)
        assert session.head_scores.measured
        assert "induction" in view._picture.score_table
        assert view.status["state"] == "idle"
        assert threading.get_ident() not in parcels

    in_loop(main)


@pytest.mark.usefixtures("all_is_large")
def test_an_edit_while_a_view_works_aside_is_what_is_shown(in_loop, model, monkeypatch):
    parcel, begun, release = AttentionPicture.parcel, threading.Event(), threading.Event()

    def slow(picture, show):
        begun.set()
        assert release.wait(30)
        return parcel(picture, show)

    monkeypatch.setattr(AttentionPicture, "parcel", slow)

    async def main():
        session = mw.Session(model, PROMPT)
        view, shown = mw.Attention(session), []
        view.observe(lambda change: shown.append(change["new"]), "picture")
        while not begun.is_set():
            await asyncio.sleep(0.001)
        session.prompt = "w6 w7"
        release.set()
        await idle(session)
        assert view.data.tokens.strings[-1] == "w7"
        assert view.status["run"] == view._picture.run == session.run
        assert len(shown) <= 2  # the new one, and again with head scores

    in_loop(main)


@pytest.mark.usefixtures("all_is_large")
def test_stopped_as_its_picture_is_packed_a_lens_keeps_the_numbers_of_the_picture_it_shows(in_loop, model, monkeypatch):
    parcel, begun, release = LensPicture.parcel, threading.Event(), threading.Event()
    release.set()

    def slow(picture, *given):
        begun.set()
        assert release.wait(30)
        return parcel(picture, *given)

    monkeypatch.setattr(LensPicture, "parcel", slow)

    async def main():
        session = mw.Session(model, PROMPT)
        view = mw.LogitLens(session)
        await idle(session)
        begun.clear()
        release.clear()
        session.prompt = "w6 w7"
        while not begun.is_set():
            await asyncio.sleep(0.001)
        session.stop()
        release.set()
        await idle(session)
        with pytest.warns(UserWarning, match="not current"):
            shown = view.data
        assert shown is view._picture.data
        assert view._subject["prompt"] == PROMPT

    in_loop(main)
