"""Small letters for pictures that are drawn without a font: 7 × 13 pixels each, on or off.

Rasterised once from DejaVu Sans Mono at 11 pixels (a free font). Knows nothing of pictures.
"""

from __future__ import annotations

import base64
from functools import cache

import numpy as np

from mi_widgets.figures.labels import columns

#: The characters there are, in the order of the table; the last stands for every other.
CHARACTERS = "".join(chr(point) for point in range(32, 127)) + "·→…−×‖≤≥∅⟨⟩↵⇥␍□"
#: Drawn as another that looks like it at this size.
ALIKE = str.maketrans("–—", "−−")
WIDTH, HEIGHT = 7, 13

_BITS = (
    "AAAAAAAAAAAAAAAAAAgQIECAAAQAAAAAAoUKAAAAAAAAAAAAKFPyhT8kUAAAAAAEHFCg4KFPhAAAAAMJEhkITCQwAAAAADhAgQUp"
    "UR4AAAAAAgQIAAAAAAAAAAAAIIECBAgQIAAAAAAQECBAwYIECAAAAAEChgoQAAAAAAAAAAAAgQ+ECAAAAAAAAAAAAAABAgQAAAAA"
    "AAAAADgAAAAAAAAAAAAAAAQIAAAAAACCBBAgwQYIAAAAAOMkSpEiZHAAAAAAHBgwYMGDDwAAAAADgYEGCGGD4AAAAADwMGOAgQJ4"
    "AAAAAAIMKFEj4IEAAAAAA8QIHgYEGeAAAAAAPMEDxkiRHAAAAAAPgQQIMECCAAAAAADiJEcRIkRwAAAAABxEiRHgQY4AAAAAAAAE"
    "CAAAQIAAAAAAAACBAAAIECAAAAAAAAQxgYDAAAAAAAAAAB8AfAAAAAAAAAABAcDDGAAAAAAABwMCCCBAAQAAAAAAAMRJ5dESuQHg"
    "AAAIOFCjJ8iRgAAAAAeIkTxEiRPgAAAAAHiCBAgQEDwAAAAAHiZEiRIkzwAAAAAD5AgfIECB8AAAAAB8wYPmDBgwAAAAAAeYIECZ"
    "EyPAAAAAARIkT5EiRIgAAAAAPhAgQIECHwAAAAADgQIECBAjwAAAAACJIocPEiZGAAAAABgwYMGDBg+AAAAAAibNlypEiRAAAAAA"
    "ZMmSpUmTIgAAAAAHESJEiRIjgAAAAAHiJEieIECAAAAAABxEiRIkSI4GAAAAB4mRJniZEjAAAAAAcQIDAYECeAAAAAA/iBAgQIEC"
    "AAAAAAIkSJEiRIjgAAAAAESJEWKFDggAAAAAEHCrVNmzZkAAAAABESKCBhREjAAAAAAiRFDggQIEAAAAAAfAggQQQIPwAAAAADBA"
    "gQIECBAgYAAAEDAgYECAgQEAAAABgQIECBAgQIEAAAAQURAAAAAAAAAAAAAAAAAAAAAAAAAAQEAAAAAAAAAAAAAAAABwEeRIjwAA"
    "AAAECB4yRImTwAAAAAAAAeIIEBA8AAAAAAECPJkSJEeAAAAAAAAHET5AwPAAAAAAHCHwgQIECAAAAAAAAB5MiRIjwI4AAAECB4yR"
    "IkSIAAAAAAgAYECBAh8AAAAAAYAODBgwYMEOAAAAwYMmjho2ZAAAAAAcCBAgQIEDgAAAAAAAD5UqVKlQAAAAAAAB4yRIkSIAAAAA"
    "AAAcRIkSI4AAAAAAAAeMkSJk8QIAAAAAAHkyJEiPAgQAAAAADxggQIEAAAAAAAABxgYDAngAAAAAAAh8IECBA4AAAAAAAAiRIkSI"
    "8AAAAAAAARIihQ4IAAAAAAAAQUKpc2bAAAAAAAAERQQMKIgAAAAAAACJEUKDBAhgAAAAAA8EGCCD4AAAAAA4QIEGBAgQIDAAAAQI"
    "ECBAgQIECAAAAYECBAYQIECCAAAAAAADgMAAAAAAAAAAAAAQIAAAAAAAAAAAAAAfBgAAAAAAAAAAAAAACpUAAAAAAAAAAHwAAAAA"
    "AAAAAAIigw4iAAAAAAAKFChQoUKFChQAAAAAAI8wHAnwAAAAAAABA8DOAD4AAAAAAAAeTCmTYwAAAAAAIIECCAgQIEBAAAAQECBA"
    "QIIECAAAAAAAAAAEi/IAAAAAAAAAAE+DAAAAAAAAHwIECBAgQIE+AAAAAB/gwYMGC+AAAA=="
)


@cache
def _table() -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(base64.b64decode(_BITS), np.uint8))
    return bits[: len(CHARACTERS) * WIDTH * HEIGHT].reshape(-1, HEIGHT, WIDTH).astype(bool)


def line_of(text: str) -> np.ndarray:
    """bool `[row, column]`, 13 rows: `text` on one line. A character there is none for is an open box, one or two
    letters wide as it would be."""
    table = _table()
    known = {character: place for place, character in enumerate(CHARACTERS)}
    pieces = []
    for character in text.translate(ALIKE):
        width = columns(character)
        if width:
            glyph = table[known.get(character, len(CHARACTERS) - 1)]
            pieces.append(glyph if width == 1 else np.pad(glyph, ((0, 0), (3, WIDTH - 3))))
    return np.concatenate(pieces, axis=1) if pieces else np.zeros((HEIGHT, 0), bool)
