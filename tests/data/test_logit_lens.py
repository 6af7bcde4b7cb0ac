"""The lens record: its axes, its tables, its files, and two of them compared."""

from __future__ import annotations

import numpy as np
import pytest

from mi_widgets.data import LogitLens, LogitLensComparison, Tokens, load, save
from mi_widgets.data.logit_lens_comparison import cell_values
from mi_widgets.errors import DataError

NAMES = {token: f" t{token}" for token in range(20)}


def make(strings=("<bos>", " a", " b", " c"), rows=3, kept=2, targets=(4, 7), seed=0, **changes):
    draw = np.random.default_rng(seed)
    cells = (rows, len(changes.get("positions", ())) or len(strings))
    ids = np.array([draw.permutation(20)[:kept] for _ in range(cells[0] * cells[1])]).reshape(*cells, kept)
    values = {
        "tokens": Tokens(np.arange(len(strings)), tuple(strings)),
        "layers": tuple(range(rows)),
        "streams": ("resid_post",) * rows,
        "top_ids": ids.astype(np.int32),
        "top_probs": draw.random((*cells, kept)).astype(np.float32),
        **{name: draw.random(cells).astype(np.float32) for name in ("entropy", "kl", "change", "next_prob")},
        **{name: draw.integers(0, 20, cells).astype(np.int32) for name in ("final_rank", "next_rank")},
        "target_ids": np.array(targets, np.int32),
        "target_probs": draw.random((*cells, len(targets))).astype(np.float32),
        "target_ranks": draw.integers(0, 20, (*cells, len(targets))).astype(np.int32),
        "names": NAMES,
        "d_vocab": 20,
        "model": "tiny",
    }
    return LogitLens(**{**values, **changes})


def test_a_table_has_one_row_per_cell():
    lens = make()
    table = lens.to_pandas()
    assert len(table) == 12
    cell = table[(table.layer == 1) & (table.position == 2)].iloc[0]
    assert (cell.stream, cell.token) == ("resid_post", " b")
    assert cell.top_id == lens.top_ids[1, 2, 0]
    assert cell.top_token == f" t{cell.top_id}"
    assert cell.probability == lens.top_probs[1, 2, 0]
    assert cell.kl == lens.kl[1, 2]
    assert cell["rank of  t7"] == lens.target_ranks[1, 2, 1]


def test_a_table_by_top_has_every_kept_token_and_one_by_target_every_pin():
    lens = make()
    top, pins = lens.to_pandas("top"), lens.to_pandas("target")
    assert len(top) == len(pins) == 24
    assert top.place.tolist() == [0, 1] * 12
    assert (top.id.to_numpy().reshape(3, 4, 2) == lens.top_ids).all()
    assert (pins.probability.to_numpy().reshape(3, 4, 2) == lens.target_probs).all()
    assert set(pins.target) == {" t4", " t7"}
    with pytest.raises(DataError, match="by='row'"):
        lens.to_pandas("row")


def test_pins_that_look_alike_keep_a_column_each():
    table = make(names=NAMES | {4: " x", 7: " x"}).to_pandas()
    assert {"probability of  x", "probability of  x (7)"} <= set(table.columns)


def test_positions_are_the_prompts_own_numbers():
    lens = make(positions=(3, 1))
    assert lens.to_pandas().position.tolist() == [3, 1] * 3
    assert lens.column(-1) == 0
    assert lens.column(1) == 1
    with pytest.raises(DataError, match="position 0"):
        lens.column(0)


def test_rows_are_found_by_layer_and_labelled():
    lens = make(layers=(0, 2, 3), streams=("attn_out", "attn_out", "resid_post"))
    assert lens.row(2) == 1
    assert lens.row_labels() == ["0", "2", "output"]
    assert make().row_labels() == ["0", "1", "2"]
    with pytest.raises(DataError, match="layer 3"):
        lens.row(3)


def test_pins_are_found_by_id_or_string_and_can_be_chosen():
    lens = make()
    assert (lens.target(7), lens.target(" t4")) == (1, 0)
    fewer = lens.targets([7])
    assert fewer.target_ids.tolist() == [7]
    assert np.array_equal(fewer.target_probs[..., 0], lens.target_probs[..., 1])
    with pytest.raises(DataError, match="not pinned"):
        lens.target(" t5")


def test_without_pins_their_axes_are_empty():
    lens = make(targets=(), target_probs=None, target_ranks=None)
    assert lens.target_probs.shape == lens.target_ranks.shape == (3, 4, 0)
    assert len(lens.to_pandas("target")) == 0


