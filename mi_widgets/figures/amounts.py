"""Numbers as print shows them: few digits, a true minus sign, a plus where the sign matters; and round ticks.

Knows nothing of plotly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal


def amount(value: float, plus: bool = False) -> str:
    """Three significant digits, two beside an exponent, halves rounded up, as on the page; "–" for what is no number.

    Args:
        value: any float.
        plus: positive values carry their sign too.
    """
    if not math.isfinite(value):
        return "–"
    digits = 3 if 1e-4 <= abs(value) < 1e5 else 2
    text = f"{significant(value, digits):.{digits}g}" if value else "0"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return ("+" if plus and value > 0 else "") + text.replace("-", "−")


def significant(value: float, digits: int) -> float:
    """`value` rounded to so many significant digits, halves away from zero."""
    return float(Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(Decimal(float(value))))


def amounts(values: Sequence[float]) -> list[str]:
    """Signed, all with the same decimals: as many as the largest needs for three digits, at least two."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    decimals = max(2, 2 - math.floor(math.log10(largest))) if largest else 2
    return [
        "–" if not math.isfinite(value) else f"{value:+.{decimals}f}".replace("-", "−") if value else "0"
        for value in values
    ]


def even_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most about `most` round values from `low` to `high`, zero among them where it lies between."""
    if not low < high:
        return [low]
    rough = (high - low) / max(1, most)
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
