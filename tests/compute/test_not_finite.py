"""A run with NaN or ±inf in it: such numbers are missing, every check fails, and the result says where they began."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models
import torch

from mi_widgets import compute, data
from mi_widgets.compute.forward import SCORES, forward
from mi_widgets.compute.next_tokens import likeliest, next_token_sites
from mi_widgets.data import AttentionComparison, NextTokensComparison
from mi_widgets.errors import ModelError
from mi_widgets.models import tokenize
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.blocks import unpack
from mi_widgets.wire.lens_picture import LensPicture
from mi_widgets.wire.prompt_picture import PromptPicture

IDS = np.array([5, 6, 7, 8, 9, 5, 6, 7])
ONLY_FROM_LAYER_1 = "from layer 1 on (queries)"


@pytest.fixture
def broken(model):
    """A tiny Llama with one NaN weight, in the queries of layer 1."""
    with torch.no_grad():
        model.original_model.model.layers[1].self_attn.q_proj.weight[0, 0] = float("nan")
    return model


@pytest.fixture
def overflowing(tiny_model):
    """The same in float16, whose attention scores in layer 1 pass the largest number of that type."""
    model = tiny_model("llama", dtype=torch.float16)
    with torch.no_grad():
        for name in ("q_proj", "k_proj"):
            getattr(model.original_model.model.layers[1].self_attn, name).weight.mul_(600)
    return model


def failed(manifest):
    """Labels of the failed checks of a manifest that crosses as JSON."""
    return [check["label"] for check in json.loads(json.dumps(manifest, allow_nan=False))["checks"] if not check["ok"]]


@pytest.mark.parametrize("weighting", ["pattern", "scores", "value", "output"])
def test_attention_says_where_it_began_and_fails_its_check(weighting, broken):
    found = compute.attention_patterns(broken, IDS, weighting=weighting)
    assert found.not_finite == ONLY_FROM_LAYER_1
    assert np.isfinite(found.values[0][:, *np.tril_indices(8)]).all()
    assert np.isnan(found.values[1, 0]).all()  # the head of the broken query dimension
    assert np.isfinite(found.values[1, 1][np.tril_indices(8)]).all()
    manifest = AttentionPicture(found).manifest()
    assert "finite numbers" in failed(manifest)
    assert ("rows sum to 1" in failed(manifest)) == (weighting != "scores")
    assert manifest["checks"][0]["detail"].endswith(ONLY_FROM_LAYER_1)


def test_attention_of_a_sound_model_has_no_such_check(model):
    found = compute.attention_patterns(model, IDS)
    assert found.not_finite == ""
    assert [check["label"] for check in AttentionPicture(found).manifest()["checks"]] == ["rows sum to 1"]


def test_layers_before_the_broken_one_are_finite(broken):
    assert compute.attention_patterns(broken, IDS, layers=[0]).not_finite == ""


@pytest.mark.parametrize("value", [np.inf, np.nan], ids=["inf", "nan"])
def test_one_score_that_is_no_number_is_missing_and_colours_keep_their_range(value, model):
    plain = compute.attention_patterns(model, IDS, weighting="scores")

    def spoil(scores, hook):
        scores = scores.clone()
        scores[0, 1, 5, 3] = value
        return scores

    model.add_hook("blocks.1.attn.hook_attn_scores", spoil)
    found = compute.attention_patterns(model, IDS, weighting="scores")
    assert found.not_finite == "from layer 1 on (attention scores)"
    assert np.isnan(found.values[1, 1, 5, 3])
    assert np.isnan(found.values).sum() == np.isnan(plain.values).sum() + 1
    manifest = AttentionPicture(found).manifest()
    assert abs(manifest["high"]) < 10 and abs(manifest["low"]) < 10
    rows = compute.attention_patterns(model, IDS)
    assert np.isnan(rows.values[1, 1, 5]).all() and np.isnan(rows.values).sum() == 8
    assert rows.low >= 0.0 and 0.5 < rows.head_high.max() <= 1.0


def test_masks_of_the_users_own_are_no_broken_numbers(model):
    def knock_out(scores, hook):
        scores = scores.clone()
        scores[0, 1, 5, 3] = -torch.inf
        return scores

    model.add_hook("blocks.1.attn.hook_attn_scores", knock_out)
    found = compute.attention_patterns(model, IDS, weighting="scores")
    assert found.not_finite == "" and np.isnan(found.values[1, 1, 5, 3])


def test_a_comparison_fails_its_check_for_the_broken_side(broken, tiny_model):
    a, b = (compute.attention_patterns(one, IDS) for one in (tiny_model("llama"), broken))
    manifest = AttentionPicture(a, AttentionComparison(a, b)).manifest()
    assert failed(manifest) == ["finite numbers (B)", "rows sum to 1"]


def test_next_tokens_are_missing_not_certain(broken):
    found = compute.next_tokens(broken, IDS)
    assert found.not_finite == ONLY_FROM_LAYER_1
    assert np.isnan(found.surprisal).all() and np.isnan(found.entropy).all() and np.isnan(found.top_probs).all()
    assert (found.rank == -1).all() and (found.top_ids == -1).all()
    assert np.isnan(found.perplexity()) and np.isnan(found.total_surprisal())
    assert set(found.candidates()["token"]) == {"–"}
    picture = PromptPicture(found)
    assert failed(picture.manifest(True)) == ["finite numbers"]
    assert [side["perplexity"] for side in picture.manifest(True)["sides"]] == [None]
    arrays = unpack(picture.parcel())[1]
    assert np.isnan(arrays["A/surprisal"]).all()


def test_totals_are_missing_where_some_tokens_are(model):
    def spoil(stream, hook):
        return torch.cat([stream[:, :4], stream[:, 4:5] * float("nan"), stream[:, 5:]], dim=1)

    model.add_hook("blocks.1.hook_resid_post", spoil)
    found = compute.next_tokens(model, IDS)
    assert np.isnan(found.surprisal[5]) and np.isfinite(found.surprisal[[1, 2, 3, 4, 6, 7]]).all()
    assert np.isnan(found.perplexity())
    sides = PromptPicture(found, NextTokensComparison(found, found)).manifest(True)["sides"]
    assert [side["total"] for side in sides] == [None, None]


def test_the_likeliest_of_no_numbers_is_refused(broken):
    kept = forward(broken, IDS, next_token_sites(), ())
    with pytest.raises(ModelError, match=r"not finite from layer 1 on \(queries\)"):
        likeliest(broken, tokenize(broken, IDS), kept, -1, 5)


def test_the_lens_keeps_its_sound_rows(broken):
    found = compute.logit_lens(broken, IDS, targets=[9])
    assert found.not_finite == ONLY_FROM_LAYER_1
    assert (found.top_ids[1] == -1).all() and (found.top_ids[0] >= 0).all()
    assert np.isfinite(found.entropy[0]).all() and np.isnan(found.entropy[1]).all()
    assert (found.final_rank == -1).all()  # the model's output has no likeliest token to rank
    assert (found.target_ranks[0] >= 0).all() and (found.target_ranks[1] == -1).all()
    assert np.isnan(found.kl).all() and np.isnan(found.max_error)
    assert failed(LensPicture(found).manifest(True, True)) == ["finite numbers", "last row = the model's output"]
    assert (found.to_pandas().query("layer == 1").top_token == "–").all()


def test_pinning_a_token_in_a_broken_lens_is_missing_there(broken):
    from mi_widgets.compute.logit_lens import lens_sites, target_steps

    kept = forward(broken, IDS, lens_sites())
    found = compute.run(target_steps(broken, kept, compute.logit_lens(broken, IDS), [11]))
    assert (found.target_ranks[1] == -1).all() and np.isnan(found.target_probs[1]).all()
    assert (found.target_ranks[0] >= 0).all()


def test_a_lens_that_overflows_by_itself_says_so(model):
    with torch.no_grad():
        model.original_model.model.layers[0].mlp.down_proj.bias = None
    lens = compute.TunedLens.untrained(model)
    lens.b[0].fill_(float("inf"))
    found = compute.logit_lens(model, IDS, lens=lens)
    assert found.not_finite == "in the lens's logits of resid_post at layer 0"
    assert (found.top_ids[1] >= 0).all() and (found.final_rank[1] == 0).all()


@pytest.mark.parametrize("by", ["component", "layer", "head", "neuron"])
def test_an_attribution_of_no_numbers_is_refused_with_the_layer(by, broken):
    with pytest.raises(ModelError, match=r"not finite from layer 1 on \(queries\)"):
        compute.logit_attribution(broken, IDS, 9, 8, by=by)


@pytest.mark.parametrize("stream", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
def test_every_stream_of_a_broken_run_is_read(stream, broken):
    found = compute.logit_lens(broken, IDS, stream=stream)
    assert found.not_finite == ONLY_FROM_LAYER_1
    assert (found.top_ids[-1] == -1).all() and (found.top_ids[0] >= 0).all()


def test_sampling_from_no_numbers_is_refused_with_the_layer(broken):
    with pytest.raises(ModelError, match=r"not finite from layer 1 on \(queries\)"):
        compute.sample(broken, IDS, 2)


def test_head_scores_are_missing_and_say_where(broken):
    table = compute.head_scores(broken)
    scored = table.set_index(["layer", "head"])
    assert scored.loc[0].notna().all(axis=None) and scored.loc[(1, 0)].isna().all()
    assert ONLY_FROM_LAYER_1 in table.attrs["basis"]


def test_overflow_in_half_precision_is_found_in_the_scores(overflowing):
    where = "from layer 1 on (attention scores)"
    assert compute.attention_patterns(overflowing, IDS).not_finite == where
    assert compute.attention_patterns(overflowing, IDS, weighting="scores").not_finite == where
    assert compute.next_tokens(overflowing, IDS).not_finite == where
    assert compute.logit_lens(overflowing, IDS).not_finite == where
    with pytest.raises(ModelError, match="attention scores"):
        compute.sample(overflowing, IDS, 2)


@pytest.mark.parametrize("architecture", list(tiny_models.CONFIGS))
def test_the_place_is_found_on_every_architecture(architecture, tiny_model):
    model = tiny_model(architecture)
    with torch.no_grad():
        model.blocks[1].mlp.original_component.register_forward_hook(lambda *given: given[2] * float("nan"))
    found = compute.next_tokens(model, IDS).not_finite
    assert found in {"from layer 1 on (MLP output)", "from layer 1 on (residual stream)"}
    assert compute.attention_patterns(model, IDS).not_finite == ""  # what is shown is right: nothing reads it any more


def test_embedding_and_logits_are_named(model, tiny_model):
    with torch.no_grad():
        model.original_model.model.embed_tokens.weight[9] = float("nan")
    assert compute.attention_patterns(model, IDS).not_finite == "from the embedding on"
    other = tiny_model("gpt2")
    other.original_model.lm_head.register_forward_hook(lambda *given: given[2] * float("nan"))
    assert compute.next_tokens(other, IDS).not_finite == "in the logits"


def test_only_a_broken_run_is_run_a_second_time(model, broken, monkeypatch):
    passes = []
    kind = type(broken)
    original = kind.forward
    monkeypatch.setattr(kind, "forward", lambda *given, **named: passes.append(1) or original(*given, **named))
    compute.next_tokens(broken, IDS)
    assert len(passes) == 2


def test_what_is_not_finite_is_kept_in_files(broken, tmp_path):
    for number, found in enumerate(
        [compute.attention_patterns(broken, IDS), compute.next_tokens(broken, IDS), compute.logit_lens(broken, IDS)]
    ):
        assert data.load(data.save(found, tmp_path / f"{number}.npz")).not_finite == ONLY_FROM_LAYER_1


def test_cached_scores_tell_masks_from_what_is_no_number(broken):
    scores = forward(broken, IDS, (SCORES,)).arrays[SCORES]
    above = np.triu_indices(8, 1)
    assert np.isnan(scores[0][:, *above]).all()
    assert np.isposinf(scores[1, 0][np.tril_indices(8)]).all()
