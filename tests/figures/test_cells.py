"""Cells as vector rectangles and as enlarged pictures."""

import numpy as np
import pytest

from mi_widgets.figures.cells import colored_rectangles, picture, png, rectangles
from mi_widgets.figures.marks import Cells


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


def test_rectangles_painted_in_order_give_the_grid():
    codes = grid(0)
    table = np.random.default_rng(1).integers(0, 256, (4, 3)).astype(np.uint8)
    painted = np.zeros((*codes.shape, 3), np.uint8)
    for ink, boxes in colored_rectangles(Cells(codes, table)).items():
        for x0, y0, x1, y1 in boxes:
            rows = slice(round(y0 + 0.5), round(y1 + 0.5))
            painted[rows, round(x0 + 0.5) : round(x1 + 0.5)] = list(bytes.fromhex(ink[1:]))
    assert (painted == table[codes]).all()


@pytest.mark.parametrize("factor", [1, 5])
@pytest.mark.parametrize("codes", [4, 300])  # 300 colours do not fit an indexed picture
def test_a_png_holds_each_cell_as_a_square_of_its_colour(decode_png, factor, codes):
    table = np.random.default_rng(2).integers(0, 256, (300, 3)).astype(np.uint8)
    cells = np.arange(31 * 23).reshape(31, 23) % codes
    pixels = decode_png(png(cells, table, factor))
    assert (pixels == table[cells].repeat(factor, 0).repeat(factor, 1)).all()


def test_large_grids_are_enlarged_by_a_whole_factor(decode_png, embedded_png):
    image = picture(Cells(grid(0, (300, 300)), np.zeros((4, 3), np.uint8)), upwards=False)
    assert decode_png(embedded_png(image)[0]).shape == (1200, 1200, 3)
