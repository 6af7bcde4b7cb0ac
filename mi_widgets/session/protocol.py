"""What a session and its views say to each other: needs, answers, progress. Knows nothing of how either works."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mi_widgets.data import Tokens

if TYPE_CHECKING:
    from mi_widgets.compute.forward import Activations


@dataclass(frozen=True, eq=False)
class Need:
    """What a view wants computed for one prompt.

    Attributes:
        name: the view's own name for it, e.g. `"A"`.
        prompt: text, ids or messages.
        sites: hook names within a block.
        readers: further functions to run in the pass, by site; only where the sites are not cached.
        layers: which blocks; all if None.
        called: what errors of this prompt begin with, where the view shows several.
    """

    name: str
    prompt: Any
    sites: tuple[str, ...]
    readers: Callable[[], dict[str, Any]] = dict
    layers: tuple[int, ...] | None = None
    called: str = ""


@dataclass(frozen=True, eq=False)
class Answered:
    """A need that was met: the prompt as run, and its activations."""

    tokens: Tokens
    activations: Activations
    _results: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once for all views that ask for the same `key` in this run."""
        if key not in self._results:
            self._results[key] = make()
        return self._results[key]


@dataclass
class Progress:
    """What a view is told while it waits."""

    run: int
    done: int
    total: int
    estimate: str = ""
    notes: list[str] = field(default_factory=list)


class SessionView(Protocol):
    """What a session asks of a view."""

    def session_needs(self) -> Sequence[Need]:
        """What must be computed for the picture."""
        ...

    def session_waits(self, progress: Progress) -> None:
        """A computation has begun or gone on."""
        ...

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """Make the picture from the answers, by name of the need; yields between long pieces."""
        ...

    def session_fails(self, run: int, error: Exception) -> None:
        """The computation failed; keep the last good picture."""
        ...

    def session_stops(self, run: int, error: Exception) -> None:
        """The user stopped it; keep the last good picture."""
        ...

    def session_changed(self, name: str) -> None:
        """The session's prompt, history or selection changed."""
        ...

    @property
    def session_hidden(self) -> bool:
        """No page shows the view any more: it need not be redrawn until it is shown again or asked for its data."""
        ...


def union_of_layers(group: Sequence[Need]) -> tuple[int, ...] | None:
    """The layers that one pass for all these needs must read; None for all."""
    wanted = [need.layers for need in group]
    if any(layers is None for layers in wanted):
        return None
    if len(set(wanted)) == 1:
        return wanted[0]
    return tuple(sorted({layer for layers in wanted if layers is not None for layer in layers}))
