"""Head scores equal a loop over positions, and know a perfect head of each kind when they see one."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mi_widgets import compute
from mi_widgets.compute.forward import Activations, forward_steps
from mi_widgets.data import patterns_from_arrays, prompt_scores
from mi_widgets.errors import DataError, ModelError

module = sys.modules["mi_widgets.compute.head_scores"]  # the package gives the function by that name


def by_loop(pattern, room, start):
    """The definitions of `head_scores`, position by position, for one head `[query, key]`."""
    count = len(pattern)
    second = range(start, count)
    rows = [-sum(weight * np.log2(weight) for weight in row if weight > 0) for row in pattern]
    return {
        "previous_token": np.mean([pattern[query, query - 1] for query in range(1, count)]),
        "duplicate_token": np.mean([pattern[query, query - room] for query in second]),
        "induction": np.mean([pattern[query, query - room + 1] for query in second]),
        "entropy": np.mean(rows),
        "first_token": np.mean([pattern[query, 0] for query in range(1, count)]),
    }


def test_scores_equal_a_loop_over_positions(model, monkeypatch):
    seen = []

    def watched(*arguments, **options):
        got = yield from forward_steps(*arguments, **options)
        seen.append((arguments[1], got.arrays["attn.hook_pattern"]))
        return got

    monkeypatch.setattr(module, "forward_steps", watched)
    table = compute.head_scores(model, seed=3).set_index(["layer", "head"])
    assert len(seen) == module.SEQUENCES
    for ids, _ in seen:
        room = (len(ids) - 1) // 2
        assert ids[0] == 0  # BOS
        assert (ids[1 : 1 + room] == ids[1 + room :]).all()
        assert not set(ids[1:].tolist()) & {0, 1, 2}  # no special tokens
    for (layer, head), row in table.iterrows():
        loops = [by_loop(pattern[layer, head], (len(ids) - 1) // 2, 1 + (len(ids) - 1) // 2) for ids, pattern in seen]
        for name in loops[0]:
            assert row[name] == pytest.approx(np.mean([loop[name] for loop in loops]), abs=1e-5), name


def perfect(kind, room, start, count):
    pattern = np.zeros((count, count), np.float32)
    for query in range(count):
        key = {
            "previous_token": max(query - 1, 0),
            "duplicate_token": query - room if query >= start else query,
            "induction": query - room + 1 if query >= start else query,
            "first_token": 0,
        }[kind]
        pattern[query, key] = 1
    return pattern


def test_perfect_heads_score_one(model, monkeypatch):
    kinds = ["previous_token", "duplicate_token", "induction", "first_token"]

    def hand_made(model, ids, sites, **_):
        yield from ()
        room = (len(ids) - 1) // 2
        heads = np.stack([perfect(kind, room, 1 + room, len(ids)) for kind in kinds])
        return Activations((0, 1), {sites[0]: np.stack([heads, heads])})

    monkeypatch.setattr(module, "forward_steps", hand_made)
    table = compute.head_scores(model)
    assert (table.entropy == 0).all()
    for head, kind in enumerate(kinds):
        rows = table[table["head"] == head]
        assert rows[kind].to_numpy() == pytest.approx([1, 1])
        others = rows[[other for other in kinds if other != kind]].to_numpy()
        assert others.max() < 0.1


def test_the_same_seed_gives_the_same_scores(model):
    assert compute.head_scores(model, seed=1).equals(compute.head_scores(model, seed=1))
    assert not compute.head_scores(model, seed=1).equals(compute.head_scores(model, seed=2))


def test_the_table_says_what_was_measured(model):
    table = compute.head_scores(model)
    assert list(table.columns) == [
        "layer",
        "head",
        "previous_token",
        "duplicate_token",
        "induction",
        "entropy",
        "first_token",
    ]
    assert len(table) == 8
    assert "4 random sequences of 31 tokens" in table.attrs["basis"]  # BOS + 2 × 31 = 63 of 64 positions


def test_too_small_a_context_is_refused(model):
    model.cfg.n_ctx = 4
    with pytest.raises(ModelError, match="repeated"):
        compute.head_scores(model)


def test_scores_of_a_prompt_equal_a_loop_over_occurrences():
    tokens = ["a", "b", "c", "a", "b", "d", "a"]
    count = len(tokens)
    raw = np.tril(np.random.default_rng(0).random((1, 2, count, count)))
    pattern = (raw / raw.sum(-1, keepdims=True)).astype(np.float32)
    table = prompt_scores(patterns_from_arrays(pattern, tokens)).set_index(["layer", "head"])
    for head in range(2):
        duplicate, induction = [], []
        for query in range(count):
            earlier = [key for key in range(query) if tokens[key] == tokens[query]]
            if earlier:
                duplicate.append(sum(pattern[0, head, query, key] for key in earlier))
                induction.append(sum(pattern[0, head, query, key + 1] for key in earlier if key + 1 < query + 1))
        row = table.loc[(0, head)]
        assert row["duplicate_token"] == pytest.approx(np.mean(duplicate), abs=1e-6)
        assert row["induction"] == pytest.approx(np.mean(induction), abs=1e-6)
        assert row["previous_token"] == pytest.approx(np.mean([pattern[0, head, q, q - 1] for q in range(1, count)]))


def test_scores_of_a_prompt_without_repeats_are_nan():
    table = prompt_scores(patterns_from_arrays(np.eye(3)[None, None], ["a", "b", "c"]))
    assert table["induction"].isna().all()
    assert table["duplicate_token"].isna().all()
    single = prompt_scores(patterns_from_arrays(np.ones((1, 1, 1, 1)), ["a"]))
    assert single["previous_token"].isna().all()
    assert (single["entropy"] == 0).all()


def test_scores_of_pre_softmax_numbers_are_refused():
    with pytest.raises(DataError, match="pre-softmax"):
        prompt_scores(patterns_from_arrays(np.eye(3)[None, None], weighting="scores"))


def test_progress_shows_a_bar_and_gives_the_same(model, capsys):
    assert compute.head_scores(model, progress=True).equals(compute.head_scores(model))
    assert "head scores" in capsys.readouterr().err
