"""A sweep of ablations: every cell is the run that its own intervention makes, one after the other, on every
architecture; what is put in place is said; the model is left as it was."""

from __future__ import annotations

import numpy as np
import patches_one_by_one
import pytest
import tiny_models
import torch
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.errors import AnswerError, DataError, ModelError

ARCHITECTURES = list(tiny_models.CONFIGS)
DRAW = np.random.default_rng(6)
IDS, SECOND, THIRD = (DRAW.integers(3, tiny_models.D_VOCAB, 8) for _ in range(3))
SHORT = DRAW.integers(3, tiny_models.D_VOCAB, 5)
ANSWER, FOIL = 9, 4


def metric_of(model, ids, changes=()):
    return patches_one_by_one.difference(model, ids, changes, ANSWER, FOIL)


def assert_one_by_one(model, grid, prompts, some=12):
    """Cells of the grid against runs with its own interventions; all of a small grid, some of a large one."""
    count = int(np.prod(grid.shape))
    cells = range(count) if count <= some else DRAW.choice(count, some, replace=False)
    size = float(np.abs(np.append(grid.values, grid.clean_values)).max())
    for pair, ids in enumerate(prompts):
        assert grid.clean_values[pair] == pytest.approx(metric_of(model, ids), rel=1e-4, abs=1e-5)
        for cell in cells:
            index = tuple(map(int, np.unravel_index(cell, grid.shape)))
            want = metric_of(model, ids, grid.change(index))
            assert grid.values[pair, cell] == pytest.approx(want, rel=1e-4, abs=1e-4 * size), grid.at(index)


class TestEveryCell:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("over", ["head", "attn", "mlp", "neuron", "position"])
    def test_is_the_run_that_its_intervention_makes(self, over, architecture, tiny_model):
        model = tiny_model(architecture)
        for by in ("zero", "mean", "resample"):
            reference = None if by == "zero" else [SECOND, THIRD]
            grid = compute.ablate(model, IDS, ANSWER, FOIL, over, by, reference=reference, seed=3)
            assert (grid.method, grid.ablated_by, grid.n_pairs) == ("ablation", by, 1)
            assert grid.exact.all() and np.abs(grid.change_in_metric).max() > 1e-4
            assert_one_by_one(model, grid, [IDS], some=6)

    @pytest.mark.parametrize(
        ("over", "axes"),
        [
            ("z", ("layer", "head", "position")),
            ("z", ("head", "position")),
            ("resid_mid", ("layer", "position")),
            ("attn_out", ("layer", "position")),
            ("post", ("position", "neuron")),
        ],
    )
    def test_by_other_axes_too(self, over, axes, model):
        grid = compute.ablate(model, IDS, ANSWER, FOIL, over, "zero", axes=axes)
        assert grid.by == axes
        assert_one_by_one(model, grid, [IDS])

    def test_of_a_layer_and_numbers_that_are_chosen(self, model):
        grid = compute.ablate(model, IDS, ANSWER, FOIL, "neuron", "zero", layer=0, neurons=[3, 40])
        assert (grid.layer, grid.numbers) == (0, ((3, 40),))
        assert grid.change((1,)) == mw.Ablate(0, neuron=40)
        assert_one_by_one(model, grid, [IDS])

    def test_beside_interventions_that_are_made_anyway(self, model):
        other = mw.Ablate(0, head=1)
        grid = compute.ablate(model, IDS, ANSWER, FOIL, by="mean", reference=[SECOND], interventions=other)
        assert grid.clean == pytest.approx(metric_of(model, IDS, other), rel=1e-4)
        for index in ((0, 2), (1, 3)):
            want = metric_of(model, IDS, [other, grid.change(index)])
            assert grid.value[index] == pytest.approx(want, rel=1e-4, abs=1e-5)


