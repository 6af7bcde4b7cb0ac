"""The run that a session sets beside its own in every linked view that compares nothing itself."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import traitlets

import mi_widgets as mw
from mi_widgets.errors import DataError, MiWidgetsError, ModelError

PROMPT, CORRUPT = "w3 w4 w5 w3 w4", "w3 w6 w5 w3 w4"
ABLATED = mw.Run(interventions=[mw.Ablate(layer=1, head=2)])
PATCHED = mw.Run(prompt=CORRUPT, interventions=[mw.Patch("resid_pre", layer=1, position=2, source=PROMPT)])
#: A position that the prompt does not have: found out when the run is made.
IMPOSSIBLE = mw.Run(interventions=[mw.Patch("resid_pre", layer=1, position=40, source=CORRUPT)])
COMPARED = [mw.Attention, mw.LogitLens, mw.LogitAttribution, mw.Prompt]
every_compared = pytest.mark.parametrize("kind", COMPARED, ids=lambda kind: kind.__name__)


def numbers(data):
    """The numbers of a result that an intervention changes."""
    return next(getattr(data, name) for name in ("values", "top_probs", "contribution") if hasattr(data, name))


def ordered(view, order):
    view._receive(view, {"kind": "order", "order": order}, [])


@every_compared
def test_it_stands_in_every_view_as_a_comparison_of_its_own_would(kind, session):
    view = kind(session)
    session.beside = PATCHED
    own = kind(session, compare=PATCHED)
    assert np.array_equal(numbers(view.comparison.b), numbers(own.comparison.b))
    assert (view.compare, view.beside, own.beside) == (None, PATCHED, None)
    assert view.comparison.b.interventions == PATCHED.interventions
    assert view.get_state(["beside"])["beside"] == own.get_state(["compare"])["compare"]


@every_compared
def test_taken_away_the_view_is_as_it_was(kind, session):
    view = kind(session)
    before = view.data
    session.beside = ABLATED
    session.beside = None
    assert view.comparison is None
    assert view.options["show"] == "A"
    assert np.array_equal(numbers(view.data), numbers(before))


def test_one_pass_makes_it_for_all_views_and_the_untouched_one_stays(in_loop, model):
    async def main():
        session = mw.Session(model, PROMPT)
        views = [kind(session) for kind in COMPARED]
        session.wait()
        assert session.passes == 1
        for passes, run in ((2, ABLATED), (2, None), (2, ABLATED), (3, mw.Run(interventions=[mw.Ablate(0, 0)]))):
            session.beside = run
            session.wait()
            assert session.passes == passes
            assert {view.comparison is None for view in views} == {run is None}

    in_loop(main)


def test_the_newest_of_many_clicks_wins(in_loop, model):
    async def main():
        session = mw.Session(model, PROMPT)
        view = mw.Attention(session)
        session.wait()
        for layer in (0, 1):
            for head in range(4):
                session.beside = mw.Run(interventions=[mw.Ablate(layer, head)])
        while session.runner.busy:
            await asyncio.sleep(0)
        assert session.passes == 2
        assert view.comparison.b.interventions == (mw.Ablate(1, 3),)

    in_loop(main)


def test_a_view_that_compares_something_itself_is_left_alone(session):
    own, two_lenses = mw.Attention(session, compare=CORRUPT), mw.LogitLens(session)
    two_lenses._lenses["tuned"] = "logit"  # as good as another
    two_lenses.options = {"versus": "logit"}
    pictures = own._picture, two_lenses._picture
    session.beside = ABLATED
    assert (own._picture, two_lenses._picture) == pictures
    assert (own.beside, two_lenses.beside) == (None, None)
    own.compare = None
    two_lenses.options = {"versus": None}
    for view in (own, two_lenses):
        assert view.comparison.b.interventions == ABLATED.interventions
        assert view.options["show"] == "difference"
    two_lenses.options = {"versus": "logit"}
    assert two_lenses.options["show"] == "difference"
    assert two_lenses.comparison.b.interventions == ()


def test_what_the_reader_looks_at_stays_from_run_to_run(session):
    view = mw.Attention(session)
    session.beside = ABLATED
    assert view.options["show"] == "difference"
    view.options = {"show": "B"}
    session.beside = PATCHED
    view.compare = CORRUPT
    view.compare = None
    assert view.options["show"] == "B"
    session.beside = None
    assert view.options["show"] == "A"


@every_compared
def test_a_view_made_later_shows_it_at_once(kind, session):
    session.beside = ABLATED
    view = kind(session)
    assert view.comparison.b.interventions == ABLATED.interventions
    assert view.options["show"] == "difference"
    assert kind(session, show="A").options["show"] == "A"


def test_it_follows_the_prompt_and_what_it_leaves_out_is_the_sessions(session):
    view = mw.Prompt(session)
    session.beside = mw.Run(prompt="w6 w7")
    session.interventions = [mw.Ablate(0, 0)]
    session.prompt = "w8 w9"
    assert view.comparison.a.tokens.strings[-1] == "w9"
    assert view.comparison.b.tokens.strings[-1] == "w7"
    assert view.comparison.b.interventions == (mw.Ablate(0, 0),)


@every_compared
def test_a_run_that_cannot_be_made_is_said_and_costs_nothing_of_a(kind, session):
    view = kind(session)
    alone = view.data
    for made in (view, None):
        session.beside = IMPOSSIBLE
        made = made or kind(session)
        assert made.status["state"] == "error"
        assert made.status["message"].startswith("B cannot be shown: ")
        assert made.status["hint"]
        assert np.array_equal(numbers(made.data), numbers(alone))
        assert made.comparison is None
        assert "compare" not in made.recipe()
    session.prompt = "w7 w8"
    assert view.data.tokens.strings[-1] == "w8"
    session.beside = ABLATED
    assert (view.status["state"], view.options["show"]) == ("idle", "difference")
    assert view.comparison.b.interventions == ABLATED.interventions


def test_what_fails_of_both_runs_fails_as_ever(session):
    view = mw.Prompt(session)
    session.beside = ABLATED
    session.prompt = [10**6]
    assert isinstance(view.last_error, MiWidgetsError)
    assert "B cannot" not in view.status["message"]


def test_a_comparison_that_cannot_be_drawn_leaves_a_alone(session, monkeypatch):
    def refused(a, b):
        raise DataError("these cannot be compared.", "Compare others.")

    monkeypatch.setattr("mi_widgets.widgets.prompt.NextTokensComparison", refused)
    view = mw.Prompt(session)
    session.beside = ABLATED
    assert view.status["message"] == "B cannot be shown: these cannot be compared."
    assert view.data.interventions == ()
    view.compare = CORRUPT
    assert isinstance(view.last_error, DataError)  # the view's own fails as ever


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(3, MiWidgetsError), (mw.Run(interventions=[mw.Ablate(layer=9, head=0)]), DataError), ("demo", ModelError)],
)
def test_what_cannot_stand_beside_is_refused_and_the_last_stays(wrong, error, session, demo_model):
    view = mw.Attention(session)
    session.beside = ABLATED
    with pytest.raises(error) as refusal:
        session.beside = mw.Run(model=demo_model) if wrong == "demo" else wrong
    assert isinstance(refusal.value, traitlets.TraitError)
    assert (session.beside, view.beside) == (ABLATED, ABLATED)


def test_the_page_takes_it_away_in_all_views(session):
    views = [mw.Attention(session), mw.Prompt(session)]
    session.beside = ABLATED
    ordered(views[0], "alone")
    assert session.beside is None
    assert [view.get_state(["beside"])["beside"] for view in views] == [None, None]


def test_the_page_can_set_none_and_a_closed_view_hears_of_none(session):
    view, closed = mw.Attention(session), mw.Prompt(session)
    closed.close()
    view.set_state({"beside": {"kind": "run", "prompt": None, "model": None, "interventions": []}})
    assert (session.beside, view.beside) == (None, None)
    session.beside = ABLATED
    assert closed.beside is None
    assert view.comparison is not None


def test_views_that_no_page_shows_wait_until_they_are_shown(session):
    hidden = mw.Prompt(session)
    hidden.session_hidden = True
    picture = hidden._picture
    session.beside = ABLATED
    assert hidden._picture is picture
    assert hidden.comparison.b.interventions == ABLATED.interventions


@every_compared
def test_the_recipe_and_the_offline_page_hold_it(kind, session, model, monkeypatch):
    view = kind(session)
    session.beside = PATCHED
    assert f"compare={PATCHED!r}" in view.recipe()
    frozen = view.frozen_state()
    assert (frozen["compare"], frozen["beside"]) == (view.get_state(["beside"])["beside"], None)
    monkeypatch.setattr(mw, "load_model", lambda _name: model, raising=False)
    names = {}
    exec(view.recipe().rsplit("view.save", 1)[0], names)
    assert np.array_equal(numbers(names["view"].comparison.b), numbers(view.comparison.b))
