"""The attention explorer's shell: requests are answered, selections link, options hold, data comes in and goes out."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from made_patterns import softmax

import mi_widgets as mw
from mi_widgets.data import AttentionComparison, load
from mi_widgets.errors import DataError, ModelError, PromptError
from mi_widgets.wire.blocks import unpack


def ask(view, **request):
    """The answers to one request, as `(content, buffers)`."""
    sent = []
    view.send = lambda content, buffers=None: sent.append((content, buffers))
    base = {
        "kind": "request",
        "req": 7,
        "want": "heads",
        "run": run_of(view),
        "heads": [],
        "sides": ["A"],
        "show": "A",
        "encoding": "buffers",
    }
    view._receive(view, {**base, **request}, [])
    return sent


def run_of(view):
    return unpack(view.picture)[0]["run"]


def from_page(view, **state):
    """What a page's update does."""
    view.set_state(state)


class TestRequests:
    """Every request is answered, with data or with what to do."""

    def test_heads_come_as_one_parcel(self, data_view):
        [(content, buffers)] = ask(data_view, heads=[[0, 1], [1, 2]])
        assert content == {
            "kind": "answer",
            "req": 7,
            "ok": True,
            "nbytes": len(buffers[0]),
            "base64": None,
            "error": None,
        }
        _, found, _ = unpack(buffers[0])
        assert set(found) == {"head/A/0.1", "head/A/1.2"}
        assert np.array_equal(found["head/A/1.2"], softmax()[1, 2])

    def test_base64_for_hosts_that_drop_buffers(self, data_view):
        [(content, buffers)] = ask(data_view, heads=[[0, 0]], encoding="base64")
        assert buffers is None
        _, found, _ = unpack(base64.b64decode(content["base64"]))
        assert np.array_equal(found["head/A/0.0"], softmax()[0, 0])

    def test_atlas(self, data_view):
        [(content, buffers)] = ask(data_view, want="atlas")
        assert content["ok"]
        assert "atlas/A" in unpack(buffers[0])[1]

    def test_ping(self, data_view):
        [(content, buffers)] = ask(data_view, want="ping")
        assert content["ok"]
        assert content["nbytes"] == 0
        assert buffers is None

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            ({"run": 99, "heads": [[0, 0]]}, "stale"),
            ({"heads": [[0, 9]]}, "unknown"),
            ({"heads": [[9, 0]]}, "unknown"),
            ({"heads": [[0, -1]]}, "unknown"),
            ({"want": "atlas", "show": "B"}, "unknown"),
            ({"want": "atlas", "show": "nothing"}, "unknown"),
            ({"want": "moon"}, "unknown"),
            ({"want": None}, "unknown"),
            ({"heads": [["a", None]]}, "failed"),
            ({"heads": 3}, "failed"),
            ({"heads": [[1]]}, "failed"),
        ],
    )
    def test_what_cannot_be_answered_is_answered_with_an_error(self, request_, code, data_view):
        [(content, buffers)] = ask(data_view, **request_)
        assert not content["ok"]
        assert content["req"] == 7
        assert content["error"]["code"] == code
        assert content["error"]["message"]
        assert buffers is None

    def test_before_the_first_picture_the_answer_is_stale(self, model):
        view = mw.Attention(mw.Session(model, ""))
        sent = []
        view.send = lambda content, buffers=None: sent.append(content)
        view._receive(view, {"kind": "request", "req": 1, "want": "heads", "run": 0, "heads": [[0, 0]]}, [])
        assert sent[0]["error"]["code"] == "stale"

    @pytest.mark.parametrize(
        "content",
        [
            None,
            3,
            {},
            {"kind": "request"},
            {"kind": "cancel"},
            {"kind": "cancel", "req": "x"},
            {"kind": "request", "req": None},
            {"kind": "stop"},
            {"kind": "custom"},
        ],
    )
    def test_strange_messages_raise_nothing(self, content, data_view):
        data_view.send = lambda content, buffers=None: None
        data_view._receive(data_view, content, [])
        assert data_view.status["state"] == "idle"

    def test_a_cancel_behind_the_request_is_heard_first(self, in_loop):
        async def main():
            view = mw.Attention.from_data(softmax())
            sent = []
            view.send = lambda content, buffers=None: sent.append(content["req"])
            for number in (1, 2):
                view._receive(view, {"kind": "request", "req": number, "want": "ping"}, [])
            view._receive(view, {"kind": "cancel", "req": 1}, [])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert sent == [2]

        in_loop(main)


