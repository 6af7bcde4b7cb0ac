"""Bytes for the page: what goes in comes out, within stated bounds; both languages agree on golden bytes; the
generated TypeScript is fresh."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from mi_widgets.errors import DataError
from mi_widgets.wire import typescript
from mi_widgets.wire.blocks import U8_MISSING, Block, encode, pack, unpack, value_range

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
squares = arrays.arrays(
    np.float32,
    some.tuples(some.integers(1, 3), some.integers(1, 7)).map(lambda shape: (shape[0], shape[1], shape[1])),
    elements=some.floats(-1e6, 1e6, width=32) | some.just(float("nan")),
)


def through(values, **how):
    block = Block("x", values, ("layer", "query", "key"), **how)
    manifest, found, headers = unpack(pack([block], {"a": 1}))
    assert manifest == {"a": 1}
    return found["x"], headers["x"]


@settings(max_examples=60)
@given(squares, some.sampled_from(["dense", "lower"]))
def test_float32_is_exact(values, layout):
    got, _ = through(values, layout=layout)
    want = np.tril(np.nan_to_num(values, nan=7e7)) if layout == "lower" else values
    got = np.tril(np.nan_to_num(got, nan=7e7)) if layout == "lower" else got
    assert np.array_equal(got, want, equal_nan=True)


@settings(max_examples=60)
@given(squares.map(lambda values: values / np.float32(1e3)))
def test_float16_keeps_three_digits(values):
    got, _ = through(values, dtype="f16")
    assert np.array_equal(np.isnan(got), np.isnan(values))
    assert np.allclose(got, values, rtol=1e-3, atol=1e-7, equal_nan=True)


def test_float16_keeps_probabilities_to_a_few_parts_in_ten_thousand():
    values = np.random.default_rng(0).random((1, 50, 50), dtype=np.float32)
    got, _ = through(values, dtype="f16")
    assert np.abs(got - values).max() <= 2.5e-4


def test_float16_never_becomes_infinite():
    got, _ = through(np.full((1, 1, 1), 1e6, np.float32), dtype="f16")
    assert got[0, 0, 0] == 65504


@settings(max_examples=100)
@given(squares)
def test_eight_bits_stay_within_a_five_hundredth_of_the_range(values):
    got, header = through(values, dtype="u8")
    low, high = value_range(values)
    assert (header["low"], header["high"]) == (low, high)
    assert np.array_equal(np.isnan(got), np.isnan(values))
    there = ~np.isnan(values)
    if there.any():
        assert np.abs(got[there].astype(float) - values[there]).max() <= 0.002 * (high - low) + 1e-6 * max(
            abs(low), abs(high)
        )


@settings(max_examples=60)
@given(squares)
def test_square_root_codes_are_finer_near_the_low_end(values):
    got, header = through(values, dtype="u8", transform="sqrt")
    span = header["high"] - header["low"]
    there = ~np.isnan(values)
    if there.any() and span > 0:
        share = (values[there].astype(float) - header["low"]) / span
        # half a code in the square root is at most (2·√x + ½/254) / 508 of the range
        bound = (2 * np.sqrt(share.clip(0, 1)) + 0.002) / 508 + 1e-5
        assert (np.abs(got[there].astype(float) - values[there]) / span <= bound).all()


@settings(max_examples=60)
@given(squares)
def test_signed_codes_are_symmetric_about_zero(values):
    got, header = through(values, dtype="u8", transform="signed_sqrt")
    assert header["low"] == -header["high"]
    there = ~np.isnan(values)
    if there.any():
        assert np.abs(got[there].astype(float) - values[there]).max() <= 0.01 * header["high"] + 1e-6
    mirrored, _ = through(-values, dtype="u8", transform="signed_sqrt")
    assert np.allclose(mirrored, -got, atol=1e-5 * max(header["high"], 1e-30), equal_nan=True)


def test_zero_is_exactly_zero_in_signed_codes():
    got, _ = through(np.array([[[0.0, -3.0], [3.0, 0.0]]], np.float32), dtype="u8", transform="signed_sqrt")
    assert got[0, 0, 0] == 0
    assert got[0, 1, 1] == 0


def test_a_range_of_the_smallest_numbers_is_no_hole():
    values = np.array([[[0, 1e-45], [1e-45, 0]]], np.float32)
    got, _ = through(values, dtype="u8")
    assert np.isfinite(got).all()


@pytest.mark.parametrize("dtype", ["u8", "f16", "f32"])
@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 0, 0)), np.full((1, 2, 2), np.nan), np.full((1, 3, 3), 0.25)],
    ids=["empty", "nan", "constant"],
)
def test_degenerate_blocks_come_back(dtype, values):
    got, header = through(values.astype(np.float32), dtype=dtype)
    assert got.shape == values.shape
    assert np.array_equal(got, values, equal_nan=True)
    assert np.isfinite([header["low"], header["high"]]).all()


def test_missing_has_its_own_code():
    _, payload = encode(Block("x", np.array([0.0, np.nan, 1.0], np.float32), ("key",), "u8"))
    assert list(payload) == [0, U8_MISSING, 254]


def test_lower_layout_is_row_by_row():
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    header, payload = encode(Block("x", values, ("query", "key"), layout="lower"))
    assert np.frombuffer(payload, "<f4").tolist() == [0, 3, 4, 6, 7, 8]
    assert header["nbytes"] == 24


def test_every_payload_starts_at_a_multiple_of_eight():
    blocks = [
        Block(str(size), np.zeros(size, np.float32), ("key",), dtype) for size in range(1, 9) for dtype in ("u8", "f16")
    ]
    parcel = pack(
        [Block(f"{block.name}{block.dtype}", block.values, block.axes, block.dtype) for block in blocks], {"é": "🙂"}
    )
    length = int.from_bytes(parcel[:4], "little")
    header = json.loads(parcel[4 : 4 + length])
    start = -(-(4 + length) // 8) * 8
    assert len(header["blocks"]) == 16
    for block in header["blocks"]:
        assert (start + block["offset"]) % 8 == 0
        assert start + block["offset"] + block["nbytes"] <= len(parcel)


def test_wrong_blocks_are_refused():
    with pytest.raises(DataError, match="2 axes"):
        Block("x", np.zeros((2, 2)), ("key",))
    with pytest.raises(DataError, match="equal query and key"):
        Block("x", np.zeros((2, 3)), ("query", "key"), layout="lower")


def test_a_newer_parcel_says_so():
    with pytest.raises(DataError, match="newer"):
        unpack(pack([], None).replace(b'"schema":1', b'"schema":9'))


def test_a_manifest_never_holds_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack([], {"high": float("nan")})


@given(some.text(some.characters()))
def test_any_text_crosses_in_a_manifest(text):
    manifest, _, _ = unpack(pack([], {"text": text}))
    assert manifest["text"].encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


class TestGolden:
    """Bytes that Python and TypeScript must read alike; `js/` reads the same two files."""

    def test_python_reads_the_golden_bytes(self):
        manifest, found, _ = unpack((GOLDEN / "parcel.bin").read_bytes())
        want = json.loads((GOLDEN / "parcel.json").read_text(encoding="utf-8"))
        assert manifest == want["manifest"]
        assert set(found) == set(want["arrays"])
        for name, nested in want["arrays"].items():
            values = np.array(nested, dtype=np.float64).astype(np.float32)
            assert np.array_equal(found[name].reshape(values.shape), values, equal_nan=True), name

    def test_python_writes_the_golden_bytes(self):
        spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
        make = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(make)
        parcel, text = make.golden()
        assert parcel == (GOLDEN / "parcel.bin").read_bytes()
        assert text == (GOLDEN / "parcel.json").read_text(encoding="utf-8")

    def test_python_prints_the_golden_ticks(self):
        spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
        make = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(make)
        assert make.ticks() == (GOLDEN / "ticks.json").read_text(encoding="utf-8")


def test_generated_typescript_is_fresh():
    core = ROOT / "js" / "src" / "core"
    for name, text in typescript.files().items():
        assert (core / name).read_text(encoding="utf-8") == text, "run python -m mi_widgets.wire.typescript"
