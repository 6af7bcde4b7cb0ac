"""Two surfaces for the notebook's still picture, with the same few strokes: SVG with real text, PNG with a small font.

SVG is sharp and searchable; PNG is what every notebook viewer shows as it is (GitHub rewrites SVG and drops pictures
inside it). Lengths are pixels from the top left. Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from xml.sax.saxutils import escape

import numpy as np

from mi_widgets.figures.glyphs import WIDTH, line_of
from mi_widgets.figures.labels import ADVANCE
from mi_widgets.figures.png import data_uri, png
from mi_widgets.figures.scale import ColorScale

SANS = "Helvetica, Arial, sans-serif"
MONO = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"

#: left, top, width, height.
Rect = tuple[float, float, float, float]


class Canvas(Protocol):
    """What the preview draws on."""

    #: The two sizes of token labels, the larger first.
    token_sizes: tuple[float, float]

    def text(
        self, x: float, y: float, text: str, size: float, *, anchor: str = "start", mono: bool = False, fill: str = "",
        turn: bool = False,
    ) -> None:  # fmt: skip
        """`text` with its baseline at `(x, y)`, anchored `"start"`, `"middle"` or `"end"`; `turn` reads upwards."""

    def cells(self, codes: np.ndarray, colors: ColorScale, rect: Rect) -> None:
        """Colour codes `[row, column]` stretched over `rect` without smoothing."""

    def frames(self, rects: Sequence[Rect], stroke: str, width: float, fill: str = "none") -> None:
        """Outlines of rectangles."""


class SvgCanvas:
    """Strokes as SVG elements."""

    token_sizes = (10.0, 9.0)

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, text: str, size: float, *, anchor: str = "start", mono: bool = False, fill: str = "",
        turn: bool = False,
    ) -> None:  # fmt: skip
        """See `Canvas`."""
        style = f' font-family="{MONO}"' if mono else ""
        style += f' fill="{fill}"' if fill else ""
        style += f' text-anchor="{anchor}"' if anchor != "start" else ""
        style += f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{style}>{escape(text)}</text>')

    def cells(self, codes: np.ndarray, colors: ColorScale, rect: Rect) -> None:
        """See `Canvas`."""
        left, top, width, height = rect
        # Few large cells are enlarged by a whole factor: viewers that smooth pictures would blur them.
        density = codes.shape[1] / width
        factor = max(1, min(24, round(2 / density))) if density < 0.5 else 1
        image = data_uri(png(codes, colors.table, factor))
        # xlink:href is what older viewers read, and every browser still does.
        self.parts.append(
            f'<image x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" xlink:href="{image}"/>'
        )

    def frames(self, rects: Sequence[Rect], stroke: str, width: float, fill: str = "none") -> None:
        """See `Canvas`."""
        path = "".join(f"M{x:.1f} {y:.1f}h{across:.1f}v{down:.1f}h{-across:.1f}z" for x, y, across, down in rects)
        self.parts.append(f'<path d="{path}" fill="{fill}" stroke="{stroke}" stroke-width="{width:g}"/>')

    def document(self, width: int, height: int, title: str, paper: str, ink: str) -> str:
        """The whole SVG."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" role="img" font-family="{SANS}" fill="{ink}">'
            f"<title>{escape(title)}</title>"
            f'<rect width="{width}" height="{height}" fill="{paper}"/>{"".join(self.parts)}</svg>'
        )


class PngCanvas:
    """Strokes as pixels: codes of one colour table, which grows by every ink used."""

    token_sizes = (WIDTH / ADVANCE, WIDTH / ADVANCE)

    def __init__(self, width: int, height: int, colors: ColorScale, ink: str) -> None:
        self.table = [tuple(row) for row in colors.table.tolist()]
        self.ink = ink
        self.pixels = np.full((height, width), self._code(colors.paper), np.uint16)

    def text(
        self, x: float, y: float, text: str, size: float, *, anchor: str = "start", mono: bool = False, fill: str = "",
        turn: bool = False,
    ) -> None:  # fmt: skip
        """See `Canvas`; there is one size and one face."""
        del size, mono
        line = line_of(text)
        shift = {"start": 0.0, "middle": line.shape[1] / 2, "end": float(line.shape[1])}[anchor]
        if turn:
            left, top, mask = x - 10, y + shift - line.shape[1], np.rot90(line)
        else:
            left, top, mask = x - shift, y - 10, line
        region, inside = self._region(left, top, mask.shape[1], mask.shape[0])
        region[mask[inside]] = self._code(fill or self.ink)

    def cells(self, codes: np.ndarray, colors: ColorScale, rect: Rect) -> None:
        """See `Canvas`; `colors` are those the picture was made with."""
        del colors
        left, top, width, height = (round(length) for length in rect)
        rows = (np.arange(height) * codes.shape[0]) // max(height, 1)
        columns = (np.arange(width) * codes.shape[1]) // max(width, 1)
        region, inside = self._region(left, top, width, height)
        region[:] = codes[np.ix_(rows, columns)][inside]

    def frames(self, rects: Sequence[Rect], stroke: str, width: float, fill: str = "none") -> None:
        """See `Canvas`; at least one pixel wide."""
        code, thick = self._code(stroke), max(1, round(width))
        for left, top, across, down in rects:
            region, _ = self._region(left, top, round(across), round(down))
            if fill != "none":
                region[:] = self._code(fill)
            region[:thick], region[-thick:], region[:, :thick], region[:, -thick:] = code, code, code, code

    def image(self, height: int) -> bytes:
        """The upper `height` rows as PNG."""
        return png(self.pixels[:height], np.array(self.table, np.uint8))

    def _region(self, left: float, top: float, width: int, height: int) -> tuple[np.ndarray, tuple[slice, slice]]:
        """The part of a rectangle that lies on the picture, and where that part lies in the rectangle."""
        x, y = round(left), round(top)
        tall, wide = self.pixels.shape
        first_row, last_row = max(0, -y), max(0, min(height, tall - y))
        first, last = max(0, -x), max(0, min(width, wide - x))
        inside = (slice(first_row, max(first_row, last_row)), slice(first, max(first, last)))
        rows = slice(y + inside[0].start, y + inside[0].stop)
        return self.pixels[rows, x + inside[1].start : x + inside[1].stop], inside

    def _code(self, ink: str) -> int:
        color = tuple(bytes.fromhex(ink[1:]))
        if color not in self.table:
            self.table.append(color)
        return self.table.index(color)
