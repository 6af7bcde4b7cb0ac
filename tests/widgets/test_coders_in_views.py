"""Spliced and clamped runs in every view, and the attribution by features: live, compared, in recipes and offline."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from coders_in_models import made_coder
from model_state import state_of
from on_screen import PROMPT, manifest_of

import mi_widgets as mw
from mi_widgets import compute, sae
from mi_widgets.errors import DataError
from mi_widgets.wire.blocks import unpack

VIEWS = [mw.Attention, mw.LogitLens, mw.LogitAttribution, mw.Prompt]
ASKED = {"answer": 5, "foil": 7}


@pytest.fixture
def coder():
    return made_coder(32, skips_first=True, name="small")


@pytest.fixture
def saved(coder, tmp_path):
    """The coder as it lies in a folder."""
    sae.save(coder, tmp_path / "small")
    return sae.load(tmp_path / "small")


@pytest.fixture
def by_feature(model, coder):
    session = mw.Session(model, PROMPT, **ASKED)
    return mw.LogitAttribution(session, by="feature", coder=coder)


def numbers(data):
    return next(getattr(data, name) for name in ("values", "top_probs", "contribution") if hasattr(data, name))


def computed(kind, model, changes):
    by_kind = {
        mw.Attention: compute.attention_patterns,
        mw.LogitLens: compute.logit_lens,
        mw.Prompt: compute.next_tokens,
    }
    if kind is mw.LogitAttribution:
        return compute.logit_attribution(model, PROMPT, 5, 7, interventions=changes)
    return by_kind[kind](model, PROMPT, interventions=changes)


def executed(view, **given):
    names = dict(given)
    exec(view.recipe().rsplit("view.save", 1)[0], names)
    names["session"].wait()
    return names["view"]


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("make", [mw.Splice, lambda coder: mw.Clamp(coder, 3, 4.0)], ids=["splice", "clamp"])
def test_a_view_shows_the_spliced_run_beside_the_models_own(kind, make, model, coder):
    session = mw.Session(model, PROMPT, interventions=[make(coder)], **ASKED)
    view = kind(session, compare=mw.Run(interventions=[]))
    session.wait()
    before = state_of(model)
    for side, changes in (("a", [make(coder)]), ("b", [])):
        found = getattr(view.comparison, side)
        np.testing.assert_allclose(numbers(found), numbers(computed(kind, model, changes)), atol=1e-5)
        assert found.interventions == tuple(changes)
    assert numbers(view.comparison.a).tolist() != numbers(view.comparison.b).tolist()
    assert manifest_of(view)["interventions"] == [make(coder).label]
    assert [made["kind"] for made in view.interventions] == [make(coder).kind]
    assert view.interventions[0]["layer"] == 0
    session.prompt = "w6 w7 w8"
    session.wait()
    assert view.comparison.a.interventions == (make(coder),)
    assert state_of(model) == before


def test_the_same_coder_loaded_again_needs_no_pass(model, coder, saved):
    session = mw.Session(model, PROMPT, interventions=[mw.Splice(saved)])
    mw.Attention(session)
    session.wait()
    passes = session.passes
    session.interventions = [mw.Splice(sae.load(saved.folder))]
    session.wait()
    assert session.passes == passes
    session.interventions = [mw.Splice(saved, positions=[2])]
    session.wait()
    assert session.passes == passes + 1


def test_patching_has_the_splice_in_both_runs(model, coder):
    changes = [mw.Splice(coder)]
    session = mw.Session(model, PROMPT, corrupt="w3 w4 w6 w3 w4", interventions=changes, **ASKED)
    view = mw.Patching(session)
    session.wait()
    expected = compute.patch(model, PROMPT, "w3 w4 w6 w3 w4", 5, 7, interventions=changes)
    assert view.data.interventions == tuple(changes)
    assert view.data.clean == pytest.approx(expected.clean, abs=1e-5)
    np.testing.assert_allclose(view.data.effect, expected.effect, atol=1e-4)


@pytest.mark.parametrize("kind", VIEWS)
def test_the_recipe_loads_the_coder_again(kind, model, saved, monkeypatch):
    monkeypatch.setattr(mw, "load_model", lambda _name: model, raising=False)
    changes = [mw.Splice(saved), mw.Clamp(saved, 3, 4.0)]
    view = kind(mw.Session(model, PROMPT, interventions=changes))
    load = f"mw.sae.load({str(saved.folder)!r})"
    assert f"session.interventions = [mw.Splice({load}), mw.Clamp({load}, 3, 4.0)]" in view.recipe()
    np.testing.assert_array_equal(numbers(executed(view).data), numbers(view.data))


def test_the_recipe_asks_for_a_coder_that_lies_nowhere(model, coder, monkeypatch):
    monkeypatch.setattr(mw, "load_model", lambda _name: model, raising=False)
    session = mw.Session(model, PROMPT, interventions=[mw.Splice(coder)], **ASKED)
    view = mw.LogitAttribution(session, by="feature", coder=coder)
    code = view.recipe()
    assert "# coder: the sparse coder small" in code
    assert "mw.Splice(coder)" in code
    assert "coder=coder" in code
    np.testing.assert_array_equal(executed(view, coder=coder).data.contribution, view.data.contribution)


def test_results_of_spliced_runs_are_saved(model, coder, tmp_path):
    view = mw.Attention(mw.Session(model, PROMPT, interventions=[mw.Splice(coder)]))
    view.save(tmp_path / "attention.npz")
    again = mw.data.load(tmp_path / "attention.npz")
    assert again.interventions == (mw.Splice(coder),)
    shown = mw.Attention.from_data(again)
    assert manifest_of(shown)["interventions"] == ["L0 resid_post spliced (small)"]


def test_offline_pages_name_the_splice(model, coder, tmp_path):
    view = mw.LogitLens(mw.Session(model, PROMPT, interventions=[mw.Splice(coder)]))
    assert "L0 resid_post spliced (small)" in json.dumps(view.frozen_state()["interventions"])
    assert len(view.to_html(tmp_path / "page.html")) > 1000


# --- by feature ----------------------------------------------------------------------------------------


def test_the_attribution_by_feature_is_what_compute_says(model, coder, by_feature):
    expected = compute.logit_attribution(model, PROMPT, 5, 7, by="feature", coder=coder, top=30)
    assert by_feature.data.labels == expected.labels
    np.testing.assert_allclose(by_feature.data.contribution, expected.contribution, atol=1e-6)
    assert by_feature.data.holds
    manifest, blocks, _ = unpack(by_feature.picture)
    assert (manifest["by"], manifest["coder"], manifest["has_coder"]) == ("feature", "small at L0 resid_post", True)
    assert manifest["part_labels"] == list(expected.labels)
    assert blocks["contribution"].sum() == pytest.approx(manifest["difference"], abs=1e-4)
    assert [check["ok"] for check in manifest["checks"]] == [True] * len(manifest["checks"])


def test_another_split_or_answer_needs_no_pass_but_one_for_the_coders_place(model, coder):
    session = mw.Session(model, PROMPT, **ASKED)
    view = mw.LogitAttribution(session, coder=coder)
    session.wait()
    passes = session.passes
    view.options = {"by": "feature"}
    assert view.data.by == "feature"
    assert session.passes == passes + 1
    view.options = {"by": "head"}
    view.options = {"by": "feature", "top": 10, "position": 3}
    session.answer = 9
    session.wait()
    assert view.data.position == 3
    assert session.passes == passes + 1


def test_without_a_coder_there_is_no_split_by_feature(model):
    session = mw.Session(model, PROMPT, **ASKED)
    with pytest.raises(DataError, match="no coder whose features"):
        mw.LogitAttribution(session, by="feature")
    view = mw.LogitAttribution(session)
    assert not manifest_of(view)["has_coder"]
    with pytest.raises(DataError, match="no coder whose features"):
        view.options = {"by": "feature"}
    view.set_state({"options": {"by": "feature"}})  # as a page would, whose menu does not offer it
    assert view.options["by"] == "component"


def test_a_coder_of_another_model_is_refused_at_once(model):
    session = mw.Session(model, PROMPT, **ASKED)
    with pytest.raises(DataError, match="16 wide"):
        mw.LogitAttribution(session, coder=made_coder(16))
    with pytest.raises(DataError, match="is no sparse coder"):
        mw.LogitAttribution(session, coder="folder")
    with pytest.raises(DataError, match="16 wide"):
        session.interventions = [mw.Splice(made_coder(16))]
    assert session.interventions == ()


def test_a_coder_without_a_direct_way_is_refused_in_the_picture(model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT, **ASKED), coder=made_coder(32, "blocks.0.ln2.hook_normalized"))
    before = view.picture
    view.options = {"by": "feature"}
    assert view.status["state"] == "error"
    assert "no direct contribution" in view.status["message"]
    assert view.picture == before


def test_it_compares_the_features_of_two_runs(model, coder):
    session = mw.Session(model, PROMPT, interventions=[mw.Clamp(coder, 3, 5.0)], **ASKED)
    view = mw.LogitAttribution(session, by="feature", coder=coder, compare=mw.Run(interventions=[]))
    table = view.comparison.to_pandas()
    assert view.comparison.minus.holds
    assert table["contribution"].sum() == pytest.approx(view.comparison.minus.difference, abs=1e-4)
    assert (table["kind"] == "intervention").sum() == 1


def test_its_recipe_makes_it_again(model, saved, monkeypatch):
    monkeypatch.setattr(mw, "load_model", lambda _name: model, raising=False)
    view = mw.LogitAttribution(mw.Session(model, PROMPT), answer=5, foil=7, by="feature", coder=saved, top=10)
    assert f"coder=mw.sae.load({str(saved.folder)!r})" in view.recipe()
    again = executed(view)
    assert again.data.labels == view.data.labels
    np.testing.assert_array_equal(again.data.contribution, view.data.contribution)


def test_it_is_saved_opened_printed_and_exported(by_feature, tmp_path):
    by_feature.save(tmp_path / "features.npz")
    again = mw.LogitAttribution.from_data(mw.data.load(tmp_path / "features.npz"))
    assert again.data.labels == by_feature.data.labels
    assert again.options["by"] == "feature"
    assert manifest_of(again)["coder"] == "small at L0 resid_post"
    table = by_feature.to_pandas()
    assert table["feature"].notna().sum() == (table["kind"] == "feature").sum() > 0
    assert by_feature.save(tmp_path / "features.svg", top=8)
    printed = (tmp_path / "features.svg").read_text()
    assert re.search(r"L0 feature \d+", printed)
    assert "coder error" in printed
    assert "small at L0 resid_post" in printed
    assert re.search(r"L0 feature \d+", by_feature._still("svg"))


def test_the_session_sets_the_spliced_run_beside_its_own(model, coder):
    session = mw.Session(model, PROMPT, **ASKED)
    views = [kind(session) for kind in VIEWS]
    session.beside = mw.Run(interventions=[mw.Splice(coder)])
    session.wait()
    for kind, view in zip(VIEWS, views, strict=True):
        assert view.comparison.a.interventions == ()
        assert view.comparison.b.interventions == (mw.Splice(coder),)
        found = computed(kind, model, [mw.Splice(coder)])
        np.testing.assert_allclose(numbers(view.comparison.b), numbers(found), atol=1e-5)
