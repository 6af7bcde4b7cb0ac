"""The layers themselves are the user's model without its hooks: the same numbers, and nothing of the user's touched."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tiny_models
import torch
from model_state import state_of
from transformers.cache_utils import DynamicCache

from mi_widgets.compute import onward as onward_room
from mi_widgets.compute.forward import forward
from mi_widgets.compute.onward import Onward
from mi_widgets.compute.plain_layers import ATTENTIONS, PlainLayers, Unfit, lent
from mi_widgets.compute.step import run
from mi_widgets.models import load_model

ARCHITECTURES = list(tiny_models.CONFIGS)
IDS = np.random.default_rng(5).integers(3, tiny_models.D_VOCAB, 14)
END = "ln_final.hook_in"


@pytest.fixture(params=[*ARCHITECTURES, "gptj", "gptneo"])
def any_model(request, tiny_folder):
    return load_model(tiny_folder(request.param, tiny_models.OTHERS.get(request.param)))


def final(model):
    """The final stream at the last position, by the model itself."""
    return torch.from_numpy(forward(model, IDS, (END,)).arrays[END][-1].copy())


def close(found, wanted):
    assert found.shape == (len(found), len(wanted))
    assert float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))


class TestTheModelItself:
    """The layers say what the model says, from any block and position on."""

    @pytest.mark.parametrize("trimmed", [True, False])
    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_over_a_whole_prompt_and_behind_a_part_of_it(self, attention, trimmed, any_model):
        try:
            layers = PlainLayers(any_model, attention, trimmed)
        except (ValueError, Unfit):
            assert attention == "sdpa" and any_model.cfg.architecture.startswith(("Gemma2", "GPTJ", "GPTNeo"))
            return
        full = DynamicCache()
        close(layers.run(IDS[None], full), final(any_model))
        for positions in (1, 6, 13):
            for _time in range(2):  # what is lent is not used up
                rows = np.tile(IDS[positions:], (2, 1))
                close(layers.run(rows, lent(full, positions, 2)), final(any_model))

    def test_from_a_block_on(self, any_model):
        layers, full = PlainLayers(any_model, "eager", True), DynamicCache()
        layers.run(IDS[None], full)
        entering = forward(any_model, IDS, ("hook_resid_pre",)).arrays["hook_resid_pre"]
        for layer, residual in enumerate(entering):
            given = torch.from_numpy(residual[4:].copy()).expand(3, -1, -1)
            close(layers.run(np.tile(IDS[4:], (3, 1)), lent(full, 4, 3), layer, given), final(any_model))

    def test_a_soft_cap_goes_with_attention_that_knows_it(self, tiny_model):
        with pytest.raises(Unfit, match="soft-cap"):
            PlainLayers(tiny_model("gemma2"), "sdpa", True)
        assert Onward(tiny_model("gemma2"), IDS).plain


class TestTheUsersOwn:
    """Weights are shared, and nothing else."""

    def test_no_weight_is_copied(self, any_model):
        layers = PlainLayers(any_model, "eager", True)
        theirs = {tensor.data_ptr() for tensor in (*any_model.parameters(), *any_model.buffers())}
        own = [*layers.model.parameters(), *layers.model.buffers()]
        assert own and all(tensor.data_ptr() in theirs for tensor in own if tensor.numel())

    def test_the_model_is_as_it_was(self, lived_in):
        lived_in.reset_hooks()
        before = state_of(lived_in), [tensor._version for tensor in lived_in.parameters()], torch.get_rng_state()
        config = lived_in.original_model.config.to_dict()
        layers = PlainLayers(lived_in, "sdpa", True)
        layers.run(IDS[None], DynamicCache())
        after = state_of(lived_in), [tensor._version for tensor in lived_in.parameters()]
        assert after == before[:2] and torch.equal(torch.get_rng_state(), before[2])
        assert lived_in.original_model.config.to_dict() == config
        assert lived_in.original_model.config._attn_implementation == "eager"

    def test_a_model_in_training_is_evaluated(self, tiny_model):
        model = tiny_model("gpt2")
        wanted = final(model)
        model.train()
        close(PlainLayers(model, "sdpa", True).run(IDS[None], DynamicCache()), wanted)
        assert model.original_model.training

    def test_weights_edited_in_place_are_seen(self, model):
        layers = PlainLayers(model, "sdpa", True)
        with torch.no_grad():
            next(iter(model.blocks[1].mlp.parameters())).mul_(0.5)
        close(layers.run(IDS[None], DynamicCache()), final(model))

    def test_weights_replaced_are_noticed(self, model):
        onward = Onward(model, IDS)
        assert onward.plain
        module = next(
            module
            for module in model.blocks[1].mlp.modules()
            if isinstance(module._parameters.get("weight"), torch.Tensor)
        )
        module._parameters["weight"] = torch.nn.Parameter(0.5 * module.weight.detach())
        entering = forward(model, IDS, ("hook_resid_pre",), (1,)).arrays["hook_resid_pre"][0]
        close(run(onward.steps(1, 3, torch.from_numpy(entering[None, 3:].copy()))), final(model))

    def test_it_holds_no_model_alive(self, tiny_model):
        model = tiny_model("llama")
        Onward(model, IDS).plain  # noqa: B018 (made for its trace)
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None


class TestUnfit:
    """What is more than its modules is run as it stands."""

    @pytest.mark.parametrize("change", ["forward", "parametrized", "quantised", "class"])
    def test_a_model_changed_by_hand(self, change, tiny_model):
        model = tiny_model("llama")
        inner = model.original_model
        linear = next(module for module in inner.modules() if type(module) is torch.nn.Linear)
        if change == "forward":
            own = linear.forward
            linear.forward = lambda value: 0.5 * own(value)
        elif change == "parametrized":
            torch.nn.utils.parametrizations.weight_norm(linear)
        elif change == "quantised":
            inner.config.quantization_config = {"bits": 4}
        else:
            linear.__class__ = type("Other", (torch.nn.Linear,), {})
        with pytest.raises(Unfit):
            PlainLayers(model, "sdpa", True)
        assert not Onward(model, IDS).plain

    def test_layers_that_say_something_else(self, model, monkeypatch):
        own = PlainLayers.run
        monkeypatch.setattr(PlainLayers, "run", lambda *given, **named: 1.01 * own(*given, **named))
        assert not Onward(model, IDS).plain

    def test_what_a_check_found_is_remembered_up_to_its_length(self, model, monkeypatch):
        made = []
        own = onward_room.Onward._begin_hooked
        monkeypatch.setattr(onward_room.Onward, "_begin_hooked", lambda self: (made.append(1), own(self)))
        for ids in (IDS[:9], IDS[:9], IDS[:5], IDS):
            assert Onward(model, ids).plain
        assert len(made) == 2
