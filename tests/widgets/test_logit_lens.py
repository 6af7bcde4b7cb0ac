"""The shell of the logit lens: it follows its session, pins and compares without running the model again, and its
picture is its data."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import numpy as np
import pytest
from on_screen import PROMPT, manifest_of, refused_both_ways

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute import lens_order, lens_reading
from mi_widgets.compute.tuned_lens import TunedLens
from mi_widgets.errors import DataError, ModelError
from mi_widgets.widgets import partial
from mi_widgets.wire import lens_picture
from mi_widgets.wire.blocks import unpack


@pytest.fixture
def view(session):
    return mw.LogitLens(session)


def ask(view, **request):
    """The answer to one request."""
    sent = []
    view.send = lambda content, buffers=None: sent.append((content, buffers))
    base = {"kind": "request", "req": 7, "run": manifest_of(view)["run"], "heads": [], "sides": ["A"], "show": "A"}
    view._receive(view, {**base, "want": "rows", "encoding": "buffers", **request}, [])
    [(content, buffers)] = sent
    return content, buffers


def test_the_data_is_what_compute_says(model, view):
    expected = compute.logit_lens(model, PROMPT)
    assert np.array_equal(view.data.top_ids, expected.top_ids)
    np.testing.assert_allclose(view.data.top_probs, expected.top_probs, atol=1e-6)


def test_the_picture_holds_the_data(view):
    manifest, blocks, headers = unpack(view.picture)
    data = view.data
    assert manifest["whole"]
    assert np.array_equal(blocks["A/top_ids"], data.top_ids)
    assert np.array_equal(blocks["A/final_rank"], data.final_rank)
    for name in ("top_probs", "entropy", "kl", "change", "next_prob"):
        np.testing.assert_allclose(blocks[f"A/{name}"], getattr(data, name), atol=2e-3, rtol=1e-3)
    assert headers["A/top_ids"]["axes"] == ["row", "position", "k"]
    named = {entry["id"]: entry["string"] for entry in manifest["names"]}
    assert all(named[token] == f"w{token}" for token in np.unique(data.top_ids).tolist() if token > 2)
    assert [check["ok"] for check in manifest["checks"]] == [True]


def test_a_large_picture_leaves_all_but_the_top_token_to_requests(monkeypatch, model):
    monkeypatch.setattr(lens_picture, "WHOLE", 10)
    view = mw.LogitLens(mw.Session(model, PROMPT))
    manifest, blocks, _ = unpack(view.picture)
    assert not manifest["whole"]
    assert blocks["A/top_ids"].shape[-1] == 1
    content, buffers = ask(view, rows=[0, 1])
    assert content["ok"]
    rows, found, _ = unpack(buffers[0])
    assert np.array_equal(found["A/top_ids/1"], view.data.top_ids[1])
    assert {entry["id"] for entry in rows["names"]} == set(np.unique(view.data.top_ids[:2]).tolist())
    state = view.frozen_state()
    assert unpack(state["picture"])[1]["A/top_ids"].shape == view.data.top_ids.shape  # a page has no kernel to ask


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"rows": [9]}, "unknown"),
        ({"rows": [0], "sides": ["B"]}, "unknown"),
        ({"run": 99, "rows": [0]}, "stale"),
        ({"want": "heads"}, "unknown"),
        ({"rows": ["a"]}, "failed"),
    ],
)
def test_what_cannot_be_answered_is_answered_with_an_error(request_, code, view):
    content, _ = ask(view, **request_)
    assert not content["ok"]
    assert content["error"]["code"] == code


def test_an_edit_recomputes_with_one_pass(session, view):
    before = session.passes
    session.prompt = "w7 w8 w9"
    assert len(view.data.tokens) == 4
    assert session.passes == before + 1


def test_pinning_reads_only_the_pinned_token_and_runs_no_pass(model, session, view):
    before, data = session.passes, view.data
    view.options = {"targets": ["w9", 7]}
    assert session.passes == before
    assert view.data.top_ids is data.top_ids  # taken over, not read again
    expected = compute.logit_lens(model, PROMPT, targets=["w9", 7])
    assert np.array_equal(view.data.target_ids, expected.target_ids)
    assert np.array_equal(view.data.target_ranks, expected.target_ranks)
    np.testing.assert_allclose(view.data.target_probs, expected.target_probs, rtol=1e-4)
    assert [entry["string"] for entry in manifest_of(view)["targets"]] == ["w9", "w7"]
    view.options = {"targets": []}
    assert view.data.target_ids.size == 0


def test_a_pinned_word_that_is_no_single_token_is_left_out_and_its_pieces_are_shown(view):
    view.options = {"targets": ["w9", " w5 w6"]}
    assert view.status["state"] == "idle"
    assert view.data.target_ids.tolist() == [9]
    assert view.refused["pieces"] == ["w5", "w6"]
    view.options = {"targets": ["w9"]}
    assert view.refused is None


@pytest.mark.parametrize("stream", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
def test_every_stream_ends_with_the_model_itself(stream, view):
    view.options = {"stream": stream}
    assert view.data.streams == (stream,) * (len(view.data.streams) - 1) + ("resid_post",)
    assert manifest_of(view)["checks"][0]["ok"]


def test_a_stream_that_the_architecture_lacks_is_refused_in_the_view(tiny_model):
    view = mw.LogitLens(tiny_model("neox"), PROMPT)
    before = view.picture
    view.options = {"stream": "resid_mid"}
    assert view.status["state"] == "error"
    assert "side by side" in view.status["message"]
    assert view.picture == before
    assert "resid_mid" not in manifest_of(view)["available_streams"]


def test_rows_and_positions_can_be_chosen(view):
    view.options = {"stride": 2, "first": -2}
    assert view.data.layers == (1,)
    assert view.data.positions == (4, 5)


def test_two_prompts_are_compared_on_aligned_positions(model, session):
    view = mw.LogitLens(session, compare="w3 w4 w6 w3 w4")
    assert view.options["show"] == "difference"
    expected = compute.logit_lens_comparison(model, PROMPT, "w3 w4 w6 w3 w4")
    np.testing.assert_allclose(view.comparison.kl, expected.kl, atol=1e-6)
    manifest, blocks, _ = unpack(view.picture)
    assert manifest["compare"]["what"] == "prompt"
    np.testing.assert_allclose(blocks["difference/kl"], expected.kl, atol=2e-3, rtol=1e-3)
    assert np.array_equal(blocks["B/top_ids"], expected.b.top_ids)
    view.compare = None
    assert view.comparison is None
    assert view.options["show"] == "A"


def test_two_lenses_are_compared_on_one_prompt(model, session):
    tuned = TunedLens.untrained(model)
    tuned.b[0][:] = 0.5
    view = mw.LogitLens(session, tuned=tuned)
    assert manifest_of(view)["lenses"] == ["logit", "tuned"]
    view.options = {"versus": "tuned"}
    assert view.options["show"] == "difference"
    assert manifest_of(view)["compare"] | {"tokens": None} == {
        "what": "lens",
        "lens": "tuned",
        "tokens": None,
        "positions": list(range(6)),
        "pairs": [[place, place] for place in range(6)],
    }
    assert view.comparison.kl[0].max() > 1e-4
    assert view.comparison.kl[-1].max() == pytest.approx(0, abs=1e-6)
    assert "\n# tuned: the lens you fitted\n" in view.recipe()
    assert "mw.LogitLens(session, tuned=tuned, versus='tuned'" in view.recipe()
    view.options = {"versus": None}
    assert (view.comparison, view.options["show"]) == (None, "A")


def test_a_lens_that_is_not_given_is_refused(model, session):
    view = mw.LogitLens(session)
    with pytest.raises(DataError, match="no such lens"):
        view.options = {"lens": "jacobian"}
    with pytest.raises(DataError, match="no such lens"):
        mw.LogitLens(session, lens="tuned")
    view.set_state({"options": {**view.options, "lens": "tuned"}})
    assert view.options["lens"] == "logit"


def test_a_lens_of_another_model_is_refused(model, tiny_model, session):
    with pytest.raises(ModelError):
        mw.LogitLens(session, tuned=TunedLens.untrained(tiny_model("gpt2")))


@pytest.mark.parametrize(
    "options",
    [{"stream": "moon"}, {"targets": "w3"}, {"targets": list(range(9))}, {"stride": 0}, {"first": 1.5}, {"target": 8}],
)
def test_wrong_options_raise_in_python_and_are_passed_over_from_the_page(options, view):
    refused_both_ways(view, options)


@pytest.mark.parametrize("compared", [False, True])
def test_from_data_needs_no_torch(compared, tmp_path, session):
    view = mw.LogitLens(session, compare="w3 w3 w3" if compared else None)
    path = view.save(tmp_path / "lens.npz")
    script = (
        "import sys, mi_widgets as mw\n"
        f"view = mw.LogitLens.from_data(mw.data.load({str(path)!r}))\n"
        "print(view.data.top_ids.shape, 'torch' in sys.modules, view.comparison is not None, len(view.picture))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.startswith(f"{view.data.top_ids.shape} False {compared} ")


def test_the_recipe_makes_the_same_numbers(demo_model, tmp_path, monkeypatch):
    session = mw.Session(demo_model, "When Mary and John went to the store , John gave a drink to")
    view = mw.LogitLens(session, targets=[" Mary"], stride=2, color="entropy")
    names: dict = {}
    monkeypatch.chdir(tmp_path)  # where the recipe writes its figure
    exec(view.recipe(), names)
    assert len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(names["view"].data.top_ids, view.data.top_ids)
    assert np.array_equal(names["view"].data.target_ranks, view.data.target_ranks)
    assert names["view"].options == view.options


def test_the_demo_model_brings_its_tuned_lens(demo_model):
    view = mw.LogitLens(demo_model, "When Mary and John went to the store , John gave a drink to", lens="tuned")
    assert view.data.lens == "tuned"
    plain = compute.logit_lens(demo_model, "When Mary and John went to the store , John gave a drink to")
    assert view.data.kl[:-1].mean() < plain.kl[:-1].mean()


def test_an_offline_page_holds_the_picture(view):
    state = view.frozen_state()
    assert not unpack(state["picture"])[0]["live"]
    json.dumps({name: value for name, value in state.items() if not isinstance(value, bytes)})
    assert "logit_lens" in view.to_html()


def test_nothing_is_left_on_the_model(model):
    before = sum(len(point.fwd_hooks) for point in model.hook_dict.values())
    view = mw.LogitLens(mw.Session(model, PROMPT), stream="attn_out", targets=["w3"])
    view.wait()
    view.close()
    assert sum(len(point.fwd_hooks) for point in model.hook_dict.values()) == before
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ["gpt2", "neox", "llama", "mistral", "gemma2", "gemma3", "qwen3"])
def test_every_architecture_ends_with_its_own_output(architecture, tiny_model):
    view = mw.LogitLens(tiny_model(architecture), "w3 w4 w5 w3")
    assert view.status["state"] == "idle", view.status
    assert view.data.max_error <= 1e-4


def test_a_long_reading_tells_how_far_it_is(monkeypatch, session):
    from mi_widgets.widgets import live

    monkeypatch.setattr(live, "TELL_SECONDS", -1.0)
    told = []
    view = mw.LogitLens(session)
    view.observe(lambda change: told.append(change["new"]), "status")
    session.prompt = "w7 w8 w9"
    steps = [(status["done"], status["total"]) for status in told if status["estimate"] == "reading the layers"]
    assert steps[-1][1] == steps[-1][0] == 2  # two layers
    assert told[-1]["state"] == "idle"


# --- partial pictures ---------------------------------------------------------------------------------


def followed(view):
    """Every picture that the view puts, with its status and what `view.data` is of meanwhile."""
    seen = []
    view.observe(lambda _: seen.append((manifest_of(view), view.status["state"], view._data)), "picture")
    return seen


@pytest.mark.usefixtures("long_reading")
def test_what_is_read_so_far_is_shown_the_last_positions_first(model, session):
    view = mw.LogitLens(session)
    seen, before = followed(view), view.data
    session.prompt = "w7 w8 w9 w3 w4"
    assert [manifest["read"] and manifest["read"]["A"] for manifest, _, _ in seen] == [[5], [4, 5], [2, 3, 4, 5], None]
    assert len({manifest["run"] for manifest, _, _ in seen}) == 1
    assert all(data is before for _, _, data in seen[:-1])  # `data` is never a part
    assert view.status["state"] == "idle"
    np.testing.assert_allclose(view.data.kl, compute.logit_lens(model, "w7 w8 w9 w3 w4").kl, atol=1e-5)


@pytest.mark.usefixtures("long_reading")
def test_a_partial_picture_holds_only_what_is_read(session):
    view = mw.LogitLens(session, compare="w3 w4 w6 w3 w4")
    parcels = []
    view.observe(lambda change: parcels.append(change["new"]), "picture")
    session.prompt = "w7 w8 w9 w3 w4"
    manifest, blocks, _ = unpack(parcels[0])
    assert manifest["read"] == {"A": [5], "B": [5]}
    assert {block.shape[1] for block in blocks.values()} == {1}
    whole = unpack(view.picture)[1]
    assert not manifest["whole"]  # it is soon replaced: the likeliest token of each cell is enough
    for name, values in blocks.items():
        fuller = whole[name][:, 5, :1] if "/top_" in name else whole[name][:, 5]
        np.testing.assert_allclose(values[:, 0], fuller, err_msg=name)


@pytest.mark.usefixtures("long_reading")
def test_the_page_says_what_is_read_next(session):
    view = mw.LogitLens(session)
    read = []

    def look(_change):
        manifest = manifest_of(view)
        read.append(manifest["read"] and manifest["read"]["A"])
        if len(read) == 1:
            view._receive(view, {"kind": "order", "order": "look", "side": "A", "positions": [0, 1]}, [])

    view.observe(look, "picture")
    session.prompt = "w7 w8 w9 w3 w4"
    assert read[:3] == [[5], [1, 5], [0, 1, 5]]
    view._receive(view, {"kind": "order", "order": "look", "positions": "moon"}, [])
    assert view.status["state"] == "idle"  # where nothing is read, nothing is looked for


@pytest.mark.usefixtures("long_reading")
def test_a_reading_that_is_stopped_leaves_its_part_on_the_page_and_says_so(session):
    view = mw.LogitLens(session)
    before = view.data

    def stop(_change):
        if manifest_of(view)["read"]:
            view.stop()

    view.observe(stop, "picture")
    session.prompt = "w7 w8 w9 w3 w4"
    assert manifest_of(view)["read"] == {"A": [5], "B": []}
    assert (view.status["state"], view.status["message"]) == ("idle", "Stopped: 1 of 6 positions are read.")
    with pytest.warns(UserWarning, match="not current"):
        assert view.data is before
    still = view._still("svg")
    assert "only 1 of 6 positions are read" in still
    assert still.count("not read yet") == 1
    view.unobserve(stop, "picture")
    session.refresh()
    assert manifest_of(view)["read"] is None


@pytest.mark.usefixtures("long_reading")
def test_in_a_notebook_a_cell_ends_with_the_part_that_is_read_and_data_is_whole(model):
    async def cell():
        view = mw.LogitLens(mw.Session(model, PROMPT))
        still = view._still("svg")
        return still, manifest_of(view)["read"], view.status, view.data, view.status["state"]

    still, read, status, data, after = asyncio.run(cell())
    assert "only 1 of 6 positions are read" in still
    assert read == {"A": [5], "B": []}
    assert (status["state"], status["message"], status["done"]) == ("computing", "reading 1 of 6 positions", 2)
    assert (data.read, after) == (None, "idle")


@pytest.mark.usefixtures("long_reading")
def test_rows_of_a_partial_picture_are_those_that_are_read(monkeypatch, session):
    monkeypatch.setattr(lens_picture, "WHOLE", 0)
    view, shapes = mw.LogitLens(session), []
    view.observe(lambda _: shapes.append(unpack(ask(view, rows=[0])[1][0])[1]["A/top_ids/0"].shape[0]), "picture")
    session.prompt = "w7 w8 w9 w3 w4"
    assert shapes == [1, 2, 4, 6]


@pytest.mark.usefixtures("long_reading")
def test_pinning_while_a_part_is_shown_reads_with_the_pin_where_the_reader_looks(session):
    view = mw.LogitLens(session)
    seen = []

    def pin(_change):
        manifest = manifest_of(view)
        seen.append((manifest["read"] and manifest["read"]["A"], [entry["id"] for entry in manifest["targets"]]))
        if len(seen) == 1:
            view._receive(view, {"kind": "order", "order": "look", "side": "A", "positions": [0, 0]}, [])
            view.options = {"targets": [9]}

    view.observe(pin, "picture")
    session.prompt = "w7 w8 w9 w3 w4"
    session.wait()
    assert seen[0] == ([5], [])
    assert seen[1] == ([0], [9])
    assert view.data.target_ids.tolist() == [9]


def test_a_reading_that_ends_soon_is_shown_whole(monkeypatch, session):
    monkeypatch.setattr(lens_reading, "FEW", 1)
    monkeypatch.setattr(lens_reading, "FEWEST", 1)
    monkeypatch.setattr(lens_order, "LITTLE", 0)
    monkeypatch.setattr(partial, "SOON_SECONDS", 1000.0)
    view = mw.LogitLens(session)
    seen = followed(view)
    session.prompt = "w7 w8 w9 w3 w4"
    assert [manifest["read"] for manifest, _, _ in seen] == [None]


def test_a_recipe_of_two_lenses_says_what_is_shown_and_leaves_refused_pins_out(demo_model, tmp_path, monkeypatch):
    session = mw.Session(demo_model, "When Mary and John went to the store , John gave a drink to")
    view = mw.LogitLens(session, versus="tuned", show="A", targets=[" Mary", " Mary Ann"])
    assert view.refused["text"] == " Mary Ann"
    names: dict = {}
    monkeypatch.chdir(tmp_path)  # where the recipe writes its figure
    exec(view.recipe(), names)
    assert len(list(tmp_path.iterdir())) == 1
    assert names["view"].options["show"] == "A"
    assert names["view"].refused is None
    assert names["view"].data.target_ids.tolist() == view.data.target_ids.tolist()
