"""Statistics of parts of a corpus add up to those of the whole: in any order, however it was divided, within bounds."""

from dataclasses import replace

import numpy as np
import pytest

from mi_widgets.compute import coactivation
from mi_widgets.compute.coactivation import Together, correlated
from mi_widgets.compute.coded_corpus import Coded, marks
from mi_widgets.compute.feature_counts import BINS, NEVER, Counts
from mi_widgets.compute.feature_statistics import FeatureStatistics
from mi_widgets.compute.feature_tables import count_columns, counts_of, example_columns, kept_of
from mi_widgets.compute.kept_examples import Keeping

D_SAE, LENGTH, KEEPING = 30, 12, Keeping(top=3, per_interval=2, context=2)


def coded(n_texts=20, first=0, seed=0, sizes=(0.001, 1000.0), signed=False):
    """Texts with activations of very different sizes, so that intervals widen as more are read."""
    draw = np.random.default_rng(seed)
    tokens = n_texts * LENGTH
    text = np.repeat(np.arange(n_texts), LENGTH)
    ids = draw.integers(0, 50, (n_texts, LENGTH))
    active = draw.random((tokens, D_SAE)) < np.linspace(0, 0.5, D_SAE)
    token, feature = np.nonzero(active)
    value = np.exp(draw.uniform(*np.log(sizes), size=len(token))).round(4).astype(np.float32) + np.float32(0.001)
    value *= draw.choice([-1, 1], len(token)) if signed else 1
    return Coded(
        (text + first).astype(np.int32), np.tile(np.arange(LENGTH), n_texts).astype(np.int32),
        ids.ravel().astype(np.int32), np.concatenate([marks(row) for row in ids]), np.ones(tokens, np.bool_),
        token, feature.astype(np.int32), value.astype(np.float32), n_texts=n_texts,
    )  # fmt: skip


def part(block, start, stop, moved=0):
    """Some texts of a block, numbered from `moved`."""
    inside = (block.text >= start) & (block.text < stop)
    entries = inside[block.token]
    first = int(np.flatnonzero(inside)[0])
    columns = {name: getattr(block, name)[inside] for name in ("position", "token_id", "mark", "counted")}
    return Coded(
        text=(block.text[inside] - start + moved).astype(np.int32), **columns, token=block.token[entries] - first,
        feature=block.feature[entries], value=block.value[entries], n_texts=stop - start,
    )  # fmt: skip


def statistics(*blocks):
    found = FeatureStatistics.none(D_SAE, KEEPING)
    for block in blocks:
        found = found.plus(block)
    return found.settled()


def same(one, other):
    for held in ("counts", "together"):
        for name, mine in vars(getattr(one, held)).items():
            if name in {"total", "squares"}:
                np.testing.assert_allclose(mine, getattr(getattr(other, held), name), rtol=1e-13)
            else:
                np.testing.assert_array_equal(mine, getattr(getattr(other, held), name), err_msg=name)
    mine, theirs = (example_columns(each.kept.examples, each.counts.exponent, KEEPING) for each in (one, other))
    for name, column in mine.items():
        np.testing.assert_array_equal(column, theirs[name], err_msg=name)


@pytest.mark.parametrize("signed", [False, True])
def test_blocks_in_another_order_and_shards_give_the_same(signed):
    whole = coded(signed=signed)
    cuts = [(0, 3), (3, 4), (4, 15), (15, 20)]
    once = statistics(whole)
    same(statistics(*(part(whole, *cut, moved=cut[0]) for cut in cuts)), once)
    same(statistics(*(part(whole, *cut, moved=cut[0]) for cut in reversed(cuts))), once)
    shards = [statistics(part(whole, *cut)) for cut in cuts]
    merged = shards[0].then(shards[1]).then(shards[2]).then(shards[3])
    same(merged, once)
    same(shards[0].then(shards[1].then(shards[2].then(shards[3]))), once)
    assert merged.n_texts == 20 and merged.n_tokens == 240


@pytest.mark.parametrize(("bound", "most"), [("MOST_PAIRS", 300), ("MOST_WORK", 2000), ("CROWD", 8)])
def test_pairs_within_bounds_are_the_same_in_any_order_too(monkeypatch, bound, most):
    whole = coded(100)
    exact = statistics(whole).together
    monkeypatch.setattr(coactivation, bound, most)
    monkeypatch.setattr(coactivation, "AT_ONCE", 50)
    monkeypatch.setattr(coactivation, "SORTED", 50)
    once = statistics(whole)
    assert once.together.n_positions < exact.n_positions == 1200
    cuts = [(start, start + 20) for start in range(0, 100, 20)]
    same(statistics(*(part(whole, *cut, moved=cut[0]) for cut in reversed(cuts))), once)
    shards = [statistics(part(whole, *cut)) for cut in cuts]
    merged = shards[0]
    for shard in shards[1:]:
        merged = merged.then(shard)
    same(merged, once)


