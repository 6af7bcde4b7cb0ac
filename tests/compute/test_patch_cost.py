"""What a grid costs is known before it is run: as many runs as will be made, seconds in proportion to a pass, and bytes
that hold."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.patch_blocks import Blocks
from mi_widgets.compute.patch_grids import prepared
from mi_widgets.compute.patch_runs import runs_steps
from mi_widgets.compute.step import Step, run
from mi_widgets.data.patching import PATCH_SITES
from mi_widgets.errors import DataError

DRAW = np.random.default_rng(7)
CLEAN = DRAW.integers(3, tiny_models.D_VOCAB, 12)
CORRUPT = CLEAN.copy()
CORRUPT[[4, 7]] = 70, 71


def made_runs(model, site, by, clean=CLEAN, corrupt=CORRUPT):
    """How many cells the exact grid runs."""
    ready = prepared(model, clean, corrupt, 9, 4, site, "denoise", by, prepend_bos=None)
    runs = run(runs_steps(model, ready.prompts[0], ready.cells, "logit_difference", -1, Step(0, 1)))
    units, _, _ = Blocks(runs, 10**8).units(None)
    return sum(len(unit.cells) for unit in units)


class TestRuns:
    @pytest.mark.parametrize(("site", "by"), [(site, by) for site in PATCH_SITES for by in PATCH_SITES[site]])
    def test_they_are_those_that_the_exact_grid_makes(self, site, by, tiny_model):
        model = tiny_model("gpt2")
        cost = compute.patch_cost(model, CLEAN, CORRUPT, site, by=by, pass_seconds=1)
        grid = compute.attribution_patch(model, CLEAN, CORRUPT, 9, 4, site, by=by)
        assert cost.cells == grid.value.size
        made = made_runs(model, site, by)
        assert made <= cost.runs <= made + 0.1 * cost.cells, (made, cost.runs)

    def test_prompts_of_unequal_length_have_cells_without_a_run(self, model):
        longer = np.insert(CORRUPT, 6, [80, 81])
        cost = compute.patch_cost(model, CLEAN, longer, pass_seconds=1)
        assert cost.cells == 2 * 14 and cost.runs == made_runs(model, "resid_pre", None, corrupt=longer)

    def test_identical_prompts_need_none(self, model):
        cost = compute.patch_cost(model, CLEAN, CLEAN, "z", pass_seconds=1)
        assert (cost.cells, cost.runs) == (8, 0) and cost.exact_seconds == pytest.approx(2)

    def test_of_several_pairs_all_count(self, model):
        one = compute.patch_cost(model, CLEAN, CORRUPT, pass_seconds=1)
        two = compute.patch_cost(model, mw.Pairs([(CLEAN, CORRUPT)] * 2), pass_seconds=1)
        assert (two.cells, two.runs) == (one.cells, 2 * one.runs)
        assert two.exact_seconds == pytest.approx(2 * one.exact_seconds)
        assert two.estimate_seconds == pytest.approx(2 * one.estimate_seconds)


class TestSeconds:
    def test_an_estimate_takes_three_passes_and_two_more_for_each_further_point(self, model):
        for steps, passes in ((0, 3), (1, 3), (5, 11)):
            cost = compute.patch_cost(model, CLEAN, CORRUPT, "z", steps=steps, pass_seconds=0.5)
            assert cost.estimate_seconds == pytest.approx(0.5 * passes)

    def test_exact_runs_take_what_they_compute_anew(self, model):
        def seconds(site, by=None, **where):
            return compute.patch_cost(model, CLEAN, CORRUPT, site, by=by, pass_seconds=1, **where).exact_seconds

        assert seconds("resid_post", layers=[1]) < seconds("resid_post", layers=[0])
        assert seconds("resid_pre", positions=[11]) < seconds("resid_pre", positions=[7])
        assert seconds("z") < seconds("z", ("layer", "head", "position"))

    def test_a_pass_is_measured_where_its_time_is_not_given(self, model):
        passes = []
        model.blocks[0].hook_resid_pre.register_forward_hook(lambda *_given: passes.append(1))
        compute.patch_cost(model, CLEAN, CORRUPT, pass_seconds=1)  # asked once what acts
        passes.clear()
        cost = compute.patch_cost(model, CLEAN, CORRUPT)
        assert len(passes) == 2 and 0 < cost.pass_seconds < 60
        passes.clear()
        assert compute.patch_cost(model, CLEAN, CORRUPT, pass_seconds=2).pass_seconds == 2 and not passes


class TestBytes:
    def test_an_estimate_needs_the_activations_of_its_site_and_a_pass_back(self, model):
        cost = compute.patch_cost(model, CLEAN, CORRUPT, "pattern", by=("head", "query", "key"), pass_seconds=1)
        every = compute.patch_cost(model, CLEAN, CORRUPT, "pattern", pass_seconds=1)
        one_layer = 4 * 4 * 12 * 12 * 4  # four copies; heads, queries, keys; float32
        assert every.estimate_bytes - cost.estimate_bytes == one_layer

    def test_exact_runs_take_no_more_than_they_may(self, model):
        small, large = (
            compute.patch_cost(model, CLEAN, CORRUPT, pass_seconds=1, memory=memory).exact_bytes
            for memory in (10**7, 10**8)
        )
        assert large - small == 9 * 10**7

    def test_they_are_said_in_words(self, model):
        said = str(compute.patch_cost(model, CLEAN, CORRUPT, "z", memory=10**9, pass_seconds=1))
        assert said.startswith("8 runs: about ") and "1.0 GB; the estimate: 3 s" in said


def test_what_cannot_be_patched_is_refused_before(model):
    with pytest.raises(DataError, match="not by"):
        compute.patch_cost(model, CLEAN, CORRUPT, "z", by=("layer", "position"))
    with pytest.raises(DataError, match="no corrupt"):
        compute.patch_cost(model, torch.tensor(CLEAN))
