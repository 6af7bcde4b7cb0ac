"""Cells as vector rectangles and as enlarged pictures."""

import re

import numpy as np
import pytest

from mi_widgets.figures.cells import cell_image, cell_shapes, rectangles
from mi_widgets.figures.png import png, with_resolution


def grid(seed, shape=(13, 17), codes=4):
    return np.random.default_rng(seed).integers(0, codes, shape).astype(np.uint16)


@pytest.mark.parametrize("seed", range(5))
def test_merged_rectangles_cover_every_cell_once_with_its_own_code(seed):
    codes = grid(seed)
    painted = np.full(codes.shape, -1)
    for top, bottom, left, right, code in rectangles(codes):
        region = painted[top : bottom + 1, left : right + 1]
        assert (region == -1).all()
        region[:] = code
    assert (painted == codes).all()


def test_shapes_painted_in_order_give_the_grid():
    codes = grid(0)
    table = np.random.default_rng(1).integers(0, 256, (4, 3)).astype(np.uint8)
    painted = np.zeros((*codes.shape, 3), np.uint8)
    for shape in cell_shapes(codes, table, "x", "y"):
        for left, top, right, bottom in re.findall(r"M([-.\d]+),([-.\d]+)H([-.\d]+)V([-.\d]+)H", shape["path"]):
            rows = slice(round(float(top) + 0.5), round(float(bottom) + 0.5))
            painted[rows, round(float(left) + 0.5) : round(float(right) + 0.5)] = list(
                bytes.fromhex(shape["fillcolor"][1:])
            )
    assert (painted == table[codes]).all()


@pytest.mark.parametrize("factor", [1, 5])
@pytest.mark.parametrize("codes", [4, 300])  # 300 colours do not fit an indexed picture
def test_a_png_holds_each_cell_as_a_square_of_its_colour(decode_png, factor, codes):
    table = np.random.default_rng(2).integers(0, 256, (300, 3)).astype(np.uint8)
    cells = np.arange(31 * 23).reshape(31, 23) % codes
    pixels = decode_png(png(cells, table, factor))
    assert (pixels == table[cells].repeat(factor, 0).repeat(factor, 1)).all()


def test_large_grids_are_enlarged_by_a_whole_factor(decode_png, embedded_png):
    table = np.zeros((4, 3), np.uint8)
    image = cell_image(grid(0, (300, 300)), table, "x", "y", (-0.5, -0.5, 300, 300))
    assert decode_png(embedded_png(image["source"])[0]).shape == (2100, 2100, 3)


def test_resolution_is_stated_in_pixels_per_metre(decode_png):
    image = with_resolution(png(grid(0), np.zeros((4, 3), np.uint8)), 300)
    assert b"pHYs" + (11811).to_bytes(4, "big") * 2 + b"\x01" in image
    decode_png(image)
