"""The layer × head map of an attribution on paper: every head's contribution, and the MLPs' beside them.

Takes `data`, draws on a sheet. Knows nothing of models, torch or the screen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_widgets import color
from mi_widgets.data import LogitAttribution
from mi_widgets.errors import DataError
from mi_widgets.figures.legend import Legend
from mi_widgets.figures.marks import Axis, Box, Cells, Hover, Plot, entries
from mi_widgets.figures.page import NUMBERS, Room, below, left_of, name_axes, named_rows, numbered_columns, outline
from mi_widgets.figures.scale import ColorScale
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import LABEL_GAP, MIN_PT, inks, mm, pt, px

#: Between the heads and the MLPs, in cells.
GAP = 0.5


def known_heads(data: LogitAttribution) -> np.ndarray:
    """Logits `[layer, head]`.

    Raises:
        DataError: heads are not known.
    """
    if data.heads is None:
        raise DataError(f"the heads are not known: {data.why_no_heads or 'they were not computed'}", "Draw the parts.")
    return data.heads


def contribution_scale(data: LogitAttribution, theme: str) -> tuple[ColorScale, tuple[bool, bool]]:
    """Diverging, symmetric about zero, as wide as the largest head; and whether MLPs lie below or above it (one MLP
    often outweighs every head, which would all be pale).

    Raises:
        DataError: heads are not known.
    """
    heads = known_heads(data)
    finite = np.abs(heads[np.isfinite(heads)])
    most = float(finite.max()) if finite.size else 0.0
    mlps = data.mlps[np.isfinite(data.mlps)]
    clipped = bool((mlps < -most).any()), bool((mlps > most).any())
    return ColorScale(-most, most, "linear", color.DIVERGING, theme, True, inks(theme).paper), clipped


@dataclass(frozen=True, eq=False)
class HeadMap:
    """Layers as rows, the first at the top; heads as columns, the MLP of each layer in a column apart.

    Attributes:
        heads: logits `[layer, head]`.
        mlps: logits `[layer]`, or None where none is known.
        colors: how they become colours.
        legend: its colour bar.
        box: of the heads' cells, in pixels.
        edge: where the labels' room begins.
    """

    heads: np.ndarray
    mlps: np.ndarray | None
    colors: ColorScale
    legend: Legend
    box: Box
    edge: float

    @classmethod
    def fit(cls, data: LogitAttribution, theme: str, room: Room, *, unit: str, still: bool = False) -> HeadMap:
        """The map with its labels and colour bar, which says `unit`, in its room; for a `still` picture cells may be
        however small.

        Raises:
            DataError: heads are not known, or cells would be smaller than 0.6 mm.
        """
        heads, (edge, top, width, bottom) = known_heads(data), room
        colors, clipped = contribution_scale(data, theme)
        mlps = data.mlps if np.isfinite(data.mlps).any() else None
        missing = any(bool(np.isnan(values).any()) for values in (heads, mlps) if values is not None)
        legend = Legend(colors, unit, clipped, False, missing)
        layers, columns = heads.shape[0], heads.shape[1] + (0 if mlps is None else GAP + 1)
        left = edge + left_of([str(layers - 1)])
        pitch = min((edge + width - left - legend.width()) / columns, px(6 if still else 9))
        tall = max(px(0.5 if still else 1.2), min(pitch, px(105 if still else 235) / layers))
        if bottom is not None:
            tall = (bottom - top - below()) / layers
        if min(pitch, tall) < px(0.6) and not still:
            raise DataError(
                f"{layers} layers × {heads.shape[1]} heads leave cells of {mm(min(pitch, tall)):.1f} mm.",
                "Give a larger width_mm or height_mm.",
            )
        return cls(heads, mlps, colors, legend, Box(left, top, heads.shape[1] * pitch, layers * tall), edge)

    @property
    def bottom(self) -> float:
        """Lower edge, labels included."""
        return self.box.bottom + below()

    def draw(self, sheet: Sheet, outlined: tuple[int, int] | None) -> None:
        """The map; `outlined`, a head, is marked in the accent colour."""
        box, (layers, heads) = self.box, self.heads.shape
        pitch = box.width / heads
        rows, places = named_rows(layers, box.height / layers), numbered_columns(heads, pitch)
        if self.mlps is not None:  # their name stands in the same line
            places = [place for place in places if (heads + GAP - place) * pitch > px(5)]
        plot = sheet.plot(box, _numbered(heads, places), _numbered(layers, rows))
        self._cells(plot, self.heads, "layer %{y:d}, head %{x:d}")
        if outlined is not None:
            plot.add(outline(outlined, sheet.theme))
        name_axes(sheet, box, self.edge, "head", "layer")
        right = box.right
        if self.mlps is not None:
            strip = Box(box.right + GAP * pitch, box.top, pitch, box.height)
            right = strip.right
            self._cells(
                sheet.plot(strip, _numbered(1, []), _numbered(layers, [])), self.mlps[:, None], "layer %{y:d}, MLP"
            )
            under, quiet = strip.bottom + LABEL_GAP + NUMBERS / 2, inks(sheet.theme).quiet
            sheet.text(strip.centre, under, "MLP", pt(MIN_PT), quiet, anchor="middle")
        self.legend.draw(sheet, right, box.top, max(box.height, px(12)))

    def _cells(self, plot: Plot, values: np.ndarray, where: str) -> None:
        plot.add(
            Cells(self.colors.codes(values), self.colors.table),
            Hover(values.astype(np.float32), f"{where}<br>%{{z:.4g}} logits"),
        )


def _numbered(count: int, places: list[int]) -> Axis:
    return entries(count, places, list(map(str, range(count))), pt(MIN_PT))
