"""Every cell of a grid of patches is the metric of the run that the patch makes: TransformerLens's own loops, and one
cell at a time, give the same numbers on every architecture."""

from __future__ import annotations

import pytest
import tiny_models
import torch
import transformer_lens.patching as theirs
from patched_oracle import ANSWER, CLEAN, CORRUPT, FOIL, close, difference, one_at_a_time

from mi_widgets import compute
from mi_widgets.data.patching import PATCH_SITES
from mi_widgets.models import load_model

#: By site and axes, TransformerLens's own function.
OWN = {
    ("resid_pre", ("layer", "position")): theirs.get_act_patch_resid_pre,
    ("attn_out", ("layer", "position")): theirs.get_act_patch_attn_out,
    ("mlp_out", ("layer", "position")): theirs.get_act_patch_mlp_out,
    ("z", ("layer", "head", "position")): theirs.get_act_patch_attn_head_out_by_pos,
    ("q", ("layer", "head", "position")): theirs.get_act_patch_attn_head_q_by_pos,
    ("pattern", ("layer", "head", "position")): theirs.get_act_patch_attn_head_pattern_by_pos,
    ("z", ("layer", "head")): theirs.get_act_patch_attn_head_out_all_pos,
    ("q", ("layer", "head")): theirs.get_act_patch_attn_head_q_all_pos,
    ("pattern", ("layer", "head")): theirs.get_act_patch_attn_head_pattern_all_pos,
}


@pytest.fixture(scope="module", params=list(tiny_models.CONFIGS))
def each(request, tiny_folder):
    """A tiny model of each architecture, not to be changed."""
    return load_model(tiny_folder(request.param))


def grid_of(model, site, by, **options):
    some = {"neurons": [0, 5, 11]} if "neuron" in by else {}
    return compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site, by=by, **some, **options)


@pytest.mark.parametrize(("site", "by"), [(site, by) for site, choices in PATCH_SITES.items() for by in choices])
def test_every_grid_is_what_its_own_interventions_give(each, site, by):
    if site == "resid_mid" and "blocks.0.hook_resid_mid" not in each.hook_dict:
        pytest.skip("attention and MLP of this architecture run side by side")
    grid = grid_of(each, site, by)
    close(grid.value, one_at_a_time(each, grid, CLEAN))
    assert grid.exact.all()


@pytest.mark.parametrize(("site", "by"), list(OWN))
def test_grids_are_what_transformer_lens_gives(each, site, by):
    _, cache = each.run_with_cache(torch.tensor(CLEAN)[None])
    wanted = OWN[site, by](each, torch.tensor(CORRUPT)[None], cache, difference)
    wanted = wanted.detach().numpy()
    if by == ("layer", "head", "position") and site != "pattern":  # theirs are [layer, position, head]
        wanted = wanted.transpose(0, 2, 1)
    grid = grid_of(each, site, by)
    close(grid.value, wanted)
