"""The prompt view's shell: it follows its session, writes on by candidates and by sampling, and leaves as data."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from model_state import state_of
from on_screen import PROMPT, manifest_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.data import Continuation, NextTokens, NextTokensComparison, load
from mi_widgets.described.prompt import PROMPT as DESCRIBED
from mi_widgets.errors import AnswerError, DataError, ModelError, PromptError
from mi_widgets.wire.blocks import unpack
from mi_widgets.wire.view_messages import PromptState
from mi_widgets.workers import under_way


@pytest.fixture
def view(session):
    return mw.Prompt(session)


def order(view, **content):
    """What a click in the page sends."""
    view._receive(view, {"kind": "order", **content}, [])


class TestPicture:
    """What is on screen is what compute says."""

    def test_the_data_is_computes(self, model, view):
        expected = compute.next_tokens(model, PROMPT)
        assert np.allclose(view.data.log_prob, expected.log_prob, atol=1e-6, equal_nan=True)
        assert np.array_equal(view.data.top_ids, expected.top_ids)
        assert np.array_equal(unpack(view.picture)[1]["A/surprisal"], view.data.surprisal, equal_nan=True)

    def test_the_prompt_is_shown_as_run(self, view):
        manifest = manifest_of(view)
        assert manifest["sides"][0]["tokens"]["ids"] == [0, 3, 4, 5, 3, 4]
        assert manifest["prepended"] is True
        assert manifest["checks"][0]["ok"]

    def test_candidates_are_as_many_as_asked_for(self, session):
        view = mw.Prompt(session, top_k=3)
        assert view.data.top_k == manifest_of(view)["top_k"] == 3
        with pytest.raises(DataError, match="top_k"):
            mw.Prompt(session, top_k=51)

    def test_from_a_model_and_a_prompt(self, model):
        assert mw.Prompt(model, "w3", prepend_bos=False).data.tokens.ids.tolist() == [3]

    def test_the_state_is_what_the_contract_says(self, view):
        assert set(PromptState.__annotations__) <= set(view.keys)
        assert set(view.options) == set(DESCRIBED.defaults)
        assert set(view.frozen_state()) == set(PromptState.__annotations__)

    def test_one_edit_is_one_pass_with_every_other_view(self, session, view):
        mw.Attention(session)
        mw.LogitLens(session)
        mw.LogitAttribution(session)
        before = session.passes
        session.prompt = "w7 w8 w9 w7"
        session.wait()
        assert session.passes == before + 1
        assert view.data.tokens.ids.tolist()[1:] == [7, 8, 9, 7]

    def test_a_second_prompt_costs_one_pass_also_beside_views_of_all_layers(self, session, view):
        mw.Attention(session)
        session.prompt = "w7 w8 w9"
        before = session.passes
        view.compare = "w7 w8 w10"
        assert view.comparison is not None
        assert session.passes == before + 1

    def test_a_prompt_that_cannot_be_run_is_a_state(self, view):
        picture = view.picture
        view.session.prompt = "w3 " * 80
        assert view.status["state"] == "error"
        assert view.picture == picture
        with pytest.raises(PromptError):
            view.wait()
        with pytest.warns(UserWarning, match="not current"):
            assert len(view.data.tokens) == 6

    def test_the_page_edits_the_prompt(self, view):
        view.set_state({"prompt": {"kind": "text", "text": "w9 w8"}})
        assert view.session.prompt == "w9 w8"
        assert view.data.tokens.strings[-1] == "w8"

    def test_options_from_the_page_that_mean_nothing_are_passed_over(self, view):
        view.set_state({"options": {"temperature": -1, "top_p": 0, "color": "rank", "seed": 1.5, "length": 4, "x": 1}})
        assert (view.options["color"], view.options["length"]) == ("rank", 4)
        assert (view.options["temperature"], view.options["top_p"], view.options["seed"]) == (1.0, 1.0, 0)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"temperature": -1},
            {"temperature": "hot"},
            {"top_p": 0},
            {"top_p": 1.1},
            {"seed": -1},
            {"length": 0},
            {"color": "red"},
            {"show": "C"},
            {"moon": 1},
        ],
    )
    def test_wrong_options_raise_in_python(self, wrong, session):
        with pytest.raises(DataError, match=next(iter(wrong))):
            mw.Prompt(session, **wrong)


class TestCompare:
    """Two prompts, aligned."""

    def test_both_and_the_difference(self, model, session):
        view = mw.Prompt(session, compare="w3 w6 w5")
        assert isinstance(view.comparison, NextTokensComparison)
        assert view.options["show"] == "difference"
        want = [compute.next_tokens(model, text).total_surprisal() for text in (PROMPT, "w3 w6 w5")]
        assert [side["total"] for side in manifest_of(view)["sides"]] == pytest.approx(want, abs=1e-4)
        assert "difference" in view.to_pandas().columns

    def test_a_cleared_second_prompt_is_gone(self, view):
        view.compare = "w3"
        view.compare = None
        assert view.comparison is None
        assert view.options["show"] == "A"
        assert len(manifest_of(view)["sides"]) == 1

    def test_a_bad_second_prompt_keeps_the_picture(self, view):
        picture = view.picture
        view.compare = ""
        assert view.status["state"] == "error"
        assert view.picture == picture


class TestAppend:
    """A click on a candidate makes the prompt longer, for every view."""

    def test_the_page_appends_exactly_these_ids(self, session, view):
        other = mw.Attention(session)
        chosen = int(view.data.top_ids[-1, 0])
        order(view, order="append", ids=[chosen])
        assert view.data.tokens.ids.tolist() == [0, 3, 4, 5, 3, 4, chosen]
        assert other.data.tokens == view.data.tokens
        assert isinstance(session.prompt, str)
        assert view.written == 1

    def test_python_appends_ids_and_texts(self, view):
        view.append(9, "w7")
        assert view.session.prompt == f"{PROMPT} w9 w7"
        assert view.written == 2

    def test_an_edit_ends_what_the_model_wrote_and_going_back_restores_it(self, view):
        view.append(9)
        longer = view.session.prompt
        view.session.prompt = "w3"
        assert view.written == 0
        view.session.prompt = longer
        assert view.written == 1

    def test_what_no_text_gives_runs_as_ids(self, stories):
        session = mw.Session(stories, "Once")
        view = mw.Prompt(session)
        split = compute.next_tokens(stories, "漢").tokens.ids[-2:].tolist()
        view.append(*split)
        assert session.prompt == [*compute.next_tokens(stories, "Once").tokens.ids.tolist(), *split]
        assert view.data.tokens.strings[-1].startswith("⟨")

    @pytest.mark.parametrize("ids", [[-1], [128], ["3"], [True], [3.5], 7])
    def test_what_is_no_token_is_an_error_state_and_changes_nothing(self, ids, view):
        picture = view.picture
        order(view, order="append", ids=ids)
        assert view.status["state"] == "error"
        assert view.session.prompt == PROMPT
        assert view.picture == picture

    def test_a_text_of_several_tokens_is_refused(self, view):
        with pytest.raises(AnswerError):
            view.append("w3 w4")

    def test_no_room_is_said(self, model):
        view = mw.Prompt(model, list(range(3, 67)))
        order(view, order="append", ids=[5])
        assert "no more fit" in view.status["message"]

    def test_an_unknown_order_is_an_error_state(self, view):
        order(view, order="dance")
        assert "dance" in view.status["message"]


class TestSample:
    """The model writes on in the session's queue."""

    def test_the_text_is_computes_with_the_options(self, model, view):
        view.options = {"temperature": 1.5, "top_p": 0.9, "seed": 5, "length": 6}
        want = compute.sample(model, PROMPT, 6, 1.5, 0.9, 5)
        order(view, order="sample", tokens=6)
        assert view.data.tokens.ids.tolist() == [*want.prompt.ids.tolist(), *want.ids.tolist()]
        assert view.written == len(want)
        assert view.status["state"] == "idle"
        assert view.status["run"] == manifest_of(view)["run"]

    def test_python_gets_the_continuation(self, view):
        found = view.sample(4)
        assert isinstance(found, Continuation)
        assert view.data.tokens.ids[-len(found) :].tolist() == found.ids.tolist()
        more = view.sample()
        assert view.written == len(found) + len(more)

    def test_it_writes_in_the_sessions_changed_run(self, model):
        changes = [mw.Ablate(layer=0, head=1), mw.Ablate(layer=1, site="mlp_out")]
        want = compute.sample(model, PROMPT, 6, temperature=0, interventions=changes)
        view = mw.Prompt(mw.Session(model, PROMPT, interventions=changes))
        view.options = {"temperature": 0}
        found = view.sample(6)
        assert found.ids.tolist() == want.ids.tolist()
        assert found.interventions == tuple(changes)
        assert found.ids.tolist() != compute.sample(model, PROMPT, 6, temperature=0).ids.tolist()

    def test_a_long_pass_pauses_and_the_text_is_the_same(self, model, in_loop, monkeypatch):
        want = compute.sample(model, PROMPT, 4)
        passes = []
        from mi_widgets.compute import sampling

        plain = sampling.forward_steps

        def told(*given, pausing, **named):
            passes.append(pausing)
            return plain(*given, pausing=pausing, **named)

        monkeypatch.setattr(sampling, "forward_steps", told)
        monkeypatch.setattr("mi_widgets.session.estimate.LARGE_SECONDS", 0.0)

        async def main():
            view = mw.Prompt(mw.Session(model, PROMPT))
            view.wait()
            order(view, order="sample", tokens=4)
            while view.status["state"] == "computing":
                await asyncio.sleep(0.001)
            return view.data.tokens.ids.tolist()

        assert in_loop(main) == [*want.prompt.ids.tolist(), *want.ids.tolist()]
        assert passes[0] is True
        assert not any(passes[1:])

    def test_given_up_and_stopped_in_a_pause_of_its_pass_no_thread_waits_for_it(self, model, in_loop, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.estimate.LARGE_SECONDS", 0.0)
        monkeypatch.setattr("mi_widgets.session.runner.SLICE_SECONDS", -1.0)

        def of_passes():
            return [work for work in under_way() if work.name == "a pass of mi_widgets"]

        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Prompt(session)
            view.wait()
            order(view, order="sample", tokens=4)
            while not of_passes():
                await asyncio.sleep(0)
            view.close()
            session.stop()
            while of_passes():  # one that had come to its product with the unembedding ends by itself
                await asyncio.sleep(0.001)
            return view.status["state"]

        assert in_loop(main) != "error"

    def test_interventions_that_change_meanwhile_end_what_is_written(self, model, in_loop):
        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Prompt(session)
            view.wait()
            order(view, order="sample", tokens=4)
            session.interventions = [mw.Ablate(layer=0, head=0)]
            session.wait()
            while session.runner.busy:
                await asyncio.sleep(0.001)
            assert view.data.interventions == session.interventions
            return session.prompt

        assert in_loop(main) == PROMPT

    def test_what_is_written_rests_on_the_sessions_own_passes(self, model):
        changed = [mw.Ablate(layer=0, head=0, by="mean", reference=["w9 w8 w7"])]
        want = compute.sample(model, PROMPT, 3, interventions=changed)
        session = mw.Session(model, PROMPT)
        session.interventions = changed
        view = mw.Prompt(session)
        view.wait()
        made = session.passes
        assert view.sample(3).ids.tolist() == want.ids.tolist()
        assert view.wait() is None
        assert session.passes == made + 1  # of the longer prompt alone: its reference was read before

    def test_the_model_is_left_as_it_was(self, model, view):
        before = state_of(model)
        view.sample(3)
        assert state_of(model) == before

    def test_too_many_tokens_are_refused_before_a_pass(self, view):
        with pytest.raises(PromptError, match="58 more tokens fit"):
            view.sample(59)
        order(view, order="sample", tokens=59)
        assert "58" in view.status["message"]
        assert view.session.prompt == PROMPT

    def test_a_failure_in_the_middle_is_an_error_state(self, view, monkeypatch):
        picture = view.picture
        monkeypatch.setattr(
            "mi_widgets.compute.sampling.forward_steps",
            lambda *_given, **_named: (_ for _ in ()).throw(ModelError("overflow")),
        )
        order(view, order="sample", tokens=3)
        assert (view.status["state"], view.status["message"]) == ("error", "overflow")
        assert view.picture == picture
        with pytest.raises(ModelError):
            view.sample(2)

    def test_stop_keeps_what_is_written(self, in_loop, model):
        async def main():
            view = mw.Prompt(mw.Session(model, PROMPT))
            view.wait()
            order(view, order="sample", tokens=50)
            assert view.status["state"] == "computing"
            while view.status["done"] < 3:
                await asyncio.sleep(0.001)
            order_stop = {"kind": "stop"}
            view._receive(view, order_stop, [])
            view.wait()
            assert 3 <= view.written < 50
            assert len(view.data.tokens) == 6 + view.written
            assert view.status["state"] == "idle"

        in_loop(main)

    def test_an_edit_ends_the_writing(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view = mw.Prompt(session)
            view.wait()
            order(view, order="sample", tokens=50)
            while view.status["done"] < 2:
                await asyncio.sleep(0.001)
            session.prompt = "w9"
            session.wait()
            assert session.prompt == "w9"
            assert view.written == 0
            assert view.data.tokens.ids.tolist() == [0, 9]

        in_loop(main)

    def test_another_views_picture_does_not_wait_for_the_last_token(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view, other = mw.Prompt(session), mw.Attention(session)
            session.wait()
            order(view, order="sample", tokens=50)
            while view.status["done"] < 2:
                await asyncio.sleep(0.001)
            other.options = {"weighting": "value"}
            while other.status["state"] == "computing":
                await asyncio.sleep(0.001)
            assert other._data.weighting == "value"
            assert view.status["done"] < 50
            session.wait()
            assert view.written == 50 or view.data.tokens.ids[-1] == 1

        in_loop(main)

    def test_a_closed_view_writes_no_more(self, in_loop, model):
        async def main():
            session = mw.Session(model, PROMPT)
            view, other = mw.Prompt(session), mw.Prompt(session)
            session.wait()
            order(view, order="sample", tokens=50)
            view.close()
            session.wait()
            assert session.prompt == PROMPT
            assert other.data.tokens.ids.tolist() == [0, 3, 4, 5, 3, 4]

        in_loop(main)


class TestFromData:
    """Results and logits that are there already."""

    def test_a_result_and_a_comparison(self, model):
        a, b = (compute.next_tokens(model, text) for text in (PROMPT, "w3 w6"))
        assert mw.Prompt.from_data(a).data is a
        both = mw.Prompt.from_data(a, compare=b)
        assert both.options["show"] == "difference"
        assert both.comparison.b is b
        assert mw.Prompt.from_data(both.comparison).comparison is both.comparison
        assert manifest_of(both)["live"] is False

    def test_logits_with_their_ids(self):
        logits = np.random.default_rng(0).normal(size=(4, 9))
        view = mw.Prompt.from_data(logits, [1, 2, 3, 4], compare=logits[:3], compare_tokens=[1, 2, 4], top_k=2)
        assert view.data.top_k == 2
        assert len(view.comparison.b.tokens) == 3

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (lambda: mw.Prompt.from_data(np.zeros((3, 4))), "tokens"),
            (lambda: mw.Prompt.from_data(np.zeros((3, 4)), [0, 1]), "position axis"),
            (lambda: mw.Prompt.from_data(np.zeros((3, 4)), [0, 1, 9]), "vocabulary"),
            (lambda: mw.Prompt(None), "session"),
            (lambda: mw.Prompt("gpt2"), "session"),
        ],
    )
    def test_what_cannot_be_shown_is_refused(self, call, says):
        with pytest.raises((DataError, ModelError), match=says):
            call()

    def test_it_cannot_write(self):
        view = mw.Prompt.from_data(np.zeros((2, 4)), [0, 1])
        with pytest.raises(DataError, match="no model"):
            view.sample(2)
        order(view, order="append", ids=[1])
        assert view.status["state"] == "error"

    def test_torch_is_never_imported(self):
        code = """
            import sys
            import numpy as np
            import mi_widgets as mw
            view = mw.Prompt.from_data(np.random.default_rng(0).normal(size=(4, 9)), [1, 2, 3, 4])
            view.to_pandas(), view.recipe(), view.frozen_state(), view._repr_mimebundle_()
            print("torch" in sys.modules, "transformers" in sys.modules)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.split() == ["False", "False"], done.stderr


class TestLeaving:
    """Tables, files, figures, pages and code."""

    def test_tables_and_arrays_read_back(self, view, tmp_path):
        table = view.to_pandas()
        assert np.allclose(pd.read_csv(view.save(tmp_path / "x.csv"))["surprisal"], table["surprisal"], equal_nan=True)
        assert pd.read_parquet(view.save(tmp_path / "x.parquet"))["token"].tolist() == list(view.data.tokens.strings)
        again = load(view.save(tmp_path / "x.npz"))
        assert isinstance(again, NextTokens)
        assert np.array_equal(again.log_prob, view.data.log_prob, equal_nan=True)
        assert len(view.to_pandas(candidates=True)) == 60

    def test_a_comparison_is_saved_whole(self, view, tmp_path):
        view.compare = "w3 w5"
        again = load(view.save(tmp_path / "x.npz"))
        assert np.array_equal(again.difference, view.comparison.difference, equal_nan=True)

    @pytest.mark.parametrize(
        ("options", "unit"),
        [
            ({"color": "surprisal"}, "surprisal, bits"),
            ({"color": "probability"}, "probability"),
            ({"color": "entropy"}, "entropy of the next token, bits"),
            ({"color": "none"}, "surprisal, bits"),
        ],
    )
    def test_the_figure_is_of_what_is_on_screen(self, options, unit, view):
        view.options = options
        assert unit in [note.text for note in view.figure().layout.annotations]

    def test_the_figure_of_candidates_is_of_the_selected_token(self, view):
        view.selection = mw.Selection(position=2)
        (trace,) = view.figure(kind="candidates").data
        assert list(trace.x) == pytest.approx(view.data.top_probs[2].tolist())
        view.selection = mw.Selection(position=77)  # of a longer prompt: the last is shown
        (trace,) = view.figure(kind="candidates").data
        assert list(trace.x) == pytest.approx(view.data.top_probs[-1].tolist())

    def test_the_figure_of_two_prompts_is_their_difference_until_one_is_chosen(self, view):
        view.compare = "w3 w6 w5"
        assert "surprisal A − B, bits" in [note.text for note in view.figure().layout.annotations]
        view.options = {"show": "B"}
        assert len(view.figure().data[0].x) == 4

    @pytest.mark.parametrize("compare", [None, "w3 w5"])
    @pytest.mark.parametrize("show", [None, "A"])
    def test_a_recipe_makes_the_same_picture_again(self, compare, show, model):
        shown = {} if show is None else {"show": show}
        view = mw.Prompt(mw.Session(model, PROMPT), compare=compare, top_k=4, color="rank", seed=3, **shown)
        view.selection = mw.Selection(position=2)
        view.append(9)
        names = {}
        exec(view.recipe().rsplit("view.save", 1)[0], names)
        again = names["view"]
        assert again.to_pandas().equals(view.to_pandas())
        assert again.options == view.options
        assert again.selection == view.selection
        assert again.data.top_k == 4

    def test_a_recipe_of_data_reads_the_saved_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        view = mw.Prompt.from_data(np.random.default_rng(0).normal(size=(3, 9)), [1, 2, 3], color="entropy")
        view.save("prompt.npz")
        names = {}
        exec(view.recipe().rsplit("view.save", 1)[0], names)
        assert names["view"].options == view.options
        assert names["view"].to_pandas().equals(view.to_pandas())

    def test_the_frozen_state_draws_alone(self, view):
        view.append(9)
        state = view.frozen_state()
        manifest, blocks, _ = unpack(state["picture"])
        assert manifest["live"] is False
        assert state["status"]["state"] == "frozen"
        assert state["written"] == 1
        assert set(blocks) == {f"A/{name}" for name in ("surprisal", "rank", "entropy", "top_ids", "top_probs")}
        json.dumps({name: value for name, value in state.items() if not isinstance(value, bytes)}, allow_nan=False)
        with pytest.raises(DataError, match="heads"):
            view.to_html(heads="all")

    def test_one_offline_page(self, view, tmp_path, capsys):
        html = view.to_html(tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == html
        assert "page.html" in capsys.readouterr().out

    def test_viewers_without_javascript_see_a_picture(self, view):
        data, _ = view._repr_mimebundle_()
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        view.compare = "w3 w5"
        view.selection = mw.Selection(position=5)  # no counterpart in B
        assert view._still("svg").startswith("<svg")

    def test_repr_is_stable(self, view):
        assert repr(view) == repr(view)
        assert "0x" not in repr(view)


def test_the_same_refusal_twice_is_said_twice(model):
    view = mw.Prompt(mw.Session(model, "w3 w4"))
    said = []
    view.observe(lambda change: said.append(change["new"]["state"]), "status")
    for _ in range(2):
        view._receive(view, {"kind": "order", "order": "sample", "tokens": 10_000}, [])
    assert said.count("error") == 2
    assert view.last_error is None  # the picture is as current as before
