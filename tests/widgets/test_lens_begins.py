"""A lens draws its first cells while the pass is still in the product with the unembedding, and takes them back where
that pass comes to nothing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch
from held_product import Gate
from on_screen import PROMPT, manifest_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.wire.blocks import unpack

OTHER = "w7 w8 w9 w3 w4"
CHECK = "last row = the model's output"
pytestmark = pytest.mark.usefixtures("long_reading", "passes_pause")


@pytest.fixture
def passes_pause(monkeypatch):
    """Every pass is taken for one that takes long."""
    monkeypatch.setattr("mi_widgets.session.passes.LARGE_SECONDS", -1.0)


async def idle(view):
    while view.session.runner.busy:
        await asyncio.sleep(0.001)


def followed(view):
    """The pictures that are put on the page, or taken off it."""
    seen = []
    view.observe(lambda change: seen.append(unpack(change["new"])[0] if change["new"] else None), "picture")
    return seen


def to_other(view):
    view.session.prompt = OTHER


def held(in_loop, model, meanwhile=lambda view, gate: None, edit=to_other, **options):
    """Edit a lens, and call `meanwhile(view, gate)` while the pass is in the product and a first part stands on the
    page. The view when all is done, what its page showed from then on, and what stood there before."""

    async def main():
        view = mw.LogitLens(mw.Session(model, PROMPT), **options)
        await idle(view)
        seen, before, gate = followed(view), view.picture, Gate(model)
        try:
            edit(view)
            while not seen:
                await asyncio.sleep(0.001)
            assert gate.reached.is_set() and not gate.opened.is_set()
            meanwhile(view, gate)
            gate.opened.set()
            await idle(view)
        finally:
            gate.opened.set()
            gate.remove()
        return view, seen, before

    return in_loop(main)


def checks(manifest):
    return [check["label"] for check in manifest["checks"] if CHECK in check["label"]]


def test_the_first_part_is_drawn_before_the_product_and_checked_after_it(in_loop, model):
    parts = []
    view, seen, _ = held(in_loop, model, lambda view, gate: parts.append(view.picture))
    assert seen[0]["read"] == {"A": [5], "B": []} and checks(seen[0]) == []
    assert all(len(checks(manifest)) == 1 for manifest in seen[1:])
    assert seen[-1]["read"] is None and view.status["state"] == "idle"
    first, whole = unpack(parts[0])[1], unpack(view.picture)[1]
    for name, values in first.items():
        fuller = whole[name][:, 5, :1] if "/top_" in name else whole[name][:, 5]
        np.testing.assert_array_equal(values[:, 0], fuller, err_msg=name)
    np.testing.assert_allclose(view.data.kl, compute.logit_lens(model, OTHER).kl, atol=1e-5)


def test_data_asked_for_meanwhile_is_whole_and_checked(in_loop, model):
    found = []

    def ask(view, gate):
        gate.opened.set()
        found.append(view.data)

    held(in_loop, model, ask)
    assert found[0].read is None and found[0].max_error < 1e-4


def test_of_two_runs_it_begins_when_both_are_read(in_loop, model):
    def compare(view):
        view.compare = OTHER

    view, seen, _ = held(in_loop, model, edit=compare)
    assert seen[0]["read"] == {"A": [5], "B": [5]}
    assert (checks(seen[0]), len(checks(seen[-1]))) == ([f"{CHECK} (A)"], 2)  # the pass of A is over
    wanted = compute.logit_lens_comparison(model, PROMPT, OTHER)
    np.testing.assert_allclose(view.comparison.kl, wanted.kl, atol=1e-5)


def test_an_intervention_shows_in_the_first_part(in_loop, model):
    ablated, parts = [mw.Ablate(layer=1, head=0)], []

    def ablate(view):
        view.session.interventions = ablated

    held(in_loop, model, lambda view, gate: parts.append(view._on_page.data), ablate)
    wanted = compute.logit_lens(model, PROMPT, interventions=ablated)
    np.testing.assert_allclose(parts[0].kl[:, 5], wanted.kl[:, 5], atol=1e-5)


def test_a_product_that_fails_takes_the_part_back(in_loop, model):
    view, seen, before = held(in_loop, model, lambda view, gate: setattr(gate, "error", MemoryError()))
    assert [manifest["read"] is None for manifest in seen] == [False, True]
    assert view.picture == before and view.status["state"] == "error"
    assert view._on_page is view._picture


def test_hooks_put_on_the_blocks_meanwhile_take_the_part_back(in_loop, model):
    def disturb(view, gate):
        model.add_hook("blocks.1.hook_resid_pre", lambda value, hook: value * 2)

    view, seen, before = held(in_loop, model, disturb)
    assert seen[1] == unpack(before)[0] and checks(seen[2])
    np.testing.assert_allclose(view.data.kl, compute.logit_lens(model, OTHER).kl, atol=1e-5)


def test_weights_changed_meanwhile_take_the_part_back(in_loop, model):
    def change(view, gate):
        with torch.no_grad():
            model.blocks[0].mlp.original_component.down_proj.weight.mul_(2)

    view, seen, before = held(in_loop, model, change)
    assert seen[1] == unpack(before)[0] and checks(seen[2])
    np.testing.assert_allclose(view.data.kl, compute.logit_lens(model, OTHER).kl, atol=1e-5)


def test_stopped_there_the_part_stays_and_says_so(in_loop, model):
    view, seen, _ = held(in_loop, model, lambda view, gate: view.stop())
    assert len(seen) == 1 and manifest_of(view)["read"] == {"A": [5], "B": []}
    assert (view.status["state"], view.status["message"]) == ("idle", "Stopped: 1 of 6 positions are read.")


def test_a_newer_edit_there_is_what_is_shown(in_loop, model):
    def edit(view, gate):
        view.session.prompt = "w5 w6"
        gate.opened.set()

    view, seen, _ = held(in_loop, model, edit)
    assert {manifest["run"] for manifest in seen[1:]} == {view.status["run"]} == {seen[0]["run"] + 1}
    assert view.data.tokens.strings[-2:] == ("w5", "w6") and manifest_of(view)["read"] is None


def test_what_is_not_finite_is_told_when_the_pass_is_over(in_loop, model):
    async def main():
        view = mw.LogitLens(mw.Session(model, PROMPT))
        await idle(view)
        seen, begun, ended, gate = followed(view), view.session_begins, [], Gate(model)

        def begins(*given):
            yield from begun(*given)
            ended.append(True)

        view.session_begins = begins
        with torch.no_grad():
            model.blocks[1].mlp.original_component.down_proj.weight.fill_(torch.nan)
        view.session.refresh()
        while not ended:
            await asyncio.sleep(0.001)
        assert seen == [] and not gate.opened.is_set()
        gate.opened.set()
        await idle(view)
        gate.remove()
        return view, seen

    view, seen = in_loop(main)
    assert all(checks(manifest) for manifest in seen)
    assert "layer 1" in view.data.not_finite
