"""How a printed figure looks: column widths, text sizes, inks, and the plotly template made of them.

Lengths are millimetres and points, as a journal states them; plotly's unit is the CSS pixel, 96 to the inch.
Knows nothing of attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mi_widgets.data.integers import is_number, word
from mi_widgets.errors import DataError, choose

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Usual column widths in millimetres.
WIDTHS_MM = {"single": 83.0, "one and a half": 120.0, "double": 174.0}
#: No text is set smaller than this, in points.
MIN_PT = 6.0
TOKEN_PT = 7.0
LABEL_PT = 7.0
TITLE_PT = 8.0
#: Lines and ticks, in points.
HAIRLINE_PT = 0.4

SANS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', 'Noto Sans CJK SC', sans-serif"
MONO = "Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', 'Noto Sans Mono CJK SC', monospace"


@dataclass(frozen=True)
class Inks:
    """The colours of everything that is not data."""

    paper: str
    text: str
    quiet: str
    line: str


INKS = {
    "light": Inks(paper="#ffffff", text="#1a1a1a", quiet="#5c5c5c", line="#6b6b6b"),
    "dark": Inks(paper="#181818", text="#ececec", quiet="#a8a8a8", line="#8c8c8c"),
}


def px(mm: float) -> float:
    """Millimetres as CSS pixels, exactly 96 / 25.4."""
    return mm * 96 / 25.4


def mm(pixels: float) -> float:
    """CSS pixels as millimetres."""
    return pixels * 25.4 / 96


def pt(points: float) -> float:
    """Points as CSS pixels, 96 / 72."""
    return points * 96 / 72


def inks(theme: str) -> Inks:
    """The inks of theme `"light"` or `"dark"`.

    Raises:
        DataError: no such theme.
    """
    return INKS[word("theme", theme, INKS)]


def ink_on(fill: str) -> str:
    """The text ink, dark or light, that stands out the more on `fill` (`#rrggbb`): by WCAG's relative luminance."""
    shares = np.frombuffer(bytes.fromhex(fill[1:]), np.uint8) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return INKS["light" if luminance > 0.179 else "dark"].text


def width_in_mm(width_mm: float | str) -> float:
    """A width given in millimetres or as `"single"`, `"one and a half"`, `"double"`.

    Raises:
        DataError: no such name, or outside 20 to 1000 mm.
    """
    if isinstance(width_mm, str):
        if width_mm not in WIDTHS_MM:
            raise DataError(f"unknown width {width_mm!r}.", choose(width_mm, WIDTHS_MM, "Give millimetres or one of"))
        return WIDTHS_MM[width_mm]
    if not is_number(width_mm) or not 20 <= width_mm <= 1000:
        raise DataError(f"width_mm is {width_mm!r}.", "Give 20 to 1000 millimetres; a single column is 83.")
    return float(width_mm)


def height_in_px(height_mm: float | None) -> float | None:
    """A height given in millimetres as pixels; None for as high as needed.

    Raises:
        DataError: outside 15 to 2000 mm.
    """
    if height_mm is None:
        return None
    if not is_number(height_mm) or not 15 <= height_mm <= 2000:
        raise DataError(f"height_mm is {height_mm!r}.", "Give 15 to 2000 millimetres, or None.")
    return px(float(height_mm))


#: Length of the stroke at a tick, and from an axis to its labels, in CSS pixels.
STROKE, LABEL_GAP = pt(1.5), pt(2.5)


@cache
def template(theme: str) -> go.layout.Template:
    """The plotly template of theme `"light"` or `"dark"`: hairline axes, no grid, no margins, small type."""
    import plotly.graph_objects as go

    ink = inks(theme)
    axis = {
        "showgrid": False,
        "zeroline": False,
        "showline": True,
        "mirror": True,
        "linecolor": ink.line,
        "linewidth": pt(HAIRLINE_PT),
        "ticks": "outside",
        "ticklen": pt(1.5),
        "tickwidth": pt(HAIRLINE_PT),
        "tickcolor": ink.line,
        "tickfont": {"family": SANS, "size": pt(LABEL_PT), "color": ink.text},
        "automargin": False,
        "fixedrange": False,
    }
    return go.layout.Template(
        layout={
            "font": {"family": SANS, "size": pt(LABEL_PT), "color": ink.text},
            "paper_bgcolor": ink.paper,
            "plot_bgcolor": ink.paper,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0, "autoexpand": False},
            "showlegend": False,
            "hoverlabel": {"font": {"family": MONO, "size": 12}, "align": "left"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )
