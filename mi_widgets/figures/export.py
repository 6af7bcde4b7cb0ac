"""Figures as files: pdf, svg and png at an exact width, and html that needs no network.

Knows nothing of what a figure shows. Our own figures are printed from the sheet they were drawn on, without a browser;
others, and ours once they were edited, are drawn by plotly with the help of kaleido, where that is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_widgets.data.files import replacing, writable_path
from mi_widgets.data.integers import is_number
from mi_widgets.errors import DataError, ExportError
from mi_widgets.figures.press import pdf_of, png_of, with_resolution
from mi_widgets.figures.sheet import Sheet, sheet_of
from mi_widgets.figures.style import px, width_in_mm

if TYPE_CHECKING:
    import plotly.graph_objects as go

SUFFIXES = ("pdf", "svg", "png", "html")


def save_figure(
    figure: go.Figure | Sheet, path: str | Path, width_mm: float | str | None = None, *, dpi: float = 300
) -> Path:
    """Write `figure` to `path`; the suffix says how. Works inside a running event loop (a notebook cell).

    Text stays text in pdf and svg. The same figure and fonts give the same bytes. Letters that no font of this machine
    has are open boxes in pdf and png: install one that has them (Noto Sans has most scripts).

    Args:
        figure: of `mi_widgets.figures` or of a view. Any other plotly figure, and one that was edited since it was
            made, is written as html, and as pdf, svg and png where kaleido is installed.
        path: ends in .pdf, .svg, .png or .html.
        width_mm: width of the page in millimetres, or `"single"`, `"one and a half"`, `"double"`. If it differs
            from the figure's own, the whole figure is scaled, text included; make the figure at the final width
            to keep the text size. None: the figure's own width (plotly's 700 pixels if it has none).
        dpi: pixels per inch of a png.

    Returns:
        The path written.

    Raises:
        DataError: unknown suffix.
        ExportError: a foreign or edited figure without kaleido, too large a png, or the file cannot be written; what
            stood there before stands as it was.
    """
    path = writable_path(path)
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in SUFFIXES:
        raise DataError(f"cannot write a figure as {path.name!r}.", f"Choose a suffix of {', '.join(SUFFIXES)}.")
    if not is_number(dpi) or not 10 <= dpi <= 4800:
        raise DataError(f"dpi is {dpi!r}.", "Give 10 to 4800 pixels per inch; print wants 300.")
    page_mm = None if width_mm is None else width_in_mm(width_mm)
    if suffix == "html":
        document = figure_html(figure.figure() if isinstance(figure, Sheet) else figure).encode("utf-8")
    elif (sheet := figure if isinstance(figure, Sheet) else sheet_of(figure)) is not None:
        document = printed(sheet, suffix, page_mm, dpi)
    else:
        document = _drawn_by_plotly(figure, suffix, page_mm, dpi)
    with replacing(path) as beside:
        beside.write_bytes(document)
    return path


def printed(sheet: Sheet, form: str, width_mm: float | None = None, dpi: float = 300) -> bytes:
    """`sheet` as a file's bytes.

    Args:
        sheet: what is drawn.
        form: `"pdf"`, `"svg"` or `"png"`.
        width_mm: width of the page; the sheet's own if None.
        dpi: pixels per inch of a png.
    """
    svg = sheet.svg(width_mm)
    if form == "svg":
        return svg.encode("utf-8")
    return pdf_of(svg) if form == "pdf" else png_of(svg, dpi)


def figure_html(figure: go.Figure) -> str:
    """`figure` as one interactive page that carries plotly with it and fetches nothing (about 5 MB)."""
    return figure.to_html(
        include_plotlyjs=True,
        include_mathjax=False,
        full_html=True,
        div_id="figure",  # or plotly would draw a random one
        config={"displaylogo": False, "typesetMath": False, "scrollZoom": True},
    )


def _drawn_by_plotly(figure: Any, form: str, width_mm: float | None, dpi: float) -> bytes:
    """The file that plotly, kaleido and a browser make of `figure`."""
    width, height = figure.layout.width or 700, figure.layout.height or 500
    zoom = 1.0 if width_mm is None else px(width_mm) / width
    try:
        image = figure.to_image(form, width, height, zoom * dpi / 96 if form == "png" else zoom)
    except Exception as reason:
        raise ExportError(
            "this figure is not one of ours, or was edited since it was made: plotly draws it with kaleido and a "
            f"browser, and could not ({type(reason).__name__}: {str(reason).strip()}).",
            "Save it as html, save it unedited, or install both: pip install kaleido, then plotly_get_chrome.",
        ) from reason
    return with_resolution(image, dpi) if form == "png" else image