class TestSelection:
    """Both ways, linked, and the newer wins."""

    def test_the_page_selects_and_python_reads(self, view):
        from_page(
            view,
            selection={
                "layer": 1,
                "head": 2,
                "query": None,
                "key": None,
                "position": None,
                "feature": None,
                "heads": [[0, 1]],
                "stamp": 4,
            },
        )
        assert view.selection == mw.Selection(layer=1, head=2, heads=((0, 1),))
        assert view.session.selection == view.selection

    def test_linked_views_follow_with_the_same_stamp(self, view):
        other = mw.Attention(view.session)
        from_page(view, selection={"layer": 1, "head": 0, "stamp": 9})
        assert other.selection.layer == 1
        assert other.get_state("selection")["selection"]["stamp"] == 9

    @pytest.mark.parametrize("where", ["view", "session"])
    def test_a_selection_set_in_python_is_newer_than_the_pages(self, where, view):
        other = mw.Attention(view.session)
        from_page(view, selection={"layer": 1, "head": 0, "stamp": 9})
        (view if where == "view" else view.session).selection = mw.Selection(layer=0, head=3)
        stamps = {each.get_state("selection")["selection"]["stamp"] for each in (view, other)}
        assert stamps == {10}
        assert other.selection == view.session.selection == mw.Selection(layer=0, head=3)

    def test_a_late_page_does_not_undo_python(self, view):
        from_page(view, selection={"layer": 1, "head": 0, "stamp": 9})
        view.selection = mw.Selection(layer=0)
        from_page(view, selection={"layer": 1, "head": 1, "stamp": 9})
        assert view.selection == mw.Selection(layer=0)

    def test_a_view_that_joins_late_knows_the_newest_stamp(self, view):
        from_page(view, selection={"layer": 1, "head": 0, "stamp": 9})
        late = mw.Attention(view.session)
        assert late.selection.layer == 1
        assert late.get_state("selection")["selection"]["stamp"] == 9

    @pytest.mark.parametrize(
        "value", [{"layer": -1, "stamp": 5}, {"heads": [[1]], "stamp": 5}, {"stamp": "x"}, {"layer": "no", "stamp": 5}]
    )
    def test_a_broken_selection_from_the_page_is_passed_over(self, value, view):
        view.selection = mw.Selection(layer=1)
        from_page(view, selection=value)
        assert view.selection == mw.Selection(layer=1)

    def test_unlinked_views_do_not_follow(self, view, data_view):
        view.selection = mw.Selection(layer=1)
        assert data_view.selection == mw.Selection()

    def test_the_saved_state_catches_up_with_the_selection(self, view):
        view.selection = mw.Selection(layer=1, head=3, heads=((0, 2),))
        view._settle()
        assert set(unpack(view.focus)[1]) == {"head/A/1.3", "head/A/0.2"}

    @pytest.mark.parametrize(
        "beyond", [mw.Selection(layer=17, head=2), mw.Selection(head=4), mw.Selection(heads=((0, 0), (2, 0)))], ids=str
    )
    def test_a_selection_of_what_the_model_lacks_is_refused(self, beyond, view):
        view.selection = mw.Selection(layer=1, head=2)
        for holder in (view, view.session):
            with pytest.raises(DataError, match="does not exist"):
                holder.selection = beyond
            assert view.selection == view.session.selection == mw.Selection(layer=1, head=2)
        from_page(view, selection={**beyond.to_dict(), "stamp": 99})
        assert view.selection == view.session.selection == mw.Selection(layer=1, head=2)

    def test_a_selection_of_a_layer_alone_shows_its_first_head(self, view):
        view.selection = mw.Selection(layer=1)
        view._settle()
        assert set(unpack(view.focus)[1]) == {"head/A/1.0"}

    @pytest.mark.parametrize("wrong", [{}, None, (1, 2), {"layer": 1}], ids=repr)
    def test_what_is_no_selection_is_refused_with_a_word_on_what_is(self, wrong, view):
        for holder in (view, view.session):
            with pytest.raises(DataError, match=r"mw.Selection\(layer=2, head=6\)"):
                holder.selection = wrong


