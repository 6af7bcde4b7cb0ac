"""Any error in two sentences, for a view's error bar. Knows nothing of where it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from mi_widgets.data.interventions import Intervention
from mi_widgets.errors import MiWidgetsError

#: On an error that a function of the user's raised: in which intervention of theirs.
OF = "_mi_widgets_intervention"


def explain(error: Exception) -> tuple[str, str]:
    """Message and hint of any error, for a view's error bar."""
    where = getattr(error, OF, "")
    if where:
        text = str(error).strip().splitlines()
        said = f"{type(error).__name__}{f': {text[0]}' if text else ''}"
        return f"Your own intervention, {where}, raised {said}.", "Mend the function, or session.interventions = []."
    if isinstance(error, MiWidgetsError):
        return error.message, error.hint
    if isinstance(error, MemoryError):
        return "There is not enough memory.", "Shorten the prompt, or show fewer layers: layers=[…]."
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}", "See view.last_error in Python."


def theirs(error: BaseException, interventions: Iterable[Any]) -> str:
    """The label of the intervention whose function, the user's own, raised `error`; "" if none did. `explain` says so
    from then on."""
    codes = set(_codes(error))
    for change in interventions:
        if isinstance(change, Intervention) and _code(change.function) in codes:
            error.__dict__[OF] = change.label
            return change.label
    return ""


def _codes(error: BaseException) -> Iterator[CodeType]:
    """Of every function that the error came through."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next


def _code(function: Any) -> CodeType | None:
    function = getattr(function, "func", function)  # of a partial
    if not hasattr(function, "__code__"):  # an object that is called like a function
        function = vars(type(function)).get("__call__")
    found = getattr(function, "__code__", None)
    return found if isinstance(found, CodeType) else None
