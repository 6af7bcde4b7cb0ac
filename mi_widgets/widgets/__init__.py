"""The widgets: thin shells between the page and the computation, one file per view."""

from mi_widgets.widgets.attention import Attention
from mi_widgets.widgets.logit_attribution import LogitAttribution
from mi_widgets.widgets.logit_lens import LogitLens
from mi_widgets.widgets.page import Dashboard, save_html
from mi_widgets.widgets.patching import Patching
from mi_widgets.widgets.prompt import Prompt
from mi_widgets.widgets.view import View

__all__ = [
    "Attention",
    "Dashboard",
    "LogitAttribution",
    "LogitLens",
    "Patching",
    "Prompt",
    "View",
    "save_html",
]