class TestOptions:
    """How it is shown, from both sides."""

    @pytest.mark.parametrize(
        "wrong", [{"colour": "red"}, {"scale": "cubic"}, {"weighting": "x"}, {"sort": 3}, {"filter_min": "a"}]
    )
    def test_wrong_options_raise_at_once_and_name_the_right_ones(self, wrong, view):
        with pytest.raises(DataError, match=next(iter(wrong))):
            mw.Attention.from_data(softmax(), **wrong)
        before = dict(view.options)
        with pytest.raises(DataError):
            view.options = wrong
        assert view.options == before

    def test_a_part_changes_a_part(self, view):
        view.options = {"scale": "log"}
        from_page(view, options={"palette": "amber"})
        assert (view.options["scale"], view.options["palette"], view.options["panel"]) == ("log", "amber", "both")

    def test_what_a_page_gets_wrong_is_passed_over(self, view):
        from_page(view, options={"palette": "amber", "scale": "cubic", "new": 1, "filter_min": None})
        assert view.options["palette"] == "amber"
        assert view.options["scale"] == "sqrt"

    def test_a_new_weighting_recomputes(self, view):
        run = run_of(view)
        from_page(view, options={"weighting": "output"})
        assert view.data.weighting == "output"
        assert run_of(view) > run
        view.options = {"scale": "log"}
        assert view.session.passes == 2

    def test_a_weighting_that_fails_keeps_the_last_good_picture(self, view, monkeypatch):
        picture = view.picture
        monkeypatch.setattr(
            "mi_widgets.compute.attention._key_weight", lambda *_: (_ for _ in ()).throw(ModelError("no W_O"))
        )
        view.options = {"weighting": "output"}
        assert view.status["state"] == "error"
        assert view.picture == picture
        assert view.frozen_state()["options"]["weighting"] == "pattern"  # what is drawn, not what was wished
        assert "output" not in view.recipe()

    def test_plain_data_knows_its_weighting(self):
        view = mw.Attention.from_data(softmax(), weighting="value")
        assert view.options["weighting"] == "value"
        from_page(view, options={"weighting": "scores"})
        assert view.options["weighting"] == "value"
        with pytest.raises(DataError, match="weighting"):
            mw.Attention(view.data, weighting="output")


class TestEdits:
    """Prompts from the page and from Python."""

    def test_an_edit_in_the_page_reaches_every_view(self, view):
        other = mw.Attention(view.session)
        from_page(view, prompt={"kind": "text", "text": "w9 w8"})
        assert view.session.prompt == other.prompt == "w9 w8"
        assert other.data.tokens.strings[-2:] == ("w9", "w8")
        assert [entry["text"] for entry in other.history] == ["w3 w4 w5 w3 w4", "w9 w8"]

    def test_ids_and_chat_from_the_page(self, view):
        from_page(view, prompt={"kind": "ids", "ids": [4, 5]})
        assert view.data.tokens.ids.tolist() == [4, 5]
        from_page(view, prompt={"kind": "chat", "messages": [{"role": "user", "content": "w3"}]})
        assert "chat template" in view.status["message"]

    def test_a_bad_prompt_is_a_state_and_the_picture_stays(self, view):
        picture = view.picture
        from_page(view, prompt={"kind": "text", "text": "w3 " * 80})
        assert view.status["state"] == "error"
        assert "reads 64" in view.status["message"]
        assert view.status["hint"]
        assert view.picture == picture
        with pytest.raises(PromptError):
            view.wait()
        assert "w3 w4 w5 w3 w4" in view.recipe()  # of the picture that is there
        assert view.frozen_state()["prompt"]["text"] == "w3 w4 w5 w3 w4"
        view.prompt = "w7"
        view.wait()
        assert view.status["state"] == "idle"
        assert view.last_error is None

    def test_a_view_without_any_picture_raises_its_error(self, model):
        view = mw.Attention(model, "")
        with pytest.raises(PromptError):
            _ = view.data

    def test_training_mode_is_said(self, tiny_model):
        model = tiny_model("gpt2")
        model.train()
        view = mw.Attention(model, "w3 w4")
        assert "training mode" in unpack(view.picture)[0]["notes"][0]
        assert model.training

    def test_the_users_hook_that_fits_only_the_prompt_does_not_fail_the_picture(self, model):
        def only_six(value, hook):
            assert value.shape[1] == 6

        model.add_hook("blocks.0.hook_resid_pre", only_six)
        view = mw.Attention(model, "w3 w4 w5 w3 w4")
        view.wait()
        columns = unpack(view.picture)[0]["scores"]
        assert "Measured on this prompt." in columns[0]["description"]


class TestCompare:
    """A second prompt, of any length."""

    def test_unequal_prompts(self, view):
        view.compare = "w3 w5 w3 w4"
        assert isinstance(view.comparison, AttentionComparison)
        assert view.options["show"] == "difference"
        manifest, found, _ = unpack(view.picture)
        assert len(manifest["compare"]["pairs"]) == 6
        assert "atlas/difference" in found
        assert set(unpack(view.focus)[1]) == {"head/A/0.0", "head/B/0.0"}
        for show in ("A", "B", "difference"):
            [(content, _)] = ask(view, want="atlas", show=show)
            assert content["ok"]

    def test_a_cleared_comparison_is_gone_from_the_picture(self, view):
        view.compare = "w3 w5"
        from_page(view, compare=None)
        assert view.comparison is None
        assert view.options["show"] == "A"
        assert unpack(view.picture)[0]["compare"] is None

    def test_cleared_while_computing(self, in_loop, model):
        async def main():
            view = mw.Attention(mw.Session(model, "w3 w4"))
            view.wait()
            view.compare = "w5"
            view.compare = None
            view.wait()
            assert view.comparison is None
            assert unpack(view.picture)[0]["compare"] is None

        in_loop(main)

    def test_a_bad_second_prompt_keeps_the_picture(self, view):
        picture = view.picture
        view.compare = ""
        assert view.status["state"] == "error"
        assert view.picture == picture

    def test_from_two_arrays(self):
        view = mw.Attention.from_data(
            softmax(), list("abcde"), compare=softmax(count=4, seed=1), compare_tokens=list("abde")
        )
        assert view.options["show"] == "difference"
        assert len(view.to_pandas(layers=[0], heads=[0])) == 10
        with pytest.raises(DataError, match="comparison already"):
            mw.Attention.from_data(view.comparison, compare=softmax())

    def test_both_sides_are_saved(self, view, tmp_path):
        view.compare = "w3 w5"
        again = load(view.save(tmp_path / "x.npz"))
        assert isinstance(again, AttentionComparison)
        assert np.array_equal(again.b.base, view.comparison.b.base)


