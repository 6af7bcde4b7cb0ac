"""A grid of patches or ablations on paper: its cells, or exact against estimated effects; the effects of one head
through its receivers; and the still picture of a saved notebook.

Takes `data`, gives a sheet. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mi_widgets import color
from mi_widgets.data import PatchGrid, PathEffects
from mi_widgets.data.alignment import align
from mi_widgets.data.integers import integer, word
from mi_widgets.data.patching import SHOWS
from mi_widgets.described.patching import METRIC_NAMES, METRIC_UNITS, PATCHING
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount, even_ticks
from mi_widgets.figures.attribution_bars import Bar, BarRows
from mi_widgets.figures.legend import Legend
from mi_widgets.figures.maps import Map, Maps
from mi_widgets.figures.marks import Axis, Box, Curve, Hover, Line
from mi_widgets.figures.page import ADVANCE, EDGE, Page, below, left_of, name_axes, paper, still
from mi_widgets.figures.patch_cells import Block, Blocks, Side
from mi_widgets.figures.scale import MISSING, ColorScale, low_and_high
from mi_widgets.figures.sheet import Sheet, plotted
from mi_widgets.figures.style import HAIRLINE_PT, MIN_PT, inks, pt, px

KINDS = ("grid", "scatter")
#: Axes whose entries are tokens of the prompt.
TOKENS = ("position", "query", "key")
#: In a scatter so many cells are named, those whose estimate is farthest off.
NAMED = 5


@plotted
def patching_figure(
    data: PatchGrid | PathEffects,
    *,
    kind: str = "grid",
    shows: str = "effect",
    outlined: Mapping[str, int] | None = None,
    top: int = 20,
    zrange: tuple[float, float] | None = None,
    title: str | None = None,
    width_mm: float | str = 83,
    height_mm: float | None = None,
    theme: str = "light",
) -> Sheet:
    """The effects of patches or ablations as a figure of exact size, ready for `save_figure`.

    Colours diverge about the effect of a change that changes nothing. Cells that are estimated, where others are
    exact, carry a dot; cells that have no number are pink. A grid of three axes is a map for each entry of the first; a
    grid of one axis is a row of bars for each of its largest entries, and so are the receivers of a path.

    Args:
        data: a grid, or the effects of one sender through each receiver.
        kind: `"grid"`, or `"scatter"`: exact against estimated effects, the cells farthest off named.
        shows: `"effect"`, normalised, or `"change"` of the metric.
        outlined: the model's numbers of a cell to outline, as `PatchGrid.cell` takes them.
        top: of a grid of one axis, and of receivers, those that are shown.
        zrange: `(low, high)` of the colours; if None as far about no change as `PatchGrid.reach`.
        title: a line above the figure; interventions in both runs are named below it.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: an unknown option, a cell that the grid lacks, a scatter of a grid without both, or a size too small
            to draw in.
    """
    check_kind_of(data)
    word("shows", shows, SHOWS)
    page = paper(data, title, width_mm, height_mm, theme, heading(data))
    if isinstance(data, PathEffects):
        return _receivers(page, data, shows, integer("top", top))
    if word("kind", kind, KINDS) == "scatter":
        return _scatter(page, data)
    return _grid(page, data, shows, outlined, zrange, integer("top", top))


def patching_still(
    data: PatchGrid | PathEffects,
    *,
    kind: str = "grid",
    shows: str = "effect",
    outlined: Mapping[str, int] | None = None,
    title: str = "",
    theme: str = "light",
) -> Sheet:
    """The same, 760 pixels wide, for viewers that run no JavaScript; the grid where a scatter has too few points."""
    check_kind_of(data)
    page = still(data, title, data.clean_tokens.strings, theme, heading(data))
    if isinstance(data, PathEffects):
        return _receivers(page, data, shows, 16)
    if kind == "scatter" and _both(data).any():
        return _scatter(page, data)
    return _grid(page, data, shows, outlined, None, 16)


def check_kind_of(data: Any) -> None:
    """Raise DataError unless `data` is a grid, or effects of a path."""
    if not isinstance(data, (PatchGrid, PathEffects)):
        raise DataError(f"a {type(data).__name__} is no grid of patches.", "Make one with compute.patch(model, …).")


def heading(data: PatchGrid | PathEffects) -> str:
    """What was changed where, what was read, and the metric of both runs: one line of prose."""
    ablation = isinstance(data, PatchGrid) and data.method == "ablation"
    runs = f"0 = corrupt {amount(data.corrupt)}, 1 = clean {amount(data.clean)}"
    runs = f"0 = clean {amount(data.clean)}, −1 = nothing left" if ablation else runs
    into = "clean into corrupt" if data.direction == "denoise" else "corrupt into clean"
    if isinstance(data, PathEffects):
        parts = [f"paths from {' → '.join(data.steps)}, {into}"]
    else:
        what = f"{data.site} ablated ({data.ablated_by})" if ablation else f"{data.site} patched, {into}"
        parts = [what + ("" if data.layer is None else f", layer {data.layer}")]
    parts.append(f"{metric_title(data)}: {runs}")
    if data.n_pairs > 1:
        parts.append(f"mean of {data.n_pairs} pairs, tokens of the first")
    if isinstance(data, PatchGrid) and data.estimated_by and not data.exact.all():
        parts.append(_estimated(data, data.exact))
    return " · ".join(parts)


def metric_title(data: PatchGrid | PathEffects) -> str:
    """What the metric is, with its tokens: `"logit difference  Mary −  John"`."""
    if data.metric == "own":
        return data.metric_name or "metric"
    name, _ = METRIC_NAMES[data.metric]
    if data.n_pairs > 1 or data.answers is None or data.metric == "kl":
        return name
    said = [printed.token_label(data.names.get(int(ids[0]), str(int(ids[0]))), 20) if ids is not None and ids[0] >= 0
            else "" for ids in (data.answers, data.foils)]  # fmt: skip
    return f"{name} {said[0]}" + (f" − {said[1]}" if said[1] and data.metric == "logit_difference" else "")


def unit_of(data: PatchGrid | PathEffects, shows: str) -> str:
    """What a colour stands for, as a legend says it."""
    unit = METRIC_UNITS.get(data.metric, "") if shows == "change" else ""
    return ", ".join(filter(None, [PATCHING.measure(shows).title, unit]))


def _estimated(data: PatchGrid, exact: np.ndarray) -> str:
    if exact.any():
        return f"{int(exact.sum())} of {exact.size} cells exact, a dot marks those by {data.estimated_by}"
    return f"estimated by {data.estimated_by}"


def _colors(data: PatchGrid, shows: str, zrange: tuple[float, float] | None, theme: str, paper: str) -> Legend:
    values, neutral = data.cells(shows), data.neutral if shows == "effect" else 0.0
    reach = data.reach(shows)
    low, high = (neutral - reach, neutral + reach) if zrange is None else low_and_high(zrange)
    finite = values[np.isfinite(values)]
    near = 0.0025 * (high - low)  # what prints as the end of the colours is not beyond them
    clipped = bool((finite < low - near).any()), bool((finite > high + near).any())
    scale = ColorScale(low, high, "linear", color.DIVERGING, theme, True, paper)
    return Legend(scale, unit_of(data, shows), clipped, False, len(finite) < values.size)


def _side(data: PatchGrid, axis: str) -> Side:
    numbers = data.numbers_of(axis)
    if axis not in TOKENS:
        name = "key-value head" if axis == "head" and data.site in {"k", "v"} else axis
        return Side(name, list(map(str, numbers)))
    labels = token_labels(data)
    return Side(axis, [labels[number] for number in numbers], tokens=True)


def token_labels(data: PatchGrid) -> list[str]:
    """A token for each position of the run that is changed; where the other run's differs, `"here→there"`."""
    base = data.base_tokens
    other = data.clean_tokens if base is data.corrupt_tokens else data.corrupt_tokens
    partners = dict(align(base, other).pairs)
    partners.pop(None, None)
    labels = []
    for position, string in enumerate(base.strings):
        partner = partners.get(position)
        there = string if data.method == "ablation" else "∅" if partner is None else other.strings[partner]
        labels.append(string if there == string else f"{string}→{there}")
    return labels


