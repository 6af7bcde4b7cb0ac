"""The shell of the patching view: its grid is its data, a cell is a run, and what cannot be patched is said."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import patches_one_by_one as one_by_one
import pytest
import torch
from on_screen import manifest_of, refused_both_ways

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute import patch_plan
from mi_widgets.errors import AnswerError, DataError, PromptError
from mi_widgets.widgets import partial
from mi_widgets.wire.blocks import unpack
from mi_widgets.wire.messages import CompareTable
from mi_widgets.wire.patching_messages import PatchingManifest

CLEAN, CORRUPT = "w3 w4 w5 w3 w4", "w3 w7 w5 w3 w7"
NAMES = "When Mary and John went to the store , John gave a drink to"


@pytest.fixture
def every_part(monkeypatch):
    """Every partial picture is put, however soon the next one comes."""
    monkeypatch.setattr(partial, "SOON_SECONDS", 0.0)
    monkeypatch.setattr(partial, "APART_SECONDS", 0.0)


@pytest.fixture
def session(model):
    return mw.Session(model, CLEAN)


@pytest.fixture
def view(session):
    return mw.Patching(session, corrupt=CORRUPT, answer="w5", foil="w6")


def followed(view):
    """Manifest and blocks of every picture that comes, and what the status line says meanwhile."""
    seen, said = [], []
    view.observe(lambda _: seen.append(unpack(view.picture)[:2]), "picture")
    view.observe(lambda change: said.append(change["new"]["message"]), "status")
    return seen, said


def choose(view, component="resid_pre", **at):
    view.selection = mw.Selection(component=component, **at)


# --- the grid ------------------------------------------------------------------------------------


def test_the_data_is_the_grid_one_run_for_each_cell(model, view):
    expected = one_by_one.by_layer_and_position(model, CLEAN, CORRUPT, 5, 6)
    assert view.data.by == ("layer", "position")
    np.testing.assert_allclose(view.data.value, expected, rtol=1e-4, atol=1e-5)


def test_the_picture_holds_the_data(view):
    manifest, blocks, headers = unpack(view.picture)
    assert set(manifest) == {name for base in PatchingManifest.__mro__ for name in getattr(base, "__annotations__", ())}
    assert set(manifest["compare"]) == set(CompareTable.__annotations__)
    assert np.array_equal(blocks["effect"], view.data.effect.ravel())
    assert np.array_equal(blocks["change"], view.data.change_in_metric.ravel())
    assert np.array_equal(blocks["estimate"], view.data.effect_estimate.ravel())
    assert {header["dtype"] for header in headers.values()} == {"f32"}
    assert (manifest["base"], manifest["done"], manifest["total"]) == ("B", 12, 12)
    assert (manifest["answer"]["string"], manifest["foil"]["string"], manifest["automatic"]) == ("w5", "w6", False)
    assert manifest["compare"]["pairs"] == [[place, place] for place in range(6)]


def test_the_self_checks_hold_and_stand_on_the_face(view):
    checks = manifest_of(view)["checks"]
    assert [check["label"] for check in checks] == [
        "a cell = its run",
        "patched at layer 0, every position = clean run",
    ]
    assert all(check["ok"] for check in checks)


@pytest.mark.usefixtures("every_part")
def test_the_estimate_comes_first_and_exact_cells_replace_it(session, view):
    seen, said = followed(view)
    session.prompt = "w3 w9 w5 w3 w9"
    first, blocks = seen[0]
    assert (first["done"], first["total"], first["estimated_by"]) == (0, 12, "attribution patching")
    assert np.isnan(blocks["effect"]).all()
    assert np.isfinite(blocks["estimate"]).all()
    done = [manifest["done"] for manifest, _ in seen]
    assert done == sorted(done)
    assert done[-1] == 12
    assert any(0 < count < 12 for count in done)
    assert "estimated; 0 of 12 cells are exact" in said
    assert any("of 12 cells, about 1 s left" in message for message in said)
    assert view.status["state"] == "idle"


@pytest.mark.usefixtures("every_part")
def test_stopped_it_keeps_what_is_exact_and_the_model_is_clean(model, session, view):
    hooks = sum(len(point.fwd_hooks) for point in model.hook_dict.values())

    def stop(_change):
        if 0 < manifest_of(view)["done"] < 12:
            session.stop()

    view.observe(stop, "picture")
    session.prompt = "w3 w9 w5 w3 w9"
    done = int(view.data.exact.sum())  # cells whose activation is the same are known at once
    assert 0 < done < 12
    assert (view.status["state"], view.last_error) == ("idle", None)
    assert view.status["message"] == f"Stopped at {done} of 12 cells; the rest is estimated."
    assert view.data.clean_tokens.ids.tolist() == session.tokens.ids.tolist()
    assert view.status["message"] in view.data.notes
    assert sum(len(point.fwd_hooks) for point in model.hook_dict.values()) == hooks
    assert f"Stopped at {done} of 12" in str(unpack(view.frozen_state()["picture"])[0]["notes"])


@pytest.mark.usefixtures("every_part")
def test_an_edit_starts_it_anew_and_leaves_other_views_alone(in_loop, model):
    async def main():
        session = mw.Session(model, CLEAN)
        lens = mw.LogitLens(session)
        view = mw.Patching(session, corrupt=CORRUPT, answer="w5", foil="w6")
        session.wait()
        drawn = []
        lens.observe(lambda _: drawn.append(1), "picture")

        def edit(_change):
            if 0 < manifest_of(view)["done"] < 12 and view.corrupt == CORRUPT:
                view.corrupt = "w3 w8 w5 w3 w8"

        view.observe(edit, "picture")
        view.options = {"direction": "noise"}
        session.wait()
        return view, drawn

    view, drawn = in_loop(main)
    assert view.data.corrupt_tokens.strings[2] == "w8"
    assert view.data.exact.all()
    assert drawn == []


def test_estimate_only_where_it_is_chosen_or_exact_cells_are_too_dear(monkeypatch, session):
    view = mw.Patching(session, corrupt=CORRUPT, exact="estimate")
    assert not view.data.exact.any()
    assert "as chosen" in manifest_of(view)["why_estimate"]
    dear = SimpleNamespace(cells=12, runs=30_000, exact_seconds=900.0, estimate_seconds=0.5)
    monkeypatch.setattr(patch_plan, "patch_cost", lambda *_, **__: dear)
    view.options = {"exact": "auto"}
    assert not view.data.exact.any()
    assert "30,000 exact cells would take about 15 min" in manifest_of(view)["why_estimate"]
    assert manifest_of(view)["seconds"] == {"exact": 900.0, "estimate": 0.5}
    view.options = {"exact": "all"}
    assert view.data.exact.all()


def test_a_site_without_such_a_grid_has_its_usual_one(view):
    view.options = {"site": "z"}
    assert view.data.by == ("layer", "head")
    assert manifest_of(view)["grids"] == ["layer × head", "layer × head × position", "head × position"]
    view.options = {"by": "head × position", "layer": 0}
    assert (view.data.by, view.data.layer) == (("head", "position"), 0)
    assert (view.options["site"], view.data.value.shape) == ("z", (4, 6))


def test_sites_that_the_architecture_lacks_are_not_offered_and_refused(tiny_model):
    view = mw.Patching(tiny_model("neox"), CLEAN, corrupt=CORRUPT)
    assert "resid_mid" not in manifest_of(view)["sites"]
    before = view.picture
    view.options = {"site": "resid_mid"}
    assert view.status["state"] == "error"
    assert "side by side" in view.status["message"]
    assert view.picture == before


def test_noise_goes_the_other_way(view):
    view.options = {"direction": "noise"}
    assert manifest_of(view)["base"] == "A"
    assert manifest_of(view)["neutral"] == 1
    assert manifest_of(view)["checks"][1]["label"].endswith("corrupt run")
    assert all(check["ok"] for check in manifest_of(view)["checks"])


# --- prompts and answers -------------------------------------------------------------------------


def test_without_a_corrupt_prompt_it_says_so_and_offers_one(demo_model):
    view = mw.Patching(demo_model, NAMES, answer=" Mary", foil=" John")
    assert view.status["state"] == "error"
    assert "corrupt prompt" in view.status["message"]
    assert view.proposal == NAMES.replace("Mary", "…").replace("John", "Mary").replace("…", "John")
    assert view.proposal in view.status["hint"]
    with pytest.raises(PromptError, match="corrupt prompt"):
        view.wait()
    view.corrupt = view.proposal
    assert (view.status["state"], view.proposal) == ("idle", "")
    assert view.data.differs


def test_where_no_prompt_can_be_offered_it_says_how(session):
    view = mw.Patching(session, answer="w60")
    assert view.proposal == ""
    assert "the words changed that matter" in view.status["hint"]


def test_the_corrupt_prompt_is_the_sessions(session, view):
    other = mw.Patching(session)
    assert session.corrupt == other.corrupt == CORRUPT
    session.corrupt = "w3 w8 w5 w3 w8"
    assert view.corrupt == other.corrupt == session.corrupt
    assert view.data.corrupt_tokens.strings[2] == other.data.corrupt_tokens.strings[2] == "w8"
    view.set_state({"compare": {"kind": "text", "text": CORRUPT}})
    assert session.corrupt == CORRUPT


def test_prompts_of_unequal_length_show_their_alignment(view):
    view.corrupt = "w3 w7 w5 w3"
    pairs = manifest_of(view)["compare"]["pairs"]
    assert [-1 in pair for pair in pairs].count(True) == 1
    assert view.status["state"] == "idle"


@pytest.mark.parametrize(("prompt", "called"), [("corrupt", "Corrupt prompt"), ("prompt", "Clean prompt")])
def test_a_prompt_that_cannot_be_run_is_named(prompt, called, session, view):
    before = view.picture
    setattr(session, prompt, "w3 " * 500)
    assert view.status["state"] == "error"
    assert view.status["message"].startswith(called)
    assert view.picture == before


def test_an_answer_that_is_no_single_token_is_refused_with_offers(view):
    before = view.picture
    view.answer = " w5 w6"
    assert view.status["state"] == "error"
    assert view.refused["pieces"] == ["w5", "w6"]
    assert view.picture == before
    with pytest.raises(AnswerError, match="w5 w6"):
        view.wait()
    view.answer = view.refused["offers"][0]["id"]
    assert (view.status["state"], view.refused) == ("idle", None)


def test_without_an_answer_the_clean_run_chooses_two(model, session):
    view = mw.Patching(session, corrupt=CORRUPT)
    likely = compute.next_tokens(model, CLEAN).top_ids[-1]
    assert [view.data.answers[0], view.data.foils[0]] == likely[:2].tolist()
    assert manifest_of(view)["automatic"]
    assert [entry["id"] for entry in manifest_of(view)["candidates"]] == likely[:10].tolist()


def test_numbers_that_are_not_finite_are_said(model, session, view):
    with torch.no_grad():
        model.blocks[1].mlp.out.weight[0, 0] = float("nan")
    session.refresh()
    assert view.status["state"] == "error"
    assert "not finite from layer 1 on" in view.status["message"]


# --- the chosen cell -----------------------------------------------------------------------------


def test_a_cell_is_a_run_of_the_corrupt_prompt(view):
    run = view.run_of({"layer": 1, "position": 2})
    assert run == mw.Run(prompt=CORRUPT, interventions=[mw.Patch("resid_pre", layer=1, position=2, source=CLEAN)])
    view.options = {"direction": "noise"}
    run = view.run_of({"layer": 1, "position": 2})
    assert run == mw.Run(prompt=CLEAN, interventions=[mw.Patch("resid_pre", layer=1, position=2, source=CORRUPT)])
    with pytest.raises(DataError, match="no cell"):
        view.run_of()
    with pytest.raises(DataError, match="no position 77"):
        view.run_of({"layer": 1, "position": 77})


def test_the_chosen_cell_says_its_numbers_and_its_run_stands_beside(session, view):
    assert (view.cell, session.beside) == (None, None)
    choose(view, layer=1, position=2)
    assert view.cell["effect"] == view.data.effect[1, 2]
    assert (view.cell["layer"], view.cell["position"], view.cell["exact"]) == (1, 2, True)
    assert session.beside == view.run_of()
    choose(view, "z", layer=1, position=2)  # a cell of another grid
    assert (view.cell, session.beside) == (None, None)


def test_what_stands_beside_can_be_the_corrupt_run_or_nothing(session, view):
    view.options = {"beside": "corrupt"}
    assert session.beside is None  # no cell is chosen
    choose(view, layer=1, position=2)
    assert session.beside == mw.Run(prompt=CORRUPT)
    view.options = {"beside": "nothing"}
    assert session.beside is None
    view.options = {"beside": "patched"}
    assert session.beside == view.run_of()


def test_what_it_lent_it_takes_back_when_it_leaves_and_nothing_else(session, view):
    choose(view, layer=1, position=2)
    own = mw.Run(prompt="w3 w3")
    session.beside = own
    view.selection = mw.Selection()
    assert session.beside == own
    choose(view, layer=0, position=2)
    view.close()
    assert session.beside is None


def test_after_an_edit_the_cell_that_stands_beside_is_of_the_new_prompts(session, view):
    choose(view, layer=1, position=2)
    view.corrupt = "w3 w8 w5 w3 w8"
    assert session.beside.prompt == "w3 w8 w5 w3 w8"
    session.prompt = "w3 w4"
    view.corrupt = "w3 w8"
    assert session.beside.prompt == "w3 w8"
    session.prompt = "w3"
    view.corrupt = "w8"
    assert (view.cell, session.beside) == (None, None)  # there is no such position any more


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, {"layer": 1, "position": 2}),
        ({"direction": "noise"}, {"layer": 1, "position": 2}),
        ({"site": "resid_mid"}, {"layer": 0, "position": 5}),
        ({"site": "v"}, {"layer": 1, "head": 1}),
        ({"site": "z", "by": "layer × head × position"}, {"layer": 0, "head": 3, "position": 5}),
        ({"site": "pattern", "by": "head × query × key", "layer": 1}, {"layer": 1, "head": 2, "query": 5, "key": 2}),
        ({"site": "post", "layer": 0}, {"layer": 0, "neuron": 3}),
        ({"experiment": "ablation"}, {"layer": 1, "head": 2}),
        ({"experiment": "ablation", "over": "position", "ablated_by": "resample"}, {"layer": 0, "position": 2}),
    ],
)
def test_linked_views_show_the_cells_number(options, at, session, view):
    view.options = options
    lens = mw.LogitLens(session, targets=["w5", "w6"])
    attribution = mw.LogitAttribution(session)
    choose(view, view.data.site, **at)
    value = view.cell["value"]
    probabilities = lens.comparison.b.target_probs[-1, -1]
    assert float(np.log(probabilities[0]) - np.log(probabilities[1])) == pytest.approx(value, rel=1e-4, abs=1e-4)
    assert attribution.comparison.b.difference == pytest.approx(value, rel=1e-4, abs=1e-4)
    assert lens.comparison.b.interventions == view.run_of().interventions


# --- paths ---------------------------------------------------------------------------------------


def test_paths_of_the_chosen_head_are_computed_beside_the_grid_and_walked_on(model, session, view):
    before = session.passes, view.data
    view.options = {"chart": "paths"}
    assert (view.paths, manifest_of(view)["paths"]) == (None, None)  # no head is chosen
    view.selection = mw.Selection(layer=0, head=2)
    expected = compute.path_patch(model, CLEAN, CORRUPT, "w5", "w6", sender=(0, 2))
    assert view.paths.labels == expected.labels
    np.testing.assert_allclose(view.paths.effect, expected.effect, rtol=1e-4, atol=1e-5)
    crossed = manifest_of(view)["paths"]
    assert crossed["path"] == [{"layer": 0, "head": 2, "entered": ""}]
    assert crossed["kinds"] == list(expected.kinds)
    assert crossed["effects"] == pytest.approx(view.paths.effect.tolist())
    assert (session.passes, view.data) == before
    view.set_state({"path": [{"layer": 0, "head": 2, "entered": ""}, {"layer": 1, "head": 1, "entered": "q"}]})
    assert view.paths.path == ((1, 1, "q"),)
    assert manifest_of(view)["paths"]["path"][1] == {"layer": 1, "head": 1, "entered": "q"}


def test_the_figure_of_the_chart_of_paths_is_of_the_paths(tmp_path, view):
    view.options = {"chart": "paths"}
    assert "resid_pre patched" in view.save(tmp_path / "grid.svg").read_text()  # no head is chosen
    view.selection = mw.Selection(layer=0, head=2)
    assert "paths from L0 H2" in view.save(tmp_path / "paths.svg").read_text()
    assert "paths from L0 H2" in view._still("svg")
    assert "resid_pre patched" in view.save(tmp_path / "grid.svg", kind="grid").read_text()


def test_after_an_edit_the_paths_are_of_the_new_prompts(model, view):
    view.options = {"chart": "paths"}
    view.selection = mw.Selection(layer=0, head=2)
    view.corrupt = "w3 w8 w5 w3 w8"
    expected = compute.path_patch(model, CLEAN, "w3 w8 w5 w3 w8", "w5", "w6", sender=(0, 2))
    np.testing.assert_allclose(view.paths.effect, expected.effect, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("every_part")
def test_while_the_grid_fills_the_paths_are_computed_once_and_stand_in_every_picture_after(monkeypatch, session):
    made, steps = [], patch_plan.path_patch_steps
    monkeypatch.setattr(patch_plan, "path_patch_steps", lambda *asked, **how: made.append(1) or steps(*asked, **how))
    session.selection = mw.Selection(layer=0, head=2)
    view = mw.Patching(session, corrupt=CORRUPT, answer="w5", foil="w6", chart="paths")
    assert made == [1]
    assert manifest_of(view)["done"] == 12
    assert manifest_of(view)["paths"]["path"] == [{"layer": 0, "head": 2, "entered": ""}]


@pytest.mark.parametrize("path", [[{"layer": "moon"}], [{}], [3], [{"layer": 1, "head": 0}, {"layer": 0, "head": 0}]])
def test_a_path_that_means_nothing_raises_nowhere(path, view):
    view.options = {"chart": "paths"}
    view.set_state({"path": path})
    assert view.paths is None


def test_a_path_that_cannot_be_walked_is_said_and_the_grid_stays(view):
    view.options = {"chart": "paths"}
    before = view.data
    view.set_state({"path": [{"layer": 1, "head": 0, "entered": ""}, {"layer": 0, "head": 0, "entered": "q"}]})
    assert "does not hear" in view.status["message"]
    assert view.data is before


# --- batches, functions, ablation ----------------------------------------------------------------

PAIRS = [(CLEAN, CORRUPT, "w5", "w6"), ("w5 w4 w3 w5 w4", "w5 w7 w3 w5 w7", "w3", "w6")]


def test_a_batch_of_pairs_is_one_grid_with_its_interval(model, session):
    view = mw.Patching(session, pairs=PAIRS)
    expected = compute.patch(model, mw.Pairs(PAIRS))
    np.testing.assert_allclose(view.data.values, expected.values, rtol=1e-4, atol=1e-5)
    manifest, blocks, _ = unpack(view.picture)
    assert manifest["pairs"] == 2
    assert {"low", "high", "spread"} <= set(blocks)
    assert (session.prompt, session.corrupt, session.answer, session.foil) == PAIRS[0]
    assert all(check["ok"] for check in manifest["checks"])
    assert "pairs=mw.Pairs([(" in view.recipe()


def test_an_edit_leaves_the_batch_and_its_first_pair_is_as_it_was(session):
    view = mw.Patching(session, pairs=mw.Pairs(PAIRS))
    assert view.pairs == mw.Pairs(PAIRS)
    view.corrupt = "w3 w8 w5 w3 w8"
    assert (view.pairs, view.data.n_pairs) == (None, 1)
    view.corrupt = CORRUPT
    assert view.data.n_pairs == 2
    with pytest.raises(DataError, match="of their own"):
        mw.Patching(session, pairs=PAIRS, answer="w5")


def test_a_metric_of_the_users_own_is_asked_and_needs_to_be_given(session):
    view = mw.Patching(session, corrupt=CORRUPT)
    with pytest.raises(DataError, match="no function"):
        view.options = {"metric": "own"}
    with pytest.raises(DataError, match="no function"):
        mw.Patching(session, metric="own")
    assert "own" not in manifest_of(view)["metrics"]

    def twice(logits):
        return 2 * (logits[0, -1, 5] - logits[0, -1, 6])

    own, usual = mw.Patching(session, metric=twice), mw.Patching(session, answer="w5", foil="w6")
    np.testing.assert_allclose(own.data.value, 2 * usual.data.value, rtol=1e-4, atol=1e-5)
    assert (manifest_of(own)["metric"], manifest_of(own)["metric_title"]) == ("own", "twice")
    assert "\n# metric: your own function of the logits\n" in own.recipe()
    assert all(check["ok"] for check in manifest_of(own)["checks"])


def test_a_metric_that_raises_is_said_by_its_name(session):
    def broken(logits):
        raise ValueError("no such token")

    view = mw.Patching(session, corrupt=CORRUPT, metric=broken)
    assert view.status["state"] == "error"
    assert "broken raised ValueError: no such token" in view.status["message"]


@pytest.mark.parametrize("metric", ["log_probability", "probability", "rank", "kl"])
def test_every_metric_has_a_grid_and_those_without_a_gradient_say_that_they_are_not_estimated(metric, view):
    view.options = {"metric": metric}
    assert view.status["state"] == "idle", view.status
    assert view.data.exact.all()
    assert (view.data.estimates is None) == (metric == "rank")
    assert any("Not estimated" in note for note in manifest_of(view)["notes"]) == (metric == "rank")


def test_prompts_that_do_not_differ_are_said(view):
    view.corrupt = CLEAN
    assert view.status["state"] == "idle", view.status
    assert not manifest_of(view)["differs"]
    assert manifest_of(view)["notes"]


def test_ablation_needs_no_corrupt_prompt(model, session):
    view = mw.Patching(session, answer="w5", foil="w6", experiment="ablation")
    expected = compute.ablate(model, CLEAN, "w5", "w6", over="head", by="mean")
    np.testing.assert_allclose(view.data.values, expected.values, rtol=1e-4, atol=1e-5)
    manifest = manifest_of(view)
    assert (manifest["experiment"], manifest["by"], manifest["compare"]) == ("ablation", ["layer", "head"], None)
    assert manifest["reference"]
    assert [(check["label"], check["ok"]) for check in manifest["checks"]] == [("a cell = its run", True)]
    view.options = {"ablated_by": "resample"}
    assert view.status["state"] == "error"
    assert "draws from prompts" in view.status["message"]
    view.corrupt = CORRUPT
    assert view.status["state"] == "idle", view.status


@pytest.mark.parametrize(
    ("over", "by"), [("mlp", ["layer"]), ("neuron", ["neuron"]), ("position", ["layer", "position"])]
)
def test_what_is_ablated_can_be_chosen(over, by, view):
    view.options = {"experiment": "ablation", "over": over, "ablated_by": "zero"}
    assert view.status["state"] == "idle", view.status
    assert manifest_of(view)["by"] == by
    assert all(check["ok"] for check in manifest_of(view)["checks"])


def test_a_batch_is_ablated_by_the_mean_of_its_own_prompts(model, session):
    view = mw.Patching(session, pairs=PAIRS, experiment="ablation")
    expected = compute.ablate(model, mw.Pairs(PAIRS))
    np.testing.assert_allclose(view.data.values, expected.values, rtol=1e-4, atol=1e-5)


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"site": "moon"}, {"by": "moon"}, {"layer": -1}, {"metric": "own"}, {"exact": 1}])
def test_wrong_options_raise_in_python_and_are_passed_over_from_the_page(options, view):
    refused_both_ways(view, options)


def test_from_data_needs_no_torch(tmp_path, view):
    path = view.save(tmp_path / "patching.npz")
    script = (
        "import sys, mi_widgets as mw\n"
        f"view = mw.Patching.from_data(mw.data.load({str(path)!r}))\n"
        "print(view.data.effect[1, 2], view.answer, 'torch' in sys.modules, len(view.picture) > 0)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert float(out[0]) == pytest.approx(view.data.effect[1, 2])
    assert out[1:] == ["w5", "False", "True"]


def test_a_grid_that_is_there_already_shows_itself_and_has_no_runs(view):
    alone = mw.Patching.from_data(view.data)
    assert np.array_equal(unpack(alone.picture)[1]["effect"], view.data.effect.ravel())
    assert not manifest_of(alone)["live"]
    choose(alone, layer=1, position=2)
    assert alone.cell["effect"] == view.data.effect[1, 2]
    with pytest.raises(DataError, match="no run"):
        alone.run_of()
    assert "mw.Patching.from_data(" in alone.recipe()
    with pytest.raises(DataError, match="no grid"):
        mw.Patching.from_data({"a": 1})


def test_the_recipe_makes_the_same_numbers(demo_model, tmp_path, monkeypatch):
    session = mw.Session(demo_model, NAMES, interventions=[mw.Ablate(layer=0, head=1)])
    corrupt = NAMES.replace("Mary", "Bob")
    view = mw.Patching(session, corrupt=corrupt, answer=" Mary", foil=" John", site="z", direction="noise")
    choose(view, "z", layer=0, head=2)
    names: dict = {}
    monkeypatch.chdir(tmp_path)  # where the recipe writes its figure
    exec(view.recipe(), names)
    assert len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(names["view"].data.values, view.data.values)
    assert names["view"].cell == view.cell


def test_the_table_and_the_figure_are_of_the_grid(tmp_path, view):
    assert view.to_pandas()["effect"].to_numpy() == pytest.approx(view.data.effect.ravel())
    view.save(tmp_path / "patching.csv")
    assert len((tmp_path / "patching.csv").read_text().splitlines()) == 13
    assert "resid_pre" in view.save(tmp_path / "patching.svg").read_text()
    assert view._still("png").startswith(b"\x89PNG")


def test_an_offline_page_holds_the_grid(view):
    state = view.frozen_state()
    manifest, blocks, _ = unpack(state["picture"])
    assert not manifest["live"]
    assert np.array_equal(blocks["effect"], view.data.effect.ravel())
    assert state["compare"] == {"kind": "text", "text": CORRUPT}
    json.dumps({name: value for name, value in state.items() if not isinstance(value, bytes)})
    assert "patching" in view.to_html()


def test_an_offline_page_of_several_views_keeps_the_chosen_cells_run_beside(tmp_path, session, view):
    lens = mw.LogitLens(session)
    choose(view, layer=1, position=2)
    state = lens.frozen_state()
    manifest = unpack(state["picture"])[0]
    assert manifest["other"]["interventions"] == [change.label for change in view.run_of().interventions]
    assert state["selection"]["component"] == view.frozen_state()["selection"]["component"] == "resid_pre"
    assert mw.save_html(tmp_path / "page.html", view, lens).stat().st_size > 10_000


def test_nothing_is_left_on_the_model(model, view):
    assert not any(len(point.fwd_hooks) for point in model.hook_dict.values())
    view.close()
    assert all(parameter.grad is None for parameter in model.parameters())