class TestClosing:
    """A closed view is out of everyone's way."""

    def test_it_leaves_the_session(self, view):
        other = mw.Attention(view.session)
        picture = view.picture
        view.close()
        view.close()
        view.session.prompt = "w9"
        assert view.picture == picture
        assert other.data.tokens.strings[-1] == "w9"

    def test_closing_while_computing_does_not_disturb_the_others(self, in_loop, model):
        async def main():
            session = mw.Session(model, "w3 w4")
            first, second = mw.Attention(session), mw.Attention(session)
            first.close()
            session.wait()
            assert first.picture == b""
            assert second.data.tokens.strings[-1] == "w4"

        in_loop(main)


def test_heights_are_bounded(data_view):
    with pytest.raises(Exception, match="height"):
        data_view.height = 10


def in_a_fresh_python(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_is_quick_and_light():
    out = in_a_fresh_python("""
        import sys, time
        start = time.process_time()
        import mi_widgets
        seconds = time.process_time() - start
        heavy = {"torch", "anywidget", "transformer_lens", "pandas", "numpy", "plotly"} & set(sys.modules)
        print(seconds, sorted(heavy), len(dir(mi_widgets)))
    """)
    print(out)
    seconds, heavy = out.split(maxsplit=1)
    assert heavy.startswith("[]")
    assert float(seconds) <= 1


def test_plain_data_never_imports_torch():
    out = in_a_fresh_python("""
        import sys
        import numpy as np
        import mi_widgets as mw
        view = mw.Attention.from_data(np.tril(np.ones((2, 2, 4, 4))), list("abcd"))
        view.to_pandas(), view.recipe(), view.frozen_state(), view._repr_mimebundle_()
        mw.Attention.from_data(view.data)
        print("torch" in sys.modules, "transformers" in sys.modules)
    """)
    assert out.split() == ["False", "False"]


def test_heads_can_be_sorted_by_how_much_they_differ(model):
    view = mw.Attention(mw.Session(model, "w3 w4 w5 w3"), compare="w3 w6 w5 w3")
    table = view.head_scores.set_index(["layer", "head"])
    for layer in view.data.layers:
        for head in range(view.data.n_heads):
            expected = np.abs(view.data.head(layer, head) - view.comparison.b.head(layer, head)).max()
            assert table.loc[(layer, head), "difference"] == pytest.approx(expected, abs=1e-6)
    assert {"induction", "previous_token"} <= set(table.columns)


class TestStillPicture:
    """What viewers without JavaScript see, and that it never keeps a cell waiting for long."""

    def test_is_a_png_beside_the_live_view(self, view):
        data, _ = view._repr_mimebundle_()
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        assert "application/vnd.jupyter.widget-view+json" in data

    def test_is_not_waited_for_where_the_first_pass_is_slow(self, in_loop, model, monkeypatch):
        async def main():
            session = mw.Session(model, "w3 w4")
            monkeypatch.setattr(type(session), "expected_seconds", lambda self: 10.0)
            view = mw.Attention(session)
            data, _ = view._repr_mimebundle_()
            assert "image/png" not in data
            assert view.status["state"] == "computing"
            session.wait()
            assert "image/png" in view._repr_mimebundle_()[0]

        in_loop(main)


def test_144_heads_and_1024_tokens_open():
    count = 1024
    row = np.tril(np.ones((count, count), np.float32)) / np.arange(1, count + 1, dtype=np.float32)[:, None]
    patterns = np.ascontiguousarray(np.broadcast_to(row, (12, 12, count, count)))
    view = mw.Attention.from_data(patterns)
    assert np.shares_memory(view.data.base, patterns)  # no second copy
    assert len(view.picture) + len(view.focus) <= 2_000_000
    assert unpack(view.picture)[1]["atlas/A"].shape == (12, 12, 64, 64)
