"""What a session and its views say to each other: needs, answers, progress. Knows nothing of how either works."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from mi_widgets.data import Tokens
from mi_widgets.data.interventions import Run
from mi_widgets.session.aside import Aside, loop_runs

if TYPE_CHECKING:
    from mi_widgets.compute.forward import Activations, Layers


@dataclass(frozen=True, eq=False)
class Need:
    """What a view wants computed of one run.

    Attributes:
        name: the view's own name for it, e.g. `"A"`.
        run: what is left out is the session's; a prompt alone will do.
        sites: hook names within a block, each of `layers`; or layers by site.
        readers: further functions to run in the pass, by site; only where the sites are not cached.
        layers: which blocks; all if None.
        called: what errors of this prompt begin with, where the view shows several.
        begins: sites from which the view can draw a first part, before the model's output is there; () for none.
    """

    name: str
    run: Any
    sites: tuple[str, ...] | Mapping[str, Layers]
    readers: Callable[[], dict[str, Any]] = dict
    layers: Layers = None
    called: str = ""
    begins: tuple[str, ...] = ()

    @property
    def first(self) -> Need:
        """What the view can begin with."""
        return replace(self, sites={site: self.wanted[site] for site in self.begins})

    @property
    def wanted(self) -> dict[str, Layers]:
        """The layers of each site."""
        return dict(self.sites) if isinstance(self.sites, Mapping) else dict.fromkeys(self.sites, self.layers)


@dataclass(frozen=True, eq=False)
class Answered:
    """A need that was met.

    Attributes:
        tokens: the prompt as run.
        activations: what the pass left; views that want the same layers share it.
        run: of what, all its parts filled in.
    """

    tokens: Tokens
    activations: Activations
    run: Run
    _results: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _making: dict[Hashable, Aside] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once for all views that ask for the same `key` of this answer."""
        if key not in self._results:
            self._results[key] = make()
        return self._results[key]

    def once_aside(self, key: Hashable, make: Callable[[], Any], large: bool) -> Generator[None, None, Any]:
        """`once`, beside the loop where it is `large`; see `aside.aside`."""
        if key in self._results or not large or not loop_runs():
            return self.once(key, make)
        if key not in self._making:
            self._making[key] = Aside(make)
        try:
            self._results[key] = yield from self._making[key].steps()
        except Exception:
            self._making.pop(key, None)  # who asks next tries again
            raise
        self._making.pop(key, None)
        return self._results[key]


@dataclass
class Progress:
    """What a view is told while it waits.

    Attributes:
        run: the number of the edit that it waits for.
        done: of `total` pieces of work.
        total: 0 before anything is known.
        estimate: what the pass will cost, in words, where that is worth saying.
        notes: sentences for the status line.
        large: work on what the pass left may take longer than the loop should be held: do it `aside`.
        refused: why there is nothing of the session's run beside, where that has failed.
    """

    run: int
    done: int
    total: int
    estimate: str = ""
    notes: list[str] = field(default_factory=list)
    large: bool = False
    refused: Exception | None = None

    def note(self, text: str) -> None:
        """Say `text`, once."""
        if text not in self.notes:
            self.notes.append(text)


class SessionView(Protocol):
    """What a session asks of a view."""

    def session_needs(self) -> Sequence[Need]:
        """What must be computed for the picture."""
        ...

    def session_waits(self, progress: Progress) -> None:
        """A computation has begun or gone on."""
        ...

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """Make the picture from the answers, by name of the need; yields between long pieces.

        After a `Step` whose `partial` says that a first picture stands, the rest is done behind all pictures. It is
        closed where a newer edit replaces it, and when the user stops it.
        """
        ...

    def session_fails(self, run: int, error: Exception) -> None:
        """The computation failed; keep the last good picture."""
        ...

    def session_stops(self, run: int, error: Exception) -> None:
        """The user stopped it; keep the last good picture."""
        ...

    def session_changed(self, name: str) -> None:
        """The session's prompt, interventions, run beside, history or selection changed."""
        ...

    @property
    def session_besides(self) -> bool:
        """Its needs after the first are of the session's run beside, if there is one. Where these fail the view draws
        without them."""
        ...

    @property
    def session_hidden(self) -> bool:
        """No page shows the view any more: it need not be redrawn until it is shown again or asked for its data."""
        ...


class BeginningView(SessionView, Protocol):
    """What a session asks besides of a view whose needs all say what it begins with."""

    def session_begins(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """Put a first part of the picture on the page while the passes end; the answers hold what the needs begin with.

        It is closed where the passes end before it does.
        """
        ...

    def session_takes_back(self) -> None:
        """What `session_begins` was given holds no more, or the passes failed: show what stood there before."""
        ...


def union(wanted: Iterable[Layers]) -> Layers:
    """The layers that are in any of these; None for all."""
    chosen = list(wanted)
    if any(layers is None for layers in chosen):
        return None
    if len(set(chosen)) == 1:
        return chosen[0]
    return tuple(sorted({layer for layers in chosen if layers is not None for layer in layers}))
