"""A run with a coder spliced in, or one of its features clamped, is what the same edit by hand gives: through Hugging
Face's own modules in every view's numbers and on every architecture, and through TransformerLens's hooks for real
coders; the model is as it was."""

from __future__ import annotations

import pytest
import torch
from coders_in_models import made_coder
from edited_oracle import Edit
from edited_views import ARCHITECTURES, IDS, check_all, only_at, pairs
from model_state import state_of

import mi_widgets as mw

CODER = made_coder(32)
FIRSTLESS = made_coder(32, skips_first=True, seed=1)
NORMALISED = made_coder(32, architecture="standard", settings={"normalize_activations": "layer_norm"}, seed=2)


def but_first(change):
    return lambda value: torch.cat([value[:1], change(value)[1:]])


def clamped(coder, feature, to):
    """By the definition: what the coder decodes with that activation, less what it decodes without."""

    def change(value):
        acts = coder.encode(value)
        held = acts.clone()
        held[..., feature] = to
        return value + coder.decode(held, value) - coder.decode(acts, value)

    return change


def held(coder, feature, to):
    """Spliced and clamped: nothing but what the coder decodes."""

    def change(value):
        acts = coder.encode(value)
        acts[..., feature] = to
        return coder.decode(acts, value)

    return change


def at(site, layer=0, **how):
    hook = f"blocks.{layer}.hook_{site}"
    return made_coder(32, hook, **how)


KINDS = {
    "spliced": lambda: (mw.Splice(CODER), [Edit("resid_post", 0, CODER.reconstruct)]),
    "but at position 0": lambda: (mw.Splice(FIRSTLESS), [Edit("resid_post", 0, but_first(FIRSTLESS.reconstruct))]),
    "normalised": lambda: (mw.Splice(NORMALISED), [Edit("resid_post", 0, NORMALISED.reconstruct)]),
    "at positions": lambda: (
        mw.Splice(FIRSTLESS, positions=[0, -1]),
        [Edit("resid_post", 0, only_at([0, -1], FIRSTLESS.reconstruct))],
    ),
    "resid_pre": lambda: (mw.Splice(at("resid_pre", 1)), [Edit("resid_pre", 1, at("resid_pre", 1).reconstruct)]),
    "resid_mid": lambda: (mw.Splice(at("resid_mid")), [Edit("resid_mid", 0, at("resid_mid").reconstruct)]),
    "attn_out": lambda: (mw.Splice(at("attn_out", 1)), [Edit("attn_out", 1, at("attn_out", 1).reconstruct)]),
    "mlp_out": lambda: (mw.Splice(at("mlp_out")), [Edit("mlp_out", 0, at("mlp_out").reconstruct)]),
    "clamped": lambda: (mw.Clamp(CODER, 3, 4.0), [Edit("resid_post", 0, clamped(CODER, 3, 4.0))]),
    "clamped where normalised": lambda: (
        mw.Clamp(NORMALISED, 7, 1.5),
        [Edit("resid_post", 0, clamped(NORMALISED, 7, 1.5))],
    ),
    "two clamped": lambda: (
        [mw.Clamp(CODER, 3, 4.0), mw.Clamp(CODER, 8, -2.0, positions=[-1, 2])],
        [
            Edit(
                "resid_post",
                0,
                lambda value: clamped(CODER, 3, 4.0)(value) + only_at([-1, 2], clamped(CODER, 8, -2.0))(value) - value,
            )
        ],
    ),
    "spliced and clamped": lambda: (
        [mw.Splice(CODER), mw.Clamp(CODER, 3, 4.0)],
        [Edit("resid_post", 0, held(CODER, 3, 4.0))],
    ),
    "with its error and clamped": lambda: (
        [mw.Clamp(CODER, 3, 4.0), mw.Splice(CODER, error=True)],
        [Edit("resid_post", 0, clamped(CODER, 3, 4.0))],
    ),
    "behind another": lambda: (
        [mw.Ablate(0, site="resid_post", positions=[2, -1]), mw.Splice(CODER)],
        [Edit("resid_post", 0, lambda value: CODER.reconstruct(only_at([2, -1], torch.zeros_like)(value)))],
    ),
}


@pytest.fixture(scope="module")
def pair(tiny_folder):
    return pairs(tiny_folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_view_shows_the_spliced_run_as_edited_by_hand(architecture, kind, pair):
    if architecture == "neox" and "mid" in kind:
        pytest.skip("parallel blocks have no stream between attention and MLP; refused below")
    model, hugging = pair(architecture)
    before = state_of(model)
    changes, edits = KINDS[kind]()
    check_all(model, hugging, IDS, changes, edits)
    assert state_of(model) == before
