"""The language for passes: batches of runs, a start above some blocks, kept keys and values, gradients.

Each says what the whole pass over one prompt says, costs what it should, and leaves the model as it was.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from model_state import state_of

from mi_widgets.compute.forward import (
    PATTERN,
    SCORES,
    KeptKeys,
    Start,
    Write,
    at_position,
    forward,
    forward_steps,
    gradients,
)
from mi_widgets.compute.output import LAST_LOGITS, OUTPUT_SITES
from mi_widgets.compute.start import ABSENT, beside_the_residual
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import load_model

ARCHITECTURES = list(tiny_models.CONFIGS)
#: Longer than the sliding windows of the tiny models, which are 5.
IDS = np.random.default_rng(5).integers(3, tiny_models.D_VOCAB, 14)
BATCH = np.stack([np.random.default_rng(seed).integers(3, tiny_models.D_VOCAB, 14) for seed in range(3)])
RESIDUAL = ("hook_resid_pre", "hook_resid_post")
READ = (*RESIDUAL, PATTERN, SCORES, "attn.hook_z", at_position("mlp.hook_post", 11), "ln_final.hook_normalized")
OUTPUT = (*OUTPUT_SITES, LAST_LOGITS)


@pytest.fixture(params=[*ARCHITECTURES, "gptj", "gptneo", "falcon"])
def any_model(request, tiny_model, tmp_path):
    if request.param in ARCHITECTURES:
        return tiny_model(request.param)
    return other(request.param, tmp_path)


def other(name, folder):
    kind, values = tiny_models.OTHERS[name]
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, kind)(**values), attn_implementation="eager"
    )
    made.save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return load_model(folder)


def close(found, wanted, atol=2e-5):
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=0, atol=atol, equal_nan=True), np.nanmax(np.abs(found - wanted))


class TestBatch:
    """Runs side by side are the runs one by one."""

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_each_run_is_the_run_alone(self, architecture, tiny_model):
        model = tiny_model(architecture)
        together = forward(model, BATCH, (*READ, *OUTPUT))
        for run, ids in enumerate(BATCH):
            alone = forward(model, ids, (*READ, *OUTPUT))
            for site, array in alone.arrays.items():
                within = site in OUTPUT or site.startswith("ln_final")
                close(together.arrays[site][run] if within else together.arrays[site][:, run], array)

    def test_one_run_in_a_batch_keeps_its_axis(self, model):
        assert forward(model, IDS[None], ("hook_resid_post",)).arrays["hook_resid_post"].shape == (2, 1, 14, 32)
        assert forward(model, IDS[None], (LAST_LOGITS,)).arrays[LAST_LOGITS].shape == (1, 128)

    def test_readers_and_writes_see_all_runs(self, model):
        read, written = [], []

        def act(activation, first):
            written.append((tuple(activation.shape), first))
            return torch.zeros_like(activation)

        found = forward(
            model,
            BATCH,
            ("hook_mlp_out",),
            readers={"hook_mlp_out": lambda layer, value: read.append((layer, tuple(value.shape)))},
            writes=[Write("blocks.1.hook_mlp_out", act)],
        )
        assert read == [(0, (3, 14, 32)), (1, (3, 14, 32))]
        assert written == [((3, 14, 32), 0)]
        assert not found.arrays["hook_mlp_out"][1].any() and found.arrays["hook_mlp_out"][0].any()

    def test_other_axes_are_refused(self, model):
        with pytest.raises(DataError, match="run, position"):
            forward(model, IDS[None, None], RESIDUAL)


class TestStart:
    """From a block on, with a given residual, is the upper part of the whole pass; the lower is not run."""

    def test_the_upper_blocks_compute_what_they_do_in_the_whole_pass(self, any_model):
        sites = ("hook_resid_pre", "hook_resid_post", "hook_mlp_out", LAST_LOGITS)
        whole = forward(any_model, IDS, sites)
        for layer in range(any_model.cfg.n_layers):
            upper = forward(any_model, IDS, sites, start=Start(layer, whole.arrays["hook_resid_pre"][layer]))
            assert upper.layers == tuple(range(layer, any_model.cfg.n_layers))
            assert np.array_equal(upper.arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS])
            for site in sites[:3]:
                assert np.array_equal(upper.arrays[site], whole.arrays[site][layer:]), site

    def test_the_blocks_below_are_not_run(self, any_model):
        calls, last = [], any_model.cfg.n_layers - 1
        for layer, block in enumerate(any_model.blocks):
            block.original_component.register_forward_hook(lambda *_given, layer=layer: calls.append(layer))
        residual = forward(any_model, IDS, ("hook_resid_pre",), (last,)).arrays["hook_resid_pre"][0]
        calls.clear()
        forward(any_model, IDS, (), start=Start(last, residual))
        assert calls == [last]

    def test_a_residual_of_several_runs_is_a_batch_of_one_prompt(self, model):
        whole = forward(model, BATCH, ("hook_resid_pre", LAST_LOGITS))
        residual = torch.from_numpy(whole.arrays["hook_resid_pre"][1].copy())
        upper = forward(model, IDS, ("hook_resid_post", LAST_LOGITS), start=Start(1, residual))
        assert upper.arrays["hook_resid_post"].shape == (1, 3, 14, 32)
        assert np.array_equal(upper.arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS])

    def test_a_write_in_place_leaves_the_residual_that_was_given(self, model):
        residual = torch.randn(1, 14, 32)
        before = residual.clone()
        forward(model, IDS, (), writes=[Write("blocks.1.hook_resid_pre", zeroed)], start=Start(1, residual))
        assert torch.equal(residual, before)

    @pytest.mark.parametrize(
        ("sites", "layers", "named"),
        [
            (("hook_resid_post",), (0, 1), "blocks.0.hook_resid_post"),
            (("hook_resid_post",), {"hook_resid_post": (0,)}, "blocks.0.hook_resid_post"),
            (("blocks.0.attn.hook_z",), None, "blocks.0.attn.hook_z"),
            (("hook_embed",), None, "hook_embed"),
        ],
    )
    def test_what_is_below_cannot_be_read(self, sites, layers, named, model):
        with pytest.raises(ModelError, match=named) as refused:
            forward(model, IDS, sites, layers, start=Start(1, np.zeros((14, 32), np.float32)))
        assert "from 1 on" in refused.value.hint

    def test_what_is_below_cannot_be_written(self, model):
        with pytest.raises(ModelError, match=r"blocks\.0\.hook_mlp_out"):
            forward(model, IDS, (), writes=[Write("blocks.0.hook_mlp_out", zeroed)], start=Start(1, np.zeros((14, 32))))

    @pytest.mark.parametrize(
        ("start", "says"),
        [
            (Start(2, np.zeros((14, 32))), "no layer 2"),
            (Start(-1, np.zeros((14, 32))), "no layer -1"),
            (Start(1, np.zeros((13, 32))), "position"),
            (Start(1, np.zeros((14, 31))), "d_model"),
            (Start(1, np.zeros(32)), "d_model"),
        ],
    )
    def test_a_start_that_does_not_fit_is_refused(self, start, says, model):
        with pytest.raises(DataError, match=says):
            forward(model, IDS, (), start=start)

    def test_runs_of_ids_and_of_the_residual_must_be_as_many(self, model):
        with pytest.raises(DataError, match="3 runs and the residual of 2"):
            forward(model, BATCH, (), start=Start(1, np.zeros((2, 14, 32), np.float32)))

    def test_what_enters_a_block_is_met_by_the_hooks_there(self, any_model):
        """What stands at the hook is put behind them instead; so with the first block, below which nothing hands on."""
        last = any_model.cfg.n_layers - 1
        entering = forward(any_model, IDS, ("hook_resid_post",), (last - 1,)).arrays["hook_resid_post"][0]
        any_model.add_hook(f"blocks.{last}.hook_resid_pre", lambda value, hook: 0.5 * value)
        wanted = forward(any_model, IDS, (LAST_LOGITS,)).arrays[LAST_LOGITS]
        hooked = forward(any_model, IDS, (LAST_LOGITS,), start=Start(last, entering, entering=True))
        assert np.array_equal(hooked.arrays[LAST_LOGITS], wanted)
        put = forward(any_model, IDS, (LAST_LOGITS,), start=Start(last, 0.5 * entering))
        assert np.array_equal(put.arrays[LAST_LOGITS], wanted)

    def test_what_leaves_the_last_block(self, any_model):
        whole = forward(any_model, IDS, ("hook_resid_post", LAST_LOGITS))
        start = Start(any_model.cfg.n_layers, whole.arrays["hook_resid_post"][-1], entering=True)
        assert np.array_equal(
            forward(any_model, IDS, (LAST_LOGITS,), start=start).arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS]
        )

    def test_a_forward_of_the_users_own_on_a_block_stays(self, model):
        own = model.blocks[0].forward
        model.blocks[0].__dict__["forward"] = own
        forward(model, IDS, (), start=Start(1, np.zeros((14, 32), np.float32)))
        assert model.blocks[0].__dict__["forward"] is own

    def test_the_source_of_a_block_says_what_it_returns(self):
        from transformers.models.gemma3.modeling_gemma3 import Gemma3DecoderLayer
        from transformers.models.gptj.modeling_gptj import GPTJBlock

        assert beside_the_residual(GPTJBlock) == 1
        assert beside_the_residual(Gemma3DecoderLayer) is None  # whatever its annotation says
        assert beside_the_residual(NamedTuple) == 1


class NamedTuple:
    """A block that gives its tuple a name first."""

    def forward(self, hidden_states):
        outputs = (hidden_states, None)
        outputs = (*outputs, None)
        return outputs  # noqa: RET504


def zeroed(activation, _first):
    activation.zero_()


class TestUntil:
    """A pass may end before the model does."""

    def test_what_is_behind_is_not_run(self, lived_in):
        before, calls = state_of(lived_in), []
        whole = forward(lived_in, IDS, ("hook_resid_post",))
        for name in ("blocks.1.hook_resid_post", "ln_final.hook_out"):
            lived_in.hook_dict[name].register_forward_hook(lambda *_given, name=name: calls.append(name))
        with_calls = state_of(lived_in)
        part = forward(lived_in, IDS, ("hook_resid_post",), (0,), until="blocks.0.hook_resid_post")
        assert not calls and np.array_equal(part.arrays["hook_resid_post"][0], whole.arrays["hook_resid_post"][0])
        forward(lived_in, IDS, (), until="ln_final.hook_in")
        assert calls == ["blocks.1.hook_resid_post"]
        assert state_of(lived_in) == with_calls != before

    def test_keys_of_the_blocks_are_kept(self, any_model):
        keys, wanted = KeptKeys(), forward(any_model, IDS, (LAST_LOGITS,)).arrays[LAST_LOGITS]
        forward(any_model, IDS[:9], (), keys=keys, until="ln_final.hook_in")
        assert keys.positions == 9
        close(forward(any_model, IDS, (LAST_LOGITS,), keys=keys).arrays[LAST_LOGITS], wanted)

    def test_there_is_no_output(self, model):
        with pytest.raises(DataError, match="no output"):
            forward(model, IDS, (LAST_LOGITS,), until="ln_final.hook_in")


class TestKeptKeys:
    """New positions alone, on keys and values that were kept, are the whole pass's."""

    @pytest.mark.parametrize("cuts", [(1, 14), (3, 9, 10, 11, 14), (8, 14)])
    def test_new_positions_are_those_of_the_whole_pass(self, cuts, any_model):
        sites = (*RESIDUAL, "attn.hook_z", LAST_LOGITS)
        keys, before = KeptKeys(), 0
        for end in cuts:
            whole = forward(any_model, IDS[:end], sites)
            part = forward(any_model, IDS[:end], sites, keys=keys)
            assert (part.first, keys.positions, keys.supported) == (before, end, True)
            close(part.arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS])
            for site in sites[:-1]:
                close(part.arrays[site], whole.arrays[site][:, before:])
            before = end

    def test_on_the_demo_model(self, demo_model):
        ids = demo_model.to_tokens("When Mary and John went to the store , John gave a drink to")[0].numpy()
        whole, keys = forward(demo_model, ids, (*RESIDUAL, LAST_LOGITS)), KeptKeys()
        for end in (4, len(ids) - 1, len(ids)):
            part = forward(demo_model, ids[:end], (*RESIDUAL, LAST_LOGITS), keys=keys)
            close(part.arrays["hook_resid_post"], whole.arrays["hook_resid_post"][:, part.first : end])
        close(part.arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS])

    def test_only_new_positions_are_run(self, model):
        seen, keys = [], KeptKeys()
        model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: seen.append(value.shape[1]))
        for end in (10, 11, 14):
            forward(model, IDS[:end], (), keys=keys)
        assert seen == [10, 1, 3]

    def test_a_prefix_is_expanded_over_runs(self, any_model):
        keys, rows = KeptKeys(), np.concatenate([np.tile(IDS[:8], (3, 1)), BATCH[:, :4]], axis=1)
        forward(any_model, IDS[:8], (), keys=keys)
        whole = forward(any_model, rows, ("hook_resid_pre", LAST_LOGITS))
        for _time in range(2):  # the prefix is not used up
            wider = keys.expanded(3)
            part = forward(any_model, rows, ("hook_resid_pre", LAST_LOGITS), keys=wider)
            close(part.arrays["hook_resid_pre"], whole.arrays["hook_resid_pre"][:, :, 8:])
            close(part.arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS])
            assert (keys.positions, wider.positions) == (8, 12)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_entire_ones_are_cut(self, architecture, tiny_model):
        model, keys = tiny_model(architecture), KeptKeys(entire=True)
        wanted = forward(model, IDS, (LAST_LOGITS,), keys=keys).arrays[LAST_LOGITS]
        for positions in (1, 6, 13):
            part = forward(model, IDS, (LAST_LOGITS,), keys=keys.cut(positions))
            assert part.first == positions
            close(part.arrays[LAST_LOGITS], wanted)
        assert keys.positions == 14
        for wrong in (0, 15):
            with pytest.raises(DataError, match="cannot be cut"):
                keys.cut(wrong)
        with pytest.raises(DataError, match="cannot be cut"):
            KeptKeys().cut(1)

    def test_a_residual_put_in_behind_a_prefix(self, any_model):
        keys, rows = KeptKeys(), np.concatenate([np.tile(IDS[:8], (3, 1)), BATCH[:, :4]], axis=1)
        forward(any_model, IDS[:8], (), keys=keys)
        whole = forward(any_model, rows, ("hook_resid_pre", LAST_LOGITS))
        wider = keys.expanded(3)
        start = Start(1, whole.arrays["hook_resid_pre"][1][:, 8:])
        part = forward(any_model, rows, (LAST_LOGITS,), keys=wider, start=start)
        close(part.arrays[LAST_LOGITS], whole.arrays[LAST_LOGITS])
        assert wider.positions == 8  # the blocks below kept nothing of the new positions

    def test_a_pass_that_starts_above_fills_none(self, model):
        keys = KeptKeys()
        forward(model, IDS, (), keys=keys, start=Start(1, np.zeros((14, 32), np.float32)))
        assert keys.positions == 0 and keys.ids is None

    def test_writes_are_told_the_place_in_the_prompt(self, model):
        places, keys = [], KeptKeys()
        write = Write("blocks.0.attn.hook_z", lambda value, first: places.append((first, value.shape[1])))
        for end in (10, 11, 14):
            forward(model, IDS[:end], (), writes=[write], keys=keys)
        assert places == [(0, 10), (10, 1), (11, 3)]

    def test_a_site_of_one_position_is_named_by_its_place_in_the_prompt(self, model):
        site, keys = at_position("hook_resid_post", 12), KeptKeys()
        forward(model, IDS[:10], (), keys=keys)
        part = forward(model, IDS, (site,), keys=keys)
        close(part.arrays[site], forward(model, IDS, (site,)).arrays[site])
        again = KeptKeys()
        forward(model, IDS[:13], (), keys=again)
        with pytest.raises(DataError, match="before 13 were kept"):
            forward(model, IDS, (site,), keys=again)

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_pass_that_fails_adds_nothing(self, error, model):
        keys = KeptKeys()
        forward(model, IDS[:10], (), keys=keys)

        def break_off(value, hook):
            raise error("stop here")

        handle = model.blocks[1].attn.hook_z.register_forward_hook(lambda *_given: break_off(None, None))
        with pytest.raises(error):
            forward(model, IDS, (), keys=keys)
        handle.remove()
        part = forward(model, IDS, (LAST_LOGITS,), keys=keys)
        assert part.first == 10
        close(part.arrays[LAST_LOGITS], forward(model, IDS, (LAST_LOGITS,)).arrays[LAST_LOGITS])

    @pytest.mark.parametrize("name", ["gpt1", "bert"])
    def test_an_architecture_that_keeps_none_runs_whole_passes(self, name, tmp_path):
        if name == "bert":
            torch.manual_seed(0)
            config = transformers.BertConfig(**tiny_models.SHAPE, max_position_embeddings=64)
            transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
            tiny_models.tokenizer().save_pretrained(tmp_path)
            model = load_model(tmp_path)
        else:
            model = other(name, tmp_path)
        keys, site = KeptKeys(), "attn.hook_pattern"
        for end in (10, 14):
            part = forward(model, IDS[:end], (site,), keys=keys)
            assert (part.first, keys.positions, keys.supported) == (0, 0, False)
            close(part.arrays[site], forward(model, IDS[:end], (site,)).arrays[site])

    def test_what_does_not_go_on_is_refused(self, model, tiny_model):
        keys = KeptKeys()
        forward(model, IDS[:10], (), keys=keys)
        for wrong in (IDS[:10], IDS[:5], IDS[::-1].copy()):
            with pytest.raises(DataError, match="does not go on"):
                forward(model, wrong, (), keys=keys)
        with pytest.raises(DataError, match="shape") as refused:
            forward(model, BATCH, (), keys=keys)
        assert "expanded" in refused.value.hint
        with pytest.raises(DataError, match="another model"):
            forward(tiny_model("llama"), IDS, (), keys=keys)
        with pytest.raises(DataError, match="nothing yet"):
            KeptKeys().expanded(2)

    def test_bytes_are_counted(self, model):
        keys = KeptKeys()
        assert keys.nbytes == 0
        forward(model, IDS, (), keys=keys)
        assert keys.nbytes == 2 * 2 * 14 * 2 * 8 * 4  # layer, key and value, position, kv head, d_head, float32


