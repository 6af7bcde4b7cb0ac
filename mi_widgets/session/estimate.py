"""What a forward pass will cost, said before it starts: seconds and bytes.

Rates are learned from the passes this session has run. Knows nothing of views.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psutil

from mi_widgets.errors import MiWidgetsError

#: Shown to the user from this many seconds or bytes on.
SAY_SECONDS, SAY_BYTES = 2.0, 1_000_000_000
#: A pass may take at most this share of the memory that is free.
MEMORY_SHARE = 0.9
#: A pass that takes longer than so many seconds pauses between its blocks; and work on what a pass left is done aside
#: where that pass took so long, or left so many bytes.
LARGE_SECONDS, LARGE_BYTES = 0.1, 8_000_000
#: First guess, before any pass was timed: floating-point operations a second.
CPU_RATE, GPU_RATE = 2e10, 1e13


@dataclass(frozen=True)
class Estimate:
    """Seconds of one pass, bytes that it keeps on the CPU."""

    seconds: float
    nbytes: int

    @property
    def large(self) -> bool:
        """Whether it would hold a loop too long, or work on what it keeps."""
        return self.seconds > LARGE_SECONDS or self.nbytes > LARGE_BYTES

    def __str__(self) -> str:
        """E.g. "about 6 s, 0.6 GB"; empty where not worth saying."""
        if self.seconds < SAY_SECONDS and self.nbytes < SAY_BYTES:
            return ""
        return f"about {max(self.seconds, 1):.0f} s, {self.nbytes / 1e9:.1f} GB"


class Clock:
    """Learns how fast this model runs here."""

    def __init__(self, model: Any) -> None:
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        on_gpu = any(parameter.device.type != "cpu" for parameter in model.parameters())
        self._rate = GPU_RATE if on_gpu else CPU_RATE
        self._guessed = True

    def estimate(self, info: Any, positions: int, sites: Iterable[str], layers: int | None = None) -> Estimate:
        """The cost of one pass over `positions` that keeps `sites` of `layers` blocks (all if None)."""
        blocks = info.n_layers if layers is None else layers
        square = blocks * info.n_heads * positions * positions * 4
        row = blocks * info.d_model * positions * 4
        nbytes = sum(square if "pattern" in site or "scores" in site else row for site in sites if "@" not in site)
        return Estimate(self._operations(positions) / self._rate, nbytes)

    def learn(self, positions: int, seconds: float) -> None:
        """Remember how long a pass took: the first instead of the guess, then half old, half new."""
        rate = self._operations(positions) / max(seconds, 1e-4)
        self._rate, self._guessed = rate if self._guessed else 0.5 * (self._rate + rate), False

    def _operations(self, positions: int) -> float:
        return 2.0 * self._parameters * positions


def check_memory(estimate: Estimate) -> None:
    """Refuse a pass that would not fit, before it takes the kernel down.

    Raises:
        MiWidgetsError: with what it needs and what is free.
    """
    free = psutil.virtual_memory().available
    if estimate.nbytes > MEMORY_SHARE * free:
        raise MiWidgetsError(
            f"this needs {estimate.nbytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free.",
            "Shorten the prompt, or show fewer layers: layers=[…].",
        )
