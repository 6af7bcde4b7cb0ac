"""The trade-off of coders on paper: every coder twice at its numbers, the front joined and filled."""

from __future__ import annotations

import numpy as np
import pytest
from made_records import coder_comparison, superposition

from mi_widgets.errors import DataError
from mi_widgets.figures import coder_comparison_figure, save_figure, superposition_figure


def points(figure, axis):
    """`(x, y)` and fill of each coder's mark in one plot."""
    found = [trace for trace in figure.data if trace.mode == "markers" and trace.xaxis == axis]
    return [(trace.x[0], trace.y[0]) for trace in found], [trace.marker.color for trace in found]


def test_each_coder_stands_at_its_l0_and_variance_and_at_its_loss_recovered():
    data = coder_comparison()
    figure = coder_comparison_figure(data)
    np.testing.assert_allclose(points(figure, "x")[0], list(zip(data.l0, data.variance_unexplained, strict=True)))
    np.testing.assert_allclose(points(figure, "x2")[0], list(zip(data.l0, data.loss_recovered, strict=True)), rtol=1e-6)


def test_those_on_the_front_are_filled_and_joined():
    figure = coder_comparison_figure(coder_comparison())
    fills = points(figure, "x")[1]
    assert [fill == "#ffffff" for fill in fills] == [False, False, True, False]
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [list(trace.x) for trace in lines] == [[8.0, 16.0]] * 2


def test_dead_and_dense_features_are_told_of_each():
    text = " ".join(one.text for one in coder_comparison_figure(coder_comparison()).layout.annotations)
    assert "b: 64 features, 3 dead, 0 dense" in text
    assert "1,244 tokens of 10 texts" in text


def test_far_apart_l0_have_logarithmic_steps():
    figure = coder_comparison_figure(coder_comparison(l0=np.array([1.0, 10.0, 100.0, 1000.0], np.float32)))
    np.testing.assert_allclose([x for x, _ in points(figure, "x")[0]], [0, 1, 2, 3])
    assert list(figure.layout.xaxis.ticktext) == ["1", "10", "100", "1000"]


def test_a_coder_without_numbers_has_no_point_and_is_named():
    figure = coder_comparison_figure(coder_comparison(l0=np.array([8.0, np.nan, 20.0, 30.0], np.float32)))
    assert len(points(figure, "x")[0]) == 3
    assert any("L0 –" in one.text for one in figure.layout.annotations)


def test_a_figure_too_small_to_draw_in_and_other_data_are_refused():
    with pytest.raises(DataError, match="no room"):
        coder_comparison_figure(coder_comparison(), width_mm=40)
    with pytest.raises(DataError, match="no comparison of coders"):
        coder_comparison_figure(superposition())


def test_it_is_printed_as_svg(tmp_path):
    path = save_figure(coder_comparison_figure(coder_comparison(), title="Four", theme="dark"), tmp_path / "four.svg")
    assert "variance unexplained" in path.read_text()


def test_planted_directions_stand_where_they_are_and_those_found_beside_them():
    data = superposition()
    figure = superposition_figure(data)
    marked = [trace for trace in figure.data if trace.type == "scatter" and trace.marker.symbol]
    circles, diamonds = ([one for one in marked if one.marker.symbol == mark] for mark in ("circle", "diamond"))
    np.testing.assert_allclose([(one.x[0], one.y[0]) for one in circles], data.directions)
    assert len(diamonds) == 3
    lengths = [np.hypot(one.x[0], one.y[0]) for one in diamonds]
    np.testing.assert_allclose(lengths, data.lengths.max(), rtol=1e-6)
    [cosines] = [trace for trace in figure.data if trace.type == "heatmap"]
    order = np.argsort(data.cosines.argmax(0))
    np.testing.assert_allclose(cosines.z, data.cosines[:, order], atol=1e-6)


def test_in_more_dimensions_the_dot_products_are_shown():
    draw = np.random.default_rng(0)
    data = superposition(directions=draw.normal(size=(4, 3)), decoder=draw.normal(size=(6, 3)), active=None)
    products, cosines = (trace for trace in superposition_figure(data).data if trace.type == "heatmap")
    assert np.shape(products.z) == (4, 4) and np.shape(cosines.z) == (4, 6)
    assert np.max(products.z) == pytest.approx(1)
