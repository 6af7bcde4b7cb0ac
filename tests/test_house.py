"""The plan of the house holds, in Python and on the page: imports go down and in no circles, one file runs the model,
files are small and public names described."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mi_widgets"
FILES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
PAGE = ROOT.parent / "js" / "src"
PAGE_FILES = sorted(PAGE.rglob("*.ts"))

#: From the ground up; a room imports only from rooms before it (and from itself).
ROOMS = [
    "new_view",
    "data",
    "color",
    "errors",
    "described",
    "workers",
    "loading",
    "models",
    "compute",
    "sae",
    "demo",
    "figures",
    "wire",
    "export",
    "session",
    "widgets",
    "cli",
]
#: Of no room: anyone may read the version; the front door and `__main__` may open every room.
OPEN = {"version"}
FRONT = {"__init__", "__main__"}
#: Rooms on one floor: `data` and `new_view` raise errors, and errors know nothing of them.
ALSO = {"new_view": {"errors"}, "data": {"errors"}, "color": set(), "errors": set(), "workers": set()}
MAY_NOT = {
    "new_view": {"torch", "numpy", "plotly", "traitlets"},
    "data": {"torch", "transformers", "transformer_lens", "traitlets", "plotly", "anywidget", "ipywidgets"},
    "color": {"torch", "plotly", "anywidget"},
    "errors": {"torch", "numpy", "plotly"},
    "workers": {"torch", "numpy", "plotly", "traitlets"},
    "compute": {"traitlets", "plotly", "anywidget", "ipywidgets"},
    "figures": {"torch", "transformers", "transformer_lens", "anywidget", "ipywidgets"},
    "wire": {"torch", "transformers", "transformer_lens", "traitlets", "plotly", "anywidget"},
    "export": {"torch", "transformer_lens", "anywidget", "ipywidgets"},
    "session": {"torch", "transformers", "plotly", "anywidget", "ipywidgets"},
    "widgets": {"torch", "transformers", "plotly"},
}

#: On the page: what a room may import beside itself. A widget is a room of its own; offline pages' host stands alone.
PAGE_ROOMS = {"core": set(), "dom": {"core"}, "standalone": set()}
OF_WIDGETS = {"core", "dom"}

#: Files over 500 lines, each known by name so that no other joins them unseen.
LARGE = {"demo/grammar.py": 700}


def room_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Every module named in an import of this file, inside functions too, in full."""
    found: set[str] = set()
    package = ["mi_widgets", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            stem = (
                ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module or ""
            )
            # `from mi_widgets import wire` names a room; `from mi_widgets.wire import blocks` a file in one
            found |= {f"{stem}.{name.name}" for name in node.names} if stem == "mi_widgets" else {stem}
    return found


def nodes_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All that is run: not what stands there for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield node
            yield from nodes_run(node)


def files_imported(path: Path) -> set[str]:
    """The files of the package that this one imports when it runs, wherever in it."""
    found: set[Path] = set()
    for node in nodes_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = path.parents[node.level - 1] if node.level else ROOT.parent
            stem = above.joinpath(*(node.module or "").split("."))
            for name in node.names:  # a name from a package is a file of it, or stands in its `__init__`
                file = stem / f"{name.name}.py"
                found |= {file} if file in FILES else {stem.with_suffix(".py"), stem / "__init__.py"}
        elif isinstance(node, ast.Import):
            stems = [ROOT.parent.joinpath(*name.name.split(".")) for name in node.names]
            found |= {file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")}
    return {str(other.relative_to(ROOT)) for other in found & set(FILES) - {path}}


def circles(imports: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The largest groups of files each of which reaches all others of its group by imports."""
    reached = {}
    for start in imports:
        seen, ahead = set(), [start]
        while ahead:
            new = imports.get(ahead.pop(), set()) - seen
            seen |= new
            ahead += new
        reached[start] = seen
    return {
        frozenset(other for other in reached[start] if start in reached.get(other, ()))
        for start in imports
        if start in reached[start]
    }


def page_imports(path: Path) -> set[str]:
    """The files that this one of the page imports, types too."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r'^(?:import|export)\b[^;]*?"(\.[^"]+)";', text, flags=re.M)
    return {str((path.parent / f"{name}.ts").resolve().relative_to(PAGE)) for name in found}


def page_room(file: str) -> str:
    return "/".join(file.split("/")[: 2 if file.startswith("widgets/") else 1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    if room in FRONT | OPEN:
        assert room in FRONT or not imports_of(path), "the version imports nothing"
        return
    assert room in ROOMS, f"{room} stands on no floor of the house"
    below = set(ROOMS[: ROOMS.index(room) + 1]) | ALSO.get(room, set()) | OPEN
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] == "mi_widgets" and len(parts) > 1:
            assert parts[1] in below, f"{path.name} of {room} imports {module}, which is above it"
        else:
            assert parts[0] not in MAY_NOT.get(room, set()), f"{path.name} of {room} imports {parts[0]}"


def test_no_file_of_a_room_imports_what_imports_it():
    found = {
        circle
        for circle in circles({str(path.relative_to(ROOT)): files_imported(path) for path in FILES})
        if len({file.split("/")[0] for file in circle}) == 1  # between rooms the plan itself is proven above
    }
    assert found == set()


@pytest.mark.parametrize("path", PAGE_FILES, ids=lambda path: str(path.relative_to(PAGE)))
def test_imports_of_the_page_go_down(path):
    room = page_room(str(path.relative_to(PAGE)))
    may = {room} | PAGE_ROOMS.get(room, OF_WIDGETS)
    for file in page_imports(path):
        assert (PAGE / file).exists()
        assert page_room(file) in may, f"{path.name} of {room} imports {file}"


def test_no_file_of_the_page_imports_what_imports_it():
    assert circles({str(path.relative_to(PAGE)): page_imports(path) for path in PAGE_FILES}) == set()


@pytest.mark.parametrize("path", PAGE_FILES, ids=lambda path: str(path.relative_to(PAGE)))
def test_files_of_the_page_are_small(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 500 or path.name.endswith(".gen.ts")


def test_a_circle_is_seen_and_what_merely_leads_to_it_is_no_part_of_it():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"e"}, "e": set()}
    assert circles(imports) == {frozenset("bc")}
    assert page_imports(PAGE / "dom" / "tooltip.ts") == {"core/signal.ts", "dom/element.ts"}  # a type too
    assert "compute/forward.py" in files_imported(ROOT / "session" / "passes.py")  # inside a function


def test_nothing_but_load_demo_and_the_doors_reaches_into_the_demo():
    for path in FILES:
        if room_of(path) not in {"demo", "cli", *FRONT}:
            assert not [module for module in imports_of(path) if module.startswith("mi_widgets.demo")], path


def test_the_imports_of_this_very_test_are_seen():
    assert "mi_widgets.compute.forward" in imports_of(ROOT / "session" / "passes.py")  # inside a function
    assert "mi_widgets.compute" in imports_of(ROOT / "__init__.py")


def test_one_file_runs_the_model():
    runs = {"run_with_hooks", "run_with_cache", "forward", "generate"}
    found = {}
    for path in FILES:
        if room_of(path) in {"demo", "sae"}:
            continue  # their trainers run models of their own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            by_method = isinstance(called, ast.Attribute) and called.attr in runs
            by_call = (isinstance(called, ast.Name) and called.id == "model") or (
                isinstance(called, ast.Attribute) and called.attr in {"model", "original_model"}
            )
            if by_method or by_call:
                found.setdefault(str(path.relative_to(ROOT)), []).append(node.lineno)
    # The second runs Hugging Face's modules, made anew on the model's weights, and never the model itself.
    assert set(found) == {"compute/forward.py", "compute/plain_layers.py"}, found
    plain = ROOT / "compute" / "plain_layers.py"
    called = [node for node in ast.walk(ast.parse(plain.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    ran = [ast.unparse(node.func) for node in called if node.lineno in found["compute/plain_layers.py"]]
    assert ran == ["self.model"], ran
    assert "self.model, path = _made(" in plain.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_are_described(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    missing = [] if ast.get_docstring(tree) or not path.read_text().strip() else ["the file"]

    described = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node)
    }

    def visit(node, within):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith(
                "_"
            ):
                decorators = {ast.unparse(decorator) for decorator in child.decorator_list}
                inherited = any(".setter" in decorator or "overload" in decorator for decorator in decorators)
                # an override says what the method it overrides says
                inherited |= bool(within) and child.name in described
                if not ast.get_docstring(child) and not inherited:
                    missing.append(f"{within}{child.name}")
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{within}{child.name}.")

    visit(tree, "")
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small(path):
    limit = LARGE.get(str(path.relative_to(ROOT)), 500)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit
