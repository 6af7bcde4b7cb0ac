"""A new view for contributors: one word walked through all rooms of a checkout, from a view that works.

The template beside this file is the view of every head's attention entropy, room by room, as it would stand in the
checkout; a new view is the same under another name, put on the lists that name the members of each room. Knows nothing
of what the rooms do.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from pathlib import Path

from mi_widgets.errors import DataError

TEMPLATE = Path(__file__).parent / "template"
#: The name of the template's view, and the longest that fits its lines.
EXAMPLE, LONGEST = "head_entropy", 20


def spelled(name: str) -> dict[str, str]:
    """How the template spells its own name, and how `name` is spelled there."""

    def spellings(words: list[str]) -> list[str]:
        joined, camel = " ".join(words), "".join(word.capitalize() for word in words)
        snake = "_".join(words)
        return [snake, snake.upper(), camel, camel[0].lower() + camel[1:], joined, joined.capitalize()]

    return dict(zip(spellings(EXAMPLE.split("_")), spellings(name.split("_")), strict=True))


def files(name: str) -> dict[str, str]:
    """The files of a view `name` of its own, by their path in a checkout."""
    checked(name)
    found = sorted(path for path in TEMPLATE.rglob("*.txt"))
    texts = {path.relative_to(TEMPLATE).as_posix().removesuffix(".txt"): path.read_text("utf-8") for path in found}
    return {_named(path, name): _sorted_imports(_named(text, name), path) for path, text in texts.items()}


def lists(name: str, root: Path) -> dict[str, str]:
    """The files of the checkout at `root` that list what is in a room, with the view `name` in them."""
    changed: dict[str, str] = {}
    for path, put, begin, entry in LISTS:
        text = changed.get(path) or (root / path).read_text("utf-8")
        changed[path] = put(text, begin, _named(entry, name))
    return changed


def write(name: str, root: Path) -> list[str]:
    """Make the view `name` in the checkout at `root`.

    Returns:
        The paths written, those of the view first.

    Raises:
        DataError: no such name can be had, a view of that name is there, or `root` is no checkout.
    """
    if not all((root / path).exists() for path in ("pyproject.toml", "js/package.json", "tests")):
        raise DataError(f"{root} is no checkout of mi_widgets.", "Clone the repository, and run this in it.")
    made = files(name)
    taken = [path for path in made if (root / path).exists()]
    camel = spelled(name)["HeadEntropy"]
    taken += [path for path, *_ in LISTS if re.search(rf"\b{camel}\b", (root / path).read_text("utf-8"))]
    if taken:
        raise DataError(f"{name} is taken: {taken[0]} is there or has it.", "Choose another word.")
    written = {**made, **lists(name, root)}
    for path, text in written.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return list(written)


def checked(name: str) -> None:
    """Raise DataError unless `name` is words of small letters and digits, joined by underscores."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", name) or keyword.iskeyword(name):
        raise DataError(f"{name!r} names no view.", "Give words of small letters joined by _, such as patch_norms.")
    if len(name) > LONGEST:
        raise DataError(f"{name} has {len(name)} letters.", f"Give at most {LONGEST}.")


def _named(text: str, name: str) -> str:
    names = spelled(name)
    return re.sub("|".join(names), lambda found: names[found.group()], text)


def _sorted_imports(text: str, path: str) -> str:
    """Another name may sort elsewhere among the imports that begin a Python file."""
    lines = text.splitlines(keepends=True)
    own = [at for at, line in enumerate(lines) if re.match(r"from mi_widgets\S* import [^(]*$", line)]
    if path.endswith(".py") and own and own[-1] - own[0] == len(own) - 1:
        lines[own[0] : own[-1] + 1] = sorted(lines[own[0] : own[-1] + 1], key=lambda line: line.split()[1])
    return "".join(lines)


def _among(text: str, begin: str, entry: str) -> str:
    """`entry` as a line of the sorted list that opens with the line `begin`."""
    lines = text.splitlines()
    first = lines.index(begin) + 1
    last = next(at for at in range(first, len(lines)) if lines[at].startswith(("]", "}")))
    at = next((at for at in range(first, last) if _rank(lines[at]) > _rank(entry)), last)
    return "\n".join([*lines[:at], f"    {entry}", *lines[at:], ""])


