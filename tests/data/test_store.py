"""Files that are damaged, or no results at all, are always our error with the path: never a raw one, never much memory."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import RECORDS, patterns

from mi_widgets.data import load, save
from mi_widgets.data.store import SCHEMA
from mi_widgets.errors import DataError


def saved(kind, folder):
    """A record of that kind, and the bytes of its file."""
    record = RECORDS[kind]()
    return record, save(record, folder / f"{kind}.npz").read_bytes()


def written(path, header, arrays):
    """A file of that header (any JSON text) and those arrays."""
    np.savez_compressed(path, header=np.array(header), **arrays)
    return path


def loaded(path):
    """What a file holds, or None where it is refused with our error, which names the file."""
    try:
        return load(path)
    except DataError as error:
        if str(path) in error.message:
            return None
        raise


def assert_same(one, other):
    assert one.header() == other.header() or "NaN" in json.dumps(one.header())
    assert one.arrays().keys() == other.arrays().keys()
    for name, array in one.arrays().items():
        assert np.array_equal(array, other.arrays()[name], equal_nan=True), name


@pytest.mark.parametrize("kind", RECORDS)
def test_every_kind_comes_back_as_it_was(kind, tmp_path):
    record, _ = saved(kind, tmp_path)
    assert_same(load(tmp_path / f"{kind}.npz"), record)


@pytest.mark.parametrize("kind", RECORDS)
def test_flipped_bytes_are_our_error_or_change_nothing(kind, tmp_path):
    record, whole = saved(kind, tmp_path)
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(25):  # 200 in all
        damaged = bytearray(whole)
        for place in draw.integers(0, len(whole), draw.integers(1, 4)):
            damaged[place] ^= 1 << draw.integers(8)
        path = tmp_path / "damaged.npz"
        path.write_bytes(damaged)
        found = loaded(path)
        refused += found is None
        assert_same(found or record, record)
    assert refused > 15


@pytest.mark.parametrize("kind", RECORDS)
def test_a_file_cut_off_anywhere_is_our_error(kind, tmp_path):
    _, whole = saved(kind, tmp_path)
    path = tmp_path / "cut.npz"
    for end in np.linspace(0, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"cut\.npz holds no result"):
            load(path)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def ways_in(value, way=()):
    """Every way into a JSON value."""
    yield way
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in inside:
        yield from ways_in(entry, (*way, name))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", RECORDS)
def test_a_header_of_other_types_is_our_error_or_a_result(kind, tmp_path, data):
    record = RECORDS[kind]()
    header = {"kind": kind, "schema": SCHEMA, **record.header()}
    way = data.draw(st.sampled_from(list(ways_in(header))))
    other = data.draw(ANY_JSON)
    if way:
        inside = header
        for name in way[:-1]:
            inside = inside[name]
        if data.draw(st.booleans()) and isinstance(inside, dict):
            del inside[way[-1]]
        else:
            inside[way[-1]] = other
    else:
        header = other
    path = written(tmp_path / "other.npz", json.dumps(header), record.arrays())
    found = loaded(path)
    assert found is None or load(save(found, tmp_path / "again.npz")).header().keys() == found.header().keys()


@pytest.mark.parametrize("header", ["[]", "5", "NaN", "null", '"text"', "{", "", "[" * 100_000, '{"kind": "Tokens"}'])
def test_a_header_that_is_no_list_of_names_is_our_error(header, tmp_path):
    with pytest.raises(DataError, match=r"other\.npz holds no result"):
        load(written(tmp_path / "other.npz", header, patterns().arrays()))


@pytest.mark.parametrize("change", [{"schema": SCHEMA + 1}, {"kind": "FeatureGraph"}, {"kind": ["Tokens"]}])
def test_a_newer_file_says_so(change, tmp_path):
    record = patterns()
    header = {"kind": "AttentionPatterns", "schema": SCHEMA, **record.header(), **change}
    with pytest.raises(DataError, match="newer mi_widgets"):
        load(written(tmp_path / "newer.npz", json.dumps(header), record.arrays()))


@pytest.mark.parametrize("kind", RECORDS)
def test_arrays_of_other_types_and_shapes_are_our_error(kind, tmp_path):
    record = RECORDS[kind]()
    header = json.dumps({"kind": kind, "schema": SCHEMA, **record.header()})
    for name, array in record.arrays().items():
        for other in (
            array.astype(complex),
            array.astype(str),
            array.astype(object),
            array.astype([("field", "f4")]),
            array[..., None],
            array[:-1],
            array.ravel()[0],
            array.astype("M8[s]"),
        ):
            path = written(tmp_path / "other.npz", header, record.arrays() | {name: other})
            with pytest.raises(DataError, match=r"other\.npz holds"):
                load(path)
    for name in record.arrays():
        if name.rpartition(".")[2] not in {
            "key_weight",
            "heads",
            "sources",
            "estimates",
            "answers",
            "foils",
            *record.LATER,
        }:
            rest = {other: array for other, array in record.arrays().items() if other != name}
            with pytest.raises(DataError, match=r"other\.npz holds a damaged"):
                load(written(tmp_path / "other.npz", header, rest))


def npy(shape, dtype="<f4", data=b""):
    """An array's bytes whose header says `shape`, whatever follows."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize("shape", [(1 << 33,), (1 << 20, 1 << 20, 1 << 20), (-1,), (-4, 4)], ids=str)
def test_a_size_that_lies_takes_no_memory(shape, tmp_path):
    path = tmp_path / "lies.npz"
    record = patterns()
    header = io.BytesIO()
    np.save(header, np.array(json.dumps({"kind": "AttentionPatterns", "schema": SCHEMA, **record.header()})))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", header.getvalue())
        archive.writestr("base.npy", npy(shape, data=bytes(100)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"lies\.npz holds no result"):
        load(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000


def test_a_zip_that_says_it_unpacks_to_more_than_it_can_is_our_error(tmp_path):
    _, whole = saved("AttentionPatterns", tmp_path)
    at = whole.rindex(b"PK\x01\x02")  # the last entry of the zip's own list: its unpacked size is 24 bytes on
    lying = whole[: at + 24] + (0xFFFFFF00).to_bytes(4, "little") + whole[at + 28 :]
    path = tmp_path / "lies.npz"
    path.write_bytes(lying)
    with pytest.raises(DataError, match=r"lies\.npz holds no result .*cannot be as large"):
        load(path)


def test_a_file_that_is_not_there_is_named_in_both_languages(tmp_path):
    for error in (DataError, FileNotFoundError):
        with pytest.raises(error, match=r"no file .*nothing\.npz"):
            load(tmp_path / "nothing.npz")


@pytest.mark.parametrize("strange", [None, 5, Path(__file__).parent, "with\0null"])
def test_what_is_no_file_is_our_error(strange):
    with pytest.raises(DataError):
        load(strange)


@pytest.mark.parametrize("strange", [None, 5, np.zeros(3), {"kind": "LogitLens"}])
def test_only_results_can_be_saved(strange, tmp_path):
    with pytest.raises(DataError, match="no result that can be saved"):
        save(strange, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_there_come_back_as_such(tmp_path):
    record = RECORDS["LogitAttribution"]()
    lost = type(record).restore({**record.header(), "difference": float("nan")}, record.arrays())
    again = load(save(lost, tmp_path / "x.npz"))
    assert np.isnan(again.difference) and not again.holds
