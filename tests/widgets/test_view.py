"""What every view keeps to, whichever it is: with its page, with wrong values, and when it is closed."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import weakref

import pytest
import torch
import traitlets
from ipywidgets.widgets.widget import _instances
from on_screen import PROMPT, manifest_of

import mi_widgets as mw
from mi_widgets.errors import DataError, MiWidgetsError, PromptError
from mi_widgets.widgets import view as module

VIEWS = [mw.Attention, mw.LogitLens, mw.LogitAttribution, mw.Prompt]
every_view = pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)


def held(view):
    """All that a page sees of a view."""
    return {name: value for name, value in view.get_state().items() if name not in {"layout", "_esm", "_css"}}


class TestBeforeTheFirstPicture:
    """A view is shown whole before anything is computed, and over a first prompt that fails."""

    @every_view
    def test_the_state_of_an_empty_view_is_whole(self, kind, in_loop, model):
        async def main():
            view = kind(mw.Session(model, PROMPT))
            state = view.get_state()
            assert state["picture"] == b""
            assert state["status"]["state"] == "computing"
            assert state.get("refused") is None
            assert state["prompt"] == {"kind": "text", "text": PROMPT}

        in_loop(main)

    @every_view
    def test_a_failing_first_prompt_is_told_and_the_next_one_mends_it(self, kind, model):
        session = mw.Session(model, "")
        view = kind(session)
        assert view.status["state"] == "error"
        assert "empty" in view.status["message"]
        with pytest.raises(PromptError):
            view.wait()
        view.set_state({"prompt": {"kind": "text", "text": PROMPT}})
        assert view.status["state"] == "idle"
        assert view.last_error is None
        assert manifest_of(view)["run"] == view.status["run"]


class TestWrongValues:
    """Whatever a page or a program gives: refused with a word on what to do, and nothing kept of it."""

    @every_view
    def test_a_page_cannot_change_what_is_right_into_what_is_wrong(self, kind, model):
        view = kind(mw.Session(model, PROMPT))
        before = {**held(view), "status": 0}
        for sent in (
            {"prompt": 5}, {"prompt": {"kind": "ids", "ids": 5}}, {"prompt": None}, {"selection": 5}, {"height": "tall"},
            {"selection": {"layer": 99, "stamp": 99}}, {"selection": {"heads": 5, "stamp": 99}}, {"height": 5}, {},
            {"status": {}}, {"picture": b"x"}, {"session_id": "x"}, {"history": 5}, {"_esm": ""}, {"_model_name": "x"},
            {"unknown": 1}, {"options": 5}, {"options": {"show": "C"}}, {"layout": "x"}, {"compare": 5}, {"answer": 1.5},
        ):  # fmt: skip
            run = view.status["run"]
            view.set_state(sent)
            assert {**held(view), "status": 0} == before, sent
            assert view.status["run"] == run
        assert view.session.prompt == PROMPT

    @every_view
    def test_the_right_half_of_a_message_is_taken(self, kind, model):
        view = kind(mw.Session(model, PROMPT))
        view.set_state({"prompt": {"kind": "text", "text": "w3 w5"}, "height": "tall", "selection": None})
        assert view.session.prompt == "w3 w5"
        assert manifest_of(view)["run"] == view.session.run
        assert view.status["state"] == "error"
        assert "height" in view.status["message"] or "selection" in view.status["message"]

    def test_an_answer_that_is_no_token_leaves_nothing_behind(self, model):
        view = mw.LogitAttribution(mw.Session(model, PROMPT), answer="w5", foil="w6")
        view.set_state({"foil": 1.5, "answer": float("nan")})
        assert (view.foil, view.answer, view.session.foil) == ("w6", "w5", "w6")
        with pytest.raises(traitlets.TraitError), view.session.hold_trait_notifications():
            view.session.foil = 1.5
        assert view.session.foil == "w6"

    @every_view
    def test_what_views_to_come_point_at_is_linked_and_crosses_only_where_it_is_set(self, kind, model):
        session = mw.Session(model, PROMPT)
        view, linked = kind(session), kind(session)
        assert "neuron" not in view.get_state("selection")["selection"]
        value = {"layer": 1, "neuron": 3, "edge": ["a", "b"], "run": "B"}
        view.set_state({"selection": {**view.get_state("selection")["selection"], **value, "stamp": 99}})
        assert linked.selection == mw.Selection(layer=1, neuron=3, edge=("a", "b"), run="B")
        assert value.items() <= linked.get_state("selection")["selection"].items()
        assert "mw.Selection(layer=1, neuron=3, edge=('a', 'b'), run='B')" in linked.recipe()

    @every_view
    def test_programs_hear_of_it_at_once(self, kind, model):
        session = mw.Session(model, PROMPT)
        view = kind(session)
        for name, wrong in [
            ("height", 50),
            ("height", 5.5),
            ("options", 5),
            ("options", {"sho": "A"}),
            ("selection", {}),
        ]:
            before = getattr(view, name)
            with pytest.raises(MiWidgetsError) as caught:
                setattr(view, name, wrong)
            assert caught.value.hint
            assert getattr(view, name) == before
        with pytest.raises(DataError):
            kind(session, height=50)

    def test_the_nearest_right_word_is_offered(self, model):
        with pytest.raises(DataError, match="Did you mean 'palette'"):
            mw.Attention(mw.Session(model, PROMPT), pallete="blue")
        with pytest.raises(DataError, match="Did you mean 'entropy'"):
            mw.Prompt(mw.Session(model, PROMPT), color="entropie")

    def test_layers_of_one_number_are_refused(self, model):
        with pytest.raises(DataError, match="layers"):
            mw.Attention(mw.Session(model, PROMPT), layers=1)

    @pytest.mark.parametrize("columns", ["x", 0, 1.5, None, True])
    def test_a_dashboard_has_whole_columns(self, columns, model):
        view = mw.Prompt(mw.Session(model, PROMPT))
        with pytest.raises(DataError, match="columns"):
            mw.Dashboard(view, columns=columns)

    @every_view
    def test_random_messages_of_a_page_raise_nothing_and_change_no_picture(self, kind, model):
        draw = random.Random(0)
        view = kind(mw.Session(model, PROMPT))
        values = [
            None,
            True,
            -1,
            5,
            1.5,
            float("nan"),
            "",
            "stop",
            "text",
            [],
            [[]],
            [1, "a"],
            {},
            {"kind": "text"},
            2**70,
        ]
        words = [
            "kind",
            "req",
            "want",
            "run",
            "heads",
            "sides",
            "show",
            "rows",
            "order",
            "ids",
            "tokens",
            "render",
            "encoding",
        ]
        kinds = ["cancel", "request", "order", "shown", "hidden", "roll_call", "heads", "rows", 7, None]
        picture = view.picture
        for _ in range(300):
            content = {word: draw.choice(values) for word in draw.sample(words, draw.randint(0, 6))}
            if draw.random() < 0.9:
                content["kind"] = draw.choice(kinds)
            view._handle_custom_msg(content if draw.random() < 0.95 else draw.choice(values), [])
        assert view.picture == picture
        assert view.session.prompt == PROMPT


class TestPresence:
    """A view is drawn as long as some page shows it, and reloaded pages are not counted for ever."""

    @pytest.fixture
    def view(self, model, monkeypatch):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
        view = mw.Prompt(mw.Session(model, PROMPT))
        view.asked = []
        view.send = lambda content, buffers=None: view.asked.append(content["kind"])
        return view

    @staticmethod
    def say(view, kind, render):
        view._handle_custom_msg({"kind": kind, "render": render}, [])

    def test_two_renders_and_both_leave(self, view):
        for kind, render in [("shown", "a"), ("shown", "b"), ("hidden", "a")]:
            self.say(view, kind, render)
            assert not view.session_hidden
        self.say(view, "hidden", "b")
        assert view.session_hidden

    def test_a_render_that_says_it_twice_counts_once(self, view):
        self.say(view, "shown", "a")
        self.say(view, "shown", "a")
        self.say(view, "hidden", "a")
        assert view.session_hidden

    def test_renders_of_a_reloaded_page_are_forgotten(self, in_loop, model, view):
        import asyncio

        async def main():
            view._loop = asyncio.get_running_loop()
            self.say(view, "shown", "before the reload")
            self.say(view, "shown", "after it")
            assert view.asked == ["roll_call"]
            self.say(view, "shown", "after it")  # the answer
            while len(view._renders) > 1:
                await asyncio.sleep(0)
            self.say(view, "hidden", "after it")
            assert view.session_hidden

        in_loop(main)

    def test_a_hidden_view_waits_until_it_is_shown(self, view):
        self.say(view, "shown", "a")
        self.say(view, "hidden", "a")
        view.session.prompt = "w3 w5"
        assert manifest_of(view)["sides"][0]["tokens"]["text"] == PROMPT
        self.say(view, "shown", "b")
        assert manifest_of(view)["sides"][0]["tokens"]["text"] == "w3 w5"


class TestClosed:
    """A closed view leaves nothing behind."""

    def test_views_sessions_caches_and_models_are_freed(self, in_loop, tiny_model):
        seen, widgets = [], set(_instances)

        async def main():
            for _ in range(6):
                model = tiny_model("gpt2")
                session = mw.Session(model, PROMPT)
                views = [kind(session) for kind in VIEWS]
                session.wait()
                for view in views:
                    view._repr_mimebundle_()
                    view.to_html()
                session.prompt = "w3 w5"
                session.wait()
                seen.extend(weakref.ref(one) for one in (model, session, session._cache, *views))
                seen.extend(weakref.ref(view.layout) for view in views)
                for view in views:
                    view.close()
                del model, session, views, view

        in_loop(main)
        gc.collect()
        assert not [one() for one in seen if one() is not None]
        assert set(_instances) <= widgets  # ipywidgets' own register

    def test_who_asks_for_hot_reload_gets_it(self):
        code = (
            "import mi_widgets as mw, anywidget._file_contents as f; print(isinstance(mw.Prompt._esm, f.FileContents))"
        )
        for asked, said in (("1", "True"), ("", "False")):
            environment = {**os.environ, "ANYWIDGET_HMR": asked}
            shown = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            assert shown.stdout.strip() == said


def test_an_option_of_a_page_goes_to_the_views_that_know_it(model, tmp_path, capsys):
    session = mw.Session(model, PROMPT)
    attention, lens = mw.Attention(session), mw.LogitLens(session)
    path = mw.save_html(tmp_path / "page.html", attention, lens, heads="shown")
    assert path.stat().st_size < len(attention.to_html()) + len(lens.to_html())
    with pytest.raises(DataError, match="Did you mean 'heads'"):
        mw.save_html(tmp_path / "page.html", attention, lens, head="shown")
    with pytest.raises(DataError, match="heads"):
        mw.save_html(tmp_path / "page.html", lens, heads="shown")


@every_view
def test_a_figure_of_an_old_picture_says_so(kind, model):
    view = kind(mw.Session(model, PROMPT))
    view.session.prompt = ""
    with pytest.warns(UserWarning, match="not current"):
        view.figure()


class TestNotFinite:
    """One broken weight: no view has a green tick, each says where it began, and all heal with the model."""

    @pytest.fixture
    def broken(self, model):
        weight = model.original_model.model.layers[1].self_attn.q_proj.weight
        with torch.no_grad():
            kept = weight[0, 0].clone()
            weight[0, 0] = float("nan")
        return model, lambda: weight.data.__setitem__((0, 0), kept)

    @pytest.mark.parametrize("kind", [mw.Attention, mw.LogitLens, mw.Prompt], ids=lambda kind: kind.__name__)
    def test_the_check_fails_and_names_the_layer(self, kind, broken):
        view = kind(mw.Session(broken[0], PROMPT))
        checks = manifest_of(view)["checks"]
        assert not any(check["ok"] for check in checks)
        assert any("from layer 1 on" in check["detail"] for check in checks)

    def test_an_attribution_is_refused_with_the_layer_and_heals_with_its_heads(self, broken):
        model, mend = broken
        session = mw.Session(model, PROMPT)
        view = mw.LogitAttribution(session)
        assert "from layer 1 on" in view.status["message"]
        passes = session.passes
        mend()
        session.refresh()
        assert session.passes == passes + 1
        assert view.last_error is None
        assert manifest_of(view)["n_heads"] == 4


@pytest.mark.parametrize("kind", [mw.Attention, mw.LogitLens, mw.Prompt], ids=lambda kind: kind.__name__)
def test_of_two_prompts_the_error_says_which(kind, model):
    view = kind(mw.Session(model, PROMPT), compare="w3")
    view.compare = ""
    assert view.status["message"] == "Prompt B: The prompt is empty."
    view.compare = "w3"
    view.session.prompt = ""
    assert view.status["message"] == "Prompt A: The prompt is empty."
    view.compare = None
    assert view.status["message"] == "The prompt is empty."


@every_view
def test_a_closed_view_says_so(kind, model):
    view = kind(mw.Session(model, PROMPT))
    assert "closed" not in repr(view)
    view.close()
    assert repr(view).endswith(", closed>")
