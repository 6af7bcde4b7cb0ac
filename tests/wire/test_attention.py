"""The attention picture as bytes: thumbnails keep every peak, manifests are honest JSON for any tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import made_patterns
import numpy as np
import pandas as pd
import pytest

from mi_widgets.data import AttentionComparison, AttentionPatterns, Tokens, patterns_from_arrays
from mi_widgets.data.scores import prompt_scores
from mi_widgets.data.thumbnails import thumbnails
from mi_widgets.wire import attention as wire
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.blocks import encode, pack, unpack

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--",
    "\ud800",
    "🙂",
    "\x00\x1b",
    "\u2028",
    '"\\',
    "日本語",
    "x" * 10_000,
]


softmax = partial(made_patterns.softmax, steepness=3)


def shrunk_by_loop(values, side, causal, key_weight, signed):
    layers, heads, count, _ = values.shape
    full = values if key_weight is None else values * key_weight[:, :, None, :]
    edges = (np.arange(side + 1) * count) // side
    out = np.zeros((layers, heads, side, side), np.float32)
    for row in range(side):
        for column in range(side):
            if causal and column > row:
                continue
            patch = full[:, :, edges[row] : edges[row + 1], edges[column] : edges[column + 1]].reshape(
                layers, heads, -1
            )
            largest, smallest = np.fmax.reduce(patch, -1), np.fmin.reduce(patch, -1)
            out[:, :, row, column] = np.where(signed & (np.abs(smallest) > np.abs(largest)), smallest, largest)
    return out


@pytest.mark.parametrize("count", [9, 16, 23])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ["plain", "weighted", "signed", "nan"])
def test_thumbnails_hold_the_largest_value_of_each_patch(count, causal, kind):
    values = softmax(2, 2, count, causal)
    if kind == "nan":
        values[:, :, ::2, 0] = np.nan
    patterns = patterns_from_arrays(values, causal=causal)
    weight = None
    if kind == "weighted":
        weight = np.random.default_rng(1).random((2, 2, count)).astype(np.float32)
        patterns = replace(patterns, weighting="value", key_weight=weight)
    data = patterns
    if kind == "signed":
        other = softmax(2, 2, count, causal, seed=2)
        data = AttentionComparison(patterns, patterns_from_arrays(other, causal=causal))
        values, causal = values - other, False
    assert np.array_equal(
        thumbnails(data, 8), shrunk_by_loop(values, 8, causal, weight, kind == "signed"), equal_nan=True
    )


def test_small_patterns_are_their_own_thumbnails():
    patterns = patterns_from_arrays(softmax(1, 2, 8))
    assert thumbnails(patterns, 8) is patterns.base


@pytest.mark.parametrize(("heads", "causal"), [(16, True), (144, True), (144, False), (1024, True), (3072, False)])
def test_the_atlas_stays_within_its_bytes_however_many_heads(heads, causal):
    side = wire.thumbnail_side(heads, causal)
    cells = side * (side + 1) // 2 if causal else side * side
    assert heads * cells <= wire.ATLAS_CELLS
    assert side <= wire.THUMBNAIL
    if heads <= 144 and causal:
        assert side == wire.THUMBNAIL


def manifest_of(patterns, **options):
    return AttentionPicture(patterns, run=3, **options).manifest()


@pytest.mark.parametrize("weighting", ["pattern", "scores", "value", "output"])
def test_a_manifest_of_hostile_tokens_is_json(weighting):
    count = len(HOSTILE)
    values = softmax(2, 2, count)
    if weighting == "scores":
        values = np.where(np.tril(np.ones((count, count), bool)), values - 0.5, np.nan)
    patterns = patterns_from_arrays(values, HOSTILE, weighting=weighting)
    manifest = manifest_of(
        patterns, scores=prompt_scores(patterns) if weighting != "scores" else None, notes=HOSTILE[:2]
    )
    text = json.dumps(manifest, allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    again, _, _ = unpack(pack([wire.atlas_block(patterns)], manifest))
    assert again["tokens"]["strings"] == list(patterns.tokens.strings)
    assert again == json.loads(text)


def test_all_nan_patterns_have_a_manifest():
    manifest = manifest_of(patterns_from_arrays(np.full((1, 1, 3, 3), np.nan)))
    json.dumps(manifest, allow_nan=False)
    assert manifest["high"] == 0
    assert manifest["head_high"] == [0]


def test_ranges_are_of_what_is_shown():
    patterns = patterns_from_arrays(softmax(2, 3, 9))
    manifest = manifest_of(patterns)
    assert manifest["low"] == 0
    assert manifest["high"] == patterns.base.max()
    assert manifest["head_high"] == patterns.base.max((2, 3)).ravel().tolist()
    weight = np.random.default_rng(0).random((2, 3, 9)).astype(np.float32)
    weighted = AttentionPatterns(patterns.base, patterns.tokens, weighting="output", key_weight=weight)
    assert manifest_of(weighted)["high"] == weighted.values.max()


def test_negative_numbers_a_user_brings_are_not_clipped():
    patterns = patterns_from_arrays(softmax(1, 2, 9) - 0.5, weighting="pattern")
    manifest = manifest_of(patterns)
    assert manifest["low"] == pytest.approx(patterns.base.min())
    _, found, headers = unpack(pack([wire.atlas_block(patterns)]))
    assert headers["atlas/A"]["low"] == pytest.approx(patterns.base.min())
    assert np.abs(found["atlas/A"] - patterns.base).max() < 0.002 * np.ptp(patterns.base)


def test_scores_and_their_descriptions_are_told_apart():
    patterns = patterns_from_arrays(softmax(1, 2, 5), list("abcab"))
    table = prompt_scores(patterns)
    table["mine"] = [1.0, np.inf]
    table["label"] = ["x", "y"]
    table.attrs = {"basis": "Measured somewhere.", "given": ["mine", "entropy"]}
    columns = {column["name"]: column for column in wire.score_columns(table, patterns)}
    assert columns["mine"]["values"] == [1.0, None]
    assert "label" not in columns
    assert columns["induction"]["description"].endswith("Measured somewhere.")
    assert columns["entropy"]["description"] == columns["mine"]["description"] == "A column of the table given."


def test_scores_of_other_heads_leave_gaps():
    patterns = patterns_from_arrays(softmax(2, 2, 4), layers=[5, 6])
    table = pd.DataFrame({"layer": [6, 9], "head": [1, 0], "probe": [0.5, 1.0]})
    assert wire.score_columns(table, patterns)[0]["values"] == [None, None, None, 0.5]


def test_row_sums_are_checked_on_the_face():
    patterns = patterns_from_arrays(softmax(1, 1, 4))
    assert manifest_of(patterns)["checks"][0]["ok"]
    assert not manifest_of(patterns_from_arrays(softmax(1, 1, 4) / 2))["checks"][0]["ok"]
    assert manifest_of(patterns_from_arrays(softmax(1, 1, 4), weighting="scores"))["checks"] == []


def test_heads_cross_exactly_up_to_256_positions_and_rounded_beyond():
    small = patterns_from_arrays(softmax(1, 1, 12))
    _, found, headers = unpack(pack([wire.head_block(small, "A", 0, 0)]))
    assert headers["head/A/0.0"]["dtype"] == "f32"
    assert np.array_equal(found["head/A/0.0"], small.head(0, 0))
    large = patterns_from_arrays(softmax(1, 1, 300))
    _, found, headers = unpack(pack([wire.head_block(large, "A", 0, 0)]))
    assert headers["head/A/0.0"]["dtype"] == "f16"
    assert np.abs(found["head/A/0.0"] - large.head(0, 0)).max() <= 2.5e-4


@pytest.mark.parametrize("counts", [(9, 9), (9, 12), (80, 90)])
def test_the_difference_atlas_is_the_difference(counts):
    words = [f"w{place}" for place in range(max(counts))]
    a = patterns_from_arrays(softmax(2, 2, counts[0]), words[: counts[0]])
    b = patterns_from_arrays(softmax(2, 2, counts[1], seed=1), words[: counts[1]])
    comparison = AttentionComparison(a, b)
    block = wire.difference_atlas(comparison)
    high = block.high
    full = np.stack([[comparison.head(layer, head) for head in range(2)] for layer in range(2)])
    assert high == np.nanmax(np.abs(full))
    columns = len(comparison.alignment)
    want = full if columns <= 64 else shrunk_by_loop(full, 64, False, None, True)
    _, found, _ = unpack(pack([block]))
    lower = np.tril(np.ones(want.shape[-2:], bool))
    assert np.array_equal(np.isnan(found[block.name][..., lower]), np.isnan(want[..., lower]))
    assert np.nanmax(np.abs(found[block.name][..., lower] - want[..., lower])) <= 0.01 * high
    assert manifest_of(a, comparison=comparison)["compare"]["pairs"][0] == [0, 0]


def test_the_first_picture_of_144_heads_and_512_tokens_is_under_a_megabyte():
    patterns = AttentionPatterns(softmax(12, 12, 512), Tokens.of([f" word{place}" for place in range(512)], 512))
    picture = pack([wire.atlas_block(patterns)], manifest_of(patterns, scores=prompt_scores(patterns)))
    focus = pack([wire.head_block(patterns, "A", 0, 0)])
    assert len(picture) + len(focus) <= 1_000_000


def test_lower_layout_costs_half():
    patterns = patterns_from_arrays(softmax(1, 1, 64))
    header, _ = encode(wire.atlas_block(patterns))
    assert header["nbytes"] == 64 * 65 // 2
