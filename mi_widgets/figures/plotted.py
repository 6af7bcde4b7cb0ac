"""A sheet as a plotly figure of the same page: what can be hovered answers, what has axes can be dragged and zoomed.

Plotly's own margins and automatic room are switched off, so that the page is exactly as wide as it says. Knows nothing
of what is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_widgets.figures import marks
from mi_widgets.figures.cells import SEAM, as_vectors, colored_rectangles, picture
from mi_widgets.figures.labels import markup
from mi_widgets.figures.style import HAIRLINE_PT, MONO, SANS, mm, pt, template

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: `meta` of traces that only carry hover text.
HOVER_ONLY = "mi_widgets: hover"
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}


def plotly_figure(items: Sequence[marks.Item], width: float, height: float, theme: str) -> go.Figure:
    """A figure of its exact size; `items` in order of drawing."""
    import plotly.graph_objects as go

    page = _Page(width, height, as_vectors(items))
    for item in items:
        if isinstance(item, marks.Text):
            page.annotations.append(page.annotation(item))
        elif isinstance(item, marks.Rectangles):
            page.shapes += [page.rectangle(box, item) for box in item.boxes]
        else:
            page.plot(item)
    return go.Figure(
        data=page.traces,
        layout={
            "template": template(theme),
            "width": width,
            "height": height,
            "shapes": page.shapes,
            "images": page.images,
            "annotations": page.annotations,
            "meta": {"width_mm": round(mm(width), 6)},
            "dragmode": "pan",
            **page.axes,
        },
    )


class _Page:
    """What plotly's figure is made of, as it comes together."""

    def __init__(self, width: float, height: float, vectors: set[int]) -> None:
        self.width, self.height, self.vectors = width, height, vectors
        self.shapes: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.traces: list[dict[str, Any]] = []
        self.axes: dict[str, dict[str, Any]] = {}

    def annotation(self, text: marks.Text) -> dict[str, Any]:
        """Words on the sheet."""
        return {
            "xref": "paper",
            "yref": "paper",
            "x": text.x / self.width,
            "y": 1 - text.y / self.height,
            "text": markup(text.words),
            "showarrow": False,
            "borderpad": 0,
            "xanchor": _ANCHORS[text.anchor],
            "yanchor": "bottom" if text.over else "middle",
            "font": {"size": text.size, "color": text.color, **({"family": MONO} if text.mono else {})},
            **({"textangle": -90} if text.turned else {}),
        }

    def rectangle(self, box: marks.Box, look: marks.Rectangles) -> dict[str, Any]:
        """A rectangle on the sheet."""
        return {
            "type": "rect",
            "xref": "paper",
            "yref": "paper",
            "x0": box.left / self.width,
            "x1": box.right / self.width,
            "y0": 1 - box.bottom / self.height,
            "y1": 1 - box.top / self.height,
            **_look(look),
        }

    def plot(self, plot: marks.Plot) -> None:
        """The plot's axes, and everything in it."""
        number = len(self.axes) // 2 + 1
        suffix = "" if number == 1 else str(number)
        box, x, y = plot.box, f"x{suffix}", f"y{suffix}"
        self.axes[f"xaxis{suffix}"] = {
            "anchor": y,
            "domain": [box.left / self.width, box.right / self.width],
            "range": [plot.x.first, plot.x.last],
            **_axis(plot.x, -90 if plot.x.turned else 0),
        }
        self.axes[f"yaxis{suffix}"] = {
            "anchor": x,
            "domain": [1 - box.bottom / self.height, 1 - box.top / self.height],
            "range": [plot.y.last, plot.y.first],
            **_axis(plot.y, 0),
            **({"side": "right"} if plot.y.opposite else {}),
        }
        before = len(self.traces)
        for mark in plot.marks:
            self._mark(mark, plot, x, y)
        if len(self.traces) == before:  # plotly draws no axes without a trace
            self.traces.append({"type": "scatter", "x": [None], "y": [None], "xaxis": x, "yaxis": y})

    def _mark(self, mark: Any, plot: marks.Plot, x: str, y: str) -> None:
        drawn, refs = {"xaxis": x, "yaxis": y}, {"xref": x, "yref": y}
        if isinstance(mark, marks.Cells):
            self._cells(mark, plot, refs)
        elif isinstance(mark, marks.Hover):
            self.traces.append({**_hover(mark), **drawn})
        elif isinstance(mark, marks.Bars):
            self.traces.append({**_bars(mark), **drawn})
        elif isinstance(mark, marks.Curve):
            self.traces.append({**_curve(mark), **drawn})
        elif isinstance(mark, marks.Words):
            self.traces.append({**_words(mark), **drawn})
        elif isinstance(mark, marks.Line):
            (x0, y0), (x1, y1) = mark.start, mark.end
            line = {"color": mark.color, "width": mark.width}
            self.shapes.append({"type": "line", "x0": x0, "y0": y0, "x1": x1, "y1": y1, "line": line, **refs})
        elif len(mark.boxes) == 1:
            [box] = mark.boxes
            corners = {"x0": box.left, "x1": box.right, "y0": box.top, "y1": box.bottom}
            self.shapes.append({"type": "rect", **corners, **refs, **_look(mark)})
        elif mark.boxes:
            path = _path((box.left, box.top, box.right, box.bottom) for box in mark.boxes)
            self.shapes.append({"type": "path", "path": path, **refs, **_look(mark)})

    def _cells(self, grid: marks.Cells, plot: marks.Plot, refs: dict[str, str]) -> None:
        if id(grid) in self.vectors:
            self.shapes += [
                {
                    "type": "path",
                    "path": _path(boxes),
                    "layer": "below",
                    "fillcolor": ink,
                    "line": {"color": ink, "width": SEAM},
                    **refs,
                }
                for ink, boxes in colored_rectangles(grid).items()
            ]
            return
        upwards = plot.y.first > plot.y.last
        place = grid.place
        self.images.append(
            {
                "source": picture(grid, upwards),
                "x": place.left,
                "y": place.bottom if upwards else place.top,
                "sizex": place.width,
                "sizey": place.height,
                "xanchor": "left",
                "yanchor": "top",
                "sizing": "stretch",
                "layer": "below",
                **refs,
            }
        )


