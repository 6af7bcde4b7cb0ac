"""Two attributions of one question: A − B part by part, on aligned tokens, and sums that hold."""

from __future__ import annotations

import numpy as np
import pytest
from made_records import attribution, tokens

from mi_widgets.data import LogitAttributionComparison, Tokens, load, save
from mi_widgets.errors import DataError

LONGER = Tokens(np.array([0, 1, 4, 9, 3]), ("<bos>", " a", " d", " x", " c"))


def parts(kinds, layers, heads=None, neurons=None, values=None, **changes):
    count = len(kinds)
    values = np.arange(1, count + 1, dtype=np.float32) if values is None else np.float32(values)
    return attribution(
        part_kinds=tuple(kinds),
        part_layers=np.array(layers, np.int32),
        part_heads=np.array(heads if heads is not None else [-1] * count, np.int32),
        part_neurons=np.array(neurons if neurons is not None else [-1] * count, np.int32),
        contribution=values,
        difference=float(values.sum()),
        **changes,
    )


def rows(record):
    return dict(zip(record.labels, record.contribution.tolist(), strict=True))


def test_parts_are_subtracted_one_by_one_and_so_are_heads_and_mlps():
    b = attribution(
        contribution=np.array([0.25, -1.0, 1.0, 3.0, 0.0625], np.float32),
        difference=3.3125,
        mlps=np.array([2.5], np.float32),
        heads=np.array([[-1.0, 1.0]], np.float32),
        sources=np.ones((1, 2, 4), np.float32),
    )
    a = attribution()
    minus = LogitAttributionComparison(a, b).minus
    assert minus.labels == a.labels
    assert minus.contribution.tolist() == [0.25, -1.0, 0.25, 0.0, 0.0]
    assert (minus.mlps.tolist(), minus.heads.tolist()) == ([0.5], [[-1.0, 0.25]])
    assert np.array_equal(minus.sources, a.sources - 1)
    assert minus.difference == a.difference - b.difference
    assert minus.holds


def test_a_part_that_one_side_lacks_counts_nothing_there_and_stands_in_its_place():
    a = parts(["embedding", "attention", "mlp"], [-1, 0, 0])
    b = parts(["attention", "intervention", "mlp", "norm bias"], [0, 0, 0, -1], values=[0.5, 1, 0.25, 4])
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        minus = LogitAttributionComparison(first, second).minus
        assert rows(minus) == {
            "embedding": sign * 1.0,
            "L0 attention": sign * 1.5,
            "L0 intervention": sign * -1.0,
            "L0 MLP": sign * 2.75,
            "norm bias": sign * -4.0,
        }
        assert minus.part_layers.tolist() == [-1, 0, 0, 0, -1]
        assert minus.residue == pytest.approx(0, abs=1e-6)


def test_a_neuron_that_one_side_does_not_show_by_itself_is_among_the_others_on_both():
    split = {"by": "neuron"}
    a = parts(["neuron", "neuron", "rest", "neuron"], [0, 0, 0, 1], neurons=[3, 5, -1, 2], **split)
    b = parts(["neuron", "rest", "rest"], [0, 0, 1], neurons=[3, -1, -1], values=[0.5, 4, 0.25], **split)
    minus = LogitAttributionComparison(a, b).minus
    assert rows(minus) == {"L0 neuron 3": 0.5, "L0 other neurons": 2 + 3 - 4, "L1 other neurons": 4 - 0.25}


def test_sources_are_of_the_aligned_tokens_and_sum_to_the_heads():
    longer = np.array([[[1, 0, 2, 0.5, 0], [0, 0, 0, 0, 0.25]]], np.float32)
    b = attribution(tokens=LONGER, position=4, sources=longer, heads=longer.sum(-1))
    sources = attribution().sources
    a = attribution(heads=sources.sum(-1))
    both = LogitAttributionComparison(a, b)
    (alone,) = [column for column, pair in enumerate(both.columns) if pair[0] is None]
    assert np.array_equal(both.minus.sources[..., alone], -longer[..., both.columns[alone][1]])
    for column, (in_a, in_b) in enumerate(both.columns):
        if in_a is not None and in_b is not None:
            assert np.array_equal(both.minus.sources[..., column], sources[..., in_a] - longer[..., in_b])
    assert np.allclose(both.minus.sources.sum(-1), both.minus.heads)
    assert both.columns[both.minus.position] == (3, 4)


def test_what_one_side_does_not_know_is_not_known_of_the_difference_and_said():
    a, b = attribution(), attribution(heads=None, sources=None, why_no_heads="fused", why_no_sources="fused, too")
    minus = LogitAttributionComparison(a, b).minus
    assert (minus.heads, minus.sources) == (None, None)
    assert (minus.why_no_heads, minus.why_no_sources) == ("fused", "fused, too")


def test_missing_values_stay_missing():
    a = attribution(mlps=np.array([np.nan], np.float32))
    assert np.isnan(LogitAttributionComparison(a, attribution()).minus.mlps).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": 3}, "asked the same"),
        ({"foil": None, "foil_string": None}, "asked the same"),
        ({"by": "layer"}, "split by"),
        ({"mlps": np.zeros(2, np.float32), "heads": None, "sources": None}, "layers and heads"),
    ],
)
def test_two_questions_are_not_compared(changes, said):
    with pytest.raises(DataError, match=said):
        LogitAttributionComparison(attribution(), attribution(**changes))


def test_the_table_holds_both_sides_and_what_they_differ_by():
    a = parts(["embedding", "mlp"], [-1, 0])
    b = parts(["mlp", "intervention"], [0, 0], values=[0.5, 1])
    table = LogitAttributionComparison(a, b).to_pandas()
    assert list(table) == [
        "part",
        "kind",
        "layer",
        "head",
        "neuron",
        "contribution_a",
        "contribution_b",
        "contribution",
    ]
    assert table["contribution_a"].tolist() == [1, 2, 0]
    assert table["contribution_b"].tolist() == [0, 0.5, 1]
    assert table["contribution"].tolist() == [1, 1.5, -1]
    assert table["contribution"].sum() == pytest.approx(table.attrs["difference"])


def test_it_is_saved_and_read_back(tmp_path):
    both = LogitAttributionComparison(attribution(), attribution(tokens=tokens(("<bos>", " a", " d", " c"))))
    back = load(save(both, tmp_path / "both.npz"))
    assert np.array_equal(back.minus.contribution, both.minus.contribution)
    assert back.tokens == both.tokens
