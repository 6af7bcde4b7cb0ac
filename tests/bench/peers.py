"""The same patterns as CircuitsVis and BertViz show them: one HTML page each, with no network.

The peers are no part of this project: they lie in a folder of their own (see README.md), named by `--peers` or
`MIW_PEERS`. Pages are what the peers' own Python makes; what they load from CDNs is served from that folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: Ends of the addresses that BertViz loads, and the files in the peers' folder.
CDN = {
    "require.min.js": "node_modules/requirejs/require.js",
    "d3.min.js": "node_modules/d3/dist/d3.min.js",
    "jquery.min.js": "node_modules/jquery/dist/jquery.min.js",
}
FRAME = '<!doctype html><html><head><meta charset="utf-8"></head><body>{}</body></html>'


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", default=os.environ.get("MIW_PEERS"), help="folder with the peers; see README.md")


def use(folder: str | None) -> Path:
    """Make the peers' Python importable."""
    if not folder or not (Path(folder) / "circuitsvis").is_dir():
        raise SystemExit("The peers are missing: install them as tests/bench/README.md says, and give --peers FOLDER.")
    sys.path.append(str(Path(folder).resolve()))
    return Path(folder)


def circuitsvis_page(patterns: np.ndarray, tokens: list[str]) -> str:
    """Every head in one `attention_heads`, with its JavaScript inside the page (its offline form)."""
    from circuitsvis.attention import attention_heads

    layers, heads = patterns.shape[:2]
    names = [f"L{layer}H{head}" for layer in range(layers) for head in range(heads)]
    rendered = attention_heads(patterns.reshape(-1, *patterns.shape[2:]), tokens, names)
    return FRAME.format(rendered.local_src)


def bertviz_page(patterns: np.ndarray, tokens: list[str], view: str) -> str:
    """`model_view` (all heads) or `head_view` (one layer at a time)."""
    import bertviz
    import torch

    attention = [torch.from_numpy(layer)[None] for layer in patterns]
    return FRAME.format(getattr(bertviz, view)(attention, tokens, html_action="return").data)


def serve(page: Any, folder: Path | None) -> list[str]:
    """Answer the page's requests from `folder`, refuse every other; returns the list of those refused."""
    refused: list[str] = []

    def answer(route: Any) -> None:
        address = route.request.url
        if address.startswith(("file:", "blob:", "data:")):
            route.continue_()
            return
        name = CDN.get(address.rsplit("/", 1)[-1])
        if folder is None or name is None:
            refused.append(address)
            route.abort()
            return
        route.fulfill(path=folder / name, content_type="text/javascript")

    page.route("**/*", answer)
    return refused
