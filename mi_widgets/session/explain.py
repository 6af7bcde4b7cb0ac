"""Any error in two sentences, for a view's error bar. Knows nothing of where it came from."""

from __future__ import annotations

from mi_widgets.errors import MiWidgetsError


def explain(error: Exception) -> tuple[str, str]:
    """Message and hint of any error, for a view's error bar."""
    if isinstance(error, MiWidgetsError):
        return error.message, error.hint
    if out_of_memory(error):
        return "There is not enough memory.", "Shorten the prompt, or show fewer layers: layers=[…]."
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}", "See view.last_error in Python."


def out_of_memory(error: Exception) -> bool:
    """Whether there was no memory for it. Torch raises a plain RuntimeError that says how much it tried to allocate."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or ("memory" in said and "allocate" in said)
