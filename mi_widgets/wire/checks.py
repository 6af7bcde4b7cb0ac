"""Self-checks that several views show. Knows nothing of what was computed."""

from __future__ import annotations

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
