"""What a pass will cost, said before it starts: seconds and bytes; of batches, gradients and parts of a pass too.

Rates are learned from the passes this session has run. Knows nothing of views.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
#: A pass forward and back, in passes forward.
BACK = 2.0


@dataclass(frozen=True)
class Estimate:
    """What one pass costs.

    Attributes:
        seconds: of the pass.
        nbytes: kept on the CPU afterwards.
        working: bytes that the pass itself holds at its peak; 0 where it is of one run, which is as large as the model
            is made for, or not on the CPU.
        runs: in the batch.
    """

    seconds: float
    nbytes: int
    working: int = 0
    runs: int = 1

    @property
    def needed(self) -> int:
        """Bytes of memory in all."""
        return self.nbytes + self.working

    @property
    def large(self) -> bool:
        """Whether it would hold a loop too long, or work on what it keeps."""
        return self.seconds > LARGE_SECONDS or self.nbytes > LARGE_BYTES

    def __str__(self) -> str:
        """E.g. "about 6 s, 0.6 GB"; empty where not worth saying."""
        if self.seconds < SAY_SECONDS and self.needed < SAY_BYTES:
            return ""
        return f"about {max(self.seconds, 1):.0f} s, {self.needed / 1e9:.1f} GB"


class Clock:
    """Learns how fast this model runs here."""

    def __init__(self, model: Any) -> None:
        self._parameters = _count(model)
        self._in_blocks = sum(map(_count, getattr(model, "blocks", ())))
        self._on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
        self._rate = CPU_RATE if self._on_cpu else GPU_RATE
        self._guessed = True

    def estimate(
        self,
        info: Any,
        positions: int,
        sites: Iterable[str],
        layers: int | Sequence[int] | Mapping[str, Sequence[int] | None] | None = None,
        *,
        runs: int = 1,
        gradients: bool = False,
        start: int = 0,
        new: int | None = None,
    ) -> Estimate:
        """The cost of one pass that keeps `sites`.

        Args:
            info: the model's, `models.describe`.
            positions: of the prompt.
            sites: as `compute.forward` takes them.
            layers: how many blocks they are kept of, or which, or which by site; all that are run if None.
            runs: prompts in the batch.
            gradients: what is kept are gradients (`compute.forward.gradients`): a pass forward and back.
            start: the first block that is run.
            new: positions that are run, where keys and values of those before are kept; all if None.
        """
        from mi_widgets.compute.pass_bytes import kept_bytes, working_bytes

        rows = positions if new is None else new
        kept = 0
        for site in sites:
            chosen = layers.get(site) if isinstance(layers, Mapping) else layers
            blocks = chosen if isinstance(chosen, int) else info.n_layers - start if chosen is None else len(chosen)
            kept += runs * kept_bytes(info, site, blocks, rows, positions)
        seconds = self._operations(rows, info.n_layers, runs, gradients, start) / self._rate
        alone = runs == 1 and not gradients
        working = runs * working_bytes(info, rows, positions, gradients, start) if self._on_cpu and not alone else 0
        return Estimate(seconds, kept, working, runs)

    def learn(
        self,
        positions: int,
        seconds: float,
        *,
        n_layers: int = 1,
        runs: int = 1,
        gradients: bool = False,
        start: int = 0,
    ) -> None:
        """Remember how long a pass took: the first instead of the guess, then half old, half new.

        Args:
            positions: that were run.
            seconds: it took.
            n_layers: blocks of the model; needed beside `start` only.
            runs: as for `estimate`.
            gradients: as for `estimate`.
            start: as for `estimate`.
        """
        rate = self._operations(positions, n_layers, runs, gradients, start) / max(seconds, 1e-4)
        self._rate, self._guessed = rate if self._guessed else 0.5 * (self._rate + rate), False

    def _operations(self, positions: int, n_layers: int, runs: int, gradients: bool, start: int) -> float:
        weights = self._parameters - self._in_blocks * start / n_layers
        return 2.0 * weights * positions * runs * (BACK if gradients else 1.0)


def _count(module: Any) -> int:
    """How many weights it has."""
    return sum(parameter.numel() for parameter in module.parameters())


def runs_at_once(estimate: Estimate) -> int:
    """How many runs of the batch that was estimated fit into the memory that is free; 0 where not even one does."""
    share = MEMORY_SHARE * psutil.virtual_memory().available
    return min(estimate.runs, int(share * estimate.runs / max(estimate.needed, 1)))


def check_memory(estimate: Estimate) -> None:
    """Refuse a pass that would not fit, before it takes the kernel down.

    Raises:
        MiWidgetsError: with what it needs and what is free; of a batch, with how many runs at once would fit.
    """
    free = psutil.virtual_memory().available
    if estimate.needed > MEMORY_SHARE * free:
        fit = runs_at_once(estimate)
        fewer = f"Make fewer runs at once: {fit} fit" + ("." if fit > 1 else "s.")
        raise MiWidgetsError(
            f"this needs {estimate.needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free.",
            fewer if fit else "Shorten the prompt, or show fewer layers: layers=[…].",
        )
