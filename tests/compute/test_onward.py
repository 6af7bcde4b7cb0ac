"""From a changed residual stream on to the end: the same as the whole pass with that change, however it is made."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from model_state import state_of

from mi_widgets.compute import onward as onward_room
from mi_widgets.compute.forward import Write, forward
from mi_widgets.compute.onward import Onward
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.step import run
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import load_model

ARCHITECTURES = list(tiny_models.CONFIGS)
#: Longer than the sliding windows of the tiny models, which are 5.
IDS = np.random.default_rng(5).integers(3, tiny_models.D_VOCAB, 14)
END = "ln_final.hook_in"


@pytest.fixture(params=[*ARCHITECTURES, "gptj", "gptneo", "falcon"])
def any_model(request, tiny_folder):
    return load_model(tiny_folder(request.param, tiny_models.OTHERS.get(request.param)))


@pytest.fixture(params=["plain", "hooked"])
def way(request, monkeypatch):
    """The layers themselves, and the model with its hooks."""
    if request.param == "hooked":
        monkeypatch.setattr(onward_room, "_KINDS", ())
    return request.param


def entering(model, layer, writes=()):
    """What enters block `layer` of the unchanged run, `[position, d_model]`."""
    hook = f"blocks.{layer - 1}.hook_resid_post" if layer else "blocks.0.hook_resid_pre"
    return torch.from_numpy(forward(model, IDS, (hook,), (), writes=writes).arrays[hook].copy())


def changed(model, layer, first, position, runs=3, writes=()):
    """Residual streams `[run, position, d_model]` from `first` to `position`, changed at random at `first` and some
    behind it."""
    torch.manual_seed(layer)
    residual = entering(model, layer, writes)[first : position + 1].repeat(runs, 1, 1)
    residual[:, :2] += residual.std() * torch.randn_like(residual[:, :2])
    return residual


def whole(model, layer, first, position, residual, writes=()):
    """The same runs as whole passes, one at a time, changed by a write: final streams and logits at `position`."""
    hook = f"blocks.{layer - 1}.hook_resid_post" if layer else "blocks.0.hook_resid_pre"
    end = END if END in model.hook_dict else f"blocks.{int(model.cfg.n_layers) - 1}.hook_resid_post"
    finals, logits = [], []
    for row in residual:

        def put(value, _first, row=row):
            value = value.clone()
            value[:, first : position + 1] = row
            return value

        both = [*writes, Write(hook, put)]
        found = forward(model, IDS, (end,), (), writes=both).arrays[end][position]
        finals.append(found)
        hooks = {"unembed.hook_out": lambda _layer, value: logits.append(value[position].float().numpy().copy())}
        forward(model, IDS, (), (), hooks, both)
    return np.stack(finals), np.stack(logits)


def agree(model, onward, layers=None, firsts=(0, 3, 7), writes=(), atol=1e-5):
    """That `onward` says what whole passes say, at every layer and several first positions."""
    for layer in range(int(model.cfg.n_layers) + 1) if layers is None else layers:
        for first in firsts:
            residual = changed(model, layer, first, onward.position, writes=writes)
            wanted, _ = whole(model, layer, first, onward.position, residual, writes)
            found = run(onward.steps(layer, first, residual)).float().numpy()
            scale = max(1.0, float(np.abs(wanted).max()))
            assert found.shape == wanted.shape
            assert np.abs(found - wanted).max() <= atol * scale, (layer, first, np.abs(found - wanted).max() / scale)


class TestTheWholePass:
    """Every run is the whole pass with the same change."""

    @pytest.mark.parametrize("position", [-1, 9])
    def test_at_every_layer_and_first_position(self, position, way, any_model):
        onward = Onward(any_model, IDS, position=position)
        agree(any_model, onward)
        falcon = any_model.cfg.architecture == "FalconForCausalLM"  # TransformerLens replaces what its attention does
        assert onward.plain == (way == "plain" and not falcon)

    @pytest.mark.parametrize("memory", [None, 60_000])
    def test_of_runs_that_change_from_different_positions_on(self, memory, way, any_model):
        onward, firsts = Onward(any_model, IDS, position=12, memory=memory), np.array([3, 3, 5, 9, 12, 4])
        for layer in range(int(any_model.cfg.n_layers) + 1):
            stream = entering(any_model, layer)[3:13]
            residual = stream.repeat(len(firsts), 1, 1)
            for run_, first in enumerate(firsts):
                residual[run_, first - 3] += stream.std() * torch.randn(stream.shape[-1])
            wanted, _ = whole(any_model, layer, 3, 12, residual)
            found = run(onward.steps(layer, 3, residual, firsts)).numpy()
            assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, float(np.abs(wanted).max()))

    @pytest.mark.parametrize(("architecture", "packs"), [("gpt2", True), ("llama", True), ("mistral", False)])
    def test_they_stand_one_behind_the_other_where_nothing_but_the_mask_counts(self, architecture, packs, tiny_model):
        model, packed = tiny_model(architecture), []
        onward = Onward(model, IDS)
        assert onward.plain
        own = onward._plain.run_packed
        onward._plain.run_packed = lambda *given: (packed.append(len(given[3])), own(*given))[1]
        run(onward.steps(1, 3, torch.randn(4, 11, 32), np.array([3, 5, 7, 9])))
        assert bool(packed) == packs

    def test_where_no_keys_are_kept(self, model, monkeypatch):
        monkeypatch.setattr(onward_room, "_KINDS", ())
        monkeypatch.setattr("mi_widgets.compute.kept_keys._empty", lambda *_given: None)
        agree(model, Onward(model, IDS, position=9))

    def test_on_the_demo_model(self, way, demo_model):
        agree(demo_model, Onward(demo_model, IDS))

    def test_in_half_precision(self, way, tiny_model):
        model = tiny_model("llama", dtype=torch.bfloat16)
        onward = Onward(model, IDS)
        agree(model, onward, atol=5e-2)
        assert run(onward.steps(1, 3, changed(model, 1, 3, 13))).dtype == torch.bfloat16

    def test_logits_are_the_models_own(self, way, any_model):
        onward = Onward(any_model, IDS)
        residual = changed(any_model, 1, 4, 13)
        final = run(onward.steps(1, 4, residual))
        wanted = forward(any_model, IDS, (LAST_LOGITS,)).arrays[LAST_LOGITS]
        unchanged = run(onward.steps(1, 4, entering(any_model, 1)[None, 4:]))
        assert np.allclose(onward.logits(unchanged)[0].cpu(), wanted, atol=1e-4)
        assert onward.logits(final).shape == (3, any_model.cfg.d_vocab)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_with_writes_of_the_run_itself(self, architecture, tiny_model):
        model = tiny_model(architecture)

        def add(value, first):
            value = value.clone()
            if first <= 6 < first + value.shape[1]:
                value[:, 6 - first] += 1.0
            return value

        writes = [Write(f"blocks.{layer}.hook_mlp_out", add) for layer in (0, 1)]
        writes.append(Write("blocks.1.hook_resid_pre", add))
        onward = Onward(model, IDS, writes=writes)
        agree(model, onward, writes=writes)
        assert not onward.plain


class TestHooksOfTheUsersOwn:
    """They fire, and are never shown a shorter prompt or more runs than they bear."""

    @pytest.mark.parametrize("hook", ["blocks.1.hook_resid_pre", "blocks.0.attn.hook_z", "blocks.1.hook_mlp_out"])
    @pytest.mark.parametrize(
        "edit",
        [
            lambda value, hook: value * 0.5,
            lambda value, hook: torch.cat([value[:, :5], 2 * value[:, 5:6], value[:, 6:]], 1),
            lambda value, hook: torch.cat([value[:1] * 0.5, value[1:]]),
            lambda value, hook: value * torch.linspace(0, 1, 14).reshape(1, -1, *[1] * (value.ndim - 2)),
        ],
        ids=["every position", "the sixth position", "the first run", "a prompt of this length"],
    )
    def test_what_they_edit_is_edited_once(self, hook, edit, model):
        model.add_hook(hook, edit)
        onward = Onward(model, IDS)
        agree(model, onward, layers=(1, 2), firsts=(3,))
        assert not onward.plain

    def test_on_a_block_itself(self, model):
        model.blocks[0].register_forward_hook(lambda _module, _given, found: 0.5 * found)
        agree(model, Onward(model, IDS), layers=(1, 2), firsts=(0, 3))

    @pytest.mark.parametrize("hook", ["ln_final.hook_in", "ln_final.hook_normalized", "unembed.hook_out"])
    def test_behind_the_last_block(self, hook, model):
        model.add_hook(hook, lambda value, hook: value * 0.5 + 1.0)
        onward = Onward(model, IDS)
        residual = changed(model, 1, 4, 13)
        final, logits = whole(model, 1, 4, 13, residual)
        found = run(onward.steps(1, 4, residual))
        assert np.allclose(found, final, atol=1e-5)
        assert np.allclose(onward.logits(found), logits, atol=1e-4)

    def test_behind_the_last_block_and_of_one_position_are_refused(self, model):
        def edit(value, hook):
            value = value.clone()
            value[:, 13] *= 0.5
            return value

        model.add_hook("unembed.hook_out", edit)
        onward = Onward(model, IDS)
        final = run(onward.steps(1, 4, changed(model, 1, 4, 13)))
        with pytest.raises(ModelError, match="behind the last block"):
            onward.logits(final)

    def test_one_that_raises_is_heard(self, model):
        def refuse(value, hook):
            raise RuntimeError("mine")

        onward = Onward(model, IDS)
        residual = changed(model, 1, 4, 13)
        model.add_hook("blocks.1.hook_mlp_out", refuse)
        with pytest.raises(RuntimeError, match="mine"):
            run(onward.steps(1, 4, residual))


class TestWhatIsReused:
    """Nothing that stays as it was is computed again."""

    def test_blocks_below_positions_before_and_the_unembedding_are_not_run(self, model):
        seen = []
        model.add_hook("blocks.0.hook_resid_post", lambda value, hook: seen.append(("block 0", *value.shape[:2])))
        model.add_hook("blocks.1.hook_resid_post", lambda value, hook: seen.append(("block 1", *value.shape[:2])))
        model.add_hook("unembed.hook_out", lambda value, hook: seen.append(("unembedding", *value.shape[:2])))
        onward, residual = Onward(model, IDS, position=11), changed(model, 1, 8, 11, runs=2)
        run(onward.steps(1, 8, residual))
        seen.clear()
        run(onward.steps(1, 8, residual))
        assert seen == [("block 1", 2, 4)]

    def test_the_unchanged_run_is_made_once(self, model):
        passes = []
        onward = Onward(model, IDS)
        residual = changed(model, 1, 8, 13)
        model.add_hook("hook_embed", lambda value, hook: passes.append(value.shape[1]))
        run(onward.steps(1, 8, residual))
        assert passes.count(14) == 1
        passes.clear()
        run(onward.steps(1, 8, residual))
        assert passes == [6] * len(passes)

    def test_hooks_that_come_and_go_meanwhile_are_heeded(self, model):
        onward = Onward(model, IDS)
        agree(model, onward, layers=(1,))
        assert onward.plain
        model.add_hook("blocks.1.hook_mlp_out", lambda value, hook: 0.5 * value)
        agree(model, onward, layers=(1,))
        assert not onward.plain
        model.reset_hooks()
        agree(model, onward, layers=(1,))
        assert onward.plain

    def test_weights_edited_meanwhile_are_seen(self, way, model):
        onward = Onward(model, IDS)
        run(onward.steps(1, 3, changed(model, 1, 3, 13)))
        with torch.no_grad():
            model.blocks[1].attn.W_O.mul_(0.5)
            next(iter(model.blocks[0].mlp.parameters())).mul_(0.5)
        agree(model, onward)


class TestBatches:
    """They fit into the memory that may be taken, and the model is clean between them."""

    def test_memory_bounds_them(self, way, model):
        residual = changed(model, 1, 3, 13, runs=7)
        wanted = run(Onward(model, IDS).steps(1, 3, residual))
        steps = list(Onward(model, IDS, memory=1).steps(1, 3, residual))
        assert [(step.done, step.total) for step in steps] == [(done, 7) for done in range(1, 8)]
        assert torch.allclose(run(Onward(model, IDS, memory=1).steps(1, 3, residual)), wanted, atol=1e-5)

    def test_no_runs_are_no_streams(self, way, model):
        assert run(Onward(model, IDS).steps(1, 3, torch.zeros(0, 11, 32))).shape == (0, 32)

    def test_the_model_is_as_it_was_in_every_pause_and_after_a_stop(self, lived_in):
        onward = Onward(lived_in, IDS, memory=1)
        residual = torch.randn(4, 11, 32)
        before = state_of(lived_in)
        steps = onward.steps(1, 3, residual)
        for _batch in range(2):
            next(steps)
            assert state_of(lived_in) == before
        steps.close()
        assert state_of(lived_in) == before

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_after_an_error(self, error, lived_in):
        def break_off(value, hook):
            raise error("stop here")

        lived_in.add_hook("blocks.1.hook_mlp_out", break_off)
        before = state_of(lived_in)
        with pytest.raises(error):
            run(Onward(lived_in, IDS).steps(1, 3, torch.randn(4, 11, 32)))
        assert state_of(lived_in) == before


@pytest.mark.parametrize(
    ("layer", "first", "shape"),
    [(3, 0, (1, 14, 32)), (-1, 0, (1, 14, 32)), (1, 14, (1, 0, 32)), (1, 3, (1, 14, 32)), (1, 3, (11, 32))],
)
def test_what_does_not_fit_is_refused(layer, first, shape, model):
    with pytest.raises(DataError):
        run(Onward(model, IDS).steps(layer, first, torch.zeros(shape)))


def test_a_model_that_does_not_show_its_stream_is_refused(tiny_folder):
    model = load_model(tiny_folder("gpt1", tiny_models.OTHERS["gpt1"]))
    with pytest.raises(ModelError, match="final residual stream"):
        run(Onward(model, IDS).steps(1, 3, torch.zeros(1, 11, 32)))


def test_a_position_that_the_prompt_does_not_have_is_refused(model):
    with pytest.raises(DataError, match="14 positions"):
        Onward(model, IDS, position=14)
    with pytest.raises(DataError, match=r"\[position\]"):
        Onward(model, IDS[None])


def test_more_than_the_window_behind_is_kept(way, tiny_model):
    """Keys that a sliding window has let go of at the end are those that an earlier position reads."""
    assert tiny_models.CONFIGS["mistral"][1]["sliding_window"] < len(IDS)
    model = tiny_model("mistral")
    agree(model, Onward(model, IDS), firsts=tuple(range(14)), layers=(0, 1))