SITES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "attn.hook_z", PATTERN)


def sites_of(model, sites=SITES):
    return [site for site in sites if f"blocks.0.{site}" in model.hook_dict]


def difference(logits):
    """Of two tokens at the last position, over all runs."""
    return (logits[:, -1, 9] - logits[:, -1, 4]).sum()


class TestGradients:
    """The gradient is what a small write at the hook is worth."""

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_they_are_finite_differences(self, architecture, tiny_model):
        model = tiny_model(architecture, dtype=torch.float64)
        chance = np.random.default_rng(0)
        value, found = gradients(model, IDS, difference, sites_of(model))
        for site, layer in itertools.product(sites_of(model), (0, 1)):
            gradient = found.arrays[site][layer]
            direction = torch.from_numpy(chance.standard_normal(gradient.shape))

            def worth(step, site=site, layer=layer, direction=direction):
                moved = Write(f"blocks.{layer}.{site}", lambda value, _first: value + step * direction)
                return gradients(model, IDS, difference, (), writes=[moved])[0]

            # Not smaller, for norms compute in float32 whatever the model's own type is; to the fourth order, then.
            slopes = [(worth(step) - worth(-step)) / (2 * step) for step in (1e-3, 2e-3)]
            slope = (4 * slopes[0] - slopes[1]) / 3
            assert slope == pytest.approx(float((gradient * direction.numpy()).sum()), rel=1e-3, abs=5e-3), site
        plain = forward(model, IDS, (LAST_LOGITS,)).arrays[LAST_LOGITS]
        assert value == pytest.approx(float(plain[9] - plain[4]), abs=1e-5)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_they_are_those_of_transformer_lens_backward_hooks(self, architecture, tiny_model):
        model = tiny_model(architecture)
        sites, want = sites_of(model), {}
        _, found = gradients(model, IDS, difference, sites)
        names = {f"blocks.{layer}.{site}": (site, layer) for site in sites for layer in (0, 1)}
        keep = [
            (name, lambda gradient, hook, name=name: want.__setitem__(name, gradient.detach().clone()) or None)
            for name in names
        ]
        model.eval()
        with model.hooks(bwd_hooks=keep):
            difference(model(torch.from_numpy(IDS)[None])).backward()
        model.zero_grad()
        assert set(want) == set(names)
        for name, (site, layer) in names.items():
            close(found.arrays[site][layer], want[name][0].numpy(), 1e-5)

    def test_each_run_of_a_batch_has_its_own(self, model):
        _, together = gradients(model, BATCH, difference, ("hook_resid_pre", "attn.hook_z"))
        for run, ids in enumerate(BATCH):
            _, alone = gradients(model, ids, difference, ("hook_resid_pre", "attn.hook_z"))
            for site, array in alone.arrays.items():
                close(together.arrays[site][:, run], array)

    @pytest.mark.parametrize("frozen", [False, True])
    @pytest.mark.parametrize("mode", ["enabled", "no_grad", "inference"])
    def test_it_does_not_matter_what_wants_gradients(self, frozen, mode, model):
        want = gradients(model, IDS, difference, ("hook_resid_post",))[1].arrays["hook_resid_post"]
        for parameter in model.parameters():
            parameter.requires_grad_(not frozen)
        around = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}[mode]
        with around():
            before = state_of(model), torch.is_inference_mode_enabled()
            found = gradients(model, IDS, difference, ("hook_resid_post",))[1].arrays["hook_resid_post"]
            assert (state_of(model), torch.is_inference_mode_enabled()) == before
        assert np.array_equal(found, want)
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_after_a_write_they_are_by_what_was_written(self, model):
        double = Write("blocks.0.hook_mlp_out", lambda value, _first: 2 * value)
        _, found = gradients(model, IDS, difference, ("hook_mlp_out",), (0,), [double])
        _, plain = gradients(model, IDS, difference, ("hook_mlp_out",), (0,))
        assert not np.allclose(found.arrays["hook_mlp_out"], plain.arrays["hook_mlp_out"])
        cut = Write("blocks.1.hook_resid_pre", lambda value, _first: value.detach() * 1)
        with pytest.raises(ModelError, match="no gradient"):
            gradients(model, IDS, difference, ("hook_mlp_out",), (0,), [cut])

    def test_a_write_in_place_behind_it_does_no_harm(self, model):
        want = gradients(model, IDS, difference, ("hook_resid_post",), (0,))[1].arrays["hook_resid_post"]

        def in_place(module, given):
            given[0].mul_(1.0)

        model.blocks[1].register_forward_pre_hook(in_place)
        found = gradients(model, IDS, difference, ("hook_resid_post",), (0,))[1].arrays["hook_resid_post"]
        close(found, want, 1e-6)

    def test_a_site_of_one_position_is_the_row_of_the_whole(self, model):
        site = at_position("attn.hook_z", 9)
        _, found = gradients(model, IDS, difference, (site, "attn.hook_z"))
        assert np.array_equal(found.arrays[site], found.arrays["attn.hook_z"][:, 9])

    def test_masked_scores_have_no_worth(self, model):
        _, found = gradients(model, IDS, difference, (SCORES,))
        later = np.triu(np.ones((14, 14), bool), 1)
        assert np.isfinite(found.arrays[SCORES]).all() and not found.arrays[SCORES][..., later].any()

    def test_readers_see_the_activations_themselves(self, model):
        seen = {}
        gradients(
            model,
            IDS,
            difference,
            ("hook_resid_post",),
            readers={"hook_resid_post": lambda layer, value: seen.__setitem__(layer, value)},
        )
        want = forward(model, IDS, ("hook_resid_post",)).arrays["hook_resid_post"]
        assert not any(value.requires_grad for value in seen.values())
        close(np.stack([seen[layer].numpy() for layer in (0, 1)]), want, 1e-6)

    def test_from_a_start_on(self, model):
        residual = forward(model, IDS, ("hook_resid_pre",)).arrays["hook_resid_pre"][1]
        _, whole = gradients(model, IDS, difference, ("hook_resid_pre",))
        _, upper = gradients(model, IDS, difference, ("hook_resid_pre",), start=Start(1, residual))
        close(upper.arrays["hook_resid_pre"], whole.arrays["hook_resid_pre"][1:], 1e-6)

    def test_half_precision_gives_float32(self, tiny_model):
        _, found = gradients(tiny_model("llama", dtype=torch.bfloat16), IDS, difference, ("hook_resid_post",))
        assert found.arrays["hook_resid_post"].dtype == np.float32
        assert not found.arrays["hook_resid_post"].flags.writeable

    @pytest.mark.parametrize(
        "metric",
        [
            lambda logits: logits[:, -1],
            lambda logits: 1.0,
            lambda logits: logits.detach().sum(),
            lambda logits: torch.tensor(1.0),
        ],
    )
    def test_a_metric_that_is_no_number_of_the_logits_is_refused(self, metric, lived_in):
        before = state_of(lived_in)
        with pytest.raises(DataError, match="metric"):
            gradients(lived_in, IDS, metric, ("hook_resid_post",))
        assert state_of(lived_in) == before

    def test_outputs_have_none(self, model):
        with pytest.raises(DataError, match="outputs"):
            gradients(model, IDS, difference, (LAST_LOGITS,))

    @pytest.mark.parametrize("architecture", ["gptj", "gptneo"])
    def test_a_pattern_that_is_a_copy_is_refused(self, architecture, tmp_path):
        with pytest.raises(ModelError, match="no gradient"):
            gradients(other(architecture, tmp_path), IDS, difference, (PATTERN,))


