"""Queries, keys, values, patterns and neurons patched from another run: what TransformerLens's own hooks give with the
same numbers put there, on every architecture; and refused where nothing reads them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import KeptKeys, forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.data.interventions import SITES
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import load_model, tokenize
from mi_widgets.session import Session

DRAW = np.random.default_rng(17)
IDS, OTHER = (DRAW.integers(3, tiny_models.D_VOCAB, 9) for _ in range(2))
LONGER = np.concatenate([IDS[:3], [99, 98], IDS[3:]])
PATTERN = "attn.hook_pattern"
DEAF = tiny_models.DEAF

#: How the patch is asked for, and where that is in the activation `[run, …]`.
EVERY = slice(None)
WHERE = {
    "q of a head": (dict(site="q", head=3), np.s_[:, :, 3]),
    "q of a head at two": (dict(site="q", head=2, position=[4, -1]), np.s_[:, [4, 8], 2]),
    "q": (dict(site="q"), EVERY),
    "k of a head": (dict(site="k", head=1), np.s_[:, :, 1]),
    "k of a head at one": (dict(site="k", head=0, position=3), np.s_[:, 3, 0]),
    "v of a head": (dict(site="v", head=1, position=5), np.s_[:, 5, 1]),
    "v": (dict(site="v"), EVERY),
    "z": (dict(site="z", position=6), np.s_[:, 6]),
    "pattern of a head": (dict(site="pattern", head=2), np.s_[:, 2]),
    "pattern of a query": (dict(site="pattern", head=2, position=5), np.s_[:, 2, 5]),
    "one edge": (dict(site="pattern", head=0, position=7, key=4), np.s_[:, 0, 7, 4]),
    "to one key": (dict(site="pattern", head=1, key=-7), np.s_[:, 1, :, 2]),
    "pattern at two": (dict(site="pattern", position=[5, 8]), np.s_[:, :, [5, 8]]),
    "a neuron": (dict(site="post", neuron=11), np.s_[:, :, 11]),
    "a neuron at one": (dict(site="post", neuron=40, position=6), np.s_[:, 6, 40]),
    "neurons": (dict(site="post"), EVERY),
}


@pytest.fixture(scope="module")
def known(tiny_folder):
    """`known(architecture)`: made once, left as it was."""
    made = {}
    return lambda name: (
        made.setdefault(name, load_model(tiny_folder(name, DEAF.get(name)))) if name not in made else made[name]
    )


def last_logits(model, ids, changes=()):
    edits = resolve(model, tokenize(model, ids), changes)
    return forward(model, ids, ("output.last_logits",), writes=edits.writes).arrays["output.last_logits"]


def by_hand(model, hook, place):
    """TransformerLens's own cache and hooks."""
    ids, other = (torch.tensor(one)[None] for one in (IDS, OTHER))
    with torch.no_grad():
        _, cache = model.run_with_cache(other, names_filter=hook)

        def put(activation, hook):
            activation[place] = cache[name][place]
            return activation

        name = next(iter(cache.keys()))
        return model.run_with_hooks(ids, fwd_hooks=[(hook, put)])[0, -1].float().numpy()


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("architecture", tiny_models.CONFIGS)
def test_the_changed_run_is_that_of_hooks_put_on_by_hand(architecture, where, known):
    model, (said, place) = known(architecture), WHERE[where]
    last_logits(model, IDS)
    before = state_of(model)
    found = last_logits(model, IDS, mw.Patch(layer=0, source=OTHER, **said))
    assert state_of(model) == before
    wanted = by_hand(model, f"blocks.0.{SITES[said['site']]}", place)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
    assert np.abs(found - last_logits(model, IDS)).max() > 1e-5


def test_queries_keys_and_values_of_a_block_together_are_its_attention(model):
    whole = last_logits(model, IDS, [mw.Patch(site, 0, source=OTHER) for site in "qkv"])
    np.testing.assert_allclose(whole, last_logits(model, IDS, mw.Patch("z", 0, source=OTHER)), atol=1e-5)


def test_a_pattern_of_another_length_is_aligned_on_both_axes(model):
    tokens = tokenize(model, IDS)
    edits = resolve(model, tokens, mw.Patch("pattern", 1, head=2, source=LONGER))
    plain, source = (forward(model, ids, (PATTERN,)).arrays[PATTERN][1] for ids in (IDS, LONGER))
    changed = forward(model, IDS, (PATTERN,), writes=edits.writes).arrays[PATTERN][1]
    there = [0, 1, 2, *range(5, 11)]
    assert np.array_equal(changed[2], source[2][np.ix_(there, there)])
    assert np.array_equal(changed[[0, 1, 3]], plain[[0, 1, 3]])
    (note,) = edits.notes
    assert "9 of 9 positions have a partner in the source, by alignment" in note
    assert "need not sum to 1" in note


