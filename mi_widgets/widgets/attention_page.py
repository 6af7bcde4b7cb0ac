"""What an offline page keeps of an attention picture. Knows nothing of the live widget."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from mi_widgets.data import AttentionPatterns
from mi_widgets.errors import DataError
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.blocks import pack

#: Bytes of patterns in an offline page from which on it is worth a word.
LARGE_PAGE = 50_000_000


def heads_kept(
    patterns: AttentionPatterns, heads: str | Iterable[tuple[int, int]], focused: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The heads whose full patterns a page keeps.

    Args:
        patterns: that there are.
        heads: `"all"`, `"shown"` or `(layer, head)` pairs.
        focused: those on screen, which are always kept.

    Raises:
        DataError: another word, or a head that does not exist.
    """
    if heads == "all":
        return [(layer, head) for layer in patterns.layers for head in range(patterns.n_heads)]
    if heads == "shown":
        return focused
    if isinstance(heads, str):
        raise DataError(f"heads={heads!r} is unknown.", 'Give "all", "shown" or (layer, head) pairs.')
    kept = list(dict.fromkeys([*focused, *((int(layer), int(head)) for layer, head in heads)]))
    for layer, head in kept:
        patterns.head(layer, head)  # raises for one that does not exist
    return kept


def frozen_parcels(picture: AttentionPicture, kept: list[tuple[int, int]]) -> dict[str, bytes]:
    """The traits `picture` and `store` of a frozen view: all thumbnails, and the full patterns kept (float16)."""
    cells = picture.data.shape[2] ** 2 // (2 if picture.data.causal else 1)
    nbytes = 2 * cells * len(kept) * len(picture.sides)
    if nbytes > LARGE_PAGE:
        warnings.warn(
            f'the page keeps {len(kept)} heads, about {nbytes / 1e6:.0f} MB; heads="shown" keeps those on screen.',
            stacklevel=7,
        )
    shows = ("A", "B", "difference") if picture.comparison is not None else ("A",)
    return {
        "picture": pack([picture.atlas(show) for show in shows], picture.manifest(live=False)),
        "store": pack(picture.heads(kept, exact=False)),
    }
