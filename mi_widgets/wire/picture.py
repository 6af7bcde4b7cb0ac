"""What pictures of all views have: the results of one finished run, by side. Knows nothing of what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
Both = TypeVar("Both")


class Picture(Generic[Result, Both]):
    """What one run shows.

    Args:
        data: of the first run, side A.
        comparison: with a second, side B, or None.
        run: the number of the run.
        notes: sentences for the status line.
        live: a kernel stands behind the page.
    """

    def __init__(
        self,
        data: Result,
        comparison: Both | None = None,
        *,
        run: int = 0,
        notes: Sequence[str] = (),
        live: bool = True,
    ) -> None:
        self.data, self.comparison = data, comparison
        self.run, self.notes, self.live = run, tuple(notes), live

    @property
    def sides(self) -> dict[str, Result]:
        """The results by side."""
        both: Any = self.comparison
        return {"A": self.data} | ({} if both is None else {"B": both.b})

    def side(self, show: str) -> str:
        """`show`, as far as there is a second side to show."""
        return show if self.comparison is not None else "A"

    def shown(self, show: str) -> Result | Both:
        """The data behind `show`: one side, or the comparison."""
        if self.comparison is not None and show == "difference":
            return self.comparison
        return self.sides[self.side(show)]