def _grid(
    page: Page,
    data: PatchGrid,
    shows: str,
    outlined: Mapping[str, int] | None,
    zrange: tuple[float, float] | None,
    top: int,
) -> Sheet:
    chosen = None if outlined is None else data.cell(**outlined)
    values = data.cells(shows)
    if len(data.by) == 1:
        return _bars(page, data, shows, top)
    legend = _colors(data, shows, zrange, page.theme, inks(page.theme).paper)
    if data.by[1:] == ("query", "key"):
        return _heads(page, data, values, legend)
    marked = ~data.exact & np.isfinite(values) if data.exact.any() else np.zeros(data.shape, bool)
    rows, columns = (_side(data, axis) for axis in data.by[-2:])
    names = [f"{data.by[0]} {number}" for number in data.numbers[0]] if len(data.by) == 3 else [""]
    shape = (len(names), len(rows.labels), len(columns.labels))
    maps = []
    for place, name in enumerate(names):
        inner = None if chosen is None or (len(chosen) == 3 and chosen[0] != place) else chosen[-2:]
        before = f"{name}, {data.by[-2]}" if name else data.by[-2]
        where = [
            [printed.markup(f"{before} {row}, {data.by[-1]} {column}") for column in columns.labels]
            for row in rows.labels
        ]
        one = values.reshape(shape)[place]
        maps.append(Block(name, one, marked.reshape(shape)[place], Hover(one, "%{text}<br>%{z:.4g}", where), inner))  # type: ignore[arg-type]
    blocks = Blocks.fit(maps, rows, columns, legend, page.room())
    sheet = page.sheet(blocks.bottom + EDGE, heading(data))
    blocks.draw(sheet)
    return sheet


