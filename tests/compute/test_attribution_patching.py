"""Attribution patching is the gradient of the metric times the difference of the runs, on every architecture, at every
site and by every choice of axes; integrated gradients come nearer to the exact grid."""

from __future__ import annotations

import numpy as np
import patches_one_by_one
import pytest
import tiny_models
import torch
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import Write, forward, gradients
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.data.interventions import SITES
from mi_widgets.data.patching import PATCH_SITES
from mi_widgets.errors import AnswerError, DataError, ModelError
from mi_widgets.models import load_model, tokenize

ARCHITECTURES = list(tiny_models.CONFIGS)
DRAW = np.random.default_rng(5)
#: Longer than the sliding windows of the tiny models, which are 5.
CLEAN, CORRUPT = (DRAW.integers(3, tiny_models.D_VOCAB, 9) for _ in range(2))
ANSWER, FOIL = 9, 4
IOI = "When Mary and John went to the store , {} gave a drink to"


def difference(logits):
    return (logits[:, -1, ANSWER] - logits[:, -1, FOIL]).sum()


def sites_of(model):
    return [site for site in PATCH_SITES if f"blocks.0.{SITES[site]}" in model.hook_dict]


def estimated(model, site, by=None, clean=CLEAN, corrupt=CORRUPT, **options):
    return compute.attribution_patch(model, clean, corrupt, ANSWER, FOIL, site, by=by, **options)


def worth(grid):
    """What each cell is estimated to change in the metric."""
    return grid.estimate.astype(np.float64) - grid.base


def by_hand(model, hook, layer, clean=CLEAN, corrupt=CORRUPT):
    """TransformerLens's own hooks and torch's own backward: difference times gradient, before any sum."""
    model.eval()
    name, seen, slopes = f"blocks.{layer}.{hook}", [], []

    def keep(activation, hook):
        seen.append(activation.detach().clone())

    def slope(gradient, hook):
        slopes.append(gradient.detach().clone())

    with torch.no_grad():
        model.run_with_hooks(torch.tensor(clean)[None], fwd_hooks=[(name, keep)])
    with model.hooks(fwd_hooks=[(name, keep)], bwd_hooks=[(name, slope)]):
        difference(model(torch.tensor(corrupt)[None])).backward()
    model.zero_grad()
    return ((seen[0] - seen[-1]) * slopes[0])[0].double().numpy()


