"""What pictures of all views have: the results of one finished run, by side, and what the page hears of any run.

Knows nothing of what the results are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from mi_widgets.wire.interventions import interventions_of, labels, other_run
from mi_widgets.wire.messages import CheckValue, OtherRun, ViewManifest

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

    def of_any_view(self, live: bool | None) -> ViewManifest:
        """What the manifest of every view says; `live` if not as the picture is."""
        data: Any = self.data
        return {
            "run": self.run,
            "model": data.model,
            "interventions": labels(interventions_of(data)),
            "checks": self._checks(),
            "notes": [*self.notes, *self._own_notes()],
            "live": self.live if live is None else live,
        }

    def other(self) -> OtherRun | None:
        """What side B is; None where nothing is compared."""
        both: Any = self.comparison
        return None if both is None else other_run(both.a, both.b)

    def pairs(self, columns: Sequence[tuple[int | None, int | None]]) -> list[list[int]]:
        """Columns of a comparison as they cross: -1 where a side has none."""
        return [[-1 if place is None else place for place in pair] for pair in columns]

    def _checks(self) -> list[CheckValue]:
        """The self-checks that stand on the face of the view."""
        return []

    def _own_notes(self) -> Sequence[str]:
        """Sentences beside those of the run."""
        return ()
