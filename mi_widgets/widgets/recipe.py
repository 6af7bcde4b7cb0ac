"""Recipes: the Python that makes a picture again, with the versions it was made by.

Knows nothing of how pictures are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mi_widgets.data import Selection
from mi_widgets.data.interventions import Add, Change, Intervention, Run
from mi_widgets.described.attention import ATTENTION
from mi_widgets.session import Session
from mi_widgets.version import __version__


def attention_recipe(
    *,
    session: Session | None,
    options: dict[str, Any],
    drawn: dict[str, Any],
    compared: bool,
    layers: tuple[int, ...] | None,
    scored: bool,
    selection: Selection,
) -> str:
    """The recipe of one attention picture.

    Args:
        session: of the view, or None for plain data.
        options: as on screen.
        drawn: what the picture is of: prompt, interventions, and what it compares with.
        compared: two runs are on screen.
        layers: chosen, or None for all.
        scored: the user gave a table of scores.
        selection: what is pointed at.
    """
    changed = ATTENTION.words(options)
    if compared:
        changed["show"] = options["show"]
    if session is None:
        changed.pop("weighting", None)  # the file says it
    words = "".join(f", {name}={value!r}" for name, value in changed.items())
    measured = ", head scores with seed 0" if session is not None else ""
    lines = [f"# {versions(session is not None)}{measured}", "import mi_widgets as mw", ""]
    if session is None:
        lines += [
            '# first: view.save("attention.npz")',
            f'view = mw.Attention.from_data(mw.data.load("attention.npz"){words})',
        ]
    else:
        named = _Named(session)
        start = _session(session, drawn, named)
        second = "" if drawn.get("compare") is None else f", compare={named.compared(drawn['compare'])}"
        if scored:
            named.said.append("# scores: a DataFrame of your own, with columns layer and head")
            second += ", scores=scores"
        chosen_layers = "" if layers is None else f", layers={list(layers)}"
        lines[2:2] = named.said
        lines += [
            *start,
            *named.made,
            f"view = mw.Attention(session{second}{chosen_layers}{words})",
        ]
    return "\n".join([*lines, *_selected(selection), 'view.save("attention.pdf", width_mm=83)', ""])


def recipe_lines(
    view: str, name: str, session: Session | None, drawn: dict[str, Any], words: dict[str, Any], selection: Selection
) -> str:
    """The recipe of a view's picture.

    Args:
        view: the class, e.g. `"LogitLens"`.
        name: of the files it writes, e.g. `"logit_lens"`.
        session: of the view, or None for plain data.
        drawn: what the picture is of: prompt, interventions, and what it compares with.
        words: arguments of the view that are not at their defaults.
        selection: what is pointed at.
    """
    arguments = "".join(f", {word}={value!r}" for word, value in words.items())
    lines = [f"# {versions(session is not None)}", "import mi_widgets as mw", ""]
    if session is None:
        lines += [
            f'# first: view.save("{name}.npz")',
            f'view = mw.{view}.from_data(mw.data.load("{name}.npz"){arguments})',
        ]
    else:
        named = _Named(session)
        start = _session(session, drawn, named)
        second = "" if drawn.get("compare") is None else f", compare={named.compared(drawn['compare'])}"
        lines[2:2] = named.said
        lines += [*start, *named.made, f"view = mw.{view}(session{second}{arguments})"]
    return "\n".join([*lines, *_selected(selection), f'view.save("{name}.pdf")', ""])


class _Named:
    """What a recipe cannot make by itself, by the names that it calls it.

    Attributes:
        said: a comment line for each, which says what to give.
        made: lines that make the model that is compared with.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[int, str] = {}
        self.said: list[str] = []
        self.made: list[str] = []

    def changes(self, interventions: Sequence[Change]) -> str:
        """`[mw.Ablate(layer=2, head=6)]`."""
        return f"[{', '.join(map(self._change, interventions))}]"

    def compared(self, compare: Any) -> str:
        """The second prompt, or `mw.Run(…)`."""
        if not isinstance(compare, Run):
            return repr(compare)
        words = []
        if compare.model is not None and compare.model is not self._session.model:
            from mi_widgets.models import describe

            name = describe(compare.model).name
            if name == self._session.info.name:  # loaded by it, it would be the session's own again
                self.said.append("# other: the model that you compared with, which has the same name")
            else:
                self.made.append(f"other = {loader(name)}")
            words.append("model=other")
        words += [] if compare.prompt is None else [f"prompt={compare.prompt!r}"]
        words += [] if compare.interventions is None else [f"interventions={self.changes(compare.interventions)}"]
        return f"mw.Run({', '.join(words)})"

    def _change(self, change: Change) -> str:
        if isinstance(change, Add):
            what = f"a numpy array of {len(change.direction)} numbers"
            name = self._name(change, "direction", what)
            return repr(change).replace("(direction", f"({name}", 1)
        if isinstance(change, Intervention):
            own = getattr(change.function, "__name__", change.function)
            name = own if isinstance(own, str) and own.isidentifier() else "function"
            what = "your own function of (activation, hook)"
            return f"mw.Intervention({change.hook_name!r}, {self._name(change.function, name, what)})"
        return repr(change)

    def _name(self, thing: Any, name: str, what: str) -> str:
        """A name of its own for `thing`, and what to give for it."""
        if id(thing) not in self._names:
            taken = sum(known.split("_of_")[0] == name for known in self._names.values())
            self._names[id(thing)] = name if not taken else f"{name}_of_{taken + 1}"
            self.said.append(f"# {self._names[id(thing)]}: {what}")
        return self._names[id(thing)]


def _session(session: Session, drawn: dict[str, Any], named: _Named) -> list[str]:
    bos = "" if session.prepend_bos is None else f", prepend_bos={session.prepend_bos}"
    beyond = ", beyond_context=True" if session.beyond_context else ""
    made = f"session = mw.Session(model, {drawn.get('prompt')!r}{bos}{beyond})"
    changes = drawn.get("interventions") or ()
    changed = [f"session.interventions = {named.changes(changes)}"] if changes else []
    return [f"model = {loader(session.info.name)}", made, *changed]


def _selected(selection: Selection) -> list[str]:
    return [] if selection == Selection() else [f"view.selection = mw.{selection!r}"]


def loader(name: str) -> str:
    """The call that loads the model of this name."""
    return "mw.load_demo()" if name == "mi_widgets demo" else f"mw.load_model({name!r})"


def versions(with_model: bool) -> str:
    """The versions that matter for a picture, in one line."""
    names = ["transformer-lens", "torch", "transformers"] if with_model else []
    found = [f"mi_widgets {__version__}"]
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
