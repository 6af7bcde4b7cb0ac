"""`python -m mi_widgets.new_view NAME` makes a view that works: its tests, style, types and page side pass as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing

from mi_widgets import new_view
from mi_widgets.errors import DataError

ROOT = Path(__file__).parents[1]
NAME = "patch_norms"
PYTHON = [sys.executable, "-m"]
PAGE = shutil.which("npm") is not None


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of this checkout in which the view was made."""
    folder = tmp_path_factory.mktemp("checkout")
    copied(folder)
    page = PAGE and (folder / "js" / "node_modules").exists()
    ran([*PYTHON, "mi_widgets.new_view", NAME, *(["--build"] if page else [])], folder)
    if not page:
        ran([*PYTHON, "mi_widgets.wire.typescript"], folder)
    return folder


def copied(folder: Path) -> None:
    """The files that git knows, and the page's packages where they are installed."""
    if not (ROOT / ".git").exists():
        missing("no git checkout to make a view in")
    known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for path in ran(known, ROOT).split("\0")[:-1]:
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
    if (ROOT / "js" / "node_modules").is_dir():
        (folder / "js" / "node_modules").symlink_to((ROOT / "js" / "node_modules").resolve())


def ran(command: list[str], folder: Path) -> str:
    """What the command prints; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def in_page(command: list[str], checkout: Path) -> str:
    """What the command of a package of the page side prints, run there."""
    if not PAGE or not (checkout / "js" / "node_modules").exists():
        missing("no Node.js, or the page's packages are not installed: cd js && npm ci")
    return ran(["node", f"node_modules/{command[0]}", *command[1:]], checkout / "js")


def test_the_new_view_is_in_the_style_of_the_house(checkout):
    ran([*PYTHON, "ruff", "check", "."], checkout)
    ran([*PYTHON, "pytest", "-q", "--noconftest", "-k", NAME, "tests/test_house.py"], checkout)


def test_its_own_python_tests_pass(checkout):
    tests = [f"tests/compute/test_{NAME}.py", f"tests/widgets/test_{NAME}.py"]
    assert " passed" in ran([*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", *tests], checkout)


@pytest.mark.node
def test_its_page_side_has_the_right_types_and_is_built(checkout):
    in_page(["typescript/bin/tsc", "--noEmit", "-p", "tests"], checkout)
    static = checkout / "mi_widgets" / "widgets" / "static"
    assert f'"{NAME}"' in (static / f"{NAME}.js").read_text("utf-8")
    assert f".miw-{NAME}" in (static / f"{NAME}.css").read_text("utf-8")


@pytest.mark.node
def test_its_page_tests_pass(checkout):
    assert " passed" in in_page(["vitest/vitest.mjs", "run", f"tests/{NAME}.test.ts"], checkout)


def test_nothing_of_the_example_is_left_in_a_new_view():
    for path, text in new_view.files(NAME).items():
        assert NAME in path
        assert not [spelling for spelling in new_view.spelled("head_entropy") if spelling in path + text], path


@pytest.mark.parametrize("name", ["PatchNorms", "patch-norms", "patch_", "2fold", "a1", "top_5", "class", "", "x" * 30])
def test_what_is_no_word_for_a_view_is_refused(name, tmp_path):
    with pytest.raises(DataError):
        new_view.files(name)


@pytest.mark.parametrize("name", ["attention", "session", "selection", "logit_lens", "entropies"])
def test_a_name_that_is_taken_is_refused_and_nothing_is_written(name):
    before = ran(["git", "status", "--short"], ROOT)
    with pytest.raises(DataError, match="taken"):
        new_view.write(name, ROOT)
    assert ran(["git", "status", "--short"], ROOT) == before


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(DataError, match="no checkout"):
        new_view.write(NAME, tmp_path)
    done = subprocess.run(
        [*PYTHON, "mi_widgets.new_view", NAME, "--into", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "no checkout" in done.stderr) == (1, True)
