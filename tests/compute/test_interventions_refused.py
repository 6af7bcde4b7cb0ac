"""What an intervention must leave alone, and what is refused: with the reason, before the pass where that can be known, and
the model as it was."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from model_state import state_of

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.compute.interventions import resolve
from mi_widgets.compute.reach import reach
from mi_widgets.errors import DataError, InterventionError, ModelError, PromptError
from mi_widgets.models import load_model, tokenize

DRAW = np.random.default_rng(7)
IDS, OTHER = (DRAW.integers(3, tiny_models.D_VOCAB, 9) for _ in range(2))
SHORT = IDS[:4]
DIRECTION = DRAW.normal(size=32)
Z, PATTERN, SCORES = "attn.hook_z", "attn.hook_pattern", "attn.hook_attn_scores"
DEAF = tiny_models.DEAF


@pytest.fixture(scope="module")
def deaf(tiny_folder):
    """`deaf(name)`: a tiny GPT-J or GPT-Neo, whose patterns and scores are made for show."""
    return lambda name: load_model(tiny_folder(name, DEAF[name]))


def run(model, changes, sites=(Z,), ids=IDS):
    tokens = tokenize(model, ids)
    edits = resolve(model, tokens, changes)
    return forward(model, tokens.ids, sites, writes=edits.writes, interventions=edits.interventions)


def double(activation, hook):
    return activation * 2


# --- what is left alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("none", [(), [], None])
def test_without_interventions_a_run_is_bit_for_bit_as_before(none, model):
    plain = compute.next_tokens(model, IDS)
    assert compute.next_tokens(model, IDS, interventions=none).log_prob.tobytes() == plain.log_prob.tobytes()
    assert compute.attention_patterns(model, IDS, interventions=none).interventions == ()
    assert resolve(model, tokenize(model, IDS), none).writes == ()


def test_other_heads_and_positions_are_bit_for_bit_as_before(model):
    plain, changed = (run(model, changes).arrays[Z] for changes in ((), mw.Ablate(1, head=2, positions=[3])))
    assert not changed[1, 3, 2].any()
    changed = changed.copy()
    changed[1, 3, 2] = plain[1, 3, 2]
    assert changed.tobytes() == plain.tobytes()


def test_other_neurons_are_bit_for_bit_as_before(model):
    post = "mlp.hook_post"
    plain, changed = (run(model, changes, (post,)).arrays[post] for changes in ((), mw.Ablate(1, neuron=7)))
    changed = changed.copy()
    assert not changed[1, :, 7].any()
    changed[1, :, 7] = plain[1, :, 7]
    assert changed.tobytes() == plain.tobytes()


def test_a_causal_model_is_untouched_before_the_position(model):
    plain = compute.next_tokens(model, IDS)
    changed = compute.next_tokens(model, IDS, interventions=mw.Ablate(0, site="resid_pre", positions=[5]))
    assert changed.log_prob[1:6].tobytes() == plain.log_prob[1:6].tobytes()
    assert np.abs(changed.log_prob[6:] - plain.log_prob[6:]).max() > 1e-4


def test_they_act_in_the_order_given(model):
    ones = np.ones(32, np.float32)
    twice = mw.Intervention("blocks.0.hook_resid_post", double)
    site = "blocks.0.hook_resid_post"
    plain = run(model, (), (site,)).arrays[site]
    added_first = run(model, [mw.Add(ones, layer=0), twice], (site,)).arrays[site]
    doubled_first = run(model, [twice, mw.Add(ones, layer=0)], (site,)).arrays[site]
    np.testing.assert_allclose(added_first, 2 * (plain + 1), rtol=1e-6)
    np.testing.assert_allclose(doubled_first, 2 * plain + 1, rtol=1e-6)


def test_the_middle_of_a_block_is_changed_before_its_end(model):
    ones = np.ones(32, np.float32)
    changes = [mw.Ablate(0, site="resid_post"), mw.Add(ones, "resid_mid", 0)]
    site = "blocks.0.hook_resid_post"
    assert not run(model, changes, (site,)).arrays[site].any()


def test_a_function_in_the_middle_of_a_block_does_what_run_with_hooks_does(model):
    hook = "blocks.0.hook_resid_mid"
    want = model.run_with_hooks(torch.tensor(IDS)[None], fwd_hooks=[(hook, double)])[0, -1].detach().float().numpy()
    got = run(model, mw.Intervention(hook, double), ("output.last_logits",)).arrays["output.last_logits"]
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_function_gets_the_hook_itself_however_it_names_it(model):
    seen = []
    point = model.hook_dict["blocks.0.attn.hook_z"]
    run(model, mw.Intervention("blocks.0.attn.hook_z", lambda activation, hook: seen.append(hook)))
    run(model, mw.Intervention("blocks.0.attn.hook_z", lambda activation, _: seen.append(_)))
    run(model, mw.Intervention("blocks.0.attn.hook_z", lambda activation, *, hook: seen.append(hook)))
    assert [one is point for one in seen] == [True] * 3


@pytest.mark.parametrize("change", [
    mw.Ablate(0, head=1), mw.Ablate(0, head=1, by="mean", reference=[OTHER]), mw.Add(np.ones(32), layer=0),
    mw.Patch("resid_mid", 0, source=OTHER), mw.Ablate(0, neuron=3),
    mw.Intervention("blocks.0.hook_resid_post", lambda activation, hook: activation.float() * 2),
], ids=repr)  # fmt: skip
def test_number_types_are_kept(change, tiny_model):
    model, wide = tiny_model("gemma2", dtype=torch.bfloat16), tiny_model("gemma2")
    seen = []
    model.hook_dict["blocks.0.hook_resid_post"].add_hook(lambda activation, hook: seen.append(activation.dtype))
    changed, plain = (compute.next_tokens(model, IDS, interventions=changes).log_prob for changes in (change, ()))
    assert set(seen) == {torch.bfloat16}
    want = compute.next_tokens(wide, IDS, interventions=change).log_prob
    assert np.nanmax(np.abs(changed - want)) < 0.35
    assert np.nanmax(np.abs(changed - plain)) > 1e-3


# --- where activations come from --------------------------------------------------------------------------


def test_sources_are_untouched_runs_and_each_prompt_is_passed_once(model):
    asked = []

    def read(tokens, sites, layers):
        asked.append((tokens.ids.tolist(), sites, layers))
        return forward(model, tokens.ids, sites, layers)

    changes = [
        mw.Ablate(0, head=1),
        mw.Patch("z", 1, head=0, source=OTHER),
        mw.Patch("z", 0, head=2, source=OTHER),
        mw.Patch("resid_pre", 1, position=2, source=OTHER),
    ]
    edits = resolve(model, tokenize(model, IDS), changes, read=read)
    assert asked == [(OTHER.tolist(), (Z, "hook_resid_pre"), {Z: (0, 1), "hook_resid_pre": (1,)})]
    changed = forward(model, IDS, (Z,), writes=edits.writes).arrays[Z]
    source = forward(model, OTHER, (Z,)).arrays[Z]
    assert np.array_equal(changed[1, :, 0], source[1, :, 0])
    assert np.array_equal(changed[0, :, 2], source[0, :, 2])


def test_prompts_of_other_lengths_are_aligned(model):
    longer = np.concatenate([IDS[:3], [99, 98], IDS[3:]])
    source = run(model, (), ids=longer).arrays[Z]
    changed = run(model, mw.Patch("z", 1, head=0, source=longer)).arrays[Z]
    assert np.array_equal(changed[1, :, 0], source[1, [0, 1, 2, *range(5, 11)], 0])


def test_a_position_without_a_partner_is_refused_by_its_name(model):
    with pytest.raises(DataError, match=r"position 6 \(.*\) has no partner in the source, whose 4 tokens"):
        run(model, mw.Patch("resid_pre", 1, position=6, source=SHORT))


def test_what_has_no_partner_in_the_drawn_prompt_takes_its_last_position(model):
    source = run(model, (), ids=SHORT).arrays[Z]
    change = mw.Ablate(1, head=0, by="resample", reference=[SHORT])
    changed = run(model, change).arrays[Z]
    assert np.array_equal(changed[1, :4, 0], source[1, :, 0])
    assert np.array_equal(changed[1, 4:, 0], np.repeat(source[1, -1:, 0], 5, axis=0))
    (note,) = resolve(model, tokenize(model, IDS), change).notes
    assert "by alignment; at positions 4, 5, 6, 7 …, which have no partner there, its last position" in note


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ([], "the mean over the positions of this prompt"),
        ([OTHER], "the mean over one reference prompt, position by position"),
        ([OTHER, IDS], "the mean over 2 reference prompts, position by position"),
        ([OTHER, SHORT], "the mean over all positions of 2 reference prompts"),
    ],
)
def test_a_note_says_what_a_mean_is_over(reference, said, model):
    edits = resolve(model, tokenize(model, IDS), mw.Ablate(0, head=1, by="mean", reference=reference))
    assert edits.notes == (f"L0 H1 mean-ablated: {said}",)


def test_with_kept_keys_only_the_positions_that_are_there_are_changed(model):
    tokens = tokenize(model, IDS)

    def act(change, count, first):
        (write,) = resolve(model, tokens, change).writes
        return write.act(torch.ones(1, count, 4, 8), first)

    at = mw.Ablate(0, head=1, positions=[-1, 2])
    assert act(at, 1, 9) is None
    assert act(at, 1, 8)[0, 0].sum(-1).tolist() == [8, 0, 8, 8]
    assert act(at, 4, 6)[0, :, 1].sum(-1).tolist() == [8, 8, 0, 8]
    assert not act(mw.Ablate(0, head=1), 1, 40)[0, 0, 1].any()
    mean = forward(model, OTHER, (Z,)).arrays[Z][0, :, 1].mean(0)
    beyond = act(mw.Ablate(0, head=1, by="mean", reference=[OTHER]), 1, 40)[0, 0, 1]
    np.testing.assert_allclose(beyond, mean, atol=1e-6)
    assert act(mw.Patch("z", 0, head=1, source=OTHER), 1, 40) is None


def test_a_source_that_cannot_be_run_is_refused(model):
    with pytest.raises(PromptError):
        run(model, mw.Patch("z", 0, head=1, source=[0, 4000]))


# --- refused before the pass ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (mw.Ablate(2, head=0), DataError, "layer 2 does not exist. This model has layers 0 to 1."),
        (mw.Ablate(0, head=4), DataError, "head 4 does not exist. Layer 0 has heads 0 to 3."),
        (mw.Ablate(0, neuron=48), DataError, "neuron 48 does not exist. Layer 0 has neurons 0 to 47."),
        (mw.Ablate(0, head=0, positions=[9]), DataError, "position 9 does not exist. The prompt has positions 0 to 8."),
        (mw.Ablate(0, head=0, positions=[-10]), DataError, "position -10 does not exist."),
        (mw.Add(np.ones(8), layer=0), DataError, "the direction has 8 numbers; resid_post of this model has 32"),
        (mw.Add(np.ones(32), "z", 0, head=0), DataError, "the direction has 32 numbers; a head of this model has 8"),
        (mw.Patch("z", 0, head=7, source=OTHER), DataError, "head 7 does not exist"),
        (mw.Intervention("blocks.0.attn.hook_zz", double), ModelError, "Did you mean 'blocks.0.attn.hook_z'"),
        (mw.Intervention("blocks.5.attn.hook_z", double), ModelError, "layer 5 of blocks.5.attn.hook_z does not exist"),
        (mw.Intervention("blocks.0.attn.hook_z", "double"), DataError, "Give the function"),
        (mw.Intervention("blocks.0.attn.hook_result", double), ModelError, "is not called in a pass of this model"),
    ],
    ids=repr,
)
def test_what_cannot_be_is_refused_before_the_pass(change, kind, said, model):
    before = state_of(model)
    with pytest.raises(kind) as refused:
        compute.attention_patterns(model, IDS, interventions=change)
    assert said in str(refused.value)
    assert state_of(model)["hooks"] == before["hooks"]


def test_parallel_blocks_have_no_middle(tiny_model):
    with pytest.raises(ModelError, match=r"side by side.*It has resid_pre, resid_post, attn_out"):
        run(tiny_model("neox"), mw.Ablate(0, site="resid_mid"))


def test_a_mixture_of_experts_has_no_neurons(tiny_folder):
    experts = dict(tiny_models.ROTARY, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, pad_token_id=1)
    model = load_model(tiny_folder("gpt_oss", ("GptOssConfig", experts)))
    with pytest.raises(ModelError, match="mixture of experts"):
        run(model, mw.Ablate(0, neuron=3))
    assert compute.logit_attribution(model, IDS, 5, 9, interventions=mw.Ablate(0, site="mlp_out")).holds


@pytest.mark.parametrize("site", [PATTERN, SCORES])
@pytest.mark.parametrize("name", DEAF)
def test_what_nothing_reads_is_refused(name, site, deaf):
    model = deaf(name)
    with pytest.raises(ModelError, match=f"nothing in this model reads what stands at blocks.1.{site}"):
        compute.next_tokens(model, IDS, interventions=mw.Intervention(f"blocks.1.{site}", double))


@pytest.mark.parametrize("name", DEAF)
def test_heads_and_streams_of_such_a_model_can_be_changed(name, deaf):
    model = deaf(name)
    plain = compute.next_tokens(model, IDS).log_prob
    for change in (mw.Ablate(1, head=2), mw.Ablate(0, site="mlp_out"), mw.Add(DIRECTION, layer=0)):
        changed = compute.next_tokens(model, IDS, interventions=change).log_prob
        assert np.nanmax(np.abs(changed - plain)) > 1e-4
        assert compute.logit_attribution(model, IDS, 5, 9, interventions=change).holds


@pytest.mark.parametrize("architecture", tiny_models.CONFIGS)
def test_weights_that_are_zero_refuse_nothing(architecture, tiny_model):
    model = tiny_model(architecture)
    with torch.no_grad():
        for name, weight in model.original_model.named_parameters():
            if any(part in name for part in ("o_proj", "c_proj", "dense", "down_proj")):
                weight.zero_()
    for hook in (PATTERN, SCORES, Z, "attn.hook_v", "mlp.hook_post", "hook_attn_out", "hook_resid_pre"):
        assert reach(model, IDS, f"blocks.0.{hook}").acts, hook


def test_a_hook_is_asked_about_once_for_all_blocks_made_alike(model, monkeypatch):
    import mi_widgets.compute.reach as room

    passes = []
    monkeypatch.setattr(room, "forward", lambda *given, **named: passes.append(given) or forward(*given, **named))
    tokens = tokenize(model, IDS)
    for layer in (0, 1):
        for head in range(4):
            resolve(model, tokens, mw.Ablate(layer, head=head))
    assert len(passes) == 1


def test_a_hook_that_a_setting_awakens_is_asked_about_again(model):
    change = mw.Intervention("blocks.0.attn.hook_result", double)
    with pytest.raises(ModelError, match="is not called"):
        resolve(model, tokenize(model, IDS), change)
    model.set_use_attn_result(True)
    assert len(resolve(model, tokenize(model, IDS), change).writes) == 1


# --- in the pass ------------------------------------------------------------------------------------------


def broken(activation, hook):
    raise KeyError("no such feature")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (broken, "your function broken at blocks.1.attn.hook_z raised KeyError: 'no such feature'"),
        (lambda activation, hook: activation[:, 1:], "returned shape [1, 8, 4, 8]; the activation has [1, 9, 4, 8]"),
        (lambda activation, hook: activation.numpy(), "returned ndarray, not a tensor of shape [1, 9, 4, 8]"),
        (lambda activation: activation, "raised TypeError"),
    ],
)
def test_what_goes_wrong_in_the_users_function_is_shown_as_theirs(function, said, model):
    forward(model, IDS, (Z,))
    before = state_of(model)
    change = mw.Intervention("blocks.1.attn.hook_z", function)
    with pytest.raises(InterventionError) as raised:
        compute.next_tokens(model, IDS, interventions=[mw.Ablate(0, head=0), change])
    assert said in str(raised.value)
    assert state_of(model) == before


def test_what_it_raised_is_the_cause(model):
    with pytest.raises(InterventionError) as raised:
        compute.next_tokens(model, IDS, interventions=mw.Intervention("blocks.0.hook_resid_pre", broken))
    assert isinstance(raised.value.__cause__, KeyError)


def test_ctrl_c_in_the_users_function_is_not_taken_for_its_error(model):
    def interrupted(activation, hook):
        raise KeyboardInterrupt

    forward(model, IDS, (Z,))
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        compute.next_tokens(model, IDS, interventions=mw.Intervention("blocks.0.hook_resid_pre", interrupted))
    assert state_of(model) == before


# --- checks on a changed run ------------------------------------------------------------------------------


def uniform(pattern, hook):
    return torch.tril(torch.ones_like(pattern)) / 3


def test_a_pattern_that_was_put_there_is_held_to_no_sum(model):
    change = mw.Intervention(f"blocks.0.{PATTERN}", uniform)
    found = compute.attention_patterns(model, IDS, interventions=change)
    assert found.row_sum_error < 1e-5
    assert np.allclose(np.unique(found.base[0]), [0, 1 / 3])
    alone = compute.attention_patterns(model, IDS, layers=[0], interventions=change)
    assert alone.row_sum_error is None
    assert alone.not_finite == ""


def test_scores_are_held_to_the_pattern_that_their_softmax_made(model):
    change = mw.Intervention(f"blocks.0.{PATTERN}", uniform)
    plain = compute.attention_patterns(model, IDS, weighting="scores")
    found = compute.attention_patterns(model, IDS, weighting="scores", interventions=change)
    assert np.array_equal(found.base[0], plain.base[0], equal_nan=True)


@pytest.mark.parametrize("stream", ["attn_out", "mlp_out", "resid_mid"])
@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"])
def test_a_lens_reads_every_stream_of_a_run_changed_in_any(site, stream, model):
    found = compute.logit_lens(model, IDS, stream=stream, interventions=mw.Ablate(0, site=site))
    assert found.max_error < 1e-4


def test_a_model_made_to_see_ahead_has_no_surprisal(model):
    change = mw.Intervention(f"blocks.0.{PATTERN}", lambda pattern, hook: torch.ones_like(pattern) / 9)
    with pytest.raises(ModelError, match="sees ahead"):
        compute.next_tokens(model, IDS, interventions=change)


def test_where_numbers_end_is_told_of_the_changed_run(model):
    change = mw.Intervention("blocks.1.attn.hook_q", lambda queries, hook: queries * torch.inf)
    for found in (
        compute.attention_patterns(model, IDS, interventions=change),
        compute.logit_lens(model, IDS, interventions=change),
        compute.next_tokens(model, IDS, interventions=change),
    ):
        assert found.not_finite.startswith("from layer 1 on")
    with pytest.raises(ModelError, match="not finite from layer 1 on"):
        compute.logit_attribution(model, IDS, 5, 9, interventions=change)


@pytest.mark.parametrize("hook", ["ln_final.hook_normalized", "unembed.hook_out"])
def test_what_acts_behind_the_stream_is_refused_by_what_reads_the_stream(hook, model):
    change = mw.Intervention(hook, double)
    compute.next_tokens(model, IDS, interventions=change)
    for make in (compute.logit_lens, lambda *given, **named: compute.logit_attribution(*given, 5, 9, **named)):
        with pytest.raises(ModelError, match="behind the residual stream"):
            make(model, IDS, interventions=change)


def test_two_runs_of_one_prompt_are_compared(model):
    change = mw.Ablate(1, head=2)
    both = compute.logit_lens_comparison(model, IDS, interventions=change)
    assert (both.a.interventions, both.b.interventions) == ((change,), ())
    assert both.same_prompt
    assert np.nanmax(both.kl[0]) < 1e-6  # the layer before
    assert np.nanmax(both.kl[-1]) > 1e-4
    a, b = (compute.logit_lens(model, IDS, interventions=changes) for changes in (change, ()))
    assert np.array_equal(both.a.entropy, a.entropy)
    assert np.array_equal(both.b.entropy, b.entropy)


# --- attribution ------------------------------------------------------------------------------------------


def test_what_is_put_into_the_stream_is_a_part_of_its_own(model):
    direction = DRAW.normal(size=32).astype(np.float32)
    change = mw.Add(direction, "resid_mid", layer=0, strength=2.0)
    data = compute.logit_attribution(model, IDS, 5, 9, interventions=change)
    part = data.labels.index("L0 intervention")
    assert data.part_kinds[part] == "intervention"
    last = forward(
        model, IDS, ("blocks.1.hook_resid_post",), writes=resolve(model, tokenize(model, IDS), change).writes
    )
    stream = torch.tensor(last.arrays["blocks.1.hook_resid_post"][-1])
    with torch.no_grad():
        norm, head = model.original_model.model.norm, model.original_model.lm_head.weight
        scale = (stream.pow(2).mean() + 1e-6).sqrt()
        want = 2 * (torch.tensor(direction) / scale * norm.weight) @ (head[5] - head[9])
    assert data.contribution[part] == pytest.approx(float(want), rel=1e-3)


def test_a_part_taken_away_contributes_nothing(model):
    whole = compute.logit_attribution(model, IDS, 5, 9, interventions=mw.Ablate(1, site="attn_out"))
    assert whole.contribution[whole.labels.index("L1 attention")] == 0
    assert "intervention" not in whole.part_kinds
    heads = compute.logit_attribution(model, IDS, 5, 9, by="head", interventions=mw.Ablate(1, site="attn_out"))
    written = heads.contribution[[label.startswith("L1 H") for label in heads.labels]].sum()
    assert heads.contribution[heads.labels.index("L1 intervention")] == pytest.approx(-written, abs=1e-5)
    head = compute.logit_attribution(model, IDS, 5, 9, by="head", interventions=mw.Ablate(1, head=2))
    assert head.contribution[head.labels.index("L1 H2")] == 0


def test_sources_are_those_of_heads_that_still_read(model):
    zero = compute.logit_attribution(model, IDS, 5, 9, interventions=mw.Ablate(1, head=2))
    assert not zero.sources[1, 2].any()
    np.testing.assert_allclose(zero.sources.sum(-1), zero.heads, atol=1e-4)
    patched = compute.logit_attribution(model, IDS, 5, 9, interventions=mw.Patch("z", 1, head=2, source=OTHER))
    assert np.isnan(patched.sources[1, 2]).all()
    others = [head for head in range(4) if head != 2]
    np.testing.assert_allclose(patched.sources[1, others].sum(-1), patched.heads[1, others], atol=1e-4)


def test_activations_that_do_not_say_what_stood_there_before_are_refused(model):
    from mi_widgets.compute.logit_attribution import attribute, attribution_sites

    tokens = tokenize(model, IDS)
    edits = resolve(model, tokens, mw.Add(np.ones(32), layer=0))
    sites = attribution_sites(model, "component", -1, len(IDS))
    found = forward(model, IDS, sites, writes=edits.writes, interventions=edits.interventions)
    with pytest.raises(DataError, match=r"before the intervention.*same interventions"):
        attribute(model, tokens, found, 5, 9)


@pytest.mark.parametrize("site", ["attn_out", "resid_mid"])
def test_a_hook_of_the_users_own_that_fits_the_prompt_alone_does_not_refuse_an_intervention(site, model):
    def at_the_fifth(value, hook):
        value[:, 4] = 0
        return value

    model.blocks[0].hook_resid_pre.add_hook(at_the_fifth)
    tokens = tokenize(model, [3, 4, 5, 6, 7])
    edits = resolve(model, tokens, mw.Ablate(1, site=site))
    assert edits.writes
    model.reset_hooks()
    assert resolve(model, tokens, mw.Ablate(0, site=site)).writes
