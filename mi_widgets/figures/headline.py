"""What stands above a picture on paper: its title, and which interventions were made in what it shows, and in which
models.

Knows nothing of the picture below.
"""

from __future__ import annotations

import textwrap
from typing import Any

from mi_widgets.data.integers import text
from mi_widgets.figures import labels as printed
from mi_widgets.figures.style import TITLE_PT, pt

#: Interventions that are named; of others the number is said.
NAMED = 2
#: Columns that the name of one may take.
WIDEST = 44


def title_lines(title: str | None, width: float, data: Any = None) -> list[str]:
    """`title`, and below it the interventions in `data`, broken into lines that fit `width` pixels, in plain words.

    Raises:
        DataError: the title is no text.
    """
    words = "" if title is None else text("title", title).split()
    most = max(10, int(width / (0.55 * pt(TITLE_PT))))
    flat = [printed.prose(" ".join(words), 400) if words else "", printed.prose(changes_in(data), 400)]
    return [line for whole in flat for line in textwrap.wrap(whole, most)]


def changes_in(data: Any) -> str:
    """The interventions in what is shown: `"L2 H6 ablated"`; of two sides `"A: L2 H6 ablated · B: untouched"`, or once
    for both where they are the same; "" where there are none. Two models are named too."""
    if not hasattr(data, "a"):
        return _named(getattr(data, "interventions", ()))
    a, b = (getattr(side, "interventions", ()) for side in (data.a, data.b))
    models = [printed.prose(side.model, WIDEST) if data.a.model != data.b.model else "" for side in (data.a, data.b)]
    if a == b and not any(models):
        return f"A and B: {_named(a)}" if a else ""
    changes = [_named(made) or ("untouched" if a or b else "") for made in (a, b)]
    said = [", ".join(filter(None, side)) for side in zip(models, changes, strict=True)]
    return " · ".join(f"{side}: {words}" for side, words in zip("AB", said, strict=True) if words)


def with_changes(data: Any, caption: str) -> str:
    """A caption of one line that begins with the interventions in `data`, which so are the last to be cut."""
    return "   ".join(part for part in (changes_in(data), caption) if part)


def _named(interventions: Any) -> str:
    named = NAMED if len(interventions) > NAMED + 1 else NAMED + 1  # "+ 1 more" takes as much room as its name
    names = [printed.prose(change.label, WIDEST) for change in interventions[:named]]
    more = len(interventions) - named
    return ", ".join(names) + (f" + {more} more" if more > 0 else "")
