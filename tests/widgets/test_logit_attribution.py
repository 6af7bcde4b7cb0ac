"""The shell of the logit attribution: it follows its session, says what it cannot take, and its picture is its data."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from on_screen import PROMPT, manifest_of, refused_both_ways

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.errors import AnswerError, DataError
from mi_widgets.wire.blocks import unpack


@pytest.fixture
def view(session):
    return mw.LogitAttribution(session, answer="w5", foil="w6")


def test_the_data_is_what_compute_says(model, view):
    expected = compute.logit_attribution(model, PROMPT, "w5", "w6")
    np.testing.assert_allclose(view.data.contribution, expected.contribution, atol=1e-6)
    assert view.data.difference == pytest.approx(expected.difference, abs=1e-6)


@pytest.mark.parametrize("by", ["component", "layer", "head", "neuron"])
def test_the_picture_holds_the_data_and_its_parts_sum_to_the_difference(by, view):
    view.options = {"by": by}
    manifest, blocks, _ = unpack(view.picture)
    assert manifest["by"] == by
    assert manifest["part_labels"] == list(view.data.labels)
    assert np.array_equal(blocks["contribution"], view.data.contribution)
    assert blocks["contribution"].sum() == pytest.approx(manifest["difference"], abs=1e-4)
    assert np.array_equal(blocks["heads"], view.data.heads)
    np.testing.assert_allclose(blocks["sources"].sum(-1), view.data.heads, atol=2e-3)  # the wire rounds to halves
    assert [check["ok"] for check in manifest["checks"]] == [True] * len(manifest["checks"])


def test_one_edit_runs_one_pass_together_with_the_attention_explorer_and_the_lens(session):
    mw.Attention(session)
    mw.LogitLens(session)
    view = mw.LogitAttribution(session)
    before = session.passes
    session.prompt = "w7 w8 w9 w7"
    session.wait()
    assert session.passes == before + 1
    assert len(view.data.tokens) == 5  # with the beginning of the text


def test_another_answer_or_split_or_position_runs_no_pass(session, view):
    before = session.passes
    view.answer = "w9"
    view.options = {"by": "head", "position": 2}
    assert view.data.answer_string == "w9"
    assert view.data.position == 2
    assert session.passes == before


def test_without_an_answer_the_model_chooses_two(model, session):
    view = mw.LogitAttribution(session)
    likely = compute.next_tokens(model, PROMPT).top_ids[-1]
    assert [view.data.answer, view.data.foil] == likely[:2].tolist()
    assert manifest_of(view)["automatic"]
    assert [entry["id"] for entry in manifest_of(view)["candidates"]] == likely[:10].tolist()


def test_an_answer_that_is_no_single_token_is_refused_with_offers_and_the_picture_stays(view):
    before = view.picture
    view.answer = " w5 w6"
    assert view.status["state"] == "error"
    assert "w5 w6" in view.status["message"]
    assert view.refused["role"] == "answer"
    assert view.refused["pieces"] == ["w5", "w6"]
    assert "w5" in [offer["string"] for offer in view.refused["offers"]]
    assert view.picture == before
    with pytest.raises(AnswerError, match="w5 w6"):
        view.wait()
    view.answer = view.refused["offers"][0]["id"]  # as a click on an offer does
    assert view.status["state"] == "idle"
    assert view.refused is None


def test_answer_and_foil_belong_to_the_session(session, view):
    other = mw.LogitAttribution(session)
    assert (other.answer, other.foil) == ("w5", "w6")
    session.answer = "w10"
    assert view.data.answer_string == other.data.answer_string == "w10"
    other.foil = 7
    assert session.foil == 7
    assert view.data.foil == 7


def test_a_position_that_an_edit_took_away_becomes_the_last_one_and_says_so(session, view):
    view.options = {"position": 5}
    session.prompt = "w3 w4"
    assert view.data.position == 2
    assert any("no position 5" in note for note in manifest_of(view)["notes"])


def test_the_answer_is_read_where_the_position_is(stories):
    view = mw.LogitAttribution(stories, "Tom and Sue were playing. Tom said to", position=3, answer=" S")
    assert (view.data.position, view.data.answer_string) == (3, " S")
    assert view.data.tokens.ids[4] == view.data.answer  # the token that stands there in the prompt


@pytest.mark.parametrize(
    "options", [{"by": "moon"}, {"position": "end"}, {"top": 0}, {"rows": 0}, {"sort": "name"}, {"colour": "red"}]
)
def test_wrong_options_raise_in_python_and_are_passed_over_from_the_page(options, view):
    refused_both_ways(view, options)


def test_from_data_needs_no_torch(tmp_path, view):
    path = view.save(tmp_path / "attribution.npz")
    script = (
        "import sys, mi_widgets as mw\n"
        f"view = mw.LogitAttribution.from_data(mw.data.load({str(path)!r}))\n"
        "print(view.data.difference, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert float(out[0]) == pytest.approx(view.data.difference)
    assert out[1] == "False"


def test_the_recipe_makes_the_same_numbers(demo_model, tmp_path, monkeypatch):
    session = mw.Session(demo_model, "When Mary and John went to the store , John gave a drink to")
    view = mw.LogitAttribution(session, answer=" Mary", foil=" John", by="head")
    names: dict = {}
    monkeypatch.chdir(tmp_path)  # where the recipe writes its figure
    exec(view.recipe(), names)
    assert len(list(tmp_path.iterdir())) == 1
    assert names["view"].data.difference == view.data.difference
    assert names["view"].data.by == "head"


def test_the_table_sums_to_the_difference(tmp_path, view):
    table = view.to_pandas()
    assert table["contribution"].sum() == pytest.approx(view.data.difference, abs=1e-4)
    view.save(tmp_path / "attribution.csv")
    assert len((tmp_path / "attribution.csv").read_text().splitlines()) == len(table) + 1


def test_an_offline_page_holds_the_picture(view):
    state = view.frozen_state()
    manifest, blocks, _ = unpack(state["picture"])
    assert not manifest["live"]
    assert np.array_equal(blocks["contribution"], view.data.contribution)
    json.dumps({name: value for name, value in state.items() if not isinstance(value, bytes)})
    assert "logit_attribution" in view.to_html()


def test_nothing_is_left_on_the_model(model):
    before = sum(len(point.fwd_hooks) for point in model.hook_dict.values())
    view = mw.LogitAttribution(mw.Session(model, PROMPT), by="neuron")
    view.wait()
    view.close()
    assert sum(len(point.fwd_hooks) for point in model.hook_dict.values()) == before
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ["gpt2", "neox", "llama", "mistral", "gemma2", "gemma3", "qwen3"])
def test_every_architecture_has_a_picture_that_sums(architecture, tiny_model):
    view = mw.LogitAttribution(tiny_model(architecture), "w3 w4 w5 w3", by="head")
    assert view.status["state"] == "idle", view.status
    assert abs(view.data.residue) <= 1e-4 * max(1.0, abs(view.data.difference))


@pytest.mark.parametrize("wrong", [2.7, True, [1, 2], {}])
def test_what_is_no_answer_is_refused_and_the_session_keeps_its_own(wrong, session, view):
    with pytest.raises(DataError, match="answer"):
        session.answer = wrong
    assert session.answer == view.answer == "w5"


def test_numbers_of_numpy_are_taken(session, view):
    session.answer = np.array([7])
    view.options = {"position": np.int64(2)}
    assert (view.answer, view.data.answer, view.data.position) == (7, 7, 2)


def test_a_question_that_the_model_chose_stays_when_a_head_is_ablated(model):
    session = mw.Session(model, "w3 w4 w5 w6")
    view = mw.LogitAttribution(session)
    before = view.data
    for head in range(4):
        session.interventions = [mw.Ablate(layer=0, head=head), mw.Ablate(layer=1, site="mlp_out")]
        assert (view.data.answer, view.data.foil) == (before.answer, before.foil)
    assert f"answer={before.answer}, foil={before.foil}" in view.recipe()
    session.interventions = []
    assert view.data.difference == before.difference
    session.prompt = "w9 w8 w7 w6"
    chosen = mw.LogitAttribution(mw.Session(model, "w9 w8 w7 w6")).data
    assert (view.data.answer, view.data.foil) == (chosen.answer, chosen.foil)
