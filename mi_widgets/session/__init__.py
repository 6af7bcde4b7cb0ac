"""The state that views share, and the runner that computes it."""

from mi_widgets.session.aside import aside
from mi_widgets.session.explain import explain
from mi_widgets.session.protocol import Answered, Need, Progress, SessionView
from mi_widgets.session.session import Session

__all__ = ["Answered", "Need", "Progress", "Session", "SessionView", "aside", "explain"]