ASKED = {
    "batch": lambda model: forward(model, BATCH, READ),
    "start": lambda model: forward(model, IDS, RESIDUAL, start=Start(1, np.zeros((14, 32), np.float32))),
    "keys": lambda model: forward(model, IDS, RESIDUAL, keys=KeptKeys()),
    "gradients": lambda model: gradients(model, IDS, difference, RESIDUAL),
}


class TestNothingIsLeft:
    """Whatever is asked, and however it ends."""

    @pytest.mark.parametrize("asked", ASKED)
    def test_after_success(self, asked, lived_in):
        before = state_of(lived_in), [block.__dict__.get("forward", ABSENT) for block in lived_in.blocks]
        ASKED[asked](lived_in)
        assert (state_of(lived_in), [block.__dict__.get("forward", ABSENT) for block in lived_in.blocks]) == before

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    @pytest.mark.parametrize("asked", ASKED)
    def test_after_an_error_in_the_middle(self, asked, error, lived_in):
        def break_off(value, hook):
            raise error("stop here")

        lived_in.add_hook("blocks.1.hook_resid_post", break_off)
        before = state_of(lived_in)
        with pytest.raises(error, match="stop here"):
            ASKED[asked](lived_in)
        assert state_of(lived_in) == before
        assert not any("forward" in block.__dict__ for block in lived_in.blocks)

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_after_an_error_in_the_metric_or_in_the_way_back(self, error, lived_in):
        def broken(logits):
            raise error("my metric is wrong")

        class Broken(torch.autograd.Function):
            @staticmethod
            def forward(_ctx, value):
                return value * 1

            @staticmethod
            def backward(_ctx, gradient):
                raise error("my metric is wrong")

        before = state_of(lived_in)
        for metric in (broken, lambda logits: Broken.apply(difference(logits))):
            with pytest.raises(error, match="my metric is wrong"):
                gradients(lived_in, IDS, metric, RESIDUAL)
            assert state_of(lived_in) == before

    def test_the_result_holds_no_graph(self, model):
        keys = KeptKeys()
        forward(model, IDS, (), keys=keys)
        assert not any(held.requires_grad for layer in keys._cache.layers for held in (layer.keys, layer.values))


