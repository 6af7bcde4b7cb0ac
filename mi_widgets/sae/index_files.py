"""The folder of an index: Parquet tables, and a manifest that says what they are of and which of them hold.

All tables of one state are written beside those of the state before, then the manifest in one step, then the old ones
go: so a full disk, Ctrl-C or a crash leaves the state before, whole. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mi_widgets.data.files import HINTS, replacing
from mi_widgets.data.store import MissingFileError
from mi_widgets.errors import DataError, ExportError

MANIFEST, LABELS = "manifest.json", "labels.json"
KIND, SCHEMA = "mi_widgets feature index", 1
#: Names of tables' files, with the number of their state.
TABLE = re.compile(r"(features|examples|together|vocabulary)-\d+\.parquet")
#: Rows of a group, which is read as a whole: few where one feature is looked up, by table.
GROUPS = {"features": 1024, "examples": 8192}
#: Rows of all other tables' groups.
GROUP = 1 << 18


class Derived:
    """A column that is made of an array when it is written, a part at a time.

    Args:
        array: `[row, …]`.
        function: makes of some rows the column's.
    """

    def __init__(self, array: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self._array, self._function = array, function

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._function(self._array[rows])


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it.

    Raises:
        ExportError: it cannot be made, with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as refusal:
        said = (refusal.strerror or str(refusal)).lower()
        raise ExportError(
            f"cannot make the folder {folder}: {said}.", HINTS.get(refusal.errno or 0, "Choose another: folder=….")
        ) from refusal


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an index in `folder`, or None where there is none.

    Raises:
        DataError: it is damaged, of a newer version, or tables that it names are not as it says.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as reason:
        raise damaged(folder, f"{MANIFEST} cannot be read ({reason})") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise damaged(folder, f"{MANIFEST} is none of an index")
    if manifest.get("schema") != SCHEMA:
        raise DataError(f"the index in {folder} was written by another version of mi_widgets.", "Update mi_widgets.")
    try:
        tables = {name: (folder / table["file"], int(table["bytes"])) for name, table in manifest["tables"].items()}
    except (KeyError, TypeError, AttributeError) as reason:
        raise damaged(folder, f"{MANIFEST} lacks {reason}") from None
    for name, (path, wanted) in tables.items():
        size = path.stat().st_size if path.is_file() else None
        if size != wanted:
            said = "is not there" if size is None else f"has {size:,} bytes and not {wanted:,}"
            raise damaged(folder, f"the table of {name}, {path.name}, {said}")
    return manifest


def damaged(folder: Path, said: str) -> DataError:
    """That an index cannot be used any more."""
    said = " ".join(said.split())
    return DataError(f"the index in {folder} is damaged: {said[:300]}.", "Delete that folder and make the index again.")


def write_state(folder: Path, tables: Mapping[str, Mapping[str, Any]], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Put a new state in place of the one before; tables that are not named are kept.

    Args:
        folder: of the index; it exists.
        tables: by name, columns: numpy `[row]` or `[row, …]`, `Derived`, or a list of arrays.
        manifest: what else the manifest says.

    Returns:
        The manifest.

    Raises:
        ExportError: it cannot be written; the state before stands.
    """
    before = _tables_before(folder)
    state = 1 + max((table["state"] for table in before.values()), default=0)
    held = dict(before)
    try:
        for name, columns in tables.items():
            path = folder / f"{name}-{state}.parquet"
            rows = _write(path, name, columns)
            held[name] = {"file": path.name, "state": state, "rows": rows, "bytes": path.stat().st_size}
        whole = {"kind": KIND, "schema": SCHEMA, **manifest, "tables": held}
        with replacing(folder / MANIFEST) as beside:
            beside.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    finally:
        _tidy(folder)
    return whole


def _tables_before(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["tables"]
    return {}


def _tidy(folder: Path) -> None:
    """Take away the tables that the manifest, as it is now, does not name: a Ctrl-C may come at any line."""
    named = {table["file"] for table in _tables_before(folder).values()}
    for path in folder.glob("*-*.parquet"):
        if TABLE.fullmatch(path.name) and path.name not in named:
            with suppress(OSError):
                path.unlink()


def _write(path: Path, name: str, columns: Mapping[str, Any]) -> int:
    rows = len(next(iter(columns.values())))
    several = GROUPS.get(name, GROUP)
    first = _table(columns, 0, min(several, rows))
    with (
        replacing(path) as beside,
        pq.ParquetWriter(
            beside, first.schema, compression="zstd", compression_level=1, write_page_checksum=True
        ) as writer,
    ):
        writer.write_table(first)
        for start in range(several, rows, several):
            writer.write_table(_table(columns, start, start + several))
    return rows


def _table(columns: Mapping[str, Any], start: int, stop: int) -> pa.Table:
    return pa.table({name: _arrow(column[start:stop]) for name, column in columns.items()})


def _arrow(column: Any) -> pa.Array:
    if isinstance(column, list):
        if column and isinstance(column[0], str):
            return pa.array(column, pa.string())
        ends = np.cumsum([0, *map(len, column)])
        flat = np.concatenate(column) if column else np.empty(0, np.int64)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat))
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).reshape(-1)), column.shape[1])


def read_table(
    folder: Path, manifest: Mapping[str, Any], name: str, columns: list[str] | None = None
) -> dict[str, Any]:
    """The columns of a table, as `write_state` was given them.

    Raises:
        DataError: the file is damaged.
    """
    table = manifest["tables"][name]
    path = folder / table["file"]
    try:
        read = pq.ParquetFile(path, page_checksum_verification=True).read(columns)
        found = {one: _numpy(read.column(one).combine_chunks()) for one in read.column_names}
    except FileNotFoundError:
        raise MissingFileError(f"there is no file {path}.", "Make the index again.") from None
    except (OSError, ValueError, pa.ArrowException) as reason:
        raise damaged(folder, f"{path.name} cannot be read ({reason})") from None
    if any(len(column) != table["rows"] for column in found.values()):
        raise damaged(folder, f"{path.name} has not {table['rows']:,} rows")
    return found


def _numpy(column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    if pa.types.is_list(column.type):
        ends, flat = column.offsets.to_numpy(), column.values.to_numpy(zero_copy_only=False)
        return [flat[start:stop] for start, stop in pairwise(ends.tolist())]
    return column.to_pylist() if pa.types.is_string(column.type) else column.to_numpy(zero_copy_only=False)


def read_labels(folder: Path) -> dict[int, dict[str, Any]]:
    """What readers called features, by feature: `label` and `rating`.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / LABELS
    try:
        return {int(feature): dict(said) for feature, said in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as reason:
        raise DataError(f"{path} cannot be read ({reason}).", "Mend or delete that file.") from None


def write_labels(folder: Path, labels: Mapping[int, Mapping[str, Any]]) -> None:
    """Keep what readers called features.

    Raises:
        ExportError: the file cannot be written; what stood there stands.
    """
    with replacing(folder / LABELS) as beside:
        beside.write_text(
            json.dumps({str(feature): said for feature, said in labels.items()}, indent=1), encoding="utf-8"
        )


def parquet_pattern(path: Path) -> str:
    """`path` as DuckDB takes it, which looks for names of a pattern: what would be one stands for itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in os.fspath(path))
