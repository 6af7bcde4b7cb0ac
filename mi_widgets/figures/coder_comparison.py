"""Several sparse coders on paper: active features against what is left unexplained, and against the loss they recover.

Takes `data`, gives a sheet. Coders on the front of the trade-off are filled and joined by a line. Knows nothing of
models, torch or the page.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mi_widgets import color
from mi_widgets.data.coder_comparison import CoderComparison
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.marks import Axis, Box, Curve, Plot
from mi_widgets.figures.page import EDGE, LINE, Page, below, left_of, name_axes, paper
from mi_widgets.figures.sheet import Sheet, plotted
from mi_widgets.figures.style import LABEL_GAP, MIN_PT, TOKEN_PT, inks, pt, px

#: The axis of L0 has logarithmic steps where the largest is so many times the smallest.
WIDE = 20.0
#: What is drawn: the column, the name of its axis.
PLOTS = (("variance_unexplained", "variance unexplained"), ("loss_recovered", "loss recovered"))


@plotted
def coder_comparison_figure(
    data: CoderComparison,
    *,
    title: str | None = None,
    width_mm: float | str = 120,
    height_mm: float | None = None,
    theme: str = "light",
) -> Sheet:
    """The trade-off of several coders, as a plotly figure of exact size, ready for `save_figure`.

    Each coder is a numbered point, twice: its L0 against the variance it leaves unexplained, and against the share of
    the loss that it recovers. Filled and joined are those that no other coder of the same output beats in both L0 and
    variance. Below stands each with its dead and dense features.

    Args:
        data: of `compute.compare_coders`.
        title: a line above the figure.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: no comparison of coders, an unknown option, or a size too small to draw in.
    """
    if not isinstance(data, CoderComparison):
        raise DataError(f"a {type(data).__name__} is no comparison of coders.", "Make one with compute.compare_coders.")
    inks(theme)
    dense = f"{data.dense_above:.0%}"
    caption = (
        f"{data.n_tokens:,} tokens of {data.n_texts:,} texts; dead: never fires on these; dense: at more than {dense} "
        "of positions; filled: on the front of L0 and variance unexplained"
    )
    page = paper(data, title, width_mm, height_mm, theme, caption)
    return _drawn(data, page)


def _drawn(data: CoderComparison, page: Page) -> Sheet:
    lines = [_line(data, coder) for coder in range(len(data.names))]
    pitch = pt(TOKEN_PT) * 1.5
    listed = len(lines) * pitch + px(1.5)
    left = EDGE + left_of(["0.00"])
    apart = left_of(["0.00"]) + px(3)
    wide = (page.width - left - apart - px(3)) / 2
    tall = min(wide, px(60)) if page.height is None else page.height - page.top - below() - listed - EDGE
    if min(wide, tall) < px(14):
        raise DataError("the two plots have no room.", "Give a larger width_mm or height_mm.")
    sheet = page.sheet(page.top + tall + below() + listed + EDGE, "Sparse coders: the trade-off")
    logarithmic, axis = _l0_axis(data)
    for place, (column, name) in enumerate(PLOTS):
        box = Box(left + place * (wide + apart), page.top, wide, tall)
        low, high = _ends(getattr(data, column), column)
        ticks = even_ticks(low, high, 5)
        down = Axis(high, low, ticks, [amount(tick) for tick in ticks], pt(MIN_PT), grid=color.MASKED[page.theme])
        plot = sheet.plot(box, axis, down)
        _points(sheet, plot, data, column, logarithmic, lines)
        name_axes(sheet, box, box.left - left + EDGE, "L0, features active at a position", name)
    at = page.top + tall + below() + px(1.5)
    for coder, words in enumerate(lines):
        ink = _ink(data, coder)
        sheet.text(left, at + (coder + 0.5) * pitch, str(coder + 1), pt(TOKEN_PT), ink, anchor="end")
        sheet.text(left + LABEL_GAP, at + (coder + 0.5) * pitch, words, pt(TOKEN_PT))
    return sheet


def _line(data: CoderComparison, coder: int) -> str:
    name = printed.token_label(data.names[coder], 32)
    return (
        f"{name}: {data.d_sae[coder]:,} features, {data.dead[coder]:,} dead, {data.dense[coder]:,} dense; "
        f"L0 {amount(float(data.l0[coder]))}"
    )


def _ink(data: CoderComparison, coder: int) -> str:
    outputs = list(dict.fromkeys(data.hooks_out))
    return color.CATEGORICAL[outputs.index(data.hooks_out[coder]) % len(color.CATEGORICAL)]


def _l0_axis(data: CoderComparison) -> tuple[bool, Axis]:
    """The axis of L0, and whether its steps are logarithmic."""
    known = data.l0[np.isfinite(data.l0)].astype(float)
    high = float(known.max(initial=1.0))
    low = float(known[known > 0].min(initial=high))
    if high <= WIDE * low:
        ticks = even_ticks(0.0, 1.12 * high, 5)
        return False, Axis(0.0, 1.12 * high, ticks, [amount(tick) for tick in ticks], pt(MIN_PT))
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    first, last = math.log10(low) - 0.1, math.log10(high) + 0.15
    ticks = [decade for decade in decades if first <= decade <= last]
    return True, Axis(first, last, ticks, [f"{10.0**tick:g}" for tick in ticks], pt(MIN_PT))


def _ends(values: np.ndarray, column: str) -> tuple[float, float]:
    """The ends of the other axis, 0 or 1 among them: what would be without loss."""
    known = values[np.isfinite(values)].astype(float)
    if column == "loss_recovered":
        low = float(known.min(initial=1.0))
        room = 0.12 * max(1.0 - low, 0.05)
        return low - room, max(1.0, float(known.max(initial=1.0))) + 0.3 * room
    return 0.0, 1.12 * max(float(known.max(initial=0.0)), 0.01)


def _points(sheet: Sheet, plot: Plot, data: CoderComparison, column: str, logarithmic: bool, lines: list[str]) -> None:
    values, front = getattr(data, column).astype(float), data.front
    with np.errstate(divide="ignore"):
        across = np.log10(data.l0.astype(float)) if logarithmic else data.l0.astype(float)
    across = np.where(np.isfinite(across), across, np.nan)
    paper_ink = inks(sheet.theme).paper
    for hook in dict.fromkeys(data.hooks_out):
        joined = [coder for coder in np.argsort(across, kind="stable").tolist()
                  if front[coder] and data.hooks_out[coder] == hook and np.isfinite(values[coder])]  # fmt: skip
        if len(joined) > 1:
            ink = _ink(data, joined[0])
            plot.add(Curve(across[joined].tolist(), values[joined].tolist(), ink, pt(0.8)))
    for coder in range(len(data.names)):
        if not (np.isfinite(values[coder]) and np.isfinite(across[coder])):
            continue
        ink = _ink(data, coder)
        hover = _hover(data, coder, lines[coder])
        look: dict[str, Any] = {"mark": "circle", "size": pt(4), "fill": ink if front[coder] else paper_ink}
        plot.add(Curve([float(across[coder])], [float(values[coder])], ink, 0.0, hover=[hover], **look))
        at = plot.across(float(across[coder])), plot.down(float(values[coder]))
        sheet.text(at[0] + px(1.1), at[1] - pt(MIN_PT) * LINE / 2, str(coder + 1), pt(MIN_PT), ink)


def _hover(data: CoderComparison, coder: int, line: str) -> str:
    said = [
        printed.markup(line),
        printed.markup(f"{data.architectures[coder]} at {data.hooks_out[coder]}"),
        f"variance unexplained {amount(float(data.variance_unexplained[coder]))}",
        f"loss {amount(float(data.loss_clean[coder]))}, with the coder {amount(float(data.loss_spliced[coder]))}, "
        f"with zeros {amount(float(data.loss_zeroed[coder]))}",
    ]
    return "<br>".join(said)
