"""Interactive mechanistic interpretability in the notebook.

`import mi_widgets as mw` costs milliseconds: names are looked up when first used (PEP 562), so torch is loaded
only when a model is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mi_widgets.version import __version__

if TYPE_CHECKING:
    from mi_widgets import compute, data, demo, figures, sae
    from mi_widgets.data import Ablate, Add, Intervention, Pairs, Patch, Run, Selection
    from mi_widgets.models import load_demo, load_model
    from mi_widgets.session import Session
    from mi_widgets.widgets import Attention, Dashboard, LogitAttribution, LogitLens, Patching, Prompt, save_html

_WHERE = {
    "Ablate": "mi_widgets.data",
    "Add": "mi_widgets.data",
    "Attention": "mi_widgets.widgets",
    "Dashboard": "mi_widgets.widgets",
    "Intervention": "mi_widgets.data",
    "LogitAttribution": "mi_widgets.widgets",
    "LogitLens": "mi_widgets.widgets",
    "Pairs": "mi_widgets.data",
    "Patch": "mi_widgets.data",
    "Patching": "mi_widgets.widgets",
    "Prompt": "mi_widgets.widgets",
    "Run": "mi_widgets.data",
    "Selection": "mi_widgets.data",
    "Session": "mi_widgets.session",
    "load_demo": "mi_widgets.models",
    "load_model": "mi_widgets.models",
    "save_html": "mi_widgets.widgets",
}
_ROOMS = ("compute", "data", "demo", "figures", "sae")

__all__ = [
    "Ablate",
    "Add",
    "Attention",
    "Dashboard",
    "Intervention",
    "LogitAttribution",
    "LogitLens",
    "Pairs",
    "Patch",
    "Patching",
    "Prompt",
    "Run",
    "Selection",
    "Session",
    "__version__",
    "compute",
    "data",
    "demo",
    "figures",
    "load_demo",
    "load_model",
    "sae",
    "save_html",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"mi_widgets.{name}")
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mi_widgets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
