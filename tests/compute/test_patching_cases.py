"""What patching says in odd cases, and what it does not do: metrics, directions, pairs, prompts that do not fit each
other, half precision, hooks of the user's own, and a stop in the middle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import transformers
from model_state import state_of
from patched_oracle import ANSWER, CLEAN, CORRUPT, FOIL, close, difference, one_at_a_time

import mi_widgets as mw
from mi_widgets import compute
from mi_widgets.compute.forward import forward
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.data import Pairs
from mi_widgets.errors import AnswerError, DataError, ModelError
from mi_widgets.models import load_model, tokenize

LONGER = np.array([0, 30, 31, 12, 41, 14, 52, 15])


def logits_of(model, ids):
    return torch.tensor(forward(model, ids, (LAST_LOGITS,), ()).arrays[LAST_LOGITS])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_whole_stream_before_layer_0_is_the_other_run(model, direction):
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, by=["layer"], direction=direction)
    other = grid.clean if direction == "denoise" else grid.corrupt
    assert grid.value[0] == pytest.approx(other, rel=1e-5)
    assert abs(grid.clean - grid.corrupt) > 1e-3
    assert grid.clean == pytest.approx(float(difference(logits_of(model, CLEAN)[None, None])), rel=1e-5)
    assert grid.corrupt == pytest.approx(float(difference(logits_of(model, CORRUPT)[None, None])), rel=1e-5)


@pytest.mark.parametrize("site", ["resid_pre", "z", "k", "pattern"])
def test_noise_puts_the_corrupt_run_into_the_clean_one(model, site):
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site, direction="noise")
    assert grid.base_tokens.ids.tolist() == CLEAN.tolist()
    close(grid.value, one_at_a_time(model, grid, CORRUPT, base=CLEAN))


def by_metric(metric, clean):
    """The metric by other means, from logits `[1, 1, d_vocab]`."""
    reference = clean.double().softmax(-1)

    def value(logits):
        row = logits[0, 0].double()
        p = row.softmax(-1)
        return {
            "logit_difference": row[ANSWER] - row[FOIL],
            "log_probability": p[ANSWER].log(),
            "probability": p[ANSWER],
            "rank": float(row.argsort(descending=True).tolist().index(ANSWER)),
            "kl": (reference * (reference / p).log()).sum(),
        }[metric]

    return value


@pytest.mark.parametrize("metric", ["logit_difference", "log_probability", "probability", "rank", "kl"])
def test_metrics_are_what_they_are_defined_as(model, metric):
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z", metric)
    wanted = one_at_a_time(model, grid, CLEAN, metric=by_metric(metric, logits_of(model, CLEAN)))
    close(grid.value, wanted)
    assert np.unique(wanted).size > 1
    assert grid.metric == metric
    if metric == "kl":
        assert grid.clean == 0


def test_the_answer_alone_is_its_logit(model):
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER)
    assert grid.clean == pytest.approx(float(logits_of(model, CLEAN)[ANSWER]), rel=1e-5)
    assert grid.foils.tolist() == [-1]


def test_without_answer_and_foil_they_are_the_clean_runs_first_two_choices(model):
    grid = compute.patch(model, CLEAN, CORRUPT)
    first, second = logits_of(model, CLEAN).topk(2).indices.tolist()
    assert (grid.answers.tolist(), grid.foils.tolist()) == ([first], [second])
    assert grid.names[first] == f"w{first}"


def test_a_function_of_the_users_reads_the_logits_of_one_run(model):
    shapes = set()

    def own_metric(logits):
        shapes.add(tuple(logits.shape))
        return difference(logits)

    grid = compute.patch(model, CLEAN, CORRUPT, site="z", metric=own_metric)
    close(grid.value, compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z").value)
    assert shapes == {(1, 1, 128)}
    assert (grid.metric, grid.metric_name) == ("own", "own_metric")


def test_a_metric_function_that_raises_is_named_with_its_reason(lived_in):
    def broken(logits):
        raise KeyError("no such token")

    before = state_of(lived_in)
    with pytest.raises(DataError, match="the metric broken raised KeyError") as refused:
        compute.patch(lived_in, CLEAN, CORRUPT, metric=broken)
    assert isinstance(refused.value.__cause__, KeyError)
    assert state_of(lived_in) == before


@pytest.mark.parametrize("given", [lambda logits: logits[0, -1], lambda logits: "much", lambda logits: None])
def test_a_metric_function_that_gives_no_number_is_refused(model, given):
    with pytest.raises(DataError, match="not one number"):
        compute.patch(model, CLEAN, CORRUPT, metric=given)


def test_an_unknown_metric_is_refused(model):
    with pytest.raises(DataError, match="logit_diff"):
        compute.patch(model, CLEAN, CORRUPT, metric="logit_diff")


def test_identical_prompts_make_a_grid_without_effects_and_say_so(model):
    grid = compute.patch(model, CLEAN, CLEAN, ANSWER, FOIL)
    assert not grid.differs
    assert np.unique(grid.value).tolist() == [np.float32(grid.clean)]
    assert any("same prompt" in note for note in grid.notes)
    assert any("do not differ in the metric" in note for note in grid.notes)


@pytest.mark.parametrize("site", ["resid_pre", "z", "v", "pattern"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_prompts_of_unequal_length_are_aligned_and_cells_without_a_partner_are_empty(model, site, direction):
    by = ("head", "query", "key") if site == "pattern" else ("layer", "position") if site == "resid_pre" else None
    by = by or ("layer", "head", "position")
    grid = compute.patch(model, CLEAN, LONGER, ANSWER, FOIL, site, by=by, direction=direction)
    base, source = (LONGER, CLEAN) if direction == "denoise" else (CLEAN, LONGER)
    lacking = np.isnan(grid.value)
    assert lacking.any() == (direction == "denoise")
    assert any("unequal length" in note for note in grid.notes)
    tokens = tokenize(model, base)
    for index in list(np.ndindex(*grid.shape))[::5]:
        change = grid.change(index, list(source))
        if lacking[index]:
            with pytest.raises(DataError, match="no partner"):
                compute.interventions.resolve(model, tokens, change)
            continue
        edits = compute.interventions.resolve(model, tokens, change)
        logits = forward(model, base, (LAST_LOGITS,), (), writes=edits.writes).arrays[LAST_LOGITS]
        assert grid.value[index] == pytest.approx(float(logits[ANSWER] - logits[FOIL]), rel=1e-4, abs=1e-5)


def test_whole_heads_of_unequal_prompts_are_patched_where_there_are_partners(model):
    grid = compute.patch(model, CLEAN, LONGER, ANSWER, FOIL, "k")
    close(grid.value, one_at_a_time(model, grid, CLEAN, base=LONGER))


def test_an_answer_of_several_tokens_is_refused_with_its_pieces(stories):
    with pytest.raises(AnswerError) as refused:
        compute.patch(stories, "Once upon a time", "Once upon a day", " unbelievable")
    assert len(refused.value.pieces) > 1


def test_an_answer_that_is_the_foil_is_refused(model):
    with pytest.raises(DataError, match="same token"):
        compute.patch(model, CLEAN, CORRUPT, ANSWER, ANSWER)


def test_numbers_that_are_not_finite_are_refused_with_their_place(model):
    with torch.no_grad():
        model.blocks[1].mlp.original_component.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="not finite from layer 1"):
        compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL)


@pytest.mark.parametrize("site", ["resid_pre", "z", "k"])
def test_a_bfloat16_model_gives_what_its_own_runs_give(tiny_model, site):
    model = tiny_model("llama", dtype=torch.bfloat16)
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site)
    wanted = one_at_a_time(model, grid, CLEAN)
    assert grid.values.dtype == np.float32
    np.testing.assert_allclose(grid.value, wanted, atol=0.03 * np.abs(wanted).max())


PAIRS = Pairs(((CLEAN, CORRUPT, ANSWER, FOIL), (CORRUPT, CLEAN, FOIL, ANSWER), (CLEAN, CORRUPT, 11, 12)))


def test_several_pairs_are_each_pair_by_itself(model):
    grid = compute.patch(model, PAIRS, site="z")
    assert grid.values.shape == (3, 8)
    for number, pair in enumerate(PAIRS):
        alone = compute.patch(model, pair.clean, pair.corrupt, pair.answer, pair.foil, "z")
        close(grid.values[number], alone.values[0])
        assert grid.clean_values[number] == alone.clean
    assert grid.answers.tolist() == [ANSWER, FOIL, 11]
    assert np.isfinite(grid.spread).all()


def test_pairs_without_common_positions_are_refused_but_for_whole_layers_and_heads(model):
    pairs = Pairs(((CLEAN, CORRUPT, ANSWER, FOIL), (LONGER, LONGER[::-1].copy(), ANSWER, FOIL)))
    with pytest.raises(DataError, match="no common positions"):
        compute.patch(model, pairs)
    assert np.isfinite(compute.patch(model, pairs, by=["layer"]).value).all()


def test_pairs_bring_their_own_answers(model):
    with pytest.raises(DataError, match="of their own"):
        compute.patch(model, PAIRS, answer=ANSWER)
    with pytest.raises(DataError, match="no corrupt prompt"):
        compute.patch(model, CLEAN)


@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "resid_post", "z", "mlp_out", "v"])
def test_interventions_stand_in_both_runs(model, site):
    standing = (
        mw.Ablate(layer=0, head=1),
        mw.Add(np.linspace(-1, 1, 32), layer=1, site="resid_pre", strength=2),
        mw.Ablate(layer=1, site="resid_mid", positions=[2], by="mean"),
        mw.Add(np.ones(32), layer=0, site="resid_post", positions=[4]),
    )
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site, interventions=standing)
    plain = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site)
    assert abs(grid.clean - plain.clean) > 1e-4
    assert grid.interventions == standing

    close(grid.value, standing_one_at_a_time(model, grid, standing))


def standing_one_at_a_time(model, grid, standing):
    """`one_at_a_time`, the other run being made with the same interventions too."""
    tokens, ready, values = (
        tokenize(model, CORRUPT),
        compute.interventions.resolve(model, tokenize(model, CLEAN), standing),
        [],
    )

    def read(prompt, sites, layers):
        return forward(
            model, prompt.ids, sites, layers, writes=ready.writes if prompt.ids.tolist() == CLEAN.tolist() else ()
        )

    for index in np.ndindex(*grid.shape):
        change = grid.change(index, list(CLEAN))
        edits = compute.interventions.resolve(model, tokens, [*standing, change], read=read)
        logits = forward(model, CORRUPT, (LAST_LOGITS,), (), writes=edits.writes).arrays[LAST_LOGITS]
        values.append(logits[ANSWER] - logits[FOIL])
    return np.array(values).reshape(grid.shape)


@pytest.mark.parametrize("site", ["resid_pre", "resid_post", "z", "k"])
@pytest.mark.parametrize("name", ["blocks.0.attn.hook_v", "blocks.1.hook_resid_pre", "blocks.1.hook_mlp_out"])
def test_functions_of_the_users_own_see_one_run_as_they_expect(model, site, name):
    def double(activation, hook):
        activation[0, 3] *= 2  # of the first run, at a place in the whole prompt

    standing = (mw.Intervention(name, double),)
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site, interventions=standing)
    close(grid.value, standing_one_at_a_time(model, grid, standing))


@pytest.mark.parametrize("site", ["resid_pre", "resid_post", "z", "k"])
@pytest.mark.parametrize(
    "hook",
    [
        lambda value, hook: value * 1.5,
        lambda value, hook: value + value.mean(1, keepdim=True),  # positions are not apart
        lambda value, hook: torch.cat([value[:1] * 2, value[1:]]),  # knows of one run alone
    ],
    ids=["each by itself", "over positions", "of the first run"],
)
@pytest.mark.parametrize("name", ["blocks.1.hook_resid_pre", "blocks.0.attn.hook_z", "blocks.0.hook_resid_post"])
def test_hooks_of_the_users_own_act_in_every_changed_run(model, site, hook, name):
    model.add_hook(name, hook)
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site)
    close(grid.value, one_at_a_time(model, grid, CLEAN))


def test_a_stop_after_any_step_leaves_the_model_as_it_was(lived_in):
    before, count = state_of(lived_in), 0
    for stop in range(1, 40, 6):
        steps = compute.patch_steps(lived_in, CLEAN, CORRUPT, ANSWER, FOIL, "z", by=("layer", "head", "position"))
        for _ in range(stop):
            if next(steps, None) is None:
                break
            count += 1
        steps.close()
        assert state_of(lived_in) == before
    assert count > 20


def test_steps_show_the_grid_as_far_as_it_is_known(model, monkeypatch):
    monkeypatch.setattr(compute.patch_grids, "PARTIAL_SECONDS", -1.0)
    steps, seen, done = compute.patch_steps(model, CLEAN, CORRUPT, ANSWER, FOIL), [], []
    whole = compute.run(_watched(steps, seen, done))
    known = [int(grid.exact.sum()) for grid in seen]
    assert known == sorted(known)
    assert 0 < known[0] < known[-1] == grid_size(whole)
    assert done == sorted(done)
    for grid in seen:
        np.testing.assert_array_equal(grid.value[grid.exact], whole.value[grid.exact])


def test_partial_grids_of_several_pairs_hold_those_that_are_finished(model, monkeypatch):
    monkeypatch.setattr(compute.patch_grids, "PARTIAL_SECONDS", -1.0)
    seen = []
    whole = compute.run(_watched(compute.patch_steps(model, PAIRS, site="z"), seen, []))
    assert {grid.n_pairs for grid in seen} == {1, 2, 3}
    for grid in seen:
        if grid.n_pairs > 1:
            np.testing.assert_array_equal(grid.values, whole.values[: grid.n_pairs])


def _watched(steps, seen, done):
    while True:
        try:
            step = next(steps)
        except StopIteration as finished:
            return finished.value
        done.append(step.done)
        if step.partial is not None:
            seen.append(step.partial)
        yield step


def grid_size(grid):
    return int(np.prod(grid.shape))


def test_little_memory_gives_the_same_numbers(model):
    for site in ("z", "k", "pattern"):
        by = ("head", "query", "key") if site == "pattern" else ("layer", "head", "position")
        whole = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site, by=by)
        close(compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, site, by=by, memory=1000).value, whole.value)
    with pytest.raises(DataError, match="memory"):
        compute.patch(model, CLEAN, CORRUPT, memory=0)


def test_logits_can_be_read_before_the_end(model):
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, position=-3)
    shorter = compute.patch(model, CLEAN[:-2], CORRUPT[:-2], ANSWER, FOIL)
    close(grid.value[:, :4], shorter.value)
    assert np.unique(grid.value[:, 4:]).tolist() == [np.float32(grid.corrupt)]  # later positions are not read
    for wrong in (0, 3, -7):
        with pytest.raises(DataError, match="from the end"):
            compute.patch(model, CLEAN, CORRUPT, position=wrong)


def test_only_some_cells_are_those_of_the_whole_grid(model):
    by = ("layer", "head", "position")
    whole = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z", by=by)
    some = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z", by=by, layers=[1], heads=[3, 0], positions=[-1, 2])
    assert some.numbers == ((1,), (0, 3), (2, 5))
    close(some.value, whole.value[1:, [0, 3]][:, :, [2, 5]])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(site="resid"), "resid"),
        (dict(by=["head"]), "not by head"),
        (dict(heads=[0]), "no axis of heads"),
        (dict(layer=1), "axis of layers"),
        (dict(layers=[2]), "layer 2 does not exist"),
        (dict(layers=[]), "no layers"),
        (dict(positions=[6]), "position 6 does not exist"),
        (dict(site="k", heads=[2]), "head 2 does not exist"),
        (dict(site="post", neurons=[48]), "neuron 48 does not exist"),
        (dict(site="post", layer=2), "layer 2 does not exist"),
        (dict(direction="both"), "both"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(model, options, said):
    with pytest.raises(DataError, match=said):
        compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, **options)


@pytest.mark.parametrize("kind", ["GPTJ", "GPTNeo"])
def test_patterns_that_nothing_reads_are_refused_with_the_reason(kind, tmp_path):
    torch.manual_seed(0)
    values = (
        dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4)
        if kind == "GPTJ"
        else dict(hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=64,
                  attention_types=[[["global", "local"], 1]], window_size=5)
    )  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**values, vocab_size=128, bos_token_id=0, eos_token_id=0)
    transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").save_pretrained(tmp_path)
    model = load_model(tmp_path)
    with pytest.raises(ModelError, match=r"nothing in this model reads what stands at .*hook_pattern"):
        compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "pattern")
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z")
    close(grid.value, one_at_a_time(model, grid, CLEAN))


def test_the_middle_of_the_stream_says_that_transformer_lens_reads_another_thing(model):
    assert any("TransformerLens" in note for note in compute.patch(model, CLEAN, CORRUPT, site="resid_mid").notes)
    assert not compute.patch(model, CLEAN, CORRUPT, site="resid_post").notes


def test_estimates_stand_beside_exact_values_and_the_largest_come_first(model, monkeypatch):
    monkeypatch.setattr(compute.patch_grids, "PARTIAL_SECONDS", -1.0)
    monkeypatch.setattr(compute.patch_blocks, "ROWS", 1)
    seen = []
    steps = compute.patch_steps(model, CLEAN, CORRUPT, ANSWER, FOIL, "resid_pre", estimate=True)
    whole = compute.run(_watched(steps, seen, []))
    close(whole.value, compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL).value)
    assert not seen[0].exact.any()
    assert np.isfinite(seen[0].estimate).all()
    np.testing.assert_array_equal(whole.estimate, seen[0].estimate)
    assert whole.estimated_by
    size = np.abs(whole.estimate - whole.base)
    run_now = [grid.exact & (grid.value != grid.base) for grid in seen]
    added = [size[after & ~before].max() for before, after in itertools.pairwise(run_now) if (after & ~before).any()]
    assert len(added) > 5
    assert added == sorted(added, reverse=True)


def test_a_grid_of_estimates_gives_the_order_without_being_made_again(model, monkeypatch):
    estimated = compute.attribution_patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z")
    monkeypatch.setattr(compute.attribution_patching, "attribution_patch_steps", None)
    grid = compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "z", estimate=estimated)
    np.testing.assert_array_equal(grid.estimates, estimated.estimates)
    assert grid.exact.all()
    with pytest.raises(DataError, match="same pairs and cells"):
        compute.patch(model, CLEAN, CORRUPT, ANSWER, FOIL, "q", by=("layer", "head", "position"), estimate=estimated)


def test_what_is_the_same_in_both_runs_is_not_run(model, monkeypatch):
    ran = []
    plain = compute.onward.Onward.steps

    def counted(self, layer, first, residual, firsts=None):
        ran.append(len(residual))
        return plain(self, layer, first, residual, firsts)

    monkeypatch.setattr(compute.onward.Onward, "steps", counted)
    late = CLEAN.copy()
    late[4] = 99
    grid = compute.patch(model, CLEAN, late, ANSWER, FOIL)
    assert sum(ran) == 1 + 2  # layer 0: the token that differs; layer 1: it and the one behind
    close(grid.value, one_at_a_time(model, grid, CLEAN, base=late))
