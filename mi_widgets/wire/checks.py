"""Self-checks that several views show. Knows nothing of what was computed."""

from __future__ import annotations

from collections.abc import Iterable

from mi_widgets.wire.messages import CheckValue

#: Largest relative difference from the model's own output that is accepted, of float32 models.
OUTPUT_TOLERANCE = 1e-4
#: The same for bfloat16 and float16 models, which round their logits themselves.
HALF_TOLERANCE = 2e-2


def agrees(error: float, half: bool) -> bool:
    """Whether `error`, relative to the model's own output, is rounding; `half`: of a model in half precision."""
    return bool(error <= (HALF_TOLERANCE if half else OUTPUT_TOLERANCE))


def output_check(label: str, error: float, half: bool, detail: str) -> CheckValue:
    """The check that `error` is rounding, as the page shows it."""
    return {"label": label, "ok": agrees(error, half), "detail": detail}


def worst(errors: Iterable[float | None]) -> float | None:
    """The largest of those that there are; NaN if one is NaN, which Python's `max` would pass over."""
    known = [error for error in errors if error is not None]
    if not known:
        return None
    return float("nan") if any(error != error for error in known) else max(known)


def finite_checks(*sides: str) -> list[CheckValue]:
    """A check that failed for every side whose numbers are not finite; `sides` say where that began, "" if nowhere."""
    return [
        {
            "label": "finite numbers" + (f" ({name})" if len(sides) > 1 else ""),
            "ok": False,
            "detail": f"NaN or infinite {where}",
        }
        for name, where in zip("AB", sides, strict=False)
        if where
    ]
