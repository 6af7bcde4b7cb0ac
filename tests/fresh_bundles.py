"""The committed bundles are exactly what `npm run build` makes from the sources: byte equality. The build also fails
where one is larger than its budget."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "mi_widgets" / "widgets" / "static"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main() -> int:
    """Build elsewhere, since other tests read the bundles meanwhile; 1 if any bundle is another or too large."""
    with tempfile.TemporaryDirectory() as folder:
        status = subprocess.run(["node", "build.mjs", folder], cwd=ROOT / "js", check=False).returncode
        committed, built = contents(STATIC), contents(Path(folder))
    stale = sorted(name for name in committed.keys() | built.keys() if committed.get(name) != built.get(name))
    for name in stale:
        print(f"stale: mi_widgets/widgets/static/{name}; run `npm run build` in js/ and commit it")
    print(f"{len(built)} bundles, {len(stale)} stale")
    return 1 if stale or status else 0


if __name__ == "__main__":
    sys.exit(main())
