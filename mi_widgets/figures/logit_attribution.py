"""A logit difference on paper, part by part: a waterfall, bars, the layer × head map, or one head's sources; and the
still picture of a saved notebook, the waterfall beside the map. Of one run, or what A has more of than B.

Takes `data`, gives a sheet. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from mi_widgets.data import LogitAttribution, LogitAttributionComparison
from mi_widgets.data.integers import integer, place, word
from mi_widgets.described.logit_attribution import LOGIT_ATTRIBUTION
from mi_widgets.described.measure import Measure
from mi_widgets.errors import DataError
from mi_widgets.figures import labels as printed
from mi_widgets.figures.amounts import amount
from mi_widgets.figures.attribution_bars import Bar, BarRows, waterfall
from mi_widgets.figures.attribution_map import HeadMap, known_heads
from mi_widgets.figures.page import EDGE, Page, Room, paper, still
from mi_widgets.figures.scale import sign_inks
from mi_widgets.figures.sheet import Sheet, as_png, as_svg, plotted
from mi_widgets.figures.style import LABEL_PT, inks, pt, px

KINDS = ("waterfall", "bars", "map", "sources")

Attributed: TypeAlias = LogitAttribution | LogitAttributionComparison


@plotted
def logit_attribution_figure(
    data: Attributed,
    *,
    kind: str = "waterfall",
    top: int = 16,
    sort: str = "size",
    layer: int | None = None,
    head: int | None = None,
    title: str | None = None,
    width_mm: float | str = 83,
    height_mm: float | None = None,
    theme: str = "light",
) -> Sheet:
    """What each part adds to a logit difference, as a figure of exact size, ready for `save_figure`.

    Parts for the answer and parts against it have the two ends of the diverging palette; the rest of the parts and the
    residue always stand as rows of their own. Of a comparison A − B is drawn.

    Args:
        data: an attribution, contributions in logits; or a comparison of two.
        kind: `"waterfall"` from 0 to the logit difference, `"bars"` from zero, `"map"` of every layer × head (and the
            MLPs beside them), or `"sources"`, one head's contribution by the position it reads from.
        top: parts (or source tokens) that stand by themselves, the largest; the others are one row.
        sort: `"size"`, largest first, or `"model"`, from the embedding to the output; sources are in the order of the
            prompt.
        layer: with `head`, whose sources are drawn, or which head the map outlines.
        head: see `layer`; without them sources are of the head of largest contribution.
        title: a line above the figure; interventions in the runs that it shows are named below it.
        width_mm: width of the page in millimetres, or `"single"` (83), `"one and a half"` (120), `"double"` (174).
        height_mm: height in millimetres; as needed if None.
        theme: `"light"` or `"dark"`.

    Returns:
        A figure `width_mm` wide.

    Raises:
        DataError: an unknown option, heads or sources that the data lacks, or a size too small to draw in.
    """
    shown = drawn_of(data)
    kind = word("kind", kind, KINDS)
    top = integer("top", top)
    if top < 1:
        raise DataError(f"top is {top!r}.", "Draw at least one part.")
    page = paper(data, title, width_mm, height_mm, theme, heading(data), _key(data, theme))
    if kind == "map":
        return _map(page, data, chosen_head(shown, layer, head, needed=False))
    if kind == "sources":
        chosen = chosen_head(shown, layer, head, needed=True)
        assert chosen is not None
        unit = f"contribution of layer {chosen[0]}, head {chosen[1]}{_minus(data)}, logits"
        return _bars(page, data, _sources(shown, chosen, top), unit, mono=True)
    rows = shown.rows(top, sort)
    if kind == "bars":
        bars = [Bar(row.label, 0.0, row.contribution) for row in rows]
        return _bars(page, data, bars, measure_of(data).legend())
    return _bars(page, data, waterfall(shown, rows), f"{shown.quantity}{_minus(data)}, logits", steps=True)


def attribution_still(
    data: Attributed,
    layer: int | None = None,
    head: int | None = None,
    *,
    top: int = 14,
    sort: str = "size",
    title: str = "",
    theme: str = "light",
) -> Sheet:
    """`data` as a picture 760 pixels wide for viewers that run no JavaScript: the waterfall on the left, the
    layer × head map on the right.

    Args:
        data: an attribution, or a comparison of two, of which A − B is drawn.
        layer: layer of a head to outline, or None.
        head: that head, or None.
        top: parts that stand by themselves; the others are one row.
        sort: `"size"` or `"model"`.
        title: text of the first line; the prompt's tokens if empty.
        theme: `"light"` or `"dark"`.

    Raises:
        DataError: an unknown option, or a head that the data lacks.
    """
    shown = drawn_of(data)
    page = still(data, title, shown.tokens.strings, theme, heading(data), _key(data, theme))
    upper, mapped = page.top + px(1), shown.heads is not None
    width = (0.56 if mapped else 1.0) * page.width - EDGE
    rows = BarRows.fit(waterfall(shown, shown.rows(top, sort)), Room(EDGE, upper, width - EDGE))
    if not mapped:
        sheet = page.sheet(rows.bottom + EDGE, heading(data))
    else:
        outlined = chosen_head(shown, layer, head, needed=False)
        edge, top_of_map = EDGE + width + px(2), upper + pt(LABEL_PT) * 1.6
        unit = measure_of(data).legend()
        heads = HeadMap.fit(shown, theme, Room(edge, top_of_map, page.width - edge), unit=unit, still=True)
        sheet = page.sheet(max(rows.bottom, heads.bottom) + EDGE, heading(data))
        sheet.text(heads.box.left, upper + pt(LABEL_PT) * 0.6, "layer × head", pt(LABEL_PT), inks(theme).quiet)
        heads.draw(sheet, outlined)
    rows.draw(sheet, _unit(shown, f"{shown.quantity}{_minus(data)}, logits"), steps=True)
    return sheet


attribution_preview_svg, attribution_preview_png = as_svg(attribution_still), as_png(attribution_still)


def drawn_of(data: Any) -> LogitAttribution:
    """What is drawn of `data`: an attribution itself, of two A − B.

    Raises:
        DataError: it is neither.
    """
    if isinstance(data, LogitAttributionComparison):
        return data.minus
    if not isinstance(data, LogitAttribution):
        raise DataError(
            f"a {type(data).__name__} is no attribution.", "Make one with compute.logit_attribution(model, …)."
        )
    return data


def measure_of(data: Attributed) -> Measure:
    """What the numbers are."""
    compared = isinstance(data, LogitAttributionComparison)
    return (LOGIT_ATTRIBUTION.difference if compared else LOGIT_ATTRIBUTION.measure)("contribution")


def chosen_head(data: LogitAttribution, layer: int | None, head: int | None, needed: bool) -> tuple[int, int] | None:
    """The head that both name; without them the one of largest contribution if one is `needed`, else none.

    Raises:
        DataError: one without the other, a head that does not exist, or no heads at all.
    """
    heads = known_heads(data)
    if (layer is None) != (head is None):
        raise DataError("a head is a layer and a head.", "Give both, or neither.")
    if layer is None or head is None:
        if not needed:
            return None
        largest = np.unravel_index(int(np.argmax(np.abs(np.nan_to_num(heads)))), heads.shape)
        return int(largest[0]), int(largest[1])
    return place("layer", layer, data.n_layers), place("head", head, data.n_heads)


def heading(data: Attributed) -> str:
    """What is attributed, where, and how much it is: one line of prose."""
    a, b = (data.a, data.b) if isinstance(data, LogitAttributionComparison) else (data, data)
    answer = printed.token_label(a.answer_string, 20)
    against = "" if a.foil_string is None else f" − {printed.token_label(a.foil_string, 20)}"
    what = f"{a.quantity} {answer}{against}"
    where = " → ".join(dict.fromkeys((_asked(a), _asked(b))))
    where += f", by features of {a.coder}" if a.coder else ""
    if isinstance(data, LogitAttributionComparison):
        values = {"A": a.difference, "B": b.difference, "A − B": data.minus.difference}
        return f"{what}: {', '.join(f'{side} {amount(value, plus=True)}' for side, value in values.items())}; {where}"
    return f"{what} {where}: {amount(data.difference, plus=True)}"


def _asked(data: LogitAttribution) -> str:
    """Where it is asked."""
    return f'after "{printed.token_label(data.tokens.strings[data.position], 20)}" (position {data.position})'


def _minus(data: Attributed) -> str:
    """What the name of a number says more of two sides."""
    return ", A − B" if isinstance(data, LogitAttributionComparison) else ""


def sides(data: Attributed) -> tuple[str, str]:
    """What negative and positive contributions speak for."""
    if isinstance(data, LogitAttributionComparison):
        return "more in B", "more in A"
    answer = printed.token_label(data.answer_string, 16)
    against = "against " + answer if data.foil_string is None else "for " + printed.token_label(data.foil_string, 16)
    return against, f"for {answer}"


def _key(data: Attributed, theme: str) -> list[tuple[str, str]]:
    inks(theme)  # refuses an unknown theme
    return list(zip(sign_inks(theme), sides(data), strict=True))


def _sources(data: LogitAttribution, chosen: tuple[int, int], top: int) -> list[Bar]:
    """One head's contribution by the token it reads from, in the order of the prompt."""
    values = data.head_sources(*chosen)[: data.position + 1]
    largest = sorted(np.argsort(-np.abs(values), kind="stable")[:top].tolist())
    bars = [
        Bar(f"{printed.token_label(data.tokens.strings[position], 24)} {position}", 0.0, float(values[position]))
        for position in largest
    ]
    others = np.delete(values, largest)
    if len(others):
        bars.append(Bar(f"rest of {len(others)} tokens", 0.0, float(others.astype(np.float64).sum())))
    return [*bars, Bar(f"L{chosen[0]} H{chosen[1]}", 0.0, float(known_heads(data)[chosen]), whole=True)]


def _unit(data: LogitAttribution, unit: str) -> str:
    """What the axis says, and whether the parts sum up."""
    if math.isnan(data.residue):
        return f"{unit}; some missing"
    return unit if data.holds else f"{unit}; residue {amount(data.residue, plus=True)}: the parts do not sum up"


def _bars(page: Page, data: Attributed, bars: list[Bar], unit: str, steps: bool = False, mono: bool = False) -> Sheet:
    rows = BarRows.fit(bars, page.room(EDGE), mono=mono)
    sheet = page.sheet(rows.bottom + EDGE, heading(data))
    rows.draw(sheet, _unit(drawn_of(data), unit), steps)
    return sheet


def _map(page: Page, data: Attributed, outlined: tuple[int, int] | None) -> Sheet:
    unit = measure_of(data).legend()
    heads = HeadMap.fit(drawn_of(data), page.theme, page.room(), unit=unit)
    sheet = page.sheet(heads.bottom + EDGE, heading(data))
    heads.draw(sheet, outlined)
    return sheet
