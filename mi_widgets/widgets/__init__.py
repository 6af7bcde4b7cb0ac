"""The widgets: thin shells between the page and the computation, one file per view."""

from mi_widgets.widgets.attention import Attention
from mi_widgets.widgets.page import Dashboard, save_html
from mi_widgets.widgets.view import View

__all__ = ["Attention", "Dashboard", "View", "save_html"]
