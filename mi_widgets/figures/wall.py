"""The wall on paper: a thumbnail of every layer × head, or of chosen heads in reading order.

Takes thumbnails and a colour scale, draws on a sheet. Knows nothing of models or the screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mi_widgets import color
from mi_widgets.errors import DataError
from mi_widgets.figures.choice import Ranked, score_text
from mi_widgets.figures.marks import Axis, Box, Cells, Hover, Rectangles, entries
from mi_widgets.figures.page import NUMBERS, Room, below, left_of, name_axes, named_rows, numbered_columns
from mi_widgets.figures.scale import PAPER, ColorScale
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import HAIRLINE_PT, MIN_PT, inks, mm, pt, px


@dataclass(frozen=True)
class Wall:
    """Where the thumbnails stand; lengths in pixels.

    Attributes:
        box: of all thumbnails.
        columns: thumbnails in a row.
        rows: of thumbnails.
        pitch: from one to the next.
        caption: room above each for its name; 0 where rows are layers and columns heads.
        layers: the model's numbers of the rows; empty where heads flow in reading order.
        edge: where the labels' room begins.
    """

    box: Box
    columns: int
    rows: int
    pitch: float
    caption: float
    layers: Sequence[int]
    edge: float

    @classmethod
    def fit(cls, layers: Sequence[int], heads: int, room: Room, *, regular: bool = True, still: bool = False) -> Wall:
        """Thumbnails with their labels.

        Args:
            layers: the model's numbers of the rows.
            heads: in a row; of all where they flow.
            room: for all of it; a `bottom` is kept.
            regular: rows are layers and columns heads; else heads flow in reading order, each under its name.
            still: no higher than a still picture, and however small that makes them.

        Raises:
            DataError: the thumbnails would be smaller than 1.2 mm.
        """
        edge, top, width, bottom = room
        tallest, lowest, smallest = (px(97), px(1.3), 0.0) if still else (px(235), px(3), px(1.2))
        if regular:
            left = edge + left_of([str(max(layers))])
            columns, rows, caption, under = heads, len(layers), 0.0, below()
        else:
            left, caption, under = edge, NUMBERS, 0.0
            # Wide enough for "11.11 0.92" where there are few heads, for "11.11" where there are many.
            columns = max(1, min(heads, int((edge + width - left) / px(13.5 if heads <= 60 else 8.5))))
            rows = math.ceil(heads / columns)
        pitch = min((edge + width - left) / columns, px(24))
        if bottom is None:
            pitch = min(pitch, max(lowest, tallest / rows))
        else:
            pitch = min(pitch, (bottom - top - under) / rows - caption)
        if pitch < smallest:
            count = columns * rows if regular else heads
            raise DataError(
                f"{count} heads leave {mm(max(pitch, 0)):.1f} mm for each thumbnail.",
                "Give a larger width_mm or height_mm, or fewer heads.",
            )
        box = Box(left, top, columns * pitch, rows * (pitch + caption))
        return cls(box, columns, rows, pitch, caption, layers if regular else (), edge)

    @property
    def bottom(self) -> float:
        """Lower edge, labels included."""
        return self.box.bottom + (below() if self.layers else 0.0)

    def draw(
        self,
        sheet: Sheet,
        chosen: Ranked,
        codes: np.ndarray,
        colors: ColorScale,
        outlined: tuple[int, int] | None = None,
        hover: np.ndarray | None = None,
    ) -> None:
        """The thumbnails in order.

        Args:
            sheet: to draw on.
            chosen: heads in order of drawing.
            codes: `[head in that order, cell, cell]`.
            colors: the colour scale.
            outlined: a head to mark in the accent colour, or None.
            hover: each head's largest value, in that order, for figures that answer to the pointer.
        """
        box, ink = self.box, inks(sheet.theme)
        plot = sheet.plot(box, *self._axes())
        margin = max(1, round(codes.shape[-1] * 0.05))
        cells = codes.shape[-1] + 2 * margin
        atlas = np.full((self.rows, cells, self.columns, cells), PAPER, np.uint16)
        # Height of a tile's map on the row axis, where a caption takes the rest of the row.
        share = self.pitch / (self.pitch + self.caption)
        inset, frames = margin / cells, {}
        for place, ((layer, head, score), tile) in enumerate(zip(chosen, codes, strict=True)):
            row, column = divmod(place, self.columns)
            atlas[row, margin:-margin, column, margin:-margin] = tile
            frames[layer, head] = Box(
                column - 0.5 + inset, row + 0.5 - share * (1 - inset), 1 - 2 * inset, share * (1 - 2 * inset)
            )
            if not self.layers:
                name = f"{layer}.{head}"
                if score is not None and self.pitch >= px(12):
                    name += f"  {score_text(score)}"
                over = box.top + row * (self.pitch + self.caption) + self.caption
                sheet.text(box.left + (column + inset) * self.pitch, over + px(0.2), name, pt(MIN_PT), over=True)
        if self.caption:
            for row, strip in enumerate(atlas):
                place = Box(-0.5, row + 0.5 - share, self.columns, share)
                plot.add(Cells(strip.reshape(cells, -1), colors.table, place))
        else:
            whole = atlas.reshape(self.rows * cells, -1)
            plot.add(Cells(whole, colors.table, Box(-0.5, -0.5, self.columns, self.rows)))
        plot.add(Rectangles(list(frames.values()), line=ink.line, width=pt(HAIRLINE_PT)))
        if outlined in frames:
            plot.add(Rectangles([frames[outlined]], line=color.ACCENT[sheet.theme], width=pt(1.2)))
        if hover is not None:
            plot.add(self._hover(chosen, hover))
        if self.layers:
            name_axes(sheet, box, self.edge, "head", "layer")

    def _axes(self) -> tuple[Axis, Axis]:
        heads = layers = []
        if self.layers:
            heads, layers = numbered_columns(self.columns, self.pitch), named_rows(self.rows, self.pitch)
        names = list(map(str, range(self.columns))), list(map(str, self.layers))
        return (
            entries(self.columns, heads, names[0], pt(MIN_PT), line=""),
            entries(self.rows, layers, names[1], pt(MIN_PT), line=""),
        )

    def _hover(self, chosen: Ranked, largest: np.ndarray) -> Hover:
        """One cell per head: its name, largest value and score."""
        text = [
            f"layer {layer}, head {head}" + ("" if score is None else f"<br>score {score_text(score)}")
            for layer, head, score in chosen
        ]
        spare = self.rows * self.columns - len(text)
        text += [""] * spare
        values = np.concatenate([largest, np.full(spare, np.nan)]).reshape(self.rows, self.columns)
        rows = [text[row * self.columns : (row + 1) * self.columns] for row in range(self.rows)]
        return Hover(values, "%{text}<br>largest %{z:.4g}", rows)
