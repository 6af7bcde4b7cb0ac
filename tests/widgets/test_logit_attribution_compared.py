"""The logit attribution of two prompts or runs: one question, by part, and what the page is told."""

from __future__ import annotations

import numpy as np
import pytest
from on_screen import manifest_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.data import LogitAttribution, LogitAttributionComparison
from mi_widgets.errors import DataError, PromptError

PROMPT, CORRUPT = "w3 w4 w5 w3 w4", "w3 w6 w5 w3 w4"
ABLATED = mw.Run(interventions=[mw.Ablate(layer=1, head=2)])
PATCHED = mw.Run(prompt=CORRUPT, interventions=[mw.Patch("resid_pre", layer=1, position=2, source=PROMPT)])
ASKED = {"answer": 5, "foil": 7}


def by_hand(model, prompt, answer, foil, interventions=()):
    """The two logits at the last position, through TransformerLens alone."""
    hooks = []
    for change in interventions:

        def zero(value, hook, head=change.head):
            value[:, :, head] = 0
            return value

        hooks.append((f"blocks.{change.layer}.attn.hook_z", zero))
    logits = model.run_with_hooks(model.to_tokens(prompt), fwd_hooks=hooks)[0, -1].detach().numpy()
    return float(logits[answer] - logits[foil])


@pytest.mark.parametrize("by", ["component", "layer", "head", "neuron"])
@pytest.mark.parametrize(
    ("compare", "interventions"), [(CORRUPT, ()), (ABLATED, ABLATED.interventions)], ids=["prompt", "run"]
)
def test_every_part_is_the_difference_of_two_attributions_and_they_sum_to_the_models(by, compare, interventions, model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare=compare, by=by, top=500, **ASKED)
    other = PROMPT if interventions else CORRUPT
    a = compute.logit_attribution(model, PROMPT, 5, 7, by=by, top=500)
    b = compute.logit_attribution(model, other, 5, 7, by=by, top=500, interventions=interventions)
    minus = view.comparison.minus
    assert minus.labels == a.labels
    assert np.allclose(minus.contribution, a.contribution - b.contribution, atol=1e-5)
    assert np.allclose(minus.heads, a.heads - b.heads, atol=1e-5)
    expected = by_hand(model, PROMPT, 5, 7) - by_hand(model, other, 5, 7, interventions)
    assert minus.contribution.sum() == pytest.approx(expected, abs=1e-4)
    assert minus.difference == pytest.approx(expected, abs=1e-4)


def test_neurons_that_only_one_side_shows_keep_the_sum(model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare=CORRUPT, by="neuron", top=5, **ASKED)
    minus = view.comparison.minus
    assert minus.holds
    assert minus.part_kinds.count("neuron") < 10


def test_what_the_model_chooses_is_as_choice_and_both_are_asked_it(model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare=CORRUPT)
    alone = mw.LogitAttribution(mw.Session(model, PROMPT))
    assert (view.comparison.b.answer, view.comparison.b.foil) == (alone.data.answer, alone.data.foil)


@pytest.mark.parametrize(("asked", "expected"), [(None, (5, 6)), (-1, (5, 6)), (1, (1, 1)), (4, (4, 5)), (99, (5, 6))])
def test_the_position_of_b_answers_to_that_of_a(asked, expected, model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare="w3 w4 w8 w5 w3 w4", position=asked, **ASKED)
    assert (view.comparison.a.position, view.comparison.b.position) == expected


def test_a_position_without_a_partner_is_said(model):
    view = mw.LogitAttribution(mw.Session(model, "w3 w9 w4 w5"), compare="w3 w4 w5", position=2, **ASKED)
    with pytest.raises(DataError, match="no partner"):
        view.wait()
    view.options = {"position": None}
    assert view.comparison.b.position == 3


def test_a_second_prompt_that_cannot_be_run_is_named(model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare=[10**6], **ASKED)
    with pytest.raises(PromptError, match="Prompt B"):
        view.wait()
    view.compare = CORRUPT
    assert view.comparison is not None


def test_an_edit_of_the_question_or_the_split_makes_no_pass(model):
    session = mw.Session(model, PROMPT)
    view = mw.LogitAttribution(session, compare=CORRUPT)
    passes = session.passes
    for change in ({"by": "head"}, {"by": "layer"}, {"position": 2}, {"show": "A"}):
        view.options = change
    session.answer, session.foil = 3, 4
    assert view.comparison.b.answer == 3
    assert session.passes == passes


def test_the_run_that_a_session_sets_beside_is_attributed_too(model):
    session = mw.Session(model, PROMPT, answer=5, foil=7)
    view = mw.LogitAttribution(session)
    session.beside = PATCHED
    own = mw.LogitAttribution(session, compare=PATCHED)
    assert view.options["show"] == "difference"
    assert np.array_equal(view.comparison.b.contribution, own.comparison.b.contribution)
    session.beside = mw.Run(interventions=[mw.Intervention("unembed.hook_out", lambda value, hook: value)])
    assert view.status["message"].startswith("B cannot be shown")  # behind the residual stream
    assert view.data.interventions == ()
    session.beside = None
    assert (view.comparison, view.options["show"]) == (None, "A")


def test_the_page_is_told_of_both_sides_and_of_the_difference(model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare="w3 w4 w8 w5 w3 w4", by="head", **ASKED)
    manifest, both = manifest_of(view), view.comparison
    compare = manifest["compare"]
    assert (manifest["position"], compare["B"]["position"]) == (both.a.position, both.b.position)
    assert manifest["difference"] - compare["B"]["difference"] == pytest.approx(compare["difference"]["difference"])
    assert compare["difference"]["part_labels"] == list(both.minus.labels)
    assert len(compare["pairs"]) == len(compare["difference"]["tokens"]["strings"])
    assert manifest["other"] == {"interventions": [], "ablated": [], "model": None}
    assert manifest["checks"][0]["ok"]


def test_pictures_and_tables_are_of_what_is_on_screen(model, tmp_path):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare=ABLATED, **ASKED)
    assert "contribution_b" in view.to_pandas()
    titles = {}
    for show in ("A", "B", "difference"):
        view.options = {"show": show}
        titles[show] = str(view.figure(kind="waterfall").layout)
        assert view._still("svg")
    assert ["A − B" in title for title in titles.values()] == [False, False, True]
    back = mw.LogitAttribution.from_data(mw.data.load(view.save(tmp_path / "both.npz")))
    assert back.options["show"] == "difference"
    assert isinstance(back.comparison, LogitAttributionComparison)
    assert isinstance(back.data, LogitAttribution)
    assert manifest_of(back)["compare"] is not None


def test_the_offline_page_and_the_recipe_hold_the_comparison(model, monkeypatch):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), compare=ABLATED, **ASKED)
    frozen = view.frozen_state()
    assert frozen["compare"]["interventions"] == ["L1 H2 ablated"]
    monkeypatch.setattr(mw, "load_model", lambda _name: model, raising=False)
    names = {}
    exec(view.recipe().rsplit("view.save", 1)[0], names)
    assert np.array_equal(names["view"].comparison.minus.contribution, view.comparison.minus.contribution)


def test_without_comparison_nothing_more_crosses(model):
    view = mw.LogitAttribution(mw.Session(model, PROMPT), **ASKED)
    assert manifest_of(view)["compare"] is None
    assert b"difference/" not in view.picture
