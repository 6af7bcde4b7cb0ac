"""Recipes: the Python that makes a picture again, with the versions it was made by.

Knows nothing of how pictures are drawn.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mi_widgets.data import Selection
from mi_widgets.session import Session
from mi_widgets.version import __version__
from mi_widgets.widgets.attention_options import DEFAULTS


def attention_recipe(
    *,
    session: Session | None,
    options: dict[str, Any],
    prompt: Any,
    compare: Any,
    compared: bool,
    layers: tuple[int, ...] | None,
    scored: bool,
    selection: Selection,
) -> str:
    """The recipe of one attention picture.

    Args:
        session: of the view, or None for plain data.
        options: as on screen.
        prompt: that the picture is of.
        compare: the second prompt, or None.
        compared: two prompts are on screen.
        layers: chosen, or None for all.
        scored: the user gave a table of scores.
        selection: what is pointed at.
    """
    changed = {name: value for name, value in options.items() if value != DEFAULTS[name]}
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
        second = "" if compare is None else f", compare={compare!r}"
        if scored:
            lines.insert(2, "# scores: a DataFrame of your own, with columns layer and head")
            second += ", scores=scores"
        chosen_layers = "" if layers is None else f", layers={list(layers)}"
        lines += [
            *_session(session, prompt),
            f"view = mw.Attention(session{second}{chosen_layers}{words})",
        ]
    return "\n".join([*lines, *_selected(selection), 'view.save("attention.pdf", width_mm=83)', ""])


def recipe_lines(
    view: str, name: str, session: Session | None, prompt: Any, words: dict[str, Any], selection: Selection
) -> str:
    """The recipe of a view's picture.

    Args:
        view: the class, e.g. `"LogitLens"`.
        name: of the files it writes, e.g. `"logit_lens"`.
        session: of the view, or None for plain data.
        prompt: that the picture is of.
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
        lines += [*_session(session, prompt), f"view = mw.{view}(session{arguments})"]
    return "\n".join([*lines, *_selected(selection), f'view.save("{name}.pdf")', ""])


def _session(session: Session, prompt: Any) -> list[str]:
    bos = "" if session.prepend_bos is None else f", prepend_bos={session.prepend_bos}"
    beyond = ", beyond_context=True" if session.beyond_context else ""
    return [f"model = {loader(session.info.name)}", f"session = mw.Session(model, {prompt!r}{bos}{beyond})"]


def _selected(selection: Selection) -> list[str]:
    if selection == Selection():
        return []
    chosen = {name: value for name, value in selection.to_dict().items() if value not in (None, [])}
    if "heads" in chosen:
        chosen["heads"] = tuple(tuple(pair) for pair in chosen["heads"])
    fields = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    return [f"view.selection = mw.Selection({fields})"]


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
