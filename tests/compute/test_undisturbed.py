"""A Ctrl-C at any line of ours or of TransformerLens leaves nothing behind: no gradients off, no flag, no hook."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import OURS, Interrupted
from model_state import state_of

from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.compute.undisturbed import without_gradients

IDS = np.arange(3, 11)
CALLS = {
    "forward": lambda model: forward(model, IDS, ("attn.hook_pattern", "hook_resid_post", "output.next_logit")),
    "attribution": lambda model: compute.logit_attribution(model, IDS, 9, 8, by="head"),
    "lens": lambda model: compute.logit_lens(model, IDS),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_an_interrupt_at_any_line_leaves_nothing_behind(name, tiny_model):
    model = tiny_model("gemma2")
    model.train()
    model.blocks[0].eval()
    CALLS[name](model)
    before = state_of(model)
    with Interrupted() as counted:
        CALLS[name](model)
    assert counted.lines > 300
    step = max(1, counted.lines // 100)
    left = []
    for at in range(1, counted.lines + 1, step):
        try:
            with Interrupted(at):
                CALLS[name](model)
        except KeyboardInterrupt:
            pass
        if state_of(model) != before or not torch.is_grad_enabled():
            left.append(at)
            torch.set_grad_enabled(True)
            model.reset_hooks()
    assert left == []


def test_an_interrupt_while_things_are_put_back_leaves_nothing_behind(model):
    model.train()
    forward(model, IDS, ("attn.hook_pattern",))  # transformers installs hooks of its own in a first pass
    before = state_of(model)

    class InRestoring(Interrupted):
        def _called(self, frame, event, argument):
            watched = {"_restore", "train_again", "take_away", "run", "_run"}
            inside = frame.f_code.co_filename.startswith(OURS) and frame.f_code.co_name in watched
            return self._line if inside else None

    with InRestoring() as counted:
        forward(model, IDS, ("attn.hook_pattern",))
    assert counted.lines > 40
    for at in range(1, counted.lines + 1):
        try:
            with InRestoring(at):
                forward(model, IDS, ("attn.hook_pattern",))
        except KeyboardInterrupt:
            pass
        assert torch.is_grad_enabled(), at
        assert state_of(model) == before, at


def test_real_interrupts_at_random_moments_leave_nothing_behind(model):
    model.train()
    compute.logit_attribution(model, IDS, 9, 8)
    before, draw, heard = state_of(model), np.random.default_rng(0), 0
    for _ in range(40):
        try:
            signal.setitimer(signal.ITIMER_REAL, float(draw.uniform(1e-4, 0.03)))
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            compute.logit_attribution(model, IDS, 9, 8)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            heard += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        assert torch.is_grad_enabled() and state_of(model) == before
    assert heard


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_of_gradients_is_that_of_the_caller(mode):
    inside = []
    with torch.set_grad_enabled(mode):
        without_gradients(lambda: inside.append(torch.is_grad_enabled()))()
        assert torch.is_grad_enabled() is mode
        with pytest.raises(ValueError, match="stop"):
            without_gradients(lambda: (_ for _ in ()).throw(ValueError("stop")))()
        assert torch.is_grad_enabled() is mode
    assert inside == [False]


def test_nothing_in_this_room_turns_gradients_off_by_itself():
    for path in Path(OURS).glob("*.py"):
        if path.name != "tuned_lens_training.py" and path.name != "tuned_lens.py":
            assert "no_grad" not in path.read_text(), path.name