def test_it_is_saved_and_loaded(tmp_path):
    lens = make(positions=(3, 1), max_error=1e-6)
    again = load(save(lens, tmp_path / "lens.npz"))
    for name, array in lens.arrays().items():
        assert np.array_equal(getattr(again, name), array), name
        assert getattr(again, name).dtype == array.dtype
    assert again.header() == lens.header()
    assert again.names == NAMES


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"entropy": np.zeros((3, 5), np.float32)}, "entropy"),
        ({"target_probs": np.zeros((3, 4, 1), np.float32)}, "target_probs"),
        ({"top_ids": np.zeros((3, 4), np.int32)}, "top_ids"),
        ({"top_ids": np.zeros((3, 4, 0), np.int32)}, "top_ids"),
        ({"streams": ("resid_post",)}, "streams"),
        ({"streams": ("resid", "resid", "resid")}, "unknown stream"),
        ({"lens": "magnifying"}, "unknown lens"),
        ({"positions": (0, 0)}, "positions"),
        ({"positions": (0, 9)}, "positions"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(changes, word):
    with pytest.raises(DataError, match=word):
        make(**changes)


# --- two lenses ---------------------------------------------------------------------------------------


@pytest.fixture
def two_prompts():
    a = make(("<bos>", " a", " b", " c"))
    longer = Tokens(np.array([0, 1, 9, 2, 3]), ("<bos>", " a", " new", " b", " c"))
    b = make(longer.strings, seed=1, tokens=longer)
    kl = np.full((3, 5), np.nan, np.float32)
    kl[:, [0, 1, 3, 4]] = np.random.default_rng(2).random((3, 4))
    return LogitLensComparison(a, b, kl)


def test_columns_pair_the_positions_of_aligned_tokens(two_prompts):
    assert two_prompts.pairs == ((0, 0), (1, 1), (None, 2), (2, 3), (3, 4))
    assert list(two_prompts.tokens) == ["<bos>", " a", "∅→ new", " b", " c"]
    assert not two_prompts.same_prompt


def test_columns_are_those_that_either_position_axis_holds():
    comparison = LogitLensComparison(make(positions=(1, 2)), make(seed=1, positions=(2, 3)), np.zeros((3, 3), "f"))
    assert comparison.pairs == ((0, None), (1, 0), (None, 1))


def test_a_difference_is_a_minus_b_where_both_are(two_prompts):
    a, b = two_prompts.a, two_prompts.b
    for name, target in (("probability", None), ("entropy", None), ("final_rank", None), ("target_probability", 1)):
        got = two_prompts.difference(name, target)
        assert np.isnan(got[:, 2]).all()
        want = cell_values(a, name, target)[:, 3].astype(float) - cell_values(b, name, target)[:, 4]
        assert np.allclose(got[:, 4], want)
    with pytest.raises(DataError, match="unknown quantity"):
        two_prompts.difference("colour")
    with pytest.raises(DataError, match="pinned"):
        two_prompts.difference("target_rank", 2)


def test_its_table_has_both_sides_of_every_shared_cell(two_prompts):
    table = two_prompts.to_pandas()
    assert len(table) == 3 * 4
    cell = table[(table.layer == 2) & (table.position_a == 2)].iloc[0]
    assert (cell.position_b, cell.column, cell.token_a, cell.token_b) == (3, 3, " b", " b")
    assert cell.kl == two_prompts.kl[2, 3]
    assert cell.top_b == f" t{two_prompts.b.top_ids[2, 3, 0]}"
    assert cell["rank of  t4_b"] == two_prompts.b.target_ranks[2, 3, 0]


def test_a_comparison_is_saved_and_loaded(two_prompts, tmp_path):
    again = load(save(two_prompts, tmp_path / "two.npz"))
    assert np.array_equal(again.kl, two_prompts.kl, equal_nan=True)
    assert np.array_equal(again.b.top_ids, two_prompts.b.top_ids)
    assert again.pairs == two_prompts.pairs


def test_what_cannot_be_compared_is_refused():
    a = make()
    with pytest.raises(DataError, match="same rows"):
        LogitLensComparison(a, make(layers=(0, 1, 5)), np.zeros((3, 4), "f"))
    with pytest.raises(DataError, match="pinned"):
        LogitLensComparison(a, a.targets([7]), np.zeros((3, 4), "f"))
    with pytest.raises(DataError, match="kl has shape"):
        LogitLensComparison(a, make(seed=1), np.zeros((3, 5), "f"))
