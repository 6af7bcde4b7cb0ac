"""One HTML file that shows frozen views with no kernel and no network.

The page carries each view's state as JSON (bytes as gzip in base64), each module once, and the small host that
runs a module from a blob. Its security policy forbids every request, so nothing in a token can make it phone home.
Knows no widget: it is told the modules, the styles and the host.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_widgets.errors import DataError
from mi_widgets.version import __version__

#: Inline script and blob modules run; every other source, and every request, is refused.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
)

STYLE = """
:root { color-scheme: light dark; --miw-page: #ffffff; --miw-page-text: #1a1a1a; --miw-page-quiet: #5c5c5c; }
@media (prefers-color-scheme: dark) {
  :root { --miw-page: #181818; --miw-page-text: #ececec; --miw-page-quiet: #a8a8a8; }
}
html { background: var(--miw-page); color: var(--miw-page-text); }
body { margin: 0 auto; padding: 16px; max-width: 1600px; font: 14px/1.4 system-ui, sans-serif; }
h1 { margin: 0 0 12px; font-size: 18px; font-weight: 600; overflow-wrap: anywhere; }
.miw-page { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); }
.miw-slot { min-width: 0; }
footer { margin-top: 24px; font-size: 12px; color: var(--miw-page-quiet); }
footer pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
noscript img { max-width: 100%; background: #ffffff; }
"""
#: Below this width of one column, in pixels, views stand under each other.
COLUMN_PX = 480

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class FrozenView:
    """One view as it was.

    Attributes:
        module: name of the module that draws it, e.g. `"attention"`.
        state: the module's state: JSON values, and bytes at any depth.
    """

    module: str
    state: Mapping[str, Any]


def offline_page(
    views: Sequence[FrozenView],
    *,
    title: str,
    columns: int = 1,
    css: str,
    modules: Mapping[str, str],
    host: str,
    picture: str = "",
    recipe: str = "",
) -> str:
    """The page as text; write it with `write_page`.

    Args:
        views: what stands on the page, in reading order.
        title: of the page and its first line.
        columns: views side by side, where the window is wide enough.
        css: the styles of the views.
        modules: ES module source by name; only those that a view needs are written, each once.
        host: source of the classic script that runs the views.
        picture: an SVG shown where scripts do not run, or "".
        recipe: text on how the views were made, folded away at the foot of the page, or "".

    Raises:
        DataError: no view, a column count below 1, a view whose module is not given, or state that is no JSON.
    """
    if not views:
        raise DataError("there is no view to put on the page.", "Give at least one.")
    from mi_widgets.data.integers import integer  # as in `write_page`

    columns = integer("columns", columns)
    if columns < 1:
        raise DataError(f"columns is {columns}.", "Give 1 or more.")
    needed = list(dict.fromkeys(view.module for view in views))
    for name in needed:
        if name not in modules:
            raise DataError(f"no source for the module {name!r}.", f"There are {', '.join(modules) or 'none'}.")
        if not _NAME.fullmatch(name):
            raise DataError(f"{name!r} cannot name a module.", "Use letters, digits, - and _.")
    state = {"columns": columns, "views": [{"module": view.module, "state": view.state} for view in views]}
    slots = "".join(f'<section class="miw-slot" data-slot="{slot}"></section>\n' for slot in range(len(views)))
    sources = "".join(
        f'<script type="text/plain" data-encoding="gzip" id="miw-module-{name}">'
        f"{_zipped(modules[name].encode())}</script>\n"
        for name in needed
    )
    wide = columns * COLUMN_PX
    grid = (
        f"@media (min-width: {wide}px) {{ .miw-page {{ grid-template-columns: repeat({columns}, minmax(0, 1fr)); }} }}"
    )
    recipe_text = (
        f"<details><summary>How this was made</summary><pre>{_text(recipe)}</pre></details>\n" if recipe else ""
    )
    shown = _text(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY, quote=True).replace("&#x27;", "'")}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="mi_widgets {__version__}">
<link rel="icon" href="data:,">
<title>{shown}</title>
<style>{STYLE}{grid if columns > 1 else ""}</style>
<style>{_style(css)}</style>
</head>
<body>
<h1>{shown}</h1>
{_noscript(picture, title)}<main class="miw-page" data-columns="{columns}">
{slots}</main>
<footer>
{recipe_text}<p>made with mi_widgets {__version__}</p>
</footer>
<script type="application/json" id="miw-page">{_json(state)}</script>
{sources}<script>{_script(host)}</script>
</body>
</html>
"""


def write_page(path: str | Path, page: str) -> Path:
    """Write `page` to `path` as UTF-8.

    Raises:
        ExportError: the file cannot be written; what stood there before stands as it was.
    """
    from mi_widgets.data.files import replacing  # its room knows numpy, which a page needs not

    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8", newline="\n")
    return Path(path)


def readable_size(nbytes: int) -> str:
    """A file size for people: `"840 B"`, `"61 kB"`, `"1.2 MB"` (decimal units, as file managers count)."""
    if nbytes < 1000:
        return f"{nbytes} B"
    if nbytes < 999_500:
        return f"{nbytes / 1e3:.0f} kB"
    return f"{nbytes / 1e6:.1f} MB"


def _json(value: Any) -> str:
    """`value` as JSON that is safe inside a script element: no `<`, no line separators, only ASCII."""
    text = json.dumps(_plain(value, "state"), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any, where: str) -> Any:
    """JSON values; bytes become `{"$gzip": base64 of gzip}`, numbers that JSON lacks become null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$gzip": _zipped(bytes(value))}
    if hasattr(value, "item") and not getattr(value, "ndim", 1):  # one number of numpy's or torch's
        return _plain(value.item(), where)
    if isinstance(value, Mapping):
        return {str(name): _plain(entry, f"{where}.{name}") for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, f"{where}[{place}]") for place, entry in enumerate(value)]
    raise DataError(f"{where} is a {type(value).__name__}, which a page cannot hold.", "Give JSON values or bytes.")


def _zipped(data: bytes) -> str:
    """gzip in base64; the same bytes for the same data (no time stamp)."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def _script(source: str) -> str:
    r"""Classic script source that cannot end its element or open a comment in it.

    In scripts these stand only in strings, templates, regular expressions and comments; there `\x3c` means `<`.
    """
    return re.sub(r"<(?=/script|!--)", r"\\x3c", source, flags=re.IGNORECASE)


def _style(source: str) -> str:
    r"""Style source that cannot end its element; `\3c ` is `<` in CSS strings."""
    return re.sub(r"<(?=/style)", r"\\3c ", source, flags=re.IGNORECASE)


def _text(text: str) -> str:
    """Any text as HTML text; what UTF-8 cannot hold becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def _noscript(picture: str, title: str) -> str:
    """The picture as an image, not as markup: nothing in it can act on the page."""
    if not picture:
        return ""
    source = base64.b64encode(picture.encode("utf-8", "replace")).decode("ascii")
    alternative = html.escape(title.encode("utf-8", "replace").decode("utf-8"), quote=True)
    return f'<noscript><img alt="{alternative}" src="data:image/svg+xml;base64,{source}"></noscript>\n'
