"""The picture for viewers that run no JavaScript: small, well-formed, truly coloured."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from made_patterns import with_cells

from mi_widgets import color
from mi_widgets.data import AttentionComparison
from mi_widgets.data.thumbnails import allowed_patches, thumbnails
from mi_widgets.errors import DataError
from mi_widgets.figures import preview_png, preview_svg
from mi_widgets.figures.attention import attention_still
from mi_widgets.figures.marks import Cells, Plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_it_names_the_prompt_the_head_its_tokens_and_every_layer(make_patterns, story):
    words = texts(preview_svg(make_patterns(3, 4, story), 2, 1))
    assert words[0] == "".join(story)
    assert "Layer 2, head 1" in words
    assert "3 layers × 4 heads × 15 tokens" in words
    assert {"·Mary", "0", "1", "2", "3", "head", "layer", "attention weight", "masked"} <= set(words)


def grids(sheet):
    """Colours `[row, column, 3]` of every grid of cells."""
    plots = [item for item in sheet.items if isinstance(item, Plot)]
    return [mark.table[mark.codes] for plot in plots for mark in plot.marks if isinstance(mark, Cells)]


@pytest.mark.parametrize(("scale", "power"), [("linear", 1), ("sqrt", 0.5)])
def test_the_head_in_focus_has_the_screens_colours(make_patterns, story, scale, power):
    patterns = make_patterns(2, 2, story)
    _, pixels = grids(attention_still(patterns, 1, 0, scale))
    rows = color.palette("blue")
    for query in range(15):
        for key in range(15):
            found = pixels[query, key].tolist()
            if key > query:
                assert found == list(bytes.fromhex(color.MASKED["light"][1:]))
            else:
                unit = (float(patterns.base[1, 0, query, key]) / float(patterns.base.max())) ** power
                assert found == rows[min(255, int(unit * 256))].tolist()


def test_it_is_well_formed_whatever_the_tokens_hold(make_patterns, hostile):
    svg = preview_svg(make_patterns(2, 2, hostile), 0, 0, title=hostile[1])
    root = ElementTree.fromstring(svg.encode("utf-8"))
    assert {node.tag.removeprefix(SVG) for node in root.iter()} <= {"svg", "title", "rect", "text", "image", "path"}
    assert re.search(r"(?:href|src)=\"(?!data:image/png)", svg) is None


def test_a_large_model_stays_small(make_patterns):
    svg = preview_svg(make_patterns(12, 12, [f" w{position}" for position in range(128)]), 3, 4)
    assert len(svg) < 150_000


def test_thumbnails_keep_the_largest_value_of_each_patch(make_patterns):
    patterns = make_patterns(2, 3, [str(position) for position in range(50)])
    tiles, allowed = thumbnails(patterns, 7), allowed_patches(patterns, 7)
    edges = [cell * 50 // 7 for cell in range(8)]
    for row in range(7):
        for column in range(row + 1):
            patch = patterns.base[:, :, edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
            assert (tiles[:, :, row, column] == patch.max(axis=(2, 3))).all()
    assert (allowed == np.tri(7, dtype=bool)).all()


def test_thumbnails_pass_over_nan_and_keep_patches_of_nothing_else(make_patterns):
    patterns = make_patterns(1, 1, [str(position) for position in range(20)])
    patterns = with_cells(patterns, (0, 0, slice(10, 12), slice(4, 6)), np.nan)
    patterns = with_cells(patterns, (0, 0, 19, 0), np.nan)
    tiles = thumbnails(patterns, 10)
    assert np.isnan(tiles[0, 0, 5, 2])
    assert tiles[0, 0, 9, 0] == np.nanmax(patterns.base[0, 0, 18:, :2])


def test_differences_keep_their_sign(make_patterns):
    words = [str(position) for position in range(30)]
    comparison = AttentionComparison(make_patterns(1, 2, words), make_patterns(1, 2, words, seed=1))
    tiles = thumbnails(comparison, 10)
    patch = comparison.head(0, 1)[27:30, 3:6]
    assert tiles[0, 1, 9, 1] == patch.ravel()[np.abs(patch).argmax()]
    ElementTree.fromstring(preview_svg(comparison, 0, 1))


def test_an_atlas_at_hand_is_used(make_patterns):
    patterns = make_patterns(2, 2, [str(position) for position in range(64)])
    assert preview_svg(patterns, 0, 0, atlas=patterns.base) == preview_svg(patterns, 0, 0)


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_any_length_can_be_previewed(make_patterns, count):
    drawn = ElementTree.fromstring(preview_svg(make_patterns(1, 1, [f"t{position}" for position in range(count)])))
    assert len(drawn) > 0


def test_without_a_head_in_focus_the_wall_stands_alone(make_patterns, story):
    assert not any(text.startswith("Layer") for text in texts(preview_svg(make_patterns(2, 2, story))))


def test_a_head_that_is_not_there_is_refused(make_patterns, story):
    with pytest.raises(DataError, match="layer 9"):
        preview_svg(make_patterns(2, 2, story), 9, 0)
    with pytest.raises(DataError, match="palette"):
        preview_svg(make_patterns(2, 2, story), 0, 0, palette="jet")


def test_it_needs_neither_plotly_nor_a_browser(make_patterns):
    code = (
        "import sys, numpy as np; from mi_widgets.data import patterns_from_arrays;"
        "from mi_widgets.figures import preview_png; "
        "preview_png(patterns_from_arrays(np.ones((1, 1, 1, 1), np.float32), ['a'])); "
        "print(sorted({'plotly', 'kaleido', 'torch'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_the_png_shows_the_same_colours_as_the_svg(make_patterns, story, decode_png):
    patterns = make_patterns(2, 2, story)
    pixels = decode_png(preview_png(patterns, 1, 0, "linear"))
    assert pixels.shape[1] == 760
    seen = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    rows = color.palette("blue")
    for value in patterns.base[1, 0][np.tri(15, dtype=bool)]:
        assert tuple(rows[min(255, int(float(value) / float(patterns.base.max()) * 256))].tolist()) in seen
    assert tuple(bytes.fromhex(color.MASKED["light"][1:])) in seen
    assert tuple(bytes.fromhex(color.ACCENT["light"][1:])) in seen


def test_the_png_carries_words_in_ink(make_patterns, story, decode_png):
    pixels = decode_png(preview_png(make_patterns(1, 1, story)))
    ink = (pixels.astype(int) < 0x60).all(axis=2)
    assert ink[5:22, 5:300].sum() > 300  # the prompt


def test_the_png_stays_small_and_takes_any_token(make_patterns, hostile, decode_png):
    assert len(preview_png(make_patterns(12, 12, [f" w{position}" for position in range(128)]), 3, 4)) < 250_000
    decode_png(preview_png(make_patterns(2, 2, hostile), 0, 0))
    decode_png(preview_png(make_patterns(80, 2, ["a", "b"]), 0, 0))