def _heads(page: Page, data: PatchGrid, values: np.ndarray, legend: Legend) -> Sheet:
    """A query × key map for each head."""
    strings = [token_labels(data)[number] for number in data.numbers_of("query")]
    if data.numbers_of("query") != data.numbers_of("key"):
        raise DataError("queries and keys are not the same positions.", "Draw the table instead: to_pandas().")
    maps = Maps.fit(strings, len(values), page.room(legend.width()))
    sheet = page.sheet(maps.bottom + EDGE, heading(data))
    later = np.triu(np.ones(values.shape[1:], bool), 1)
    causal = bool(np.isnan(values[:, later]).all())  # what a mask forbids is no missing number
    codes = legend.scale.codes(values, ~later if causal else None)
    shown = Legend(legend.scale, legend.unit, legend.clipped, causal, bool((codes == MISSING).any()))
    titles = [f"H{head}" for head in data.numbers_of("head")]
    maps.draw(sheet, [Map(title, one) for title, one in zip(titles, codes, strict=True)], shown.scale)
    shown.draw(sheet, maps.right, maps.top, max(maps.height, px(14)))
    return sheet


def _bars(page: Page, data: PatchGrid, shows: str, top: int) -> Sheet:
    """The largest entries of a grid of one axis."""
    axis, neutral = data.by[0], data.neutral if shows == "effect" else 0.0
    names = [f"{axis} {number}" for number in data.numbers[0]]
    return _largest(page, data, shows, names, data.cells(shows) - neutral, neutral, top, axis == "layer")


def _receivers(page: Page, data: PathEffects, shows: str, top: int) -> Sheet:
    """The receivers of largest effect."""
    values, neutral = (data.effect, data.neutral) if shows == "effect" else (data.change_in_metric, 0.0)
    return _largest(page, data, shows, data.labels, values - neutral, neutral, top, False)