class TestPausing:
    """In a pause the user may run the model; what is asked comes out all the same."""

    def test_a_batch_from_a_start_on_with_writes_pauses(self, model):
        residual = forward(model, BATCH, ("hook_resid_pre",)).arrays["hook_resid_pre"][1]
        asked = dict(
            sites=("hook_resid_post", LAST_LOGITS),
            writes=[Write("blocks.1.attn.hook_z", lambda value, _first: value * 0.5)],
            start=Start(1, residual),
        )
        with torch.no_grad():
            plain = model(torch.from_numpy(IDS)[None])
        want = forward(model, BATCH, **asked)
        before, pauses = state_of(model), 0
        steps = forward_steps(model, BATCH, **asked, pausing=True)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                found = finished.value
                break
            pauses += 1
            with torch.no_grad():
                assert torch.equal(model(torch.from_numpy(IDS)[None]), plain)  # all blocks of it
        assert pauses >= 2
        assert state_of(model) == before
        for site, array in want.arrays.items():
            assert np.array_equal(found.arrays[site], array)

    def test_ended_in_a_pause_it_leaves_nothing(self, model):
        keys = KeptKeys()
        forward(model, IDS[:8], (), keys=keys)
        before = state_of(model)
        residual = np.zeros((6, 32), np.float32)
        steps = forward_steps(model, IDS, (), keys=keys, start=Start(1, residual), pausing=True)
        next(steps)
        steps.close()
        assert state_of(model) == before
        assert not any("forward" in block.__dict__ for block in model.blocks)
        assert forward(model, IDS, (), keys=keys).first == 8