class TestWhatItIs:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_every_site_and_choice_of_axes_is_the_product_by_hand(self, architecture, tiny_model):
        model = tiny_model(architecture)
        for site in sites_of(model):
            if site == "resid_mid":  # the hook is not the stream: see below
                continue
            axes = {"pattern": "hqk", "post": "pn"}.get(site, "phd" if site in "zqkv" else "pd")
            for by in PATCH_SITES[site]:
                letters = "".join("q" if axes == "hqk" and axis == "position" else axis[0] for axis in by)
                layers = (0, 1) if "layer" in by else (1,)
                each = np.stack([by_hand(model, SITES[site], layer) for layer in layers])
                want = np.einsum(f"l{axes}->{letters}", each)
                grid = estimated(model, site, by, **({} if "layer" in by else {"layer": 1}))
                assert grid.shape == want.shape and not grid.exact.any()
                assert np.abs(want).max() > 1e-4
                assert np.allclose(worth(grid), want, rtol=0, atol=2e-5 * max(1, np.abs(want).max())), (site, by)

    @pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "neox"])
    def test_in_the_middle_it_is_of_the_residual_stream_itself(self, architecture, tiny_model):
        model = tiny_model(architecture, dtype=torch.float64)
        grid = estimated(model, "resid_mid")
        hook, tokens = SITES["resid_mid"], tokenize(model, CORRUPT)
        apart = forward(model, CLEAN, (hook,)).arrays[hook] - forward(model, CORRUPT, (hook,)).arrays[hook]
        for layer, position in ((0, 5), (0, 7), (1, 8)):

            def moved(step, layer=layer, position=position):
                change = mw.Add(apart[layer, position], "resid_mid", layer=layer, strength=step, positions=(position,))
                return gradients(model, CORRUPT, difference, (), writes=resolve(model, tokens, change).writes)[0]

            # Not smaller, for norms compute in float32 whatever the model's own type is; to the fourth order, then.
            slopes = [(moved(step) - moved(-step)) / (2 * step) for step in (1e-3, 2e-3)]
            slope = (4 * slopes[0] - slopes[1]) / 3
            assert abs(slope) > 1e-4
            assert worth(grid)[layer, position] == pytest.approx(slope, rel=2e-3, abs=1e-3)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_a_small_step_towards_the_other_run_changes_the_metric_by_so_much(self, architecture, tiny_model):
        model = tiny_model(architecture, dtype=torch.float64)
        for site in sites_of(model):
            by = PATCH_SITES[site][-1]
            if site == "resid_mid":
                continue
            layer = {} if "layer" in by else {"layer": 0}
            grid, hook = estimated(model, site, by, **layer), SITES[site]
            cell = grid.at(tuple(map(int, np.unravel_index(np.abs(worth(grid)).argmax(), grid.shape))))
            place, head = cell.get("position", cell.get("query", slice(None))), cell.get("head")
            at = (place,) if head is None else (place, head)
            at = (slice(None), cell["neuron"]) if site == "post" and "position" not in cell else at
            at = (place, cell["neuron"]) if site == "post" and "position" in cell else at
            at = (head, place, cell["key"]) if "key" in cell else at
            layer = cell.get("layer", 0)
            source, base = (forward(model, ids, (hook,), (layer,)).arrays[hook][0] for ids in (CLEAN, CORRUPT))

            def moved(step, at=at, layer=layer, hook=hook, apart=source - base):
                def act(value, _first):
                    value = value.clone()
                    value[0][at] += step * torch.tensor(apart)[at]
                    return value

                return gradients(model, CORRUPT, difference, (), writes=[Write(f"blocks.{layer}.{hook}", act)])[0]

            slopes = [(moved(step) - moved(-step)) / (2 * step) for step in (1e-3, 2e-3)]
            slope = (4 * slopes[0] - slopes[1]) / 3
            assert worth(grid)[grid.cell(**cell)] == pytest.approx(slope, rel=2e-3, abs=1e-3), (site, cell)

    def test_noising_goes_the_other_way(self, model):
        grid = estimated(model, "z", direction="noise")
        swapped = estimated(model, "z", clean=CORRUPT, corrupt=CLEAN)
        assert np.allclose(grid.estimates, swapped.estimates, atol=1e-5)
        assert (grid.clean, grid.corrupt) == pytest.approx((swapped.corrupt, swapped.clean), abs=1e-5)
        assert grid.base == grid.clean and np.allclose(grid.base_tokens.ids, CLEAN)

    def test_chosen_numbers_are_cells_of_the_whole_grid(self, model):
        by = ("layer", "head", "position")
        whole = estimated(model, "z", by)
        some = estimated(model, "z", by, layers=[1], heads=[0, 3], positions=[2, -1])
        assert some.numbers == ((1,), (0, 3), (2, 8))
        assert np.allclose(some.estimate, whole.estimate[1:][:, [0, 3]][:, :, [2, 8]], atol=1e-6)

    @pytest.mark.parametrize(
        ("metric", "read"),
        [
            ("log_probability", lambda logits: logits[0, -1].log_softmax(-1)[ANSWER]),
            ("probability", lambda logits: logits[0, -1].softmax(-1)[ANSWER]),
            (lambda logits: logits[0, -1, 3] ** 2, lambda logits: logits[0, -1, 3] ** 2),
        ],
    )
    def test_every_metric_with_a_gradient_is_estimated(self, metric, read, model):
        hook = "hook_resid_pre"
        grid = compute.attribution_patch(model, CLEAN, CORRUPT, ANSWER, metric=metric)
        source, base = (forward(model, ids, (hook,)).arrays[hook] for ids in (CLEAN, CORRUPT))
        value, slopes = gradients(model, CORRUPT, read, (hook,))
        assert grid.base == pytest.approx(value, abs=1e-5)
        assert np.allclose(worth(grid), ((source - base) * slopes.arrays[hook]).sum(-1), atol=1e-5)

    def test_the_divergence_from_the_clean_run_is_estimated_where_it_has_a_gradient(self, model):
        grid = compute.attribution_patch(model, CLEAN, CORRUPT, metric="kl")
        assert grid.clean == pytest.approx(0, abs=1e-6) and grid.corrupt > 0.01
        assert worth(grid)[0].min() < 0  # towards the clean run
        with pytest.raises(DataError, match="smallest"):
            compute.attribution_patch(model, CLEAN, CORRUPT, metric="kl", direction="noise")
        steps = compute.attribution_patch(model, CLEAN, CORRUPT, metric="kl", direction="noise", steps=4)
        assert worth(steps)[0].max() > 0

    def test_another_position_is_read(self, model):
        grid = estimated(model, "resid_pre", position=-3)
        part = estimated(model, "resid_pre", clean=CLEAN[:-2], corrupt=CORRUPT[:-2])
        assert np.allclose(grid.estimate[:, :7], part.estimate, atol=1e-5)
        assert np.allclose(worth(grid)[:, 7:], 0, atol=1e-6)
        assert (grid.clean, grid.corrupt) == pytest.approx((part.clean, part.corrupt), abs=1e-5)

    def test_interventions_are_made_in_both_runs(self, model):
        change = mw.Ablate(0, head=1)
        grid = estimated(model, "resid_post", interventions=change)
        assert grid.interventions == (change,)
        for ids, value in ((CLEAN, grid.clean), (CORRUPT, grid.corrupt)):
            writes = resolve(model, tokenize(model, ids), change).writes
            logits = forward(model, ids, (LAST_LOGITS,), writes=writes).arrays[LAST_LOGITS]
            assert value == pytest.approx(float(logits[ANSWER] - logits[FOIL]), abs=1e-5)
        assert not np.allclose(worth(grid), worth(estimated(model, "resid_post")), atol=1e-4)


