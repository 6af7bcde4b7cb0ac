"""From a value to a step of a palette, and back to the ticks of a colour bar.

The arithmetic, that of the ticks too, is the page's (`js/src/core/scale.ts`; `tests/golden` holds both to it): unit =
(value − low) / (high − low) in 0…1, then linear, square root, or logarithm with a floor at 1e-4 of the range, then row
⌊256 · unit⌋ of the palette. Ranges that reach below zero are always linear. Knows nothing of plotly or attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mi_widgets import color
from mi_widgets.data.integers import number, word
from mi_widgets.errors import DataError
from mi_widgets.figures.amounts import amount

SCALES = ("linear", "sqrt", "log")
#: The logarithmic scale shows everything below this share of the range as its smallest step.
LOG_FLOOR = 1e-4
#: Codes behind the 256 palette rows: forbidden by the mask, not a number, paper.
MASKED, MISSING, PAPER = 256, 257, 258


def sign_inks(theme: str) -> tuple[str, str]:
    """Colours of negative and positive amounts: two rows of the diverging palette."""
    table = color.hex_colors(color.DIVERGING if theme == "light" else f"{color.DIVERGING}_dark")
    return table[44], table[211]


def low_and_high(zrange: Any) -> tuple[float, float]:
    """A range of colours that the user gave, as floats.

    Raises:
        DataError: it is no pair of finite numbers, the smaller first.
    """
    try:
        low, high = (number("zrange", bound) for bound in zrange)
    except (TypeError, ValueError):  # DataError is a ValueError: all say the same
        raise DataError(f"zrange is {zrange!r}.", "Give two numbers, (low, high).") from None
    if not low < high:
        raise DataError(f"zrange is {zrange!r}.", "Give (low, high) with low < high.")
    return low, high


@dataclass(frozen=True)
class ColorScale:
    """How values become colours.

    Attributes:
        low: value of palette row 0; `-high` if signed.
        high: value of the last row.
        transform: `"linear"`, `"sqrt"` or `"log"`; becomes `"linear"` where the range reaches below zero.
        palette: name of the palette; `_dark` is added for the dark theme.
        theme: `"light"` or `"dark"`.
        signed: diverging, symmetric about zero.
        paper: colour of the paper, `#rrggbb`.

    Raises:
        DataError: unknown transform or palette, or a range that is empty or not finite.
    """

    low: float
    high: float
    transform: str = "linear"
    palette: str = "blue"
    theme: str = "light"
    signed: bool = False
    paper: str = "#ffffff"

    def __post_init__(self) -> None:
        word("scale", self.transform, SCALES)
        word("palette", self.palette, (*color.SEQUENTIAL, color.DIVERGING))
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.high < self.low:
            raise DataError(f"the colour range {self.low} to {self.high} is empty.", "Give zrange=(low, high).")
        if self.signed or self.low < 0:
            object.__setattr__(self, "transform", "linear")  # roots and logarithms of signed values mean nothing

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Values (any shape) as positions on the palette, float64 in 0…1; NaN stays NaN."""
        values = np.asarray(values, dtype=np.float64)
        if self.high == self.low:
            flat = 0.5 if self.signed else np.where(values > self.low, 1.0, 0.0)
            return np.where(np.isnan(values), np.nan, flat)
        share = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        if self.transform == "sqrt":
            return np.sqrt(share)
        if self.transform == "log":
            return 1 - np.log10(np.maximum(share, LOG_FLOOR)) / math.log10(LOG_FLOOR)
        return share

    def codes(self, values: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """uint16, same shape: palette row 0…255, `MISSING` for NaN, `MASKED` where `allowed` is False."""
        unit = self.unit(values)
        missing = np.isnan(unit)
        codes = np.minimum(np.where(missing, 0, unit) * color.STEPS, color.STEPS - 1).astype(np.uint16)
        codes[missing] = MISSING
        if allowed is not None:
            codes[np.broadcast_to(~allowed, codes.shape)] = MASKED
        return codes

    @cached_property
    def table(self) -> np.ndarray:
        """uint8 `[code, 3]`: red green blue of every code, masked, missing and paper last."""
        rows = color.palette(self.palette if self.theme == "light" else f"{self.palette}_dark")
        fixed = [color.MASKED[self.theme], color.MISSING[self.theme], self.paper]
        return np.vstack([rows, np.array([list(bytes.fromhex(entry[1:])) for entry in fixed], np.uint8)])

    def hex(self, code: int) -> str:
        """`#rrggbb` of one code."""
        return "#" + bytes(self.table[code].tolist()).hex()

    def ticks(self, count: int = 5, clipped: tuple[bool, bool] = (False, False)) -> list[tuple[float, str]]:
        """`(position in 0…1, label)` of the colour bar, smallest first; the labels are values, not positions.

        Args:
            count: about how many ticks have room.
            clipped: values lie below `low`, above `high`; the end labels then say ≤ and ≥.
        """
        if self.high == self.low:
            return [(0.5 if self.signed else 0.0, amount(self.low))]
        clear = clearance(count)
        bottom = self.low + (LOG_FLOOR * (self.high - self.low) if self.transform == "log" else 0.0)
        # The ends always stand; zero, then round values, fill in where they keep clear of those before.
        chosen = [self.high, bottom]
        for value in (0.0, *self._round_values(clear)):
            if bottom < value < self.high and all(abs(self._at(value) - self._at(other)) >= clear for other in chosen):
                chosen.append(value)
        ticks = []
        for value in sorted(chosen):
            label = amount(value)
            if value == self.high and clipped[1]:
                label = f"≥{label}"
            elif value == bottom and (clipped[0] or self.transform == "log"):
                label = f"≤{label}"
            ticks.append((self._at(value), label))
        return ticks

    def _round_values(self, clear: float) -> list[float]:
        """Candidates for ticks, the most wanted first."""
        span = self.high - self.low
        sizes = _round_sizes(span, self.transform == "log")
        if self.transform != "linear":
            return sizes
        # Even steps on an even scale: the finest that still leaves room.
        size = min((size for size in sizes if size >= clear * span), default=sizes[0])
        return [number * size for number in range(math.ceil(self.low / size), math.floor(self.high / size) + 1)]

    def _at(self, value: float) -> float:
        return float(self.unit(np.array(value)))


def clearance(count: int) -> float:
    """The least distance of two ticks on a colour bar with room for about `count`; rounding decides nothing."""
    return 1 / (count + 1) - 1e-9


def _round_sizes(span: float, log: bool) -> list[float]:
    """1-2-5 numbers (powers of ten if `log`) up to `span`, coarse first, over the decades a colour bar can resolve."""
    top = math.floor(math.log10(span))
    digits = (1,) if log else (5, 2, 1)
    sizes = [float(f"{digit}e{decade}") for decade in range(top, top - 5, -1) for digit in digits]
    return [size for size in sizes if size <= span]