def _rank(entry: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions, each by name."""
    name = entry.strip(' ",').split('"')[0]
    return not name.isupper(), not name[0].isupper(), name


def _imported(text: str, begin: str, entry: str) -> str:
    """`entry` among the imports of their own that begin with `begin`, by module."""
    lines = text.splitlines()
    there = [at for at, line in enumerate(lines) if line.startswith(begin)]
    at = next((at for at in there if lines[at].split()[1] > entry.split()[1]), None)
    if at is None:
        at = there[-1] + 1
        while lines[at - 1].endswith(("(", ",")):
            at += 1
    indent = begin[: len(begin) - len(begin.lstrip())]
    return "\n".join([*lines[:at], *(f"{indent}{line}" for line in entry.splitlines()), *lines[at:], ""])


def _last(text: str, begin: str, entry: str) -> str:
    """`entry` at the end of the list that opens with the line `begin`."""
    lines = text.splitlines()
    at = lines.index("];", lines.index(begin))
    return "\n".join([*lines[:at], *entry.splitlines(), *lines[at:], ""])


EVERY_VIEW = """\
  {
    name: "head_entropy",
    view: headEntropy,
    state: (change) => headEntropyMade.state(change),
    picture: (run) => headEntropyMade.picture({ run }),
    words: headEntropyMade.WORDS.join(""),
    compared: { picture: (run) => headEntropyMade.picture({ run }, true), words: headEntropyMade.OTHER.join("") },
  },"""
#: Where rooms list their members: the file, how an entry is put there, where, and the template's.
LISTS: list[tuple[str, Callable[[str, str, str], str], str, str]] = [
    (
        "mi_widgets/__init__.py",
        _imported,
        "    from mi_widgets",
        "from mi_widgets.widgets.head_entropy import HeadEntropy",
    ),
    ("mi_widgets/__init__.py", _among, "_WHERE = {", '"HeadEntropy": "mi_widgets.widgets",'),
    ("mi_widgets/__init__.py", _among, "__all__ = [", '"HeadEntropy",'),
    (
        "mi_widgets/data/__init__.py",
        _imported,
        "from mi_widgets",
        "from mi_widgets.data.head_entropy import HeadEntropy, HeadEntropyComparison",
    ),
    ("mi_widgets/data/__init__.py", _among, "__all__ = [", '"HeadEntropy",'),
    ("mi_widgets/data/__init__.py", _among, "__all__ = [", '"HeadEntropyComparison",'),
    (
        "mi_widgets/compute/__init__.py",
        _imported,
        "from mi_widgets",
        "from mi_widgets.compute.head_entropy import head_entropy",
    ),
    ("mi_widgets/compute/__init__.py", _among, "__all__ = [", '"head_entropy",'),
    (
        "mi_widgets/figures/__init__.py",
        _imported,
        "    from mi_widgets",
        "from mi_widgets.figures.head_entropy import (\n    head_entropy_figure,\n    head_entropy_preview_png,\n"
        "    head_entropy_preview_svg,\n)",
    ),
    *(
        ("mi_widgets/figures/__init__.py", _among, begin, f'"head_entropy_{what}"{rest}')
        for what in ("figure", "preview_png", "preview_svg")
        for begin, rest in (("_HOMES = {", ': "head_entropy",'), ("__all__ = [", ","))
    ),
    (
        "mi_widgets/widgets/__init__.py",
        _imported,
        "from mi_widgets",
        "from mi_widgets.widgets.head_entropy import HeadEntropy",
    ),
    ("mi_widgets/widgets/__init__.py", _among, "__all__ = [", '"HeadEntropy",'),
    ("js/tests/every_view.ts", _imported, "import", 'import headEntropy from "../src/widgets/head_entropy/index";'),
    ("js/tests/every_view.ts", _imported, "import", 'import * as headEntropyMade from "./head_entropy_state";'),
    ("js/tests/every_view.ts", _last, "export const EVERY_VIEW: EveryView[] = [", EVERY_VIEW),
]
