"""What a measure is: a number of which a picture has many, and what legends, axes and menus call it.

Knows nothing of how it is computed or drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mi_widgets.described.option import Choice, OneOf

#: How values lie between the ends of a colour bar, in words. Ranks lie on log₁₀(1 + rank).
SCALES = {
    "linear": "linear",
    "sqrt": "square root",
    "log": "logarithmic",
    "rank": "logarithmic, 0 = top",
}
#: What a value is called that should be a number and is none.
NOT_A_NUMBER = "not a number"
#: What a cell is called that its mask forbids.
MASKED = "masked"

Scale = Literal["linear", "sqrt", "log", "rank"]


@dataclass(frozen=True)
class Measure:
    """One number for each cell, token or part.

    Attributes:
        name: the value of the option that chooses it.
        title: what a legend calls it; `{token}` stands for a token that it is of.
        unit: "" for a pure number.
        scale: how its values become colours, where no option says.
        high: the largest value that there can be; else the colours end at the largest of the picture.
        signed: of both signs: its colours are symmetric about zero.
        label: what a menu calls it; its name where it is empty.
        tip: what it means, in a sentence.
        none: what cells are called that have no such number at all.
        lacking: which cells those are.
        block: what carries it in a parcel, where that is not its name.
    """

    name: str
    title: str
    unit: str = ""
    scale: Scale = "linear"
    high: float | None = None
    signed: bool = False
    label: str = ""
    tip: str = ""
    none: str = ""
    lacking: Literal["first row", "last position", ""] = ""
    block: str = ""

    @property
    def rank(self) -> bool:
        """Whether it counts places, 0 on top."""
        return self.scale == "rank"

    @property
    def choice(self) -> Choice:
        """As a menu offers it."""
        return Choice(self.name, self.label, self.tip)

    def legend(self, token: str = "") -> str:
        """Title and unit, as legends and axes print them: `"entropy, nats"`."""
        return ", ".join(filter(None, [self.title.replace("{token}", token), self.unit]))


def measured(measures: Iterable[Measure], *others: Choice) -> OneOf:
    """Which of several measures, or one of `others`."""
    return OneOf((*(measure.choice for measure in measures), *others))