def test_a_bounded_table_holds_exact_counts_over_the_positions_it_says(monkeypatch):
    whole = coded(100)
    monkeypatch.setattr(coactivation, "MOST_PAIRS", 300)
    together = Together.of(D_SAE, whole)
    assert len(together.key) <= 300 and together.least > 0
    chosen = coactivation._levels(whole.mark) >= together.least
    assert together.n_positions == chosen.sum()
    active = np.zeros((len(whole.text), D_SAE))
    active[whole.token, whole.feature] = 1
    wanted = active[chosen].T @ active[chosen]
    feature, other, count = together.pairs()
    np.testing.assert_array_equal(count, wanted[feature, other])
    assert count.sum() == np.triu(wanted).sum()


def test_levels_are_of_seven_in_eight_positions_each_of_those_left():
    level = coactivation._levels(marks(np.arange(200_000)))
    shares = [np.mean(level[level >= depth] == depth) for depth in range(4)]
    np.testing.assert_allclose(shares, 0.875, atol=0.02)


def test_the_most_correlated_are_found_both_ways_round_and_none_beneath_chance():
    block = coded(200)
    block = replace(block, token=np.r_[block.token], feature=block.feature)
    found = correlated(Together.of(D_SAE, block), n_best=D_SAE)
    active = np.zeros((len(block.text), D_SAE))
    active[block.token, block.feature] = 1
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.nan_to_num(np.asarray(np.corrcoef(active.T)))
    for feature in range(D_SAE):
        others = [
            other
            for other in np.argsort(-wanted[feature], kind="stable")
            if other != feature and wanted[feature, other] > 0
        ]
        assert found.feature[feature][: len(others)].tolist() == others
        assert (found.feature[feature][len(others) :] == -1).all()


def test_bins_widen_by_joining_and_stay_exact():
    draw = np.random.default_rng(0)
    small = (draw.random(500) * 0.01).astype(np.float32) + np.float32(1e-6)
    large = (draw.random(50) * 900).astype(np.float32)
    feature = np.zeros(len(small), np.int32)
    counts = Counts.none(2).with_entries(feature, small)
    width = 2.0 ** int(counts.exponent[0])
    assert 32 * width <= small.max() < 64 * width
    counts = counts.with_entries(np.zeros(len(large), np.int32), large)
    width, both = 2.0 ** int(counts.exponent[0]), np.r_[small, large]
    assert 32 * width <= large.max() < 64 * width
    wanted = np.bincount((both // width).astype(int), minlength=BINS)
    np.testing.assert_array_equal(counts.histogram[0, BINS:], wanted)
    assert counts.histogram[0, :BINS].sum() == 0
    assert counts.exponent[1] == NEVER


def test_an_activation_on_the_border_of_a_bin_belongs_to_the_upper_one():
    value = np.array([1.0, 0.5, 0.25, 0.5 - 2**-25, -0.5], np.float32)
    counts = Counts.none(1).with_entries(np.zeros(5, np.int32), value)
    columns = count_columns(counts)
    low = (columns["first_bin"][0] + np.arange(len(columns["bin_counts"][0]))) * 2.0 ** int(counts.exponent[0])
    where = {float(edge): int(n) for edge, n in zip(low, columns["bin_counts"][0], strict=True) if n}
    width = 2.0 ** int(counts.exponent[0])
    assert where == {1.0: 1, 0.5: 1, 0.25: 1, 0.5 - width: 1, -0.5: 1}


def test_what_is_kept_on_disk_gives_the_same_statistics_again():
    found = statistics(coded(signed=True))
    counts = counts_of(count_columns(found.counts))
    for name, column in vars(found.counts).items():
        np.testing.assert_array_equal(getattr(counts, name), column, err_msg=name)
    kept = kept_of(example_columns(found.kept.examples, counts.exponent, KEEPING), counts.exponent, KEEPING)
    np.testing.assert_array_equal(kept.least, found.kept.least)
    np.testing.assert_array_equal(kept.most, found.kept.most)


def test_equal_activations_go_by_text_and_position():
    block = coded(5)
    block = replace(block, value=np.ones_like(block.value))
    examples = statistics(block).kept.examples
    columns = example_columns(examples, statistics(block).counts.exponent, KEEPING)
    top = (columns["feature"] == 25) & (columns["rank"] > 0)
    mine = block.feature == 25
    first = list(zip(block.text[block.token[mine]], block.position[block.token[mine]], strict=True))[:3]
    assert list(zip(columns["text"][top], columns["position"][top], strict=True)) == first
