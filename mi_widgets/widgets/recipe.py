"""Recipes: the Python that makes a picture again, with the versions it was made by.

Knows nothing of how pictures are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mi_widgets.data import Selection
from mi_widgets.data.coder_interventions import CoderChange
from mi_widgets.data.interventions import Add, Change, Intervention, Run
from mi_widgets.session import Session
from mi_widgets.version import __version__


def recipe(
    view: str,
    name: str,
    session: Session | None,
    subject: dict[str, Any],
    words: dict[str, Any],
    selection: Selection,
    drawn_by: str = "",
) -> str:
    """The recipe of a view's picture.

    Args:
        view: the class, e.g. `"LogitLens"`.
        name: of the files it writes, e.g. `"logit_lens"`.
        session: of the view, or None for plain data.
        subject: what the picture is of: prompt, interventions, and what it compares with.
        words: arguments of the view that are not at their defaults.
        selection: what is pointed at.
        drawn_by: what a picture of a session owes to chance, e.g. a seed.
    """
    made_by = [versions(session is not None), *([drawn_by] if drawn_by and session is not None else [])]
    lines = [f"# {', '.join(made_by)}", "import mi_widgets as mw", ""]
    if session is None:
        first = f'mw.data.load("{name}.npz")'
        lines += [f'# first: view.save("{name}.npz")', f"view = mw.{view}.from_data({_arguments(first, words)})"]
    else:
        named = _Named(session)
        start = _session(session, subject, named)
        second = {} if subject.get("compare") is None else {"compare": Name(named.compared(subject["compare"]))}
        if "coder" in words:
            words = {**words, "coder": Name(named.coder(words["coder"]))}
        for word, value in words.items():
            if isinstance(value, Name) and value.said:
                named.said.append(f"# {word}: {value.said}")
        lines[2:2] = named.said
        lines += [*start, *named.made, f"view = mw.{view}({_arguments('session', {**second, **words})})"]
    chosen = [] if selection == Selection() else [f"view.selection = mw.{selection!r}"]
    return "\n".join([*lines, *chosen, f'view.save("{name}.pdf")', ""])


class Name(str):
    """Python as it stands, in place of a value: a name, and what the reader must give it where it says so."""

    __slots__ = ("said",)

    def __new__(cls, name: str, said: str = "") -> Name:
        """`name`, of which a recipe says `said`."""
        made = super().__new__(cls, name)
        made.said = said
        return made

    __repr__ = str.__str__


def _arguments(first: str, words: dict[str, Any]) -> str:
    return ", ".join([first, *(f"{word}={value!r}" for word, value in words.items())])


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
        if isinstance(change, CoderChange):
            return repr(change).replace("(coder", f"({self.coder(change.coder)}", 1)
        return repr(change)

    def coder(self, coder: Any) -> str:
        """The call that loads a coder again, or the name of one that lies nowhere."""
        folder = getattr(coder, "folder", None)
        if folder is not None:
            return f"mw.sae.load({str(folder)!r})"
        return self._name(coder, "coder", f"the sparse coder {coder.name}")

    def _name(self, thing: Any, name: str, what: str) -> str:
        """A name of its own for `thing`, and what to give for it."""
        if id(thing) not in self._names:
            taken = sum(known.split("_of_")[0] == name for known in self._names.values())
            self._names[id(thing)] = name if not taken else f"{name}_of_{taken + 1}"
            self.said.append(f"# {self._names[id(thing)]}: {what}")
        return self._names[id(thing)]


def _session(session: Session, subject: dict[str, Any], named: _Named) -> list[str]:
    bos = "" if session.prepend_bos is None else f", prepend_bos={session.prepend_bos}"
    beyond = ", beyond_context=True" if session.beyond_context else ""
    made = f"session = mw.Session(model, {subject.get('prompt')!r}{bos}{beyond})"
    changes = subject.get("interventions") or ()
    changed = [f"session.interventions = {named.changes(changes)}"] if changes else []
    return [f"model = {loader(session.info.name)}", made, *changed]


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