def test_attention_to_what_the_source_lacks_stays(model):
    shorter = np.delete(IDS, 4)
    edits = resolve(model, tokenize(model, IDS), mw.Patch("pattern", 1, source=shorter))
    plain = forward(model, IDS, (PATTERN,)).arrays[PATTERN][1]
    changed = forward(model, IDS, (PATTERN,), writes=edits.writes).arrays[PATTERN][1]
    assert np.array_equal(changed[:, 4], plain[:, 4])
    assert np.array_equal(changed[:, :, 4], plain[:, :, 4])
    assert np.abs(changed[:, 6, 1] - plain[:, 6, 1]).max() > 1e-4


@pytest.mark.parametrize("asked", [dict(position=4), dict(position=6, key=4), dict(key=4)])
def test_an_edge_that_the_source_lacks_is_refused(asked, model):
    with pytest.raises(DataError, match=r"position 4 \(.*\) has no partner in the source"):
        resolve(model, tokenize(model, IDS), mw.Patch("pattern", 1, source=np.delete(IDS, 4), **asked))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (mw.Patch("k", 0, head=2, source=OTHER), "head 2 does not exist. Layer 0 has key-value heads 0 to 1."),
        (mw.Patch("q", 0, head=4, source=OTHER), "head 4 does not exist. Layer 0 has heads 0 to 3."),
        (mw.Patch("pattern", 0, head=4, source=OTHER), "head 4 does not exist. Layer 0 has heads 0 to 3."),
        (mw.Patch("pattern", 0, key=9, source=OTHER), "position 9 does not exist."),
        (mw.Patch("post", 0, neuron=48, source=OTHER), "neuron 48 does not exist. Layer 0 has neurons 0 to 47."),
    ],
    ids=repr,
)
def test_what_does_not_exist_is_refused(change, said, model):
    with pytest.raises(DataError) as refused:
        resolve(model, tokenize(model, IDS), change)
    assert said in str(refused.value)


def test_a_session_refuses_a_key_value_head_that_does_not_exist(model):
    session = Session(model, "w3 w4")
    with pytest.raises(DataError, match="there is no head 2"):
        session.interventions = mw.Patch("k", 0, head=2, source="w5 w6")
    session.interventions = mw.Patch("q", 0, head=3, source="w5 w6")


@pytest.mark.parametrize("architecture", DEAF)
def test_a_pattern_that_nothing_reads_is_refused_with_the_reason(architecture, known):
    model = known(architecture)
    with pytest.raises(ModelError, match=f"nothing in this model reads what stands at blocks.1.{PATTERN}"):
        compute.next_tokens(model, IDS, interventions=mw.Patch("pattern", 1, head=0, source=OTHER))
    changed = last_logits(model, IDS, mw.Patch("v", 1, head=0, source=OTHER))
    assert np.abs(changed - last_logits(model, IDS)).max() > 1e-5


def test_a_patched_pattern_is_held_to_no_sum(model):
    found = compute.attention_patterns(
        model, IDS, layers=[1], interventions=mw.Patch("pattern", 1, key=0, source=OTHER)
    )
    assert found.row_sum_error is None
    assert found.not_finite == ""


@pytest.mark.parametrize("site", ["q", "k", "v", "pattern"])
def test_a_patched_head_still_says_which_positions_it_reads(site, model):
    data = compute.logit_attribution(model, IDS, 5, 9, interventions=mw.Patch(site, 1, head=1, source=OTHER))
    np.testing.assert_allclose(data.sources.sum(-1), data.heads, atol=1e-4)
    assert data.holds


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3"])
def test_with_kept_keys_the_edges_of_the_positions_that_are_run_are_put(architecture, known):
    """Sliding windows keep the last keys alone."""
    model = known(architecture)
    change = mw.Patch("pattern", 1, head=2, position=[3, 7], source=OTHER)
    edits = resolve(model, tokenize(model, IDS), change)
    whole, plain = (
        forward(model, IDS, ("hook_resid_post",), writes=writes).arrays["hook_resid_post"]
        for writes in (edits.writes, ())
    )
    keys = KeptKeys()
    forward(model, IDS[:5], ("hook_resid_post",), writes=edits.writes, keys=keys)
    rest = forward(model, IDS, ("hook_resid_post",), writes=edits.writes, keys=keys).arrays["hook_resid_post"]
    np.testing.assert_allclose(rest, whole[:, 5:], atol=1e-4)
    assert np.abs(whole - plain)[1, 7].max() > 1e-3
