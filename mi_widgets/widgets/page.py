"""Several views together: live as a dashboard, offline as one page. Linked in both.

Knows nothing of any one view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets

from mi_widgets.data.files import writable_path
from mi_widgets.data.integers import integer
from mi_widgets.errors import DataError
from mi_widgets.widgets.offline import page_of
from mi_widgets.widgets.view import View


class Dashboard(ipywidgets.GridBox):
    """Several views in one cell. Views of one session are linked, wherever they stand.

    Args:
        views: made by this package.
        columns: how many side by side; they fold to fewer where there is no room.
    """

    def __init__(self, *views: View, columns: int = 2) -> None:
        columns = _check(views, columns)
        self.views = views
        self.columns = columns
        width = max(320, 960 // columns)
        template = f"repeat(auto-fit, minmax(min(100%, max({width}px, {100 // columns - 2}%)), 1fr))"
        super().__init__(
            list(views), layout=ipywidgets.Layout(grid_template_columns=template, grid_gap="12px", width="100%")
        )

    def __repr__(self) -> str:
        return f"<Dashboard: {len(self.views)} views>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live views, and the first one's picture for viewers that run no JavaScript."""
        bundle = super()._repr_mimebundle_(**kwargs)
        still = self.views[0]._repr_mimebundle_(**kwargs)
        picture = still[0].get("image/png") if isinstance(still, tuple) else None
        return {**bundle, "image/png": picture} if bundle and picture else bundle

    def to_html(self, path: str | Path | None = None, *, title: str | None = None, **options: Any) -> str:
        """One offline file with all views, still linked; see `save_html`."""
        return page_of(self.views, path, title=title, columns=self.columns, **options)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the offline page (`.html`)."""
        if writable_path(path).suffix.lower() not in {".html", ".htm"}:
            raise DataError("a dashboard is saved as .html.", "Save one view's figure: view.save('figure.pdf').")
        self.to_html(path, **options)
        return Path(path)


def save_html(path: str | Path, *views: View, columns: int = 1, title: str | None = None, **options: Any) -> Path:
    """Write several views as one offline file: no network, no kernel, still interactive and linked.

    Prints the file's size.

    Args:
        path: of the file.
        views: made by this package.
        columns: how many side by side.
        title: of the page.
        options: of the views that know them, e.g. `heads=` of attention (`View.PAGE_OPTIONS`).

    Raises:
        DataError: no view knows an option.
    """
    page_of(views, path, title=title, columns=_check(views, columns), **options)
    return Path(path)


def _check(views: Sequence[Any], columns: Any) -> int:
    if not views:
        raise DataError("no view given.", "Name at least one.")
    strange = [type(view).__name__ for view in views if not isinstance(view, View)]
    if strange:
        raise DataError(f"{', '.join(strange)} is no view of mi_widgets.", "Give views such as mw.Attention(session).")
    if integer("columns", columns) < 1:
        raise DataError(f"columns={columns}.", "Give at least 1.")
    return int(columns)
