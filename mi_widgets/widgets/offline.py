"""Several views as one offline file, and where the page side of each lies. Knows nothing of any one view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mi_widgets.data.files import writable_path
from mi_widgets.data.integers import text
from mi_widgets.errors import DataError, choose
from mi_widgets.export import FrozenView, offline_page, readable_size, write_page
from mi_widgets.widgets.built import built


def page_of(views: Sequence[Any], path: str | Path | None, *, title: str | None, columns: int, **options: Any) -> str:
    """The HTML of an offline page with these views; written to `path` if given."""
    known = list(dict.fromkeys(name for view in views for name in view.PAGE_OPTIONS))
    for name in set(options) - set(known):
        what = f"Pages of {'this view' if len(views) == 1 else 'these views'} have"
        raise DataError(f"unknown option {name!r}.", choose(name, known, what) if known else f"{what} none.")
    title = "mi_widgets" if title is None else text("title", title)
    if path is not None:
        path = writable_path(path)  # before the long work
    kinds = dict.fromkeys(view.kind for view in views)
    html = offline_page(
        [FrozenView(view.kind, view.frozen_state(**_known(view, options))) for view in views],
        title=title,
        columns=columns,
        css="\n".join(built(f"{kind}.css") for kind in kinds),
        modules={kind: built(f"{kind}.js") for kind in kinds},
        host=built("standalone.js"),
        recipe="\n".join(view.recipe() for view in views),
        picture=str(views[0]._still("svg")),
    )
    if path is not None:
        written = write_page(path, html)
        print(f"{written}: {readable_size(written.stat().st_size)}")
    return html


def _known(view: Any, options: dict[str, Any]) -> dict[str, Any]:
    return {name: option for name, option in options.items() if name in view.PAGE_OPTIONS}