class TestPrompts:
    def test_unequal_prompts_are_aligned_and_cells_without_a_partner_are_empty(self, model):
        longer = np.insert(CORRUPT, 4, [70, 71])
        clean = CORRUPT.copy()
        clean[2] = 80
        grid = estimated(model, "resid_pre", clean=clean, corrupt=longer)
        assert np.isnan(grid.estimate).any(0).tolist() == [False] * 4 + [True] * 2 + [False] * 5
        heads = estimated(model, "z", clean=clean, corrupt=longer)
        assert np.isfinite(heads.estimate).all()
        edges = estimated(model, "pattern", ("head", "query", "key"), clean=clean, corrupt=longer)
        assert np.isnan(edges.estimate[:, 4:6]).all() and np.isnan(edges.estimate[:, :, 4:6]).all()
        assert "unequal length" in grid.notes[0]

    def test_several_pairs_are_each_estimated(self, model):
        swapped = mw.Pairs([(CLEAN, CORRUPT, ANSWER, FOIL), (CORRUPT, CLEAN, ANSWER, FOIL)])
        grid = compute.attribution_patch(model, swapped, site="z")
        alone = [estimated(model, "z"), estimated(model, "z", clean=CORRUPT, corrupt=CLEAN)]
        assert np.allclose(grid.estimates, np.concatenate([one.estimates for one in alone]), atol=1e-6)

    def test_identical_prompts_differ_in_nothing(self, model):
        grid = estimated(model, "resid_pre", clean=CLEAN, corrupt=CLEAN)
        assert not grid.differs and np.allclose(worth(grid), 0, atol=1e-6)
        assert np.isnan(grid.effect_estimate).all() and "same prompt" in grid.notes[0]

    def test_half_precision_models_are_estimated(self, tiny_model):
        grid = estimated(tiny_model("llama", dtype=torch.bfloat16), "z")
        want = estimated(tiny_model("llama"), "z")
        assert grid.estimates.dtype == np.float32
        assert np.corrcoef(worth(grid).ravel(), worth(want).ravel())[0, 1] > 0.98


