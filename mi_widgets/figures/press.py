"""An svg as a page of PDF or as a PNG, by typst: no browser, no network, the same bytes for the same svg and fonts.

Knows nothing of figures. The page has the size that the svg states. Text stays text in PDF, in subset fonts,
right-to-left runs included. What an svg may hold to look the same here, in a browser and in a viewer of PDF:

- rect, path, line, circle, g with transform, clipPath, pattern (hatching), text with `text-anchor`, `transform`,
  `xml:space="preserve"` and tspan. No foreignObject, no `dominant-baseline` (give the baseline: it lies about 0.35 em
  below the middle), no style sheet, no entity but XML's own, no control character or lone surrogate.
- of a font-family only the first name that this machine has counts. For letters that it lacks another font is sought,
  until one letter is found nowhere: a text of several scripts may keep open boxes where a text of one has none. typst
  brings "DejaVu Sans Mono" and "Libertinus Serif", so that text is drawn on a machine without fonts; the latter stands
  for every name it does not know, `sans-serif` and `monospace` too (which the list needs all the same, for browsers).
- cells as paths, one for each colour, with a thin stroke of their own colour: viewers that smooth edges show the paper
  between neighbours otherwise. Beyond some thousand cells a PNG is smaller and faster, enlarged by a whole factor (some
  viewers of PDF smooth it) and with `image-rendering: pixelated`, which is kept in PNG.
"""

from __future__ import annotations

import re
import struct
import zlib
from functools import cache
from typing import Any

from mi_widgets.errors import ExportError

#: A PNG of more pixels is refused: beyond what the machine holds, typst ends the whole process.
MOST_PIXELS = 200_000_000


def pdf_of(svg: str) -> bytes:
    """`svg` as a PDF of one page of its size, without margins and dates."""
    width, height = _size_mm(svg)
    return _printed(svg, f"{width:.6f}mm", f"{height:.6f}mm", format="pdf")


def png_of(svg: str, dpi: float = 96) -> bytes:
    """`svg` as a PNG of the whole pixels next to its size at `dpi` per inch, which the PNG states.

    Raises:
        ExportError: more pixels than `MOST_PIXELS`.
    """
    across, down = (max(1, round(length * dpi / 25.4)) for length in _size_mm(svg))
    if across * down > MOST_PIXELS:
        raise ExportError(f"a png of {across:,} × {down:,} pixels is too large.", "Give a smaller dpi, or write a pdf.")
    image = _printed(svg, f"{across * 72 / dpi:.6f}pt", f"{down * 72 / dpi:.6f}pt", format="png", ppi=dpi)
    return with_resolution(image, dpi)


def with_resolution(image: bytes, dpi: float) -> bytes:
    """`image` (PNG) with its resolution stated, so that it is placed at its true size in millimetres."""
    per_metre = round(dpi / 0.0254)
    stated = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    header_end = 8 + 12 + 13
    chunk = struct.pack(">I", len(stated) - 4) + stated + struct.pack(">I", zlib.crc32(stated))
    return image[:header_end] + chunk + image[header_end:]


@cache
def _fonts() -> Any:
    """The fonts of this machine, sought once: that takes longer than a page."""
    import typst

    return typst.Fonts()


def _size_mm(svg: str) -> tuple[float, float]:
    """Width and height that an svg states, in millimetres or in pixels, as millimetres."""
    stated = re.match(r'<svg [^>]*?\bwidth="([0-9.e]+)(mm|)" height="([0-9.e]+)\2"', svg)
    if stated is None:
        raise ValueError("an svg for print begins with its width and height in millimetres or pixels")
    unit = 1 if stated[2] else 25.4 / 96
    return float(stated[1]) * unit, float(stated[3]) * unit


def _printed(svg: str, width: str, height: str, **form: Any) -> bytes:
    import typst

    page = (
        f"#set document(date: none)\n#set page(width: {width}, height: {height}, margin: 0pt, fill: none)\n"
        '#image(bytes(sys.inputs.svg), format: "svg", width: 100%, height: 100%, fit: "stretch")'
    )
    compiler = typst.Compiler(page.encode(), sys_inputs={"svg": svg}, font_paths=_fonts())
    return compiler.compile(**form)  # pyright: ignore[reportReturnType] (one page, no output path)
