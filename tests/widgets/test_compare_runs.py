"""Views that compare runs: with and without interventions, two models; what is left out follows the session."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import traitlets

import mi_widgets as mw
from mi_widgets.errors import DataError, ModelError

PROMPT = "w3 w4 w5 w3 w4"
ABLATED = mw.Ablate(layer=1, head=2)
ASKED = {"answer": 5, "foil": 7}
COMPARED = VIEWS = [mw.Attention, mw.LogitLens, mw.LogitAttribution, mw.Prompt]


def numbers(data):
    """The numbers of a result that an ablation changes."""
    for name in ("values", "top_probs", "contribution"):
        if hasattr(data, name):
            return getattr(data, name)
    raise AssertionError(data)


def executed(view, **given):
    """The view that its recipe makes."""
    names = dict(given)
    exec(view.recipe().rsplit("view.save", 1)[0], names)
    names["session"].wait()
    return names["view"]


@pytest.fixture
def loads(model, monkeypatch):
    """Recipes load this very model."""
    monkeypatch.setattr(mw, "load_model", lambda _name: model, raising=False)
    return model


@pytest.mark.parametrize("kind", COMPARED)
def test_a_view_shows_the_changed_run_beside_the_untouched_one(kind, model):
    session = mw.Session(model, PROMPT, interventions=[ABLATED], **ASKED)
    view = kind(session, compare=mw.Run(interventions=[]))
    assert view.options["show"] == "difference"
    untouched, changed = kind(mw.Session(model, PROMPT, **ASKED)), kind(session)
    assert np.allclose(numbers(view.comparison.a), numbers(changed.data), atol=1e-5)
    assert np.allclose(numbers(view.comparison.b), numbers(untouched.data), atol=1e-5)
    assert view.comparison.a.interventions == (ABLATED,)
    assert view.comparison.b.interventions == ()


@pytest.mark.parametrize("kind", COMPARED)
def test_what_a_run_leaves_out_follows_the_session(kind, model):
    session = mw.Session(model, PROMPT)
    view = kind(session, compare=mw.Run(interventions=[ABLATED]))
    session.prompt = "w6 w7"
    assert view.comparison.b.tokens.strings[-1] == "w7"
    assert view.comparison.b.interventions == (ABLATED,)
    session.interventions = [mw.Ablate(layer=0, head=0)]
    assert view.comparison.a.interventions == (mw.Ablate(layer=0, head=0),)
    assert view.comparison.b.interventions == (ABLATED,)
    crossed = {"kind": "run", "prompt": None, "model": None, "interventions": [ABLATED.label]}
    assert view.get_state(["compare"])["compare"] == crossed  # its prompt is that of A, on the page too


def test_a_prompt_is_compared_under_the_sessions_interventions(model):
    session = mw.Session(model, PROMPT, interventions=[ABLATED])
    view = mw.Attention(session, compare="w6 w7")
    assert view.comparison.b.interventions == (ABLATED,)
    session.interventions = []
    assert view.comparison.b.interventions == ()


def test_the_page_edits_the_second_prompt_and_the_run_keeps_the_rest(model):
    view = mw.Attention(mw.Session(model, PROMPT), compare=mw.Run(interventions=[ABLATED]))
    view.set_state({"compare": {"kind": "text", "text": "w6 w7"}})
    assert view.compare == mw.Run(prompt="w6 w7", interventions=[ABLATED])
    assert view.comparison.b.tokens.strings[-1] == "w7"
    view.set_state({"compare": None})
    assert view.comparison is None


@pytest.mark.parametrize("kind", COMPARED)
def test_another_model_is_read_as_itself(kind, model, tiny_model):
    other = tiny_model("llama")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    view = kind(
        mw.Session(model, PROMPT, **ASKED),
        compare=mw.Run(model=other),
        **({"weighting": "value"} if kind is mw.Attention else {}),
    )
    alone = kind(mw.Session(other, PROMPT, **ASKED), **({"weighting": "value"} if kind is mw.Attention else {}))
    assert np.allclose(numbers(view.comparison.b), numbers(alone.data), atol=1e-5)
    assert not np.allclose(numbers(view.comparison.a), numbers(view.comparison.b), atol=1e-5)


def test_what_cannot_be_compared_is_refused_and_the_last_stays(model, demo_model):
    view = mw.Attention(mw.Session(model, PROMPT), compare="w3")
    for wrong, error in [
        (mw.Run(model=demo_model), ModelError),
        (mw.Run(interventions=[mw.Ablate(layer=9, head=0)]), DataError),
    ]:
        with pytest.raises(error) as refusal:
            view.compare = wrong
        assert isinstance(refusal.value, traitlets.TraitError)
        assert view.compare == "w3"


@pytest.mark.parametrize("kind", VIEWS)
def test_the_recipe_makes_the_changed_run_again(kind, loads):
    session = mw.Session(loads, PROMPT)
    view = kind(session)
    session.interventions = [ABLATED]
    assert "session.interventions = [mw.Ablate(layer=1, head=2)]" in view.recipe()
    assert np.array_equal(numbers(executed(view).data), numbers(view.data))


@pytest.mark.parametrize("kind", COMPARED)
def test_the_recipe_makes_the_comparison_of_two_runs_again(kind, loads):
    view = kind(mw.Session(loads, PROMPT, interventions=[ABLATED]), compare=mw.Run(interventions=[]))
    assert "compare=mw.Run(interventions=[])" in view.recipe()
    assert np.array_equal(numbers(executed(view).comparison.b), numbers(view.comparison.b))


def test_the_recipe_loads_the_other_model(model, loads, tiny_model):
    other = tiny_model("llama")
    other.cfg.model_name = "another"
    view = mw.Attention(mw.Session(model, PROMPT), compare=mw.Run(model=other, prompt="w3"))
    code = view.recipe()
    assert "other = mw.load_model('another')" in code
    assert "compare=mw.Run(model=other, prompt='w3')" in code
    assert executed(view).comparison.b.tokens.strings[-1] == "w3"


def test_the_recipe_asks_for_another_model_of_the_same_name_which_it_would_not_find(model, tiny_model):
    other = tiny_model("llama")
    other.cfg.model_name = model.cfg.model_name
    code = mw.Attention(mw.Session(model, PROMPT), compare=mw.Run(model=other)).recipe()
    assert "# other: the model that you compared with, which has the same name" in code
    assert "other = " not in code
    assert "compare=mw.Run(model=other)" in code


def test_the_recipe_names_what_it_cannot_make_and_says_what_to_give(loads):
    def louder(activation, hook):
        return activation * 2

    directions = np.eye(2, loads.cfg.d_model, dtype=np.float32)
    changes = [
        mw.Add(directions[0], layer=0),
        mw.Add(directions[1], layer=1, strength=2),
        mw.Intervention("blocks.0.attn.hook_z", louder),
    ]
    changes += [mw.Intervention("blocks.1.attn.hook_z", lambda activation, hook: activation * 3)]
    view = mw.Attention(mw.Session(loads, PROMPT, interventions=changes))
    code = view.recipe()
    width = loads.cfg.d_model
    for line in (f"# direction: a numpy array of {width} numbers", f"# direction_of_2: a numpy array of {width} numbers",
                 "# louder: your own function", "# function: your own function"):  # fmt: skip
        assert line in code
    given = {
        "direction": directions[0],
        "direction_of_2": directions[1],
        "louder": louder,
        "function": lambda z, hook: z * 3,
    }
    assert np.array_equal(executed(view, **given).data.values, view.data.values)


def test_a_stale_picture_is_named_by_its_own_run(model):
    session = mw.Session(model, PROMPT)
    view = mw.Attention(session)

    def broken(activation, hook):
        raise ZeroDivisionError("mine")

    session.interventions = [mw.Intervention("blocks.0.attn.hook_z", broken)]
    assert view.status["state"] == "error"
    assert "broken" in view.status["message"]
    assert "ZeroDivisionError" in view.status["message"]
    assert "interventions" not in view.recipe()  # the picture that is there is of the untouched run
    with pytest.warns(UserWarning, match="not current"):
        assert view.data.interventions == ()


def test_a_fitted_lens_reads_the_model_that_it_was_fitted_for(demo_model):
    other = mw.load_demo()
    with torch.no_grad():
        next(iter(other.parameters())).mul_(1.1)
    view = mw.LogitLens(mw.Session(demo_model, "When Mary and John"), compare=mw.Run(model=other))
    view.options = {"lens": "tuned"}
    with pytest.raises(DataError, match="fitted for one"):
        view.wait()
    view.options = {"lens": "logit"}
    view.wait()
