"""`python -m mi_widgets.new_view NAME`: make a view in this checkout, and say what comes next."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mi_widgets.errors import DataError
from mi_widgets.new_view import files, spelled, write

NEXT = """
Next, in this checkout:
  python -m mi_widgets.wire.typescript        the page's types, options and words follow from Python's
  cd js && npm ci && npm run build            the page side; commit what it writes
  python -m pytest {tests}
  cd js && npm run format && npm run check && npx vitest run tests/{name}.test.ts
Then make it yours, room by room: data (what a result is), compute (its numbers, and a test against another way to get
them), described (options, words), wire, the page, figures. At last a section in a notebook, a line and a picture in the
README, a line in the CHANGELOG. Until then: mw.{camel}(model, "prompt").
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 where nothing was made, or a step failed."""
    parser = argparse.ArgumentParser(prog="python -m mi_widgets.new_view", description=__doc__)
    parser.add_argument("name", help="small letters, words joined by _, such as patch_norms")
    parser.add_argument("--into", type=Path, default=Path(__file__).parents[2], help="another checkout than this one")
    parser.add_argument("--build", action="store_true", help="write the types and build the page side at once")
    given = parser.parse_args(arguments)
    root = given.into.resolve()
    try:
        written = write(given.name, root)
    except DataError as reason:
        print(reason, file=sys.stderr)
        return 1
    own = files(given.name)
    for path in written:
        print(f"  {'made' if path in own else 'listed in'} {path}")
    tests = " ".join(path for path in own if path.startswith("tests/"))
    print(NEXT.format(name=given.name, camel=spelled(given.name)["HeadEntropy"], tests=tests))
    return build(root) if given.build else 0


def build(root: Path) -> int:
    """Write the types of the checkout at `root` and build its page side; 1 where that fails."""
    npm = shutil.which("npm")
    if npm is None:
        print("There is no Node.js: the page side was not built. Install Node.js 20 or newer.", file=sys.stderr)
        return 1
    page = root / "js"
    steps = [([sys.executable, "-m", "mi_widgets.wire.typescript"], root)]
    steps += [] if (page / "node_modules").exists() else [([npm, "ci", "--no-audit", "--no-fund"], page)]
    steps += [([npm, "run", "--silent", "build"], page)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return int(any(subprocess.run(step, cwd=folder, env=environment, check=False).returncode for step, folder in steps))


if __name__ == "__main__":
    sys.exit(main())
