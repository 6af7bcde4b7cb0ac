"""Attention results with known numbers, and readers of pictures."""

import base64
import re
import struct
import zlib

import numpy as np
import pytest

from mi_widgets.data import attention_mask, patterns_from_arrays
from mi_widgets.figures.press import png_of


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
def page(browser):
    """A blank page of a real browser."""
    return browser.new_page()


@pytest.fixture
def colors_at(decode_png):
    """`colors_at(image, points)`: `#rrggbb` of a PNG or SVG at each (x, y), as shares of width and height."""

    def read(image: bytes, points):
        pixels = decode_png(png_of(image.decode()) if image.lstrip().startswith(b"<svg") else image)
        height, width, _ = pixels.shape
        return ["#" + bytes(pixels[int(y * height), int(x * width)].tolist()).hex() for x, y in points]

    return read


@pytest.fixture
def decode_png():
    """`decode_png(bytes)`: uint8 `[row, column, 3]`, by the PNG specification; opaque, eight bits to a channel."""

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
        pixels = _unfiltered(lines[:, 0], lines[:, 1:].reshape(height, width, channels))
        if kind == 3:
            return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[pixels[:, :, 0]]
        assert kind == 2 or (pixels[:, :, 3] == 255).all()
        return pixels[:, :, :3]

    return decode


def _unfiltered(filters: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The bytes of a PNG whose rows were stored as differences: from the left, above, their mean, or Paeth's choice."""
    height, width, channels = lines.shape
    if set(filters.tolist()) <= {0, 2}:
        rows = []
        for kind, line in zip(filters, lines, strict=True):
            rows.append(line + (rows[-1] if kind == 2 else np.uint8(0)))
        return np.stack(rows)
    out = np.zeros((height + 1, width + 1, channels), np.int16)
    # Along a diagonal no byte depends on another.
    for step in range(height + width - 1):
        row = np.arange(max(0, step - width + 1), min(height, step + 1))
        column = step - row
        left, above, corner = out[row + 1, column], out[row, column + 1], out[row, column]
        near = [abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)]
        chosen = np.where(
            (near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], above, corner)
        )
        kinds = [filters[row, None] == kind for kind in (1, 2, 3, 4)]
        guess = np.select(kinds, [left, above, (left + above) // 2, chosen], 0)
        out[row + 1, column + 1] = (lines[row, column] + guess) & 255
    return out[1:, 1:].astype(np.uint8)


@pytest.fixture
def embedded_png():
    """`embedded_png(text)`: every PNG in data URIs, in order."""

    def find(text: str) -> list[bytes]:
        return [base64.b64decode(found) for found in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)]

    return find


@pytest.fixture
def pdf_text():
    """`pdf_text(document)`: what a reader of a PDF selects and copies, by its fonts' own tables, in order of drawing."""

    def read(document: bytes) -> str:
        objects = {int(found[1]): found[2] for found in re.finditer(rb"(?s)(\d+) 0 obj\n(.*?)\nendobj", document)}
        streams = {
            number: zlib.decompress(body.partition(b"stream\n")[2])
            for number, body in objects.items()
            if b"/FlateDecode" in body
        }
        letters = {}
        for name, font in re.findall(rb"/(f\d+) (\d+) 0 R", b"".join(objects.values())):
            table = streams[int(re.search(rb"/ToUnicode (\d+)", objects[int(font)])[1])]
            pairs = re.findall(rb"<([0-9A-F]+)> <([0-9A-F]+)>\n", table.partition(b"beginbfchar")[2])
            letters[name] = {
                bytes.fromhex(code.decode()): bytes.fromhex(text.decode()).decode("utf-16-be") for code, text in pairs
            }
        (page,) = (body for body in objects.values() if b"/MediaBox" in body)
        drawn, font = [], b""
        for found in re.finditer(
            rb"(?s)/(f\d+) [\d.]+ Tf|\(((?:[^\\()]|\\.)*)\)Tj", streams[int(re.search(rb"/Contents (\d+)", page)[1])]
        ):
            font = found[1] or font
            if found[2] is not None:
                codes = re.sub(rb"(?s)\\([0-7]{3}|.)", _escaped, found[2])
                wide = len(next(iter(letters[font])))  # bytes to a letter: one in the fonts of emoji
                drawn += [letters[font].get(codes[at : at + wide], "") for at in range(0, len(codes), wide)]
        return "".join(drawn)

    return read


def _escaped(found: re.Match[bytes]) -> bytes:
    """The byte that a backslash in a string of PDF stands before."""
    if len(found[1]) == 3:
        return bytes([int(found[1], 8)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}.get(found[1], found[1])