class TestWhatIsPut:
    def test_without_a_reference_the_mean_is_over_the_prompt_itself(self, model):
        grid = compute.ablate(model, IDS, ANSWER, FOIL)
        assert grid.change((1, 2)) == mw.Ablate(1, head=2, by="mean")
        assert grid.reference == "the mean over the positions of this prompt"
        assert_one_by_one(model, grid, [IDS])

    def test_a_reference_of_other_lengths_is_averaged_over_all_positions(self, model):
        grid = compute.ablate(model, IDS, ANSWER, FOIL, reference=[SECOND, SHORT])
        assert grid.reference == "the mean over all positions of 2 reference prompts"
        assert_one_by_one(model, grid, [IDS])
        resampled = compute.ablate(model, IDS, ANSWER, FOIL, by="resample", reference=[SHORT])
        assert "by alignment" in resampled.reference
        assert_one_by_one(model, resampled, [IDS])

    def test_several_prompts_are_each_others_reference(self, model):
        prompts = [IDS, SECOND, THIRD]
        grid = compute.ablate(model, prompts, ANSWER, FOIL)
        assert grid.n_pairs == 3 and grid.reference == "the mean over 3 reference prompts, position by position"
        assert_one_by_one(model, grid, prompts)
        assert np.isfinite(grid.spread).all()

    def test_of_pairs_the_clean_prompts_are_taken(self, model):
        pairs = mw.Pairs([(IDS, SECOND, ANSWER, FOIL), (THIRD, SECOND, ANSWER, FOIL)])
        grid = compute.ablate(model, pairs, by="zero")
        assert_one_by_one(model, grid, [IDS, THIRD])
        assert grid.answers.tolist() == [ANSWER, ANSWER]

    def test_a_draw_is_the_same_with_the_same_seed(self, model):
        drawn = [
            compute.ablate(model, IDS, ANSWER, FOIL, by="resample", reference=[SECOND, THIRD, SHORT], seed=seed)
            for seed in (1, 1, 2, 3, 4, 5)
        ]
        assert np.array_equal(drawn[0].values, drawn[1].values)
        assert len({grid.reference for grid in drawn}) > 1

    def test_it_is_read_again_as_it_was_saved(self, model, tmp_path):
        grid = compute.ablate(model, IDS, ANSWER, FOIL, by="resample", reference=[SECOND, THIRD], seed=2)
        mw.data.save(grid, tmp_path / "grid.npz")
        found = mw.data.load(tmp_path / "grid.npz")
        assert found.change((1, 2)) == grid.change((1, 2)) and found.reference == grid.reference


class TestEffects:
    def test_they_are_measured_in_the_untouched_metric(self, model):
        grid = compute.ablate(model, IDS, ANSWER, FOIL, by="zero")
        assert grid.corrupt == 0 and grid.neutral == 0
        assert np.allclose(grid.effect, (grid.value - grid.clean) / abs(grid.clean), atol=1e-5)

    def test_where_that_is_zero_they_cannot_be_measured(self, model):
        grid = compute.ablate(model, IDS, metric="kl", by="zero")
        assert grid.clean == 0 and not grid.differs and np.isnan(grid.effect).all()
        assert (grid.change_in_metric > 0).any() and "untouched run is 0" in grid.notes[-1]

    def test_heads_that_do_the_task_of_the_demo_model_stand_out(self, demo_model):
        prompt = "When Mary and John went to the store , John gave a drink to"
        grid = compute.ablate(demo_model, prompt, " Mary", " John", by="zero")
        assert grid.clean > 5 and grid.effect.min() < -0.3
        assert np.median(np.abs(grid.effect)) < 0.05


class TestRunning:
    def test_steps_carry_the_grid_so_far(self, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.compute.patch_grids.PARTIAL_SECONDS", 0)
        partial = [step.partial for step in compute.ablate_steps(model, IDS, ANSWER, FOIL, "mlp", "zero")]
        partial = [one for one in partial if one is not None]
        assert {one.method for one in partial} == {"ablation"}
        assert not partial[0].exact.all() and partial[-1].exact.all()

    def test_stopped_anywhere_the_model_is_as_it_was(self, lived_in):
        compute.ablate(lived_in, IDS, ANSWER, FOIL, "head", "mean")  # what it keeps for itself is there now
        before = state_of(lived_in)
        count = sum(1 for _ in compute.ablate_steps(lived_in, IDS, ANSWER, FOIL, "head", "mean"))
        for stop in range(0, count, 3):
            steps = compute.ablate_steps(lived_in, IDS, ANSWER, FOIL, "head", "mean")
            for _ in range(stop):
                next(steps)
            steps.close()
            assert state_of(lived_in) == before

    def test_half_precision_models_too(self, tiny_model):
        model = tiny_model("llama", dtype=torch.bfloat16)
        grid, whole = (compute.ablate(one, IDS, ANSWER, FOIL, by="zero") for one in (model, tiny_model("llama")))
        assert np.corrcoef(grid.value.ravel(), whole.value.ravel())[0, 1] > 0.98


class TestRefusals:
    def test_nothing_to_draw_from(self, model):
        with pytest.raises(DataError, match="draws from prompts"):
            compute.ablate(model, IDS, ANSWER, FOIL, by="resample")

    def test_what_is_no_part(self, model):
        with pytest.raises(DataError, match="over"):
            compute.ablate(model, IDS, ANSWER, FOIL, "pattern")
        with pytest.raises(DataError, match="not by"):
            compute.ablate(model, IDS, ANSWER, FOIL, "mlp", axes=("layer", "head"))

    def test_an_answer_of_several_tokens(self, model):
        with pytest.raises(AnswerError, match="2 tokens"):
            compute.ablate(model, "w5 w6 w7", " w9 w10")

    def test_a_stream_that_is_not_there(self, tiny_model):
        with pytest.raises(ModelError, match="side by side"):
            compute.ablate(tiny_model("neox"), IDS, ANSWER, FOIL, "resid_mid", "zero")
