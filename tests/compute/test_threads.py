"""Several threads on one model: every number is the one that a thread alone gets."""

from __future__ import annotations

import random
import sys
import threading

import numpy as np
import pytest
import torch

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.models import fingerprint, lock_of


@pytest.fixture(autouse=True)
def busy():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works):
    """Run each on a thread of its own; the errors that they raised."""
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def prompts(count):
    draw = np.random.default_rng(0)
    return [draw.integers(3, 128, int(length)) for length in draw.integers(4, 30, count)]


CALLS = {
    "attention_patterns": lambda model, ids: compute.attention_patterns(model, ids).values,
    "scores": lambda model, ids: compute.attention_patterns(model, ids, weighting="scores").values,
    "logit_lens": lambda model, ids: compute.logit_lens(model, ids, stream="attn_out").kl,
    "next_tokens": lambda model, ids: compute.next_tokens(model, ids).log_prob,
    "logit_attribution": lambda model, ids: compute.logit_attribution(model, ids, 5, 6, by="head").contribution,
    "sample": lambda model, ids: compute.sample(model, ids, 2).log_probs,
}


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_every_number_is_that_of_one_thread(architecture, tiny_model):
    model = tiny_model(architecture)
    model.train()
    cases = [(name, ids) for name in CALLS for ids in prompts(4)]
    alone = [CALLS[name](model, ids) for name, ids in cases]
    different = []

    def work(seed):
        draw = random.Random(seed)
        for _ in range(25):
            case = draw.randrange(len(cases))
            name, ids = cases[case]
            if not np.array_equal(CALLS[name](model, ids), alone[case], equal_nan=True):
                different.append(name)

    assert together(*(lambda seed=seed: work(seed) for seed in range(4))) == []
    assert different == []
    assert all(module.training for module in model.original_model.modules())
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_two_sessions_on_two_threads_draw_their_own_pictures(model):
    texts = [" ".join(f"w{token}" for token in ids) for ids in prompts(6)]
    alone = {text: compute.attention_patterns(model, text).values for text in texts}
    different = []

    def work(own):
        session = mw.Session(model, own[0])
        view, lens = mw.Attention(session), mw.LogitLens(session)
        for text in own * 4:
            session.prompt = text
            session.wait()
            if not np.array_equal(view.data.values, alone[text]) or lens.data.max_error != 0.0:
                different.append(text)
        view.close()
        lens.close()

    assert together(lambda: work(texts[:3]), lambda: work(texts[3:])) == []
    assert different == []


def test_a_pass_of_the_users_own_on_another_thread_is_neither_read_nor_changed(model):
    ids, others = prompts(2)
    tokens = torch.tensor(others)[None]
    with torch.no_grad():
        own = model(tokens)
    alone, different, done = forward(model, ids, ("hook_resid_post",)).arrays["hook_resid_post"], [], threading.Event()

    def ours():
        try:
            for _ in range(40):
                got = forward(model, ids, ("hook_resid_post",)).arrays["hook_resid_post"]
                if not np.array_equal(got, alone):
                    different.append("ours")
        finally:
            done.set()

    def theirs():
        with torch.no_grad():
            while not done.is_set():
                if not torch.equal(model(tokens), own):
                    different.append("theirs")

    assert together(ours, theirs) == []
    assert different == []


def test_bridges_of_one_model_share_its_lock(model, tiny_model):
    from transformer_lens.model_bridge import TransformerBridge

    twin = TransformerBridge.boot_transformers(
        model.cfg.model_name, hf_model=model.original_model, tokenizer=model.tokenizer
    )
    assert twin is not model and lock_of(twin) is lock_of(model)
    assert lock_of(tiny_model("llama")) is not lock_of(model)


def test_the_lock_is_free_between_steps(model):
    steps = compute.sample_steps(model, mw.Session(model, [3, 4, 5]).tokens, 3)
    next(steps)
    got = []
    assert together(lambda: got.append(lock_of(model).acquire(timeout=5))) == []
    assert got == [True]


def test_a_pass_meanwhile_does_not_change_the_fingerprint(model):
    ids, seen, done = prompts(1)[0], set(), threading.Event()

    def passes():
        try:
            for _ in range(20):
                forward(model, ids, ("attn.hook_pattern",))
        finally:
            done.set()

    def looks():
        while not done.is_set():
            seen.add(fingerprint(model))

    forward(model, ids, ("attn.hook_pattern",))
    known = fingerprint(model)
    assert together(passes, looks) == []
    assert seen <= {known}
