"""A plotly figure laid out like a printed page: axes by their boxes, text by its point, in pixels from the top left.

Plotly's own margins and automatic room are switched off, so that the page is exactly as wide as it says.
Knows nothing of attention.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mi_widgets import color
from mi_widgets.figures.style import inks, mm, px, template

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: `meta` of traces that only carry hover text; `save_figure` leaves them out of print.
HOVER_ONLY = "mi_widgets: hover"


@dataclass(frozen=True)
class Box:
    """A rectangle on the sheet, pixels from its top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge."""
        return self.top + self.height


@dataclass
class Sheet:
    """A page of `width` × `height` pixels that collects axes, shapes, images, text and traces."""

    width: float
    height: float
    theme: str = "light"
    shapes: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    traces: list[Any] = field(default_factory=list)
    axes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_axes(self, box: Box, x: dict[str, Any], y: dict[str, Any]) -> tuple[str, str]:
        """A pair of axes that fills `box`; returns their references, e.g. `("x2", "y2")`."""
        number = len(self.axes) // 2 + 1
        suffix = "" if number == 1 else str(number)
        self.axes[f"xaxis{suffix}"] = {
            "anchor": f"y{suffix}",
            "domain": [box.left / self.width, box.right / self.width],
            **x,
        }
        self.axes[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}",
            "domain": [1 - box.bottom / self.height, 1 - box.top / self.height],
            **y,
        }
        return f"x{suffix}", f"y{suffix}"

    def text(self, left: float, top: float, text: str, size: float, **style: Any) -> None:
        """`text` (plotly markup) with its anchor at `(left, top)`; `style` is an annotation's."""
        color = style.pop("color", inks(self.theme).text)
        self.annotations.append(
            {
                "xref": "paper",
                "yref": "paper",
                "x": left / self.width,
                "y": 1 - top / self.height,
                "text": text,
                "showarrow": False,
                "borderpad": 0,
                "xanchor": "left",
                "yanchor": "middle",
                "font": {"size": size, "color": color, **style.pop("font", {})},
                **style,
            }
        )

    def missing(self, left: float, middle: float, height: float) -> float:
        """A low mark where a bar has no number, in the colour of missing values: no number is not zero. Returns its
        right edge."""
        mark = Box(left, middle - height / 2, px(1.2), height)
        self.rectangle(mark, color.MISSING[self.theme], color.MISSING[self.theme], 0)
        return mark.right

    def rectangle(self, box: Box, fill: str, line: str, width: float) -> None:
        """A filled rectangle at `box`, e.g. a legend's swatch."""
        self.shapes.append(
            {
                "type": "rect",
                "xref": "paper",
                "yref": "paper",
                "x0": box.left / self.width,
                "x1": box.right / self.width,
                "y0": 1 - box.bottom / self.height,
                "y1": 1 - box.top / self.height,
                "fillcolor": fill,
                "line": {"color": line, "width": width},
            }
        )

    def figure(self) -> go.Figure:
        """The sheet as a plotly figure of its exact size."""
        import plotly.graph_objects as go

        return go.Figure(
            data=self.traces,
            layout={
                "template": template(self.theme),
                "width": self.width,
                "height": self.height,
                "shapes": self.shapes,
                "images": self.images,
                "annotations": self.annotations,
                "meta": {"width_mm": round(mm(self.width), 6)},
                "dragmode": "pan",
                **self.axes,
            },
        )