def _look(look: marks.Rectangles) -> dict[str, Any]:
    line = {"color": look.line, "width": look.width} if look.line else {"width": 0}
    below = {"layer": "below"} if look.below else {}
    return {"line": line, **({"fillcolor": look.fill} if look.fill else {}), **below}


def _path(boxes: Iterable[tuple[float, float, float, float]]) -> str:
    return "".join(f"M{x0:.6g},{y0:.6g}H{x1:.6g}V{y1:.6g}H{x0:.6g}Z" for x0, y0, x1, y1 in boxes)


def _axis(axis: marks.Axis, angle: int) -> dict[str, Any]:
    return {
        "tickmode": "array",
        "tickvals": list(axis.ticks),
        "ticktext": [markup(label) for label in axis.labels],
        "showticklabels": bool(axis.labels),
        "tickangle": angle,
        "tickfont": {"size": axis.size, "family": MONO if axis.mono else SANS},
        "ticks": "outside" if axis.strokes and axis.ticks else "",
        "showline": bool(axis.line),
        "mirror": axis.line == "frame",
        "fixedrange": axis.still,
        **({"zeroline": True, "zerolinecolor": axis.zero, "zerolinewidth": pt(HAIRLINE_PT)} if axis.zero else {}),
        **({"showgrid": True, "gridcolor": axis.grid, "gridwidth": pt(HAIRLINE_PT)} if axis.grid else {}),
    }


def _hover(hover: marks.Hover) -> dict[str, Any]:
    """A transparent heat map that only answers to the pointer."""
    return {
        "type": "heatmap",
        "z": hover.values,
        "colorscale": [[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]],
        "showscale": False,
        "hoverongaps": hover.gaps,
        "meta": HOVER_ONLY,
        "hovertemplate": f"{hover.template}<extra></extra>",
        **({"text": hover.text} if hover.text is not None else {}),
        **({"name": hover.name} if hover.name else {}),
    }


def _known(values: Sequence[float]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _bars(bars: marks.Bars) -> dict[str, Any]:
    places, sizes = ("y", "x") if bars.flat else ("x", "y")
    said = {"hovertemplate": f"{bars.template}<extra></extra>"} if bars.template else {"hoverinfo": "text"}
    return {
        "type": "bar",
        "orientation": "h" if bars.flat else "v",
        places: list(bars.places),
        sizes: _known(bars.sizes),
        "base": list(bars.starts),
        "width": bars.thick,
        "marker": {"color": bars.fills, "line": {"width": 0}},
        "hovertext": list(bars.hover),
        **said,
        **({} if bars.offset is None else {"offset": bars.offset}),
    }


def _curve(curve: marks.Curve) -> dict[str, Any]:
    dash = ",".join(f"{length:g}px" for length in curve.dash) or "solid"
    marker = {
        "symbol": curve.mark,
        "size": curve.size,
        "color": curve.fill,
        "line": {"color": curve.color, "width": pt(0.8)},
    }
    return {
        "type": "scatter",
        "mode": "+".join(["lines"] * bool(curve.width) + ["markers"] * bool(curve.mark)),
        "x": list(curve.x),
        "y": _known(curve.y),
        "connectgaps": False,
        "cliponaxis": False,
        **({"line": {"color": curve.color, "width": curve.width, "dash": dash}} if curve.width else {}),
        **({"marker": marker} if curve.mark else {}),
        **({"hovertext": list(curve.hover), "hoverinfo": "text"} if curve.hover else {"hoverinfo": "skip"}),
    }


def _words(words: marks.Words) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(words.x),
        "y": list(words.y),
        "text": [markup(text) for text in words.words],
        "textposition": "middle center",
        "textfont": {"family": MONO if words.mono else SANS, "size": words.size, "color": words.color},
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
