"""The state that views share, and the runner that computes it."""

from mi_widgets.session.session import Answered, Need, Progress, Session, SessionView, explain

__all__ = ["Answered", "Need", "Progress", "Session", "SessionView", "explain"]
