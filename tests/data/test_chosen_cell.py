"""Which cell of a grid a selection means: it names the site, and counts positions as every view does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from made_records import patch_grid, tokens

from mi_widgets.data import Selection

#: The clean prompt with a token more in its middle.
LONGER = replace(tokens(("<bos>", " a", " x", " b", " c")), ids=np.array([0, 1, 9, 2, 3]))


def test_positions_of_a_selection_are_those_of_the_clean_prompt():
    shape = {"corrupt_tokens": LONGER, "estimates": None, "estimated_by": ""}
    grid = patch_grid(numbers=((0, 1), range(5)), values=np.zeros((2, 10), np.float32), **shape)
    chosen = grid.chosen(Selection(component="resid_pre", layer=1, position=3))
    assert chosen == {"layer": 1, "position": 4}
    assert grid.base_tokens.strings[4] == grid.clean_tokens.strings[3]
    noise = patch_grid(direction="noise", corrupt_tokens=LONGER)
    assert noise.chosen(Selection(component="resid_pre", layer=1, position=3)) == {"layer": 1, "position": 3}


def test_a_selection_of_another_site_or_of_no_cell_means_none():
    grid = patch_grid()
    assert grid.chosen(Selection(component="resid_pre", layer=1, position=2)) == {"layer": 1, "position": 2}
    assert grid.chosen(Selection(layer=1, position=2)) is None
    assert grid.chosen(Selection(component="z", layer=1, position=2)) is None
    assert grid.chosen(Selection(component="resid_pre", layer=1)) is None
    assert grid.chosen(Selection(component="resid_pre", layer=7, position=2)) is None
