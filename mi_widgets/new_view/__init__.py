"""A new view for contributors: one word walked through all rooms of a checkout, from a view that works.

The template beside this file is the view of every head's attention entropy, room by room, as it would stand in the
checkout; a new view is the same under another name, put on the lists that name the members of each room. Knows nothing
of what the rooms do.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from pathlib import Path

from mi_widgets.errors import DataError

TEMPLATE = Path(__file__).parent / "template"
#: The name of the template's view, and the longest that fits its lines.
EXAMPLE, LONGEST = "head_entropy", 20


def spelled(name: str) -> dict[str, str]:
    """How the template spells its own name, and how `name` is spelled there."""

    def spellings(words: Sequence[str]) -> list[str]:
        joined, camel = " ".join(words), "".join(word.capitalize() for word in words)
        snake = "_".join(words)
        return [snake, snake.upper(), camel, camel[0].lower() + camel[1:], joined, joined.capitalize()]

    return dict(zip(spellings(EXAMPLE.split("_")), spellings(name.split("_")), strict=True))


def files(name: str) -> dict[str, str]:
    """The files of a view `name` of its own, by their path in a checkout."""
    checked(name)
    found = sorted(path for path in TEMPLATE.rglob("*.txt"))
    texts = {path.relative_to(TEMPLATE).as_posix().removesuffix(".txt"): path.read_text("utf-8") for path in found}
    return {_named(path, name): _sorted_imports(_named(text, name)) for path, text in texts.items()}


def lists(name: str, root: Path) -> dict[str, str]:
    """The files of the checkout at `root` that list what is in a room, with the view `name` in them."""
    changed = {}
    for path, entries in LISTS.items():
        lines = (root / path).read_text("utf-8").splitlines()
        for entry in entries:
            _put(lines, _named(entry, name))
        changed[path] = "\n".join([*lines, ""])
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
    known = {path: (root / path).read_text("utf-8") for path in LISTS} | files(EXAMPLE)
    camel = spelled(name)["HeadEntropy"]
    taken += [path for path, text in known.items() if name != EXAMPLE and re.search(rf"\b{camel}\b", text)]
    if taken:
        raise DataError(f"{name} is taken: {taken[0]} is there or has it.", "Choose another word.")
    written = {**made, **lists(name, root)}
    for path, text in written.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return list(written)


def checked(name: str) -> None:
    """Raise DataError unless `name` is words of small letters and digits, joined by underscores."""
    if not re.fullmatch(r"[a-z]{2}[a-z0-9]*(_[a-z][a-z0-9]*)*", name) or keyword.iskeyword(name):
        raise DataError(f"{name!r} names no view.", "Give words of small letters joined by _, such as patch_norms.")
    if len(name) > LONGEST:
        raise DataError(f"{name} has {len(name)} letters.", f"Give at most {LONGEST}.")


def _named(text: str, name: str) -> str:
    names = spelled(name)
    return re.sub("|".join(names), lambda found: names[found.group()], text)


def _sorted_imports(text: str) -> str:
    """Another name may sort elsewhere among Python's imports that follow each other."""
    one = r"(?:^ *from mi_widgets\S* import [^(\n]*\n)"
    return re.sub(
        f"{one}{{2,}}",
        lambda found: "".join(sorted(found.group().splitlines(keepends=True), key=lambda line: line.split()[1])),
        text,
        flags=re.M,
    )


def _put(lines: list[str], entry: str) -> None:
    """Put `entry` where it belongs in a file: an import among the imports by module, another in its sorted list."""
    if entry.startswith(("from", "import")):
        like = r"\s*from mi_widgets" if entry.startswith("from") else "import"
        there = [at for at, line in enumerate(lines) if re.match(like, line)]
        inner = [at for at in there if lines[at].startswith(" ")]  # where types are checked alone
        own = inner or there
        at = next((at for at in own if lines[at].split()[1] > entry.split()[1]), own[-1] + 1)
        while lines[at - 1].endswith(("(", ",")):
            at += 1
        lines.insert(at, "    " * bool(inner) + entry)
        return
    opens = EVERY_VIEW if entry.startswith(" ") else "_WHERE = {|_HOMES = {" if ":" in entry else "__all__ = ["
    first = next(at for at, line in enumerate(lines) if line and line in opens) + 1
    last = next(at for at in range(first, len(lines)) if lines[at].startswith(("]", "}")))
    sorts = not entry.startswith(" ")
    at = next((at for at in range(first, last) if sorts and _rank(lines[at]) > _rank(entry)), last)
    lines[at:at] = [f"    {entry}"] if sorts else entry.splitlines()


def _rank(entry: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions, each by name."""
    name = entry.strip(' ",').split('"')[0]
    return not name.isupper(), not name[0].isupper(), name


EVERY_VIEW = "export const EVERY_VIEW: EveryView[] = ["
#: Where rooms list their members, and what stands there of the template's.
LISTS = {
    "mi_widgets/__init__.py": [
        "from mi_widgets.widgets.head_entropy import HeadEntropy",
        '"HeadEntropy": "mi_widgets.widgets",',
        '"HeadEntropy",',
    ],
    "mi_widgets/data/__init__.py": [
        "from mi_widgets.data.head_entropy import HeadEntropy, HeadEntropyComparison",
        '"HeadEntropy",',
        '"HeadEntropyComparison",',
    ],
    "mi_widgets/compute/__init__.py": [
        "from mi_widgets.compute.head_entropy import head_entropy",
        '"head_entropy",',
    ],
    "mi_widgets/figures/__init__.py": [
        "from mi_widgets.figures.head_entropy import head_entropy_figure",
        '"head_entropy_figure": "head_entropy",',
        '"head_entropy_figure",',
    ],
    "mi_widgets/widgets/__init__.py": [
        "from mi_widgets.widgets.head_entropy import HeadEntropy",
        '"HeadEntropy",',
    ],
    "js/tests/every_view.ts": [
        'import headEntropy from "../src/widgets/head_entropy/index";',
        'import * as headEntropyMade from "./head_entropy_state";',
        """  {
    name: "head_entropy",
    view: headEntropy,
    state: (change) => headEntropyMade.state(change),
    picture: (run) => headEntropyMade.picture({ run }),
    words: headEntropyMade.WORDS.join(""),
    compared: { picture: (run) => headEntropyMade.picture({ run }, true), words: headEntropyMade.OTHER.join("") },
  },""",
    ],
}
