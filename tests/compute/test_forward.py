"""The user's model is theirs: whatever happens in a pass, hooks, flags, modes, gradients and weights are as before."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from model_state import state_of

from mi_widgets import compute
from mi_widgets.compute.attention import assemble
from mi_widgets.compute.forward import PATTERN, SCORES, forward
from mi_widgets.errors import ModelError
from mi_widgets.models import load_model, modules_of, tokenize

IDS = np.arange(3, 15)


@pytest.mark.parametrize("weighting", ["pattern", "scores", "value", "output"])
def test_success_leaves_the_model_as_it_was(weighting, lived_in):
    before = state_of(lived_in)
    compute.attention_patterns(lived_in, IDS, weighting=weighting)
    assert state_of(lived_in) == before
    assert before["hooks"]["blocks.0.hook_resid_pre"][0]  # the user's own hook is among what is compared


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, ValueError])
def test_an_exception_in_the_pass_leaves_the_model_as_it_was(error, lived_in):
    def break_off(value, hook):
        raise error("stop here")

    lived_in.add_hook("blocks.1.hook_resid_pre", break_off)
    before = state_of(lived_in)
    with pytest.raises(error, match="stop here"):
        compute.attention_patterns(lived_in, IDS)
    assert state_of(lived_in) == before


def test_an_exception_in_head_scores_leaves_the_model_as_it_was(lived_in):
    calls = []

    def interrupt_third(value, hook):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    lived_in.add_hook("blocks.1.hook_resid_pre", interrupt_third)
    before = state_of(lived_in)
    with pytest.raises(KeyboardInterrupt):
        compute.head_scores(lived_in)
    assert state_of(lived_in) == before


def test_the_users_hooks_stay_active_in_the_pass(model):
    plain = compute.attention_patterns(model, IDS).values
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value * 0)
    assert not np.allclose(compute.attention_patterns(model, IDS).values, plain)


def test_a_pass_reports_that_the_model_was_training(model):
    assert not forward(model, IDS, ("attn.hook_pattern",)).was_training
    model.blocks[1].train()
    assert forward(model, IDS, ("attn.hook_pattern",)).was_training


def test_an_unknown_site_is_a_model_error(model):
    with pytest.raises(ModelError, match="hook_nonsense"):
        forward(model, IDS, ("attn.hook_nonsense",))


def test_activations_are_float32_on_the_cpu_and_counted(model):
    got = forward(model, IDS, ("attn.hook_pattern", "attn.hook_v"), layers=[1])
    assert got.layers == (1,)
    assert {array.dtype for array in got.arrays.values()} == {np.dtype(np.float32)}
    assert got.arrays["attn.hook_pattern"].shape == (1, 4, 12, 12)
    assert got.nbytes == sum(array.nbytes for array in got.arrays.values())


def test_no_gradient_graph_is_kept_alive(model):
    tensors = []
    forward(model, IDS, (), readers={"attn.hook_pattern": lambda row, value: tensors.append(value)})
    assert len(tensors) == 2
    assert not any(tensor.requires_grad for tensor in tensors)


@pytest.mark.parametrize("value", [False, True], ids=["put into evaluation", "put back"])
def test_ctrl_c_while_flags_are_set_leaves_none_behind(value, model):
    model.train()
    before = [module.training for module in modules_of(model)]
    target = modules_of(model)[5]
    left = [1]

    class Flags(dict):
        def __setitem__(self, name, new):
            if name == "training" and new is value and left:
                left.pop()
                raise KeyboardInterrupt
            super().__setitem__(name, new)

    target.__dict__ = Flags(target.__dict__)
    with pytest.raises(KeyboardInterrupt):
        forward(model, IDS, ("attn.hook_pattern",))
    assert not left
    assert [module.training for module in modules_of(model)] == before


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError])
def test_an_error_in_the_users_hook_is_the_users_own(error, model):
    def wrong(value, hook):
        raise error("my hook is wrong")

    model.add_hook("blocks.0.hook_resid_pre", wrong)
    for ask in (compute.attention_patterns, compute.next_tokens, compute.logit_lens):
        with pytest.raises(error, match="my hook is wrong") as raised:
            ask(model, IDS)
        assert type(raised.value) is error


def test_a_residual_stream_that_is_never_called_is_named_as_such(tmp_path):
    import tiny_models
    import transformers

    config = transformers.OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=128)
    transformers.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    model = load_model(tmp_path)
    with pytest.raises(ModelError, match="residual stream") as refused:
        compute.logit_lens(model, IDS)
    assert "attention" not in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_all_arrays_of_a_pass_are_read_only_and_no_result_writes_into_them(model):
    sites = ("attn.hook_pattern", "attn.hook_attn_scores", "attn.hook_v", "hook_resid_post", "output.top_logits")
    kept = forward(model, IDS, sites)
    before = {site: array.copy() for site, array in kept.arrays.items()}
    assert not any(array.flags.writeable for array in kept.arrays.values())
    tokens = tokenize(model, IDS)
    for weighting in ("pattern", "scores", "value", "output"):
        found = assemble(model, tokens, kept, weighting)
        assert found.base.base is kept.arrays[SCORES if weighting == "scores" else PATTERN].base
    for site, array in kept.only((1,)).arrays.items():
        assert not array.flags.writeable, site
    for site, array in before.items():
        assert np.array_equal(kept.arrays[site], array, equal_nan=True)


@pytest.mark.parametrize("name", ["attention_patterns", "next_tokens", "logit_lens", "logit_attribution", "sample"])
def test_read_only_ids_and_arrays_draw_no_warning(name, model):
    ids = IDS.copy()
    ids.flags.writeable = False
    given = {"logit_attribution": (9, 8), "sample": (2,)}.get(name, ())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        getattr(compute, name)(model, ids, *given)
    assert not [str(one.message) for one in said]


def test_scores_are_masked_as_they_are_kept(model):
    scores = forward(model, IDS, (SCORES,)).arrays[SCORES]
    masked = np.triu(np.ones((len(IDS), len(IDS)), bool), 1)
    assert np.isnan(scores[:, :, masked]).all() and np.isfinite(scores[:, :, ~masked]).all()


def test_hooks_act_on_the_thread_that_set_them(model):
    from mi_widgets.compute.undisturbed import OwnHook

    seen = []
    hook = OwnHook(seen.append)
    thread = threading.Thread(target=hook, args=(torch.zeros(1, 2),))
    thread.start()
    thread.join()
    assert seen == []
    hook(torch.zeros(1, 2))
    assert len(seen) == 1


def test_a_hook_of_the_users_that_closes_over_what_comes_later_is_no_obstacle(model):
    def hook(module, given, value):
        return value if True else later

    handle = model.hook_dict["blocks.0.attn.hook_pattern"].register_forward_hook(hook)
    assert len(forward(model, IDS, (PATTERN,)).arrays[PATTERN]) == 2
    later = handle
    later.remove()
