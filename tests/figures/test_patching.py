"""A grid of patches on paper: cells in their colours, estimates marked, bars, maps, the scatter; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from made_records import RECORDS, patch_grid

from mi_widgets.errors import DataError
from mi_widgets.figures import patching_figure, save_figure
from mi_widgets.figures.marks import Bars, Cells, Curve, Plot, Rectangles, Text
from mi_widgets.figures.patching import cell_name, heading, metric_title, patching_still, token_labels
from mi_widgets.figures.scale import MASKED, MISSING
from mi_widgets.figures.sheet import on_paper


def sheet(data, **options):
    with on_paper():
        return patching_figure(data, **options)


def marks(found, kind):
    return [mark for item in found.items if isinstance(item, Plot) for mark in item.marks if isinstance(mark, kind)]


def words(found):
    return [item.words for item in found.items if isinstance(item, Text)]


def cells_of(found):
    """The maps: cells of more than one column."""
    return [mark.codes for mark in marks(found, Cells)]


def one_pair(**changes):
    grid = {
        "values": np.linspace(-1, 3, 8, dtype=np.float32)[None],
        "clean_values": np.array([3.0]),
        "corrupt_values": np.array([-1.0]),
        "estimates": np.linspace(-1.4, 3.4, 8, dtype=np.float32)[None],
        "answers": np.array([3]),
        "foils": np.array([1]),
        **changes,
    }
    return patch_grid(**grid)


def test_every_cell_has_the_colour_of_its_effect():
    (codes,) = cells_of(sheet(one_pair()))
    assert codes.shape == (2, 4)
    effects = (np.linspace(-1, 3, 8) + 1) / 4
    expected = np.minimum((effects + 1) / 2 * 256, 255).astype(int).reshape(2, 4)
    assert np.abs(codes.astype(int) - expected).max() <= 1


def test_the_colours_of_noise_diverge_about_one():
    """Of the noising direction 1 is what changes nothing."""
    grid = one_pair(direction="noise", values=np.full((1, 8), 3.0), estimates=None, estimated_by="")
    (codes,) = cells_of(sheet(grid))
    assert set(codes.ravel().tolist()) == {128}


def test_cells_that_are_estimates_among_exact_ones_carry_a_dot():
    values = np.linspace(-1, 3, 8)[None].copy()
    values[0, 5:] = np.nan
    (dots,) = marks(sheet(one_pair(values=values)), Curve)
    assert list(zip(dots.y, dots.x, strict=True)) == [(1, 1), (1, 2), (1, 3)]
    assert "5 of 8 cells exact" in heading(one_pair(values=values))


def test_a_grid_of_estimates_alone_says_so_and_has_no_dots():
    grid = one_pair(values=np.full((1, 8), np.nan))
    assert "estimated by attribution patching" in heading(grid)
    assert not marks(sheet(grid), Curve)
    assert MISSING not in cells_of(sheet(grid))[0]


def test_a_cell_without_any_number_is_no_zero():
    values = np.linspace(-1, 3, 8)[None].copy()
    values[0, 2] = np.nan
    codes = cells_of(sheet(one_pair(values=values, estimates=None, estimated_by="")))[0]
    assert np.argwhere(codes == MISSING).tolist() == [[0, 2]]


def test_the_chosen_cell_is_outlined():
    found = sheet(one_pair(), outlined={"layer": 1, "position": 2})
    boxes = [mark.boxes[0] for mark in marks(found, Rectangles) if mark.line]
    assert [(box.left, box.top) for box in boxes] == [(1.5, 0.5)]


def test_clipped_values_are_said_at_the_ends_of_the_colour_bar():
    found = sheet(one_pair(values=np.linspace(-9, 11, 8)[None], estimates=None, estimated_by=""))
    ticks = [item.y.labels for item in found.items if isinstance(item, Plot) and item.y.opposite]
    assert [labels[0][0] + labels[-1][0] for labels in ticks] == ["≤≥"]


def test_tokens_that_differ_are_named_on_both_sides():
    assert token_labels(one_pair()) == ["<bos>", " a", " d→ b", " c"]


def test_the_metric_names_its_tokens_of_one_pair_alone():
    assert metric_title(one_pair()) == "logit difference ·c − ·a"
    assert metric_title(patch_grid()) == "logit difference"


def test_layer_head_and_position_are_a_map_for_each_layer():
    grid = one_pair(
        site="z",
        by=("layer", "head", "position"),
        numbers=((0, 1), (0, 1, 2), (0, 1, 2, 3)),
        values=np.linspace(-1, 3, 24)[None],
        estimates=None,
        estimated_by="",
    )
    found = sheet(grid, width_mm=120)
    assert [codes.shape for codes in cells_of(found)] == [(3, 4), (3, 4)]
    assert {"layer 0", "layer 1"} <= set(words(found))


def test_of_queries_and_keys_there_is_a_map_for_each_head_and_what_is_later_is_masked():
    values = np.where(np.tril(np.ones((4, 4))), 0.5, np.nan)
    grid = one_pair(
        site="pattern",
        by=("head", "query", "key"),
        numbers=((0, 1), (0, 1, 2, 3), (0, 1, 2, 3)),
        values=np.stack([values, values]).reshape(1, -1),
        estimates=None,
        estimated_by="",
        layer=1,
    )
    found = sheet(grid)
    assert len(cells_of(found)) == 2
    for codes in cells_of(found):
        assert (codes == MASKED).tolist() == np.triu(np.ones((4, 4)), 1).astype(bool).tolist()


def test_neurons_are_bars_the_largest_first():
    values = np.zeros(40) - 1
    values[[7, 21]] = [3.0, -5.0]
    grid = one_pair(
        site="post", by=("neuron",), numbers=(tuple(range(40)),), values=values[None], estimates=None,
        estimated_by="", layer=0,
    )  # fmt: skip
    found = sheet(grid, top=2)
    (bars,) = marks(found, Bars)
    assert list(bars.sizes) == pytest.approx([1.0, -1.0])
    assert any("38 smaller not shown" in line for line in words(found))


def test_the_scatter_sets_exact_over_estimated_effects_and_names_what_is_far_off():
    estimates = np.linspace(-1, 3, 8)[None].copy()
    estimates[0, 6] = -3
    found = sheet(one_pair(estimates=estimates), kind="scatter")
    (dots,) = marks(found, Curve)
    assert list(dots.y) == pytest.approx(((np.linspace(-1, 3, 8) + 1) / 4).tolist())
    assert list(dots.x) == pytest.approx(((estimates[0] + 1) / 4).tolist())
    assert "L1 ·d 2" in words(found)
    assert cell_name(one_pair(), (1, 2)) == "L1 ·d 2"


def test_a_scatter_of_what_was_not_estimated_is_refused():
    with pytest.raises(DataError, match="no cell has an exact and an estimated effect"):
        sheet(one_pair(estimates=None, estimated_by=""), kind="scatter")


@pytest.mark.parametrize(
    "options", [{"kind": "wall"}, {"shows": "all"}, {"outlined": {"layer": 9, "position": 0}}, {"top": 0}]
)
def test_unknown_options_are_refused(options):
    grid = one_pair()
    if "top" in options:
        grid = one_pair(by=("layer",), numbers=((0, 1),), values=np.zeros((1, 2)), estimates=None, estimated_by="")
    with pytest.raises(DataError):
        sheet(grid, **options)


def test_what_is_no_grid_is_refused():
    with pytest.raises(DataError, match="is no grid of patches"):
        sheet(3)


def test_too_many_cells_for_the_paper_are_refused():
    grid = one_pair(
        by=("position", "neuron"), site="post", layer=0, numbers=((0, 1), tuple(range(4096))),
        values=np.zeros((1, 8192)), estimates=None, estimated_by="",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"cells leave 0\.0 mm"):
        sheet(grid)


def test_it_is_saved_as_pdf_svg_and_png(tmp_path):
    for suffix in ("pdf", "svg", "png"):
        with on_paper():
            path = save_figure(patching_figure(one_pair()), tmp_path / f"grid.{suffix}")
        assert path.stat().st_size > 1000


def test_the_still_picture_is_as_wide_as_a_notebooks_output():
    found = patching_still(one_pair(), outlined={"layer": 0, "position": 1})
    assert found.screen
    assert 'width="760"' in found.svg()


def test_where_clean_and_corrupt_do_not_differ_the_change_can_still_be_drawn():
    grid = one_pair(corrupt_values=np.array([3.0]))
    assert (cells_of(sheet(grid))[0] == MISSING).all()
    assert MISSING not in cells_of(sheet(grid, shows="change"))[0]


def test_the_receivers_of_a_path_are_bars_the_largest_first():
    effects = RECORDS["PathEffects"]()
    found = sheet(effects, top=2)
    (bars,) = marks(found, Bars)
    largest = np.sort(np.abs(effects.effect))[::-1][:2]
    assert np.abs(bars.sizes) == pytest.approx(largest)
    assert "paths from " + " → ".join(effects.steps) in heading(effects)
