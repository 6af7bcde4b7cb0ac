"""What a pass costs is told before it, of batches, gradients and parts of a pass too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_widgets.compute.forward import PATTERN, KeptKeys, Start, at_position, forward, gradients, unwritten
from mi_widgets.compute.output import LAST_LOGITS, OUTPUT_SITES
from mi_widgets.errors import MiWidgetsError
from mi_widgets.models import describe
from mi_widgets.session import estimate as room
from mi_widgets.session.estimate import Clock, Estimate, check_memory, runs_at_once

IDS = np.arange(3, 43)
BATCH = np.stack([IDS, IDS[::-1], IDS])
SITES = (PATTERN, "hook_resid_post", unwritten("hook_mlp_out"), "ln_final.hook_normalized", LAST_LOGITS, *OUTPUT_SITES)


@pytest.fixture
def info(model):
    return describe(model)


@pytest.fixture
def free(monkeypatch):
    """`free(bytes)`: so much memory is free."""

    def told(available):
        class Memory:
            pass

        Memory.available = available
        monkeypatch.setattr(room.psutil, "virtual_memory", lambda: Memory)

    return told


class TestBytes:
    """What is kept is what arrays will hold."""

    def test_of_one_run(self, model, info):
        assert Clock(model).estimate(info, 40, SITES).nbytes == forward(model, IDS, SITES).nbytes

    def test_of_a_batch(self, model, info):
        assert Clock(model).estimate(info, 40, SITES, runs=3).nbytes == forward(model, BATCH, SITES).nbytes

    @pytest.mark.parametrize("layers", [(1,), {PATTERN: (0,), "hook_resid_post": None, unwritten("hook_mlp_out"): ()}])
    def test_of_layers_also_by_site(self, layers, model, info):
        sites = SITES if isinstance(layers, tuple) else (PATTERN, "hook_resid_post")
        assert Clock(model).estimate(info, 40, sites, layers).nbytes == forward(model, IDS, sites, layers).nbytes

    def test_of_as_many_layers(self, model, info):
        assert Clock(model).estimate(info, 40, (PATTERN,), 1).nbytes == forward(model, IDS, (PATTERN,), (1,)).nbytes

    def test_from_a_start_on(self, model, info):
        start = Start(1, np.zeros((40, 32), np.float32))
        kept = forward(model, IDS, SITES, start=start)
        assert Clock(model).estimate(info, 40, SITES, start=1).nbytes == kept.nbytes

    def test_of_new_positions(self, model, info):
        keys = KeptKeys()
        forward(model, IDS[:30], (), keys=keys)
        kept = forward(model, IDS, SITES, keys=keys)
        assert Clock(model).estimate(info, 40, SITES, new=10).nbytes == kept.nbytes

    def test_of_gradients(self, model, info):
        sites = (PATTERN, "hook_resid_post")
        _, kept = gradients(model, BATCH, lambda logits: logits[:, -1, 5].sum(), sites)
        assert Clock(model).estimate(info, 40, sites, runs=3, gradients=True).nbytes == kept.nbytes

    def test_one_position_is_as_good_as_nothing(self, model, info):
        assert Clock(model).estimate(info, 40, (at_position("mlp.hook_post", 3),)).nbytes == 0


class TestWorking:
    """What the pass itself holds at its peak."""

    def test_a_single_pass_is_what_the_model_is_made_for(self, model, info):
        assert Clock(model).estimate(info, 40, SITES).working == 0

    def test_a_batch_holds_its_logits(self, model, info):
        clock = Clock(model)
        logits = 8 * 40 * info.d_vocab * 4
        assert clock.estimate(info, 40, (), runs=8).working >= logits
        assert clock.estimate(info, 40, (), runs=16).working == 2 * clock.estimate(info, 40, (), runs=8).working

    def test_gradients_hold_the_graph(self, model, info):
        held: dict[int, torch.Tensor] = {}

        def keep(tensor):
            held[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        weights = {parameter.untyped_storage().data_ptr() for parameter in model.original_model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            gradients(model, BATCH, lambda logits: logits[:, -1, 5].sum(), ("hook_resid_post",))
        graph = sum(tensor.untyped_storage().nbytes() for place, tensor in held.items() if place not in weights)
        told = Clock(model).estimate(info, 40, ("hook_resid_post",), runs=3, gradients=True).working
        assert 0.7 * graph < told < 2.5 * graph

    def test_fewer_blocks_and_positions_hold_less(self, model, info):
        clock = Clock(model)
        whole = clock.estimate(info, 40, (), runs=3, gradients=True).working
        assert clock.estimate(info, 40, (), runs=3, gradients=True, start=1).working < whole
        assert clock.estimate(info, 40, (), runs=3, gradients=True, new=10).working < whole / 3


class TestSeconds:
    """Time grows with what is run."""

    def test_with_runs_positions_and_the_way_back(self, model, info):
        clock = Clock(model)
        one = clock.estimate(info, 40, ()).seconds
        assert clock.estimate(info, 40, (), runs=7).seconds == pytest.approx(7 * one)
        assert clock.estimate(info, 40, (), new=10).seconds == pytest.approx(one / 4)
        assert clock.estimate(info, 40, (), gradients=True).seconds == pytest.approx(2 * one)

    def test_blocks_that_are_passed_over_cost_nothing(self, model, info):
        clock = Clock(model)
        block = sum(parameter.numel() for parameter in model.blocks[0].parameters())
        every = sum(parameter.numel() for parameter in model.parameters())
        share = clock.estimate(info, 40, (), start=1).seconds / clock.estimate(info, 40, ()).seconds
        assert share == pytest.approx(1 - block / every)

    @pytest.mark.parametrize("what", [{}, {"runs": 5}, {"gradients": True}, {"start": 1}])
    def test_it_is_learned_from_any_pass(self, what, model, info):
        clock = Clock(model)
        clock.learn(40, 3.0, n_layers=info.n_layers, **what)
        assert clock.estimate(info, 40, (), **what).seconds == pytest.approx(3.0)


class TestRefusal:
    """What would not fit is refused, with what would."""

    def test_a_batch_says_how_many_runs_fit(self, free):
        free(10_000_000_000)
        with pytest.raises(MiWidgetsError, match=r"needs 20\.0 GB and 10\.0 GB") as refused:
            check_memory(Estimate(1.0, 4_000_000_000, 16_000_000_000, runs=10))
        assert "fewer runs at once: 4 fit" in refused.value.hint

    def test_where_not_one_fits_the_prompt_is_too_long(self, free):
        free(1_000_000_000)
        with pytest.raises(MiWidgetsError) as refused:
            check_memory(Estimate(1.0, 20_000_000_000, runs=10))
        assert "Shorten the prompt" in refused.value.hint

    def test_runs_at_once_are_those_that_fit(self, free, model, info):
        clock = Clock(model)
        whole = clock.estimate(info, 40, SITES, runs=100)
        free(whole.needed)
        count = runs_at_once(whole)
        assert count == 90
        check_memory(clock.estimate(info, 40, SITES, runs=count))
        free(10 * whole.needed)
        assert runs_at_once(whole) == 100

    def test_it_is_said_in_a_few_words(self):
        assert str(Estimate(0.1, 1000)) == ""
        assert str(Estimate(0.1, 400_000_000, 800_000_000, runs=4)) == "about 1 s, 1.2 GB"
