"""What the page chose of a view's options. Which there are, `described` says. Knows nothing of any particular view."""

from __future__ import annotations

from typing import Any

from mi_widgets.errors import DataError


def options_from_wire(value: Any, view: Any) -> dict[str, Any]:
    """What the page chose; what is unknown or wrong is passed over: nothing may raise in a page's update."""
    chosen = dict(view.options)
    for name, option in value.items() if isinstance(value, dict) else ():
        try:
            chosen = view.changed_options(chosen, {name: option})
        except DataError:
            continue
    return chosen