class TestIntegratedGradients:
    def test_one_point_is_the_plain_estimate(self, model):
        assert np.array_equal(estimated(model, "z", steps=1).estimates, estimated(model, "z").estimates)

    def test_of_the_input_they_sum_to_the_whole_change(self, tiny_model):
        model = tiny_model("gpt2")
        grid = estimated(model, "resid_pre", steps=200)
        assert worth(grid)[0].sum() == pytest.approx(grid.clean - grid.corrupt, rel=5e-3)

    @pytest.mark.parametrize("site", ["resid_pre", "z", "mlp_out"])
    def test_they_come_nearer_to_the_exact_effects_than_the_plain_estimate(self, site, demo_model):
        prompts = IOI.format("John"), IOI.format("Mary")
        plain, integrated = (
            compute.attribution_patch(demo_model, *prompts, " Mary", " John", site, steps=steps) for steps in (0, 5)
        )
        exact = one_by_one(demo_model, prompts, plain)
        apart = [np.sqrt(np.mean((grid.estimate - exact) ** 2)) for grid in (plain, integrated)]
        assert apart[1] < 0.5 * apart[0], apart
        assert np.corrcoef(integrated.estimate.ravel(), exact.ravel())[0, 1] > 0.95
        assert integrated.estimated_by == "integrated gradients, 5 points between the inputs"
        assert plain.estimated_by == "attribution patching"

    def test_of_unequal_prompts_only_partners_move_between_the_runs(self, model):
        longer = np.insert(CORRUPT, 4, [70, 71])
        clean = CORRUPT.copy()
        clean[2] = 80
        plain, integrated = (estimated(model, "z", clean=clean, corrupt=longer, steps=steps) for steps in (0, 4))
        assert np.isfinite(integrated.estimate).all() and not np.allclose(worth(plain), worth(integrated), atol=1e-5)
        same = estimated(model, "z", clean=CORRUPT, corrupt=CORRUPT, steps=4)
        assert np.allclose(worth(same), 0, atol=1e-6)

    def test_what_is_written_at_the_input_is_where_they_begin(self, model):
        away = mw.Ablate(0, site="resid_pre")  # of both runs: then nothing differs anywhere
        assert np.allclose(worth(estimated(model, "z", steps=3, interventions=away)), 0, atol=1e-6)


def one_by_one(model, prompts, grid):
    """The metric of one patched run after the other."""
    ids, found = (int(grid.answers[0]), int(grid.foils[0])), np.zeros(grid.shape)
    for index in np.ndindex(grid.shape):
        found[index] = patches_one_by_one.difference(model, prompts[1], grid.change(index, prompts[0]), *ids)
    return found


class TestWhatCannotBe:
    @pytest.mark.parametrize("architecture", ["gptj", "gptneo"])
    def test_a_pattern_that_nothing_reads_is_refused_with_the_reason(self, architecture, tiny_folder):
        model = load_model(tiny_folder(architecture, tiny_models.OTHERS[architecture]))
        with pytest.raises(ModelError, match="nothing in this model reads"):
            estimated(model, "pattern")

    def test_a_stream_that_is_not_there_is_refused(self, tiny_model):
        with pytest.raises(ModelError, match="side by side"):
            estimated(tiny_model("neox"), "resid_mid")

    def test_what_has_no_gradient_is_refused(self, model):
        with pytest.raises(DataError, match="rank"):
            compute.attribution_patch(model, CLEAN, CORRUPT, ANSWER, metric="rank")
        with pytest.raises(DataError, match="steps"):
            estimated(model, "z", steps=-1)
        with pytest.raises(DataError, match="detached"):
            compute.attribution_patch(model, CLEAN, CORRUPT, metric=lambda logits: logits[0, -1, 3].item())

    def test_a_metric_that_raises_is_named(self, lived_in):
        def mine(logits):
            raise KeyError("no such thing")

        before = state_of(lived_in)
        with pytest.raises(DataError, match="mine raised KeyError"):
            compute.attribution_patch(lived_in, CLEAN, CORRUPT, metric=mine)
        assert state_of(lived_in) == before

    def test_an_answer_of_several_tokens_is_refused(self, model):
        with pytest.raises(AnswerError, match="2 tokens"):
            compute.attribution_patch(model, "w5 w6 w7", "w5 w8 w7", " w9 w10")

    def test_numbers_that_are_not_finite_are_refused(self, model):
        with torch.no_grad():
            model.blocks[1].mlp.W_out.fill_(torch.nan)
        with pytest.raises(ModelError, match="not finite"):
            estimated(model, "resid_pre")


class TestTheModel:
    def test_two_passes_and_one_back_are_made(self, model):
        calls = []
        model.blocks[0].hook_resid_pre.register_forward_hook(lambda *_given: calls.append(torch.is_grad_enabled()))
        estimated(model, "z")  # asked once what acts
        calls.clear()
        estimated(model, "z")
        assert calls == [False, True]

    def test_it_is_left_as_it_was(self, lived_in):
        before = state_of(lived_in)
        estimated(lived_in, "resid_mid", steps=2)
        estimated(lived_in, "pattern")
        assert state_of(lived_in) == before

    def test_it_can_be_stopped_between_passes(self, lived_in):
        before = state_of(lived_in)
        steps = compute.attribution_patch_steps(lived_in, CLEAN, CORRUPT, ANSWER, FOIL, steps=3)
        assert next(steps) is not None and next(steps) is not None
        steps.close()
        assert state_of(lived_in) == before
