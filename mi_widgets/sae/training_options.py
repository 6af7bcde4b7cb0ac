"""What a sparse coder is trained with: every option, checked, and what follows from them. Knows nothing of tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mi_widgets.data.integers import integer, number, truth, word
from mi_widgets.errors import DataError

ARCHITECTURES = ("topk", "batchtopk", "jumprelu", "standard")
#: Price of a ReLU coder's activity where none is given, in scaled units.
L1 = 1.5
#: The learning rate that suits `RATED` features; it falls with the root of their number (Gao 2024).
RATE, RATED = 3e-3, 1536


@dataclass(frozen=True)
class Options:
    """What `train` takes beside model, texts and places, as plain numbers."""

    d_sae: int
    k: int
    architecture: str
    transcodes: bool
    l1_coefficient: float
    learning_rate: float
    steps: int
    batch_size: int
    warm_up: int
    dead_after: int
    seed: int
    length: int
    skip_first: bool
    buffer_bytes: int

    @classmethod
    def checked(
        cls,
        d_sae: Any,
        k: Any,
        architecture: Any,
        transcodes: bool,
        l1_coefficient: Any = None,
        learning_rate: Any = None,
        steps: Any = 2400,
        batch_size: Any = 2048,
        warm_up: Any = 100,
        dead_after: Any = 200,
        seed: Any = 0,
        length: Any = 512,
        skip_first: Any = False,
        buffer_bytes: Any = 1_000_000_000,
    ) -> Options:
        """The options, of whatever type they were given; DataError for one that cannot be trained with."""
        kind = word("architecture", architecture, ARCHITECTURES)
        counts = {"d_sae": d_sae, "steps": steps, "batch_size": batch_size, "length": length}
        counts |= {"dead_after": dead_after, "buffer_bytes": buffer_bytes, "warm_up": warm_up, "seed": seed}
        whole = {name: integer(name, count) for name, count in counts.items()}
        for name, count in whole.items():
            if count < (0 if name in ("warm_up", "seed") else 1):
                raise DataError(f"{name}={count} trains nothing.", "Give a larger number.")
        if kind == "standard":
            if k is not None:
                raise DataError("a standard (ReLU) coder has no k.", "Its sparsity is set by l1_coefficient.")
            active = 0
        else:
            if k is None:
                raise DataError(f"a {kind} coder needs k.", "Give the number of features active at a position: k=16.")
            active = integer("k", k)
            if not 0 < active < whole["d_sae"]:
                raise DataError(f"k={active} of {whole['d_sae']:,} features.", "Give a k from 1 to below d_sae.")
            if l1_coefficient is not None:
                raise DataError(f"a {kind} coder has no l1_coefficient.", "Its sparsity is set by k.")
        price = L1 if l1_coefficient is None else number("l1_coefficient", l1_coefficient)
        rate = (
            RATE * (RATED / whole["d_sae"]) ** 0.5 if learning_rate is None else number("learning_rate", learning_rate)
        )
        if rate <= 0 or price < 0:
            name, value = ("learning_rate", rate) if rate <= 0 else ("l1_coefficient", price)
            raise DataError(f"{name}={value} trains nothing.", "Give a positive number.")
        return cls(
            k=active,
            architecture=kind,
            transcodes=transcodes,
            l1_coefficient=price,
            learning_rate=rate,
            skip_first=truth("skip_first", skip_first),
            **whole,
        )

    @property
    def saved_as(self) -> str:
        """SAELens's word for what the coder is once trained. It has no BatchTopK, and no transcoder with TopK: a
        threshold takes their place, which has followed the smallest activation that counted."""
        if self.transcodes:
            return "transcoder" if self.architecture == "standard" else "jumprelu_transcoder"
        return "jumprelu" if self.architecture == "batchtopk" else self.architecture

    @property
    def price_steps(self) -> int:
        """Steps in which the price of activity rises to its height."""
        return max(1, self.steps // 8)

    def rate(self, step: int) -> float:
        """The learning rate of `step`, from 0: it rises over `warm_up` steps and falls in the last quarter."""
        rising = min(1.0, (step + 1) / (self.warm_up + 1))
        falling = min(1.0, (self.steps - step) / max(1.0, self.steps / 4))
        return self.learning_rate * rising * falling

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)
