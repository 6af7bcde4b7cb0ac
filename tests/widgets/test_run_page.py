"""What the page knows of the run that is looked at, and what it orders: interventions made and taken away, side B."""

from __future__ import annotations

import numpy as np
import pytest
from made_patterns import softmax
from on_screen import manifest_of

import mi_widgets as mw
from mi_widgets.data.interventions import Ablate, Add, Intervention, Run

COMPARED = VIEWS = [mw.Attention, mw.LogitLens, mw.LogitAttribution, mw.Prompt]
every_view = pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
every_compared = pytest.mark.parametrize("kind", COMPARED, ids=lambda kind: kind.__name__)
UNTOUCHED = {"kind": "run", "prompt": None, "model": None, "interventions": []}


def ordered(view, order, **given):
    """Let the page of `view` order this."""
    view._receive(view, {"kind": "order", "order": order, **given}, [])


def steering(model):
    """A direction that nothing on a page could name."""
    return Add(np.ones(model.cfg.d_model), layer=0, strength=2)


class TestOrders:
    @every_view
    def test_ablate_takes_heads_out_and_puts_them_back_and_leaves_all_else(self, kind, session, model):
        view, other = kind(session), steering(model)
        session.interventions = [other]
        ordered(view, "ablate", heads=[[1, 2], [0, 1]])
        assert session.interventions == (other, Ablate(1, 2), Ablate(0, 1))
        ordered(view, "ablate", heads=[[1, 2]])
        assert session.interventions == (other, Ablate(0, 1))

    def test_of_several_heads_those_that_are_missing_are_taken_out_before_all_are_put_back(self, session):
        view = mw.Attention(session)
        session.interventions = [Ablate(0, 0)]
        ordered(view, "ablate", heads=[[0, 0], [1, 1], [1, 1]])
        assert session.interventions == (Ablate(0, 0), Ablate(1, 1))
        ordered(view, "ablate", heads=[[0, 0], [1, 1]])
        assert session.interventions == ()

    def test_a_head_that_is_ablated_in_another_way_is_put_back_and_not_ablated_twice(self, session):
        view = mw.Attention(session)
        session.interventions = [Ablate(0, 0, by="mean"), Ablate(0, site="attn_out")]
        ordered(view, "ablate", heads=[[0, 0]])
        assert session.interventions == (Ablate(0, site="attn_out"),)

    @every_view
    def test_restore_takes_all_away_and_undo_puts_back_what_no_page_could_name(self, kind, session, model):
        view, made = kind(session), (steering(model), Ablate(1, 0))
        session.interventions = made
        ordered(view, "restore")
        assert session.interventions == ()
        ordered(view, "undo")
        assert session.interventions == made
        ordered(view, "undo")
        assert session.interventions == ()

    def test_undo_is_of_the_last_change_whoever_made_it(self, session):
        view, linked = mw.Attention(session), mw.Prompt(session)
        ordered(linked, "ablate", heads=[[0, 0]])
        session.interventions = [Ablate(1, 1)]
        ordered(view, "undo")
        assert session.interventions == (Ablate(0, 0),)

    def test_one_is_removed_by_its_place_and_name(self, session, model):
        view = mw.Attention(session)
        weak, strong = steering(model), Add(-np.ones(model.cfg.d_model), layer=0, strength=2)
        session.interventions = [weak, Ablate(0, 0), strong]
        ordered(view, "remove", at=2, label=strong.label)
        assert session.interventions == (weak, Ablate(0, 0))

    @every_view
    @pytest.mark.parametrize(
        "order",
        [
            {"order": "ablate", "heads": [[0, 99]]}, {"order": "ablate", "heads": [[-1, 0]]}, {"order": "ablate"},
            {"order": "ablate", "heads": [[0, "x"]]}, {"order": "ablate", "heads": [[0]]}, {"order": "ablate", "heads": 5},
            {"order": "remove", "at": 0, "label": "L1 H1 ablated"}, {"order": "remove", "at": 7, "label": "x"},
            {"order": "remove"}, {"order": "unheard-of"}, {},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_cannot_be_done_is_said_and_changes_nothing(self, kind, order, session):
        view = kind(session)
        session.interventions = [Ablate(0, 0)]
        picture = view.picture
        ordered(view, **order) if "order" in order else ordered(view, None)
        assert session.interventions == (Ablate(0, 0),)
        assert (view.status["state"], bool(view.status["message"]), view.picture) == ("error", True, picture)

    def test_a_view_of_plain_data_has_nothing_to_change(self):
        view = mw.Attention.from_data(softmax(), list("abcde"))
        ordered(view, "ablate", heads=[[0, 0]])
        assert "plain data" in view.status["message"]


class TestWhatThePageKnows:
    @every_view
    def test_interventions_stand_on_every_view_whoever_makes_them(self, kind, session):
        view = kind(session)
        assert view.interventions == []
        session.interventions = [Ablate(1, 0, by="mean"), Intervention("blocks.0.hook_mlp_out", abs)]
        assert view.interventions == [
            {"label": "L1 H0 mean-ablated", "kind": "ablate", "by": "mean", "layer": 1, "head": 0},
            {"label": "abs at blocks.0.hook_mlp_out", "kind": "own", "by": None, "layer": None, "head": None},
        ]
        assert kind(session).interventions == view.interventions

    @every_view
    def test_they_cross_before_anything_is_computed(self, kind, session, monkeypatch):
        view, sent = kind(session), []
        monkeypatch.setattr(view, "_send", lambda message, buffers=None: sent.append(message.get("state", {})))
        ordered(view, "ablate", heads=[[0, 0]])
        first = [next(iter(state)) for state in sent if state]
        assert first[0] == "interventions"
        assert first.index("interventions") < first.index("status")

    @every_view
    def test_a_page_cannot_set_them_but_by_order(self, kind, session):
        view = kind(session)
        view.set_state({"interventions": [{"label": "L0 H0 ablated", "kind": "ablate", "layer": 0, "head": 0}]})
        assert (view.interventions, session.interventions) == ([], ())

    @every_view
    def test_where_none_is_made_an_edit_says_nothing_of_them(self, kind, session, monkeypatch):
        view, sent = kind(session), []
        monkeypatch.setattr(view, "_send", lambda message, buffers=None: sent.append(message.get("state", {})))
        view.set_state({"prompt": {"kind": "text", "text": "w5 w4"}})
        assert not [state for state in sent if "interventions" in state]
        assert manifest_of(view)["interventions"] == []

    @every_view
    def test_a_picture_names_the_interventions_of_its_run(self, kind, session):
        view = kind(session)
        session.interventions = [Ablate(1, 0)]
        session.wait()
        manifest = manifest_of(view)
        assert manifest["interventions"] == ["L1 H0 ablated"]
        assert manifest.get("ablated", [[1, 0]]) == [[1, 0]]
        assert view.frozen_state()["interventions"] == view.interventions

    @every_view
    def test_a_result_that_was_kept_names_its_run_without_a_model(self, kind, session):
        live = kind(session)
        session.interventions = [Ablate(1, 0)]
        kept = kind.from_data(live.data)
        assert [value["label"] for value in kept.interventions] == ["L1 H0 ablated"]
        assert kept.frozen_state()["interventions"] == kept.interventions

    @every_compared
    def test_of_a_comparison_the_picture_says_what_its_other_side_is(self, kind, session):
        view = kind(session, compare=Run(interventions=[]))
        assert view.get_state("compare") == {"compare": UNTOUCHED}
        session.interventions = [Ablate(1, 0)]
        session.wait()
        assert manifest_of(view)["interventions"] == ["L1 H0 ablated"]
        assert manifest_of(view)["other"] == {"interventions": [], "ablated": [], "model": None}
        assert view.frozen_state()["compare"] == UNTOUCHED

    def test_an_ablated_head_adds_nothing_to_the_attribution(self, session):
        view = mw.LogitAttribution(session, by="head")
        ordered(view, "ablate", heads=[[1, 0]])
        assert view.data.heads[1, 0] == 0

    def test_what_steering_adds_is_a_part_of_the_attribution(self, session, model):
        view = mw.LogitAttribution(session)
        session.interventions = [steering(model)]
        session.wait()
        assert "intervention" in manifest_of(view)["part_kinds"]
        assert all(check["ok"] for check in manifest_of(view)["checks"])


class TestSideB:
    @every_compared
    def test_the_page_may_ask_for_the_untouched_run(self, kind, session):
        view = kind(session)
        session.interventions = [Ablate(1, 0)]
        view.set_state({"compare": UNTOUCHED})
        session.wait()
        assert view.compare == Run(interventions=[])
        assert view.comparison.b.tokens == view.data.tokens

    @every_compared
    def test_an_edited_prompt_leaves_the_rest_of_a_run_as_it_is(self, kind, session, model, tiny_model):
        other, made = tiny_model("llama"), (steering(model),)
        view = kind(session, compare=Run(other, interventions=made))
        held = view.get_state("compare")["compare"]
        assert (held["prompt"], held["interventions"]) == (None, [made[0].label])
        view.set_state({"compare": {**held, "prompt": {"kind": "text", "text": "w3 w5"}}})
        assert view.compare.model is other
        assert (view.compare.prompt, view.compare.interventions) == ("w3 w5", made)
        view.set_state({"compare": {"kind": "text", "text": "w5"}})
        assert (view.compare.prompt, view.compare.interventions) == ("w5", made)
        view.set_state({"compare": None})
        assert view.compare is None

    @every_compared
    @pytest.mark.parametrize(
        "change",
        [{"model": "gpt2"}, {"interventions": ["L0 H0 ablated"]}, {"interventions": 5}, {"prompt": 5}],
        ids=str,
    )
    def test_the_page_cannot_name_what_only_python_has(self, kind, change, session):
        view = kind(session, compare=Run(interventions=[]))
        view.set_state({"compare": {**UNTOUCHED, **change}})
        assert view.compare == Run(interventions=[])
        assert view.status["state"] == "error"
