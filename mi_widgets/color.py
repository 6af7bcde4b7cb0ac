"""Colours as data: 256-step palettes and the few fixed colours, shared by figures and the page.

The page gets these tables through generated TypeScript, so notebook and paper agree to the last step.
Knows nothing of plotting or of widgets.

Sequential palettes run evenly in OKLab lightness (Ottosson 2020), so they stay readable in greyscale; the
diverging one is symmetric about its middle and uses blue against orange, which every common form of
colour blindness keeps apart. The categorical colours are those of Okabe and Ito (2008).
"""

from __future__ import annotations

from functools import cache

import numpy as np

STEPS = 256

# Control points in OKLCH: (lightness 0..1, chroma, hue in degrees), first = smallest value.
_SEQUENTIAL: dict[str, list[tuple[float, float, float]]] = {
    "blue": [(0.985, 0.004, 230), (0.80, 0.085, 225), (0.58, 0.135, 250), (0.27, 0.105, 272)],
    "amber": [(0.985, 0.006, 95), (0.82, 0.120, 80), (0.58, 0.135, 48), (0.27, 0.075, 28)],
    "grey": [(0.985, 0.0, 0), (0.20, 0.0, 0)],
    "blue_dark": [(0.205, 0.015, 265), (0.42, 0.110, 262), (0.66, 0.125, 235), (0.95, 0.055, 200)],
    "amber_dark": [(0.205, 0.012, 40), (0.42, 0.085, 40), (0.66, 0.130, 60), (0.95, 0.070, 95)],
    "grey_dark": [(0.205, 0.0, 0), (0.96, 0.0, 0)],
}
_DIVERGING: dict[str, list[tuple[float, float, float]]] = {
    "blue_orange": [(0.33, 0.115, 262), (0.62, 0.125, 248), (0.985, 0.0, 0), (0.62, 0.125, 55), (0.33, 0.085, 40)],
    "blue_orange_dark": [(0.93, 0.060, 225), (0.64, 0.125, 248), (0.205, 0.0, 0), (0.64, 0.130, 55), (0.93, 0.070, 85)],
}

#: Palettes a user can choose for values that start at zero; each has a twin for dark backgrounds.
SEQUENTIAL = ("blue", "amber", "grey")
#: The palette of signed values, symmetric about zero.
DIVERGING = "blue_orange"
#: Up to four heads overlaid, in this order (Okabe and Ito 2008: blue, vermilion, bluish green, reddish purple).
CATEGORICAL = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: The one accent of selection, light and dark backgrounds.
ACCENT = {"light": "#C2185B", "dark": "#FF7AA8"}
#: Cells that the attention mask forbids (hatched on screen), and values that are not numbers.
MASKED = {"light": "#E4E4E1", "dark": "#3A3A38"}
MISSING = {"light": "#E7C8F0", "dark": "#6B3E78"}


def _oklch_to_srgb(points: np.ndarray) -> np.ndarray:
    """OKLCH `[step, 3]` to sRGB in 0..1 `[step, 3]` (Ottosson 2020), clipped to the gamut."""
    lightness, chroma, hue = points[:, 0], points[:, 1], np.deg2rad(points[:, 2])
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=1,
    ).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@cache
def palette(name: str) -> np.ndarray:
    """The palette `name` as bytes: uint8 `[256, 3]`, red green blue, row 0 the smallest value.

    Raises:
        KeyError: no palette of that name; the message lists those there are.
    """
    known = {**_SEQUENTIAL, **_DIVERGING}
    if name not in known:
        raise KeyError(f"no palette {name!r}; there are {', '.join(sorted(known))}")
    controls = np.array(known[name], dtype=float)
    # Interpolate in the Cartesian OKLab plane: hue angles would take detours through grey end points.
    lab = np.stack(
        [
            controls[:, 0],
            controls[:, 1] * np.cos(np.deg2rad(controls[:, 2])),
            controls[:, 1] * np.sin(np.deg2rad(controls[:, 2])),
        ],
        axis=1,
    )
    # Control points sit where their lightness says, so that lightness is linear in the value.
    if name in _DIVERGING:
        where = np.array([0.0, 0.5 * _share(controls[:3, 0]), 0.5, 1 - 0.5 * _share(controls[:3, 0]), 1.0])
    else:
        where = (controls[:, 0] - controls[0, 0]) / (controls[-1, 0] - controls[0, 0])
    steps = np.linspace(0, 1, STEPS)
    mixed = np.stack([np.interp(steps, where, lab[:, axis]) for axis in range(3)], axis=1)
    polar = np.stack(
        [mixed[:, 0], np.hypot(mixed[:, 1], mixed[:, 2]), np.rad2deg(np.arctan2(mixed[:, 2], mixed[:, 1]))], axis=1
    )
    table = np.round(_oklch_to_srgb(polar) * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


def _share(lightness: np.ndarray) -> float:
    """Where the middle of three control points stands between the outer two, in lightness."""
    return float((lightness[1] - lightness[0]) / (lightness[2] - lightness[0]))


def palettes() -> dict[str, np.ndarray]:
    """Every palette by name, each uint8 `[256, 3]`."""
    return {name: palette(name) for name in (*_SEQUENTIAL, *_DIVERGING)}


def hex_colors(name: str) -> list[str]:
    """The palette as 256 `#rrggbb` strings, smallest value first."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette(name).tolist()]
