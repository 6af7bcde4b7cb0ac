"""Figures as files: pdf, svg and png at an exact width, and html that needs no network.

Takes any plotly figure. Knows nothing of attention. The first three are drawn by plotly in a Chromium or Chrome that
is installed on this machine, without a window and without network.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import os
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_widgets.data.files import replacing, writable_path
from mi_widgets.data.integers import is_number
from mi_widgets.errors import DataError, ExportError
from mi_widgets.figures.pdf import exact_pdf
from mi_widgets.figures.plotly_sheet import HOVER_ONLY
from mi_widgets.figures.png import with_resolution
from mi_widgets.figures.style import mm, px, width_in_mm

if TYPE_CHECKING:
    import plotly.graph_objects as go

SUFFIXES = ("pdf", "svg", "png", "html")
HOW_TO_INSTALL = (
    "Install one: the package chromium on Debian and Ubuntu, Google Chrome elsewhere; or point BROWSER_PATH at it. "
    "html needs none."
)
#: Whether `open_browser` keeps a browser that draws on our blank page.
_serving = False


def save_figure(figure: go.Figure, path: str | Path, width_mm: float | str | None = None, *, dpi: float = 300) -> Path:
    """Write `figure` to `path`; the suffix says how. Works inside a running event loop (a notebook cell).

    Text stays text in pdf and svg. The same figure, browser and fonts give the same bytes. A single file takes a
    second or two, mostly for starting the browser; within `open_browser()` it takes a fraction of that.

    Args:
        figure: any plotly figure.
        path: ends in .pdf, .svg, .png or .html.
        width_mm: width of the page in millimetres, or `"single"`, `"one and a half"`, `"double"`. If it differs
            from the figure's own, the whole figure is scaled, text included; make the figure at the final width
            to keep the text size. None: the figure's own width (plotly's 700 pixels if it has none).
        dpi: pixels per inch of a png.

    Returns:
        The path written.

    Raises:
        DataError: unknown suffix.
        ExportError: no browser, no kaleido, the browser failed, or the file cannot be written; what stood there before
            stands as it was.
    """
    path = writable_path(path)
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in SUFFIXES:
        raise DataError(f"cannot write a figure as {path.name!r}.", f"Choose a suffix of {', '.join(SUFFIXES)}.")
    if not is_number(dpi) or not 10 <= dpi <= 4800:
        raise DataError(f"dpi is {dpi!r}.", "Give 10 to 4800 pixels per inch; print wants 300.")
    dpi = float(dpi)
    document = figure_html(figure).encode("utf-8") if suffix == "html" else _drawn(figure, path, suffix, width_mm, dpi)
    with replacing(path) as beside:
        beside.write_bytes(document)
    return path


def _drawn(figure: go.Figure, path: Path, suffix: str, width_mm: float | str | None, dpi: float) -> bytes:
    """The file that the browser makes of `figure`."""
    layout: Any = figure.layout
    width, height = layout.width or 700, layout.height or 500
    page_mm = mm(width) if width_mm is None else width_in_mm(width_mm)
    zoom = px(page_mm) / width
    size = (page_mm, mm(height * zoom))
    if suffix == "svg":
        return exact_svg(_render(figure, "svg", width, height, 1), *size)
    if suffix == "png":
        scale = zoom * dpi / 96
        across, down = round(width * scale) / scale, round(height * scale) / scale  # no half pixel at the edge
        return with_resolution(_render(figure, "png", across, down, scale), dpi)
    # Chromium rounds a page down by up to a point: print a little more at the right and the bottom, then cut.
    spare = math.ceil(3 / zoom)
    document = _render(figure, "pdf", round(width) + spare, round(height) + spare, zoom, spare)
    try:
        return exact_pdf(document, *size)
    except ExportError as reason:  # a usable page, a millimetre too large, is better than none
        warnings.warn(f"{path.name}: {reason} The page is up to 1 mm larger than asked.", stacklevel=3)
        return document


def find_browser() -> str | None:
    """The Chromium or Chrome that draws figures: BROWSER_PATH, else what kaleido finds on this machine."""
    named = os.environ.get("BROWSER_PATH")
    if named is not None:
        return named if os.access(named, os.X_OK) and Path(named).is_file() else None
    from choreographer.browsers.chromium import Chromium

    return Chromium.find_browser(skip_local=False)


@contextmanager
def open_browser() -> Iterator[None]:
    """One browser for every `save_figure` inside the `with` block.

    Raises:
        ExportError: no browser or no kaleido.
    """
    global _serving
    kaleido = _kaleido()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kaleido.start_sync_server(n=1, page_generator=_blank_page(kaleido))
    # A server that ran before is ours (then it stays open) or draws on another page (then it is left alone).
    started = not any("already open" in str(warning.message) for warning in said)
    _serving = _serving or started
    try:
        yield
    finally:
        if started:
            _serving = False
            kaleido.stop_sync_server(silence_warnings=True)


def figure_html(figure: go.Figure) -> str:
    """`figure` as one interactive page that carries plotly with it and fetches nothing (about 5 MB)."""
    return figure.to_html(
        include_plotlyjs=True,
        include_mathjax=False,
        full_html=True,
        div_id="figure",  # or plotly would draw a random one
        config={"displaylogo": False, "typesetMath": False, "scrollZoom": True},
    )


def exact_svg(svg: bytes, width_mm: float, height_mm: float) -> bytes:
    """Plotly's svg with its size in millimetres and without its random names.

    Raises:
        ExportError: not plotly's svg.
    """
    text = svg.decode("utf-8")
    head = re.match(r'<svg [^>]*?\bwidth="[^"]*" height="[^"]*"', text)
    if head is None:
        raise ExportError("the browser wrote an svg of an unknown kind.", "Update plotly and kaleido.")
    sized = re.sub(r'\bwidth="[^"]*" height="[^"]*"', f'width="{width_mm:.6g}mm" height="{height_mm:.6g}mm"', head[0])
    text = sized + text[head.end() :]
    # Plotly draws a random name for the figure and one for each trace. Only tags are searched, never text: a token
    # that happens to look like such a name stays.
    drawn = re.search(r'<defs id="defs-([0-9a-f]{6})"', text)
    named = re.compile(rf'(\bid="[a-z]+-?|url\(#[a-z]+-?){drawn[1]}' if drawn else "($^)")
    traced = re.compile(r'^(<g class="trace [a-z]+) trace[0-9a-f]{6}"')
    text = re.sub(r"<[^<>]+>", lambda tag: traced.sub(r'\1"', named.sub(r"\g<1>figure", tag[0])), text)
    return text.encode("utf-8")


def _kaleido() -> Any:
    try:
        import kaleido
    except ImportError:
        raise ExportError("writing pdf, svg and png needs kaleido.", "Run: pip install kaleido") from None
    if find_browser() is None:
        named = os.environ.get("BROWSER_PATH")
        missing = f"BROWSER_PATH names {named!r}, which is no program." if named else "no Chromium or Chrome was found."
        raise ExportError(missing, HOW_TO_INSTALL)
    return kaleido


def _blank_page(kaleido: Any) -> Any:
    """The page plotly draws on: without MathJax, which would come from the network (our text has no TeX), and without
    print margins, for which Chromium would shrink the figure."""
    generator = kaleido.PageGenerator(mathjax=False)
    generator.header += "<style>@page { margin: 0 }</style>"
    return generator


def _render(figure: go.Figure, form: str, width: float, height: float, scale: float, spare: int = 0) -> bytes:
    """The bytes that plotly draws in the browser, with `spare` empty pixels at the right and the bottom."""
    kaleido = _kaleido()
    what = print_version(figure, spare)
    size = {"format": form, "width": width, "height": height, "scale": scale}
    level = logging.getLogger("choreographer").level
    try:
        logging.getLogger("choreographer").setLevel(logging.ERROR)
        if _serving:
            return kaleido.calc_fig_sync(what, opts=size)
        page = {"page_generator": _blank_page(kaleido)}
        # On a thread of its own, since a notebook's loop runs on this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(kaleido.calc_fig(what, opts=size, kopts=page))).result()
    except Exception as reason:
        raise ExportError(
            f"the browser could not draw the figure ({type(reason).__name__}: {reason}).",
            "Try html, which needs none, or set BROWSER_PATH to another Chromium or Chrome.",
        ) from reason
    finally:
        logging.getLogger("choreographer").setLevel(level)


def print_version(figure: go.Figure, spare: int = 0) -> dict[str, Any]:
    """`figure` as a plain dict for paper: traces that only carry hover text are empty, and the right and bottom
    margins are `spare` pixels wider."""
    plain = copy.copy(figure.to_dict())
    if spare:
        inherited = plain["layout"].get("template", {}).get("layout", {}).get("margin", {})
        margin = {"r": 80, "b": 80, **inherited, **plain["layout"].get("margin", {})}
        margin = {**margin, "r": margin["r"] + spare, "b": margin["b"] + spare}
        plain["layout"] = {**plain["layout"], "margin": margin}
    plain["data"] = [
        {
            "type": "scatter",
            "x": [None],
            "y": [None],
            "xaxis": trace.get("xaxis", "x"),
            "yaxis": trace.get("yaxis", "y"),
        }
        if trace.get("meta") == HOVER_ONLY
        else trace
        for trace in plain["data"]
    ]
    return plain