def _largest(
    page: Page,
    data: PatchGrid | PathEffects,
    shows: str,
    names: Sequence[str],
    away: np.ndarray,
    neutral: float,
    top: int,
    in_order: bool,
) -> Sheet:
    """Bars of the entries farthest `away` from the `neutral` value."""
    if top < 1:
        raise DataError(f"top is {top}.", "Draw at least one.")
    largest: list[int] = np.argsort(-np.nan_to_num(np.abs(away), nan=-1.0), kind="stable")[:top].tolist()
    order = sorted(largest) if in_order else largest
    rows = BarRows.fit([Bar(names[cell], 0.0, float(away[cell])) for cell in order], page.room(EDGE))
    sheet = page.sheet(rows.bottom + EDGE, heading(data))
    unit = unit_of(data, shows) + (f" − {neutral:g}" if neutral else "")
    left = len(away) - len(order)
    rows.draw(sheet, unit + (f"; {left} smaller not shown" if left else ""))
    return sheet


def _both(data: PatchGrid) -> np.ndarray:
    """Cells that have an exact and an estimated effect."""
    if data.effect_estimate is None:
        return np.zeros(data.shape, bool)
    return np.isfinite(data.effect) & np.isfinite(data.effect_estimate)


def _scatter(page: Page, data: PatchGrid) -> Sheet:
    """Exact effects over their estimates."""
    both = _both(data)
    if not both.any() or data.effect_estimate is None:
        raise DataError("no cell has an exact and an estimated effect.", "Compute with estimate=True, to the end.")
    ink, theme = inks(page.theme), page.theme
    estimate, exact = data.effect_estimate[both].astype(float), data.effect[both].astype(float)
    low, high = (float(edge) for edge in _rounded(np.concatenate([estimate, exact])))
    ticks = even_ticks(low, high, 5)
    words = [amount(value) for value in ticks]
    left = EDGE + left_of(words)
    wide = page.width - left - px(4)
    tall = min(wide, px(80)) if page.height is None else page.height - page.top - below() - EDGE
    if page.screen:
        wide, tall = min(wide, px(110)), min(tall, px(75))
    if min(wide, tall) < px(14):
        raise DataError("the scatter has no room.", "Give a larger width_mm or height_mm.")
    box = Box(left, page.top, wide, tall)
    sheet = page.sheet(box.bottom + below() + EDGE, heading(data))
    plot = sheet.plot(
        box,
        Axis(low, high, ticks, words, pt(MIN_PT), grid=color.MASKED[theme]),
        Axis(high, low, ticks, words, pt(MIN_PT), grid=color.MASKED[theme]),
    )
    plot.add(Line((low, low), (high, high), ink.line, pt(HAIRLINE_PT)))
    cells = [tuple(int(one) for one in index) for index in np.argwhere(both)]
    accent = color.ACCENT[theme]
    hover = [printed.markup(f"{cell_name(data, cell)}: {amount(y)}, estimated {amount(x)}")
             for cell, x, y in zip(cells, estimate, exact, strict=True)]  # fmt: skip
    plot.add(Curve(estimate.tolist(), exact.tolist(), ink.paper, 0.0, (), "circle", pt(3), accent, hover))
    for place in np.argsort(-np.abs(exact - estimate), kind="stable")[:NAMED].tolist():
        if abs(exact[place] - estimate[place]) < 0.02 * (high - low):
            continue
        name, at = cell_name(data, cells[place]), plot.across(float(estimate[place]))
        inside = at + px(1.2) + printed.columns(name) * ADVANCE * pt(MIN_PT) < box.right
        anchor, step = ("start", px(1.2)) if inside else ("end", -px(1.2))
        sheet.text(at + step, plot.down(float(exact[place])), name, pt(MIN_PT), ink.quiet, anchor=anchor)
    name_axes(sheet, box, EDGE, f"estimated effect ({data.estimated_by})", "exact effect")
    return sheet


def _rounded(values: np.ndarray) -> tuple[float, float]:
    """The ends of both axes of a scatter, zero and a margin within."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def cell_name(data: PatchGrid, index: Sequence[int]) -> str:
    """A cell in a few letters: `"L3 H1 5"`, positions by their token."""
    letters, parts = {"layer": "L", "head": "H", "neuron": "N"}, []
    for axis, number in data.at(tuple(index)).items():
        if axis in letters:
            parts.append(f"{letters[axis]}{number}")
        else:
            parts.append(f"{printed.token_label(data.base_tokens.strings[number], 12)} {number}")
    return " ".join(parts)
