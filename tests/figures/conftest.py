"""Attention results with known numbers, and Chromium for tests that look at pixels."""

import base64
import re
import struct
import zlib

import numpy as np
import pytest

from mi_widgets.data import attention_mask, patterns_from_arrays


@pytest.fixture
def make_patterns():
    """`make_patterns(layers, heads, tokens, …)`: softmax of seeded noise, so rows sum to 1 and every value differs."""

    def make(layers, heads, tokens, causal=True, windows=None, seed=0, weighting="pattern"):
        count = len(tokens)
        scores = np.random.default_rng(seed).normal(size=(layers, heads, count, count)) * 2
        allowed = attention_mask(count, causal, windows)
        if weighting == "scores":
            values = np.where(allowed, scores, np.nan)
        else:
            weights = np.where(allowed, np.exp(scores), 0)
            values = weights / weights.sum(-1, keepdims=True)
        return patterns_from_arrays(
            values.astype(np.float32), tokens, causal=causal, windows=windows, weighting=weighting
        )

    return make


@pytest.fixture
def story():
    """Fifteen tokens in which " John" and " to" stand twice."""
    return [
        "<bos>",
        "When",
        " Mary",
        " and",
        " John",
        " went",
        " to",
        " the",
        " store",
        " ,",
        " John",
        " gave",
        " a",
        " drink",
        " to",
    ]


@pytest.fixture
def hostile():
    """Tokens that are markup, script, TeX, templates, several scripts, control characters, a lone surrogate, a wall."""
    return [
        "<b>x</b>",
        "</script><script>alert(1)</script><!--",
        "<a href='javascript:alert(1)'>q</a>",
        "$\\frac{a}{b}$",
        "&amp;",
        "%{x}",
        "漢字",
        "👩‍👩‍👧",
        "\x00\x07",
        "\n",
        "ع",
        "\ud800",
        "]]>",
        "y" * 10_000,
    ]


@pytest.fixture(scope="module")
def printer(chromium):
    """One browser for every `save_figure` of a file of tests."""
    from mi_widgets.figures import open_browser

    with open_browser():
        yield


@pytest.fixture(scope="module")
def page(browser):
    """A blank page of a real browser."""
    return browser.new_page()


@pytest.fixture
def colors_at(page):
    """`colors_at(image, points)`: `#rrggbb` at each (x, y), as shares of width and height, as a browser shows it."""

    def read(image: bytes, points):
        kind = "svg+xml" if image.lstrip().startswith(b"<svg") else "png"
        return page.evaluate(
            """async ([source, points]) => {
                const image = new Image();
                image.src = source;
                await image.decode();
                const canvas = document.createElement("canvas");
                const zoom = Math.max(1, 1200 / image.naturalWidth);
                canvas.width = image.naturalWidth * zoom;
                canvas.height = image.naturalHeight * zoom;
                const context = canvas.getContext("2d");
                context.imageSmoothingEnabled = false;
                context.drawImage(image, 0, 0, canvas.width, canvas.height);
                return points.map(([x, y]) => {
                    const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
                    const [red, green, blue] = context.getImageData(...at, 1, 1).data;
                    return "#" + [red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("");
                });
            }""",
            [f"data:image/{kind};base64,{base64.b64encode(image).decode()}", points],
        )

    return read


@pytest.fixture
def decode_png():
    """`decode_png(bytes)`: uint8 `[row, column, 3]`, by the PNG specification; opaque, 8 bits."""

    def decode(image: bytes) -> np.ndarray:
        assert image[:8] == b"\x89PNG\r\n\x1a\n"
        at, chunks = 8, {}
        while at < len(image):
            (length,) = struct.unpack(">I", image[at : at + 4])
            name, data = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
            (checksum,) = struct.unpack(">I", image[at + 8 + length : at + 12 + length])
            assert zlib.crc32(name + data) == checksum
            chunks[name] = chunks.get(name, b"") + data
            at += 12 + length
        width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        assert depth == 8
        channels = {2: 3, 3: 1, 6: 4}[kind]
        lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
        above, rows = np.zeros((width, channels), int), []
        for line in lines:
            above = unfiltered(int(line[0]), line[1:].reshape(width, channels).astype(int), above)
            rows.append(above)
        pixels = np.stack(rows).astype(np.uint8)
        if kind == 3:
            return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[pixels[:, :, 0]]
        assert kind == 2 or (pixels[:, :, 3] == 255).all()
        return pixels[:, :, :3]

    return decode


def unfiltered(kind: int, line: np.ndarray, above: np.ndarray) -> np.ndarray:
    """A row of pixels before the filter that PNG packed it with."""
    if kind in (0, 2):
        return (line + (above if kind else 0)) % 256
    if kind == 1:
        return line.cumsum(axis=0) % 256
    out, left, corner = line.copy(), np.zeros(line.shape[1], int), np.zeros(line.shape[1], int)
    for place in range(len(line)):
        up = above[place]
        if kind == 3:
            guess = (left + up) // 2
        else:
            whole = left + up - corner
            ways = np.stack([left, up, corner])
            guess = ways[np.abs(ways - whole).argmin(axis=0), np.arange(len(whole))]
        left, corner = (line[place] + guess) % 256, up
        out[place] = left
    return out


@pytest.fixture
def embedded_png():
    """`embedded_png(text)`: every PNG in data URIs, in order."""

    def find(text: str) -> list[bytes]:
        return [base64.b64decode(found) for found in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)]

    return find
