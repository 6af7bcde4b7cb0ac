"""The built page side of the views, as it lies in the package. Knows nothing of any view."""

from __future__ import annotations

import json
from pathlib import Path

STATIC = Path(__file__).parent / "static"


def built(name: str) -> str:
    """What `npm run build` wrote into a file; in place of a page side that is not built yet, one that says so."""
    path = STATIC / name
    if path.exists():
        return path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return ""
    said = f"{path.stem}: the page side is not built. In the checkout: cd js && npm ci && npm run build"
    return f"export default {{ render({{ el }}) {{ el.textContent = {json.dumps(said)}; }} }};"
