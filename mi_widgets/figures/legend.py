"""The colour bar with true values at its ticks, and swatches for cells that have no value.

Knows nothing of attention.
"""

from __future__ import annotations

from dataclasses import dataclass

from mi_widgets import color
from mi_widgets.described import measure
from mi_widgets.figures.marks import Axis, Box, Rectangles
from mi_widgets.figures.scale import MASKED, MISSING, ColorScale
from mi_widgets.figures.sheet import Sheet
from mi_widgets.figures.style import HAIRLINE_PT, LABEL_PT, MIN_PT, inks, pt, px

#: What cells without a number are called.
NO_VALUE = measure.NOT_A_NUMBER
GAP, BAR, SWATCH = px(2.5), px(2.4), px(2.2)
#: Average advance of the sans face, in ems, for reserving room.
_ADVANCE = 0.56
_ROW = px(3.4)


@dataclass(frozen=True)
class Legend:
    """What stands beside a picture.

    Attributes:
        scale: how values became colours.
        unit: what the values are, e.g. `"attention weight"`.
        clipped: values lie below, above the range.
        masked: some cells are forbidden by the mask.
        missing: some cells are not numbers.
        masked_as: what the masked cells are called.
    """

    scale: ColorScale
    unit: str
    clipped: tuple[bool, bool]
    masked: bool
    missing: bool
    masked_as: str = measure.MASKED

    def width(self) -> float:
        """Room to keep right of the picture, pixels, gap included."""
        longest = max(len(label) for _, label in self.scale.ticks(6, self.clipped))
        labels = pt(3) + longest * _ADVANCE * pt(MIN_PT)
        swatches = (
            SWATCH + px(1) + max(7, len(self.masked_as) if self.masked else 0) * _ADVANCE * pt(MIN_PT)
            if self.masked or self.missing
            else 0
        )
        return GAP + max(BAR + labels + pt(LABEL_PT) * 1.5, swatches) + px(0.5)

    def draw(self, sheet: Sheet, left: float, top: float, height: float) -> None:
        """The bar and the swatches at `left` (the picture's right edge), `height` pixels in all."""
        ink = inks(sheet.theme)
        rows = [
            entry for entry in ((MASKED, self.masked_as, self.masked), (MISSING, NO_VALUE, self.missing)) if entry[2]
        ]
        bar = Box(left + GAP, top, BAR, max(px(9), min(px(42), height - len(rows) * _ROW)))
        ticks = self.scale.ticks(max(2, round(bar.height / px(5))), self.clipped)
        codes, labels = range(1, color.STEPS, 2), [label for _, label in ticks]
        top = len(codes) - 0.5
        places = [where * len(codes) - 0.5 for where, _ in ticks]
        values = Axis(top, -0.5, places, labels, pt(MIN_PT), opposite=True, still=True)
        plot = sheet.plot(bar, Axis(-0.5, 0.5, still=True), values)
        for row, code in enumerate(codes):
            # Each step reaches to the top and is covered by the next: no seams between them.
            plot.add(Rectangles([Box(-0.5, row - 0.5, 1, top - row + 0.5)], self.scale.hex(code), below=True))
        beside = bar.right + pt(3) + max(map(len, labels)) * _ADVANCE * pt(MIN_PT) + pt(LABEL_PT) * 0.75
        size = pt(LABEL_PT if len(self.unit) * _ADVANCE * pt(LABEL_PT) < bar.height else MIN_PT)
        sheet.text(beside, bar.middle, self.unit, size, anchor="middle", turned=True)
        for row, (code, label, _) in enumerate(rows):
            centre = bar.bottom + (row + 0.5) * _ROW + px(0.8)
            swatch = Box(bar.left, centre - SWATCH / 2, SWATCH, SWATCH)
            sheet.rectangle(swatch, self.scale.hex(code), ink.line, pt(HAIRLINE_PT))
            sheet.text(swatch.right + px(1), centre, label, pt(MIN_PT))
