"""The committed bundles are exactly what `npm run build` makes from the sources: byte equality.

Builds in place and restores what was there, so a stale bundle stays visible as a difference to nobody but this.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "mi_widgets" / "widgets" / "static"


def main() -> int:
    """Build; 1 if any bundle changed."""
    before = {path.name: path.read_bytes() for path in STATIC.iterdir()}
    subprocess.run(["npm", "run", "--silent", "build"], cwd=ROOT / "js", check=True)
    after = {path.name: path.read_bytes() for path in STATIC.iterdir()}
    stale = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in stale:
        print(f"stale: mi_widgets/widgets/static/{name}; run `npm run build` in js/ and commit it")
        if name in before:
            (STATIC / name).write_bytes(before[name])
    print(f"{len(after)} bundles, {len(stale)} stale")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
