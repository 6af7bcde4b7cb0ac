"""Results on disk: one npz with a JSON header that names the kind and the schema version.

Knows nothing of what the arrays mean; each kind describes itself (`data.record`).
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mi_widgets.data.files import replacing
from mi_widgets.data.integers import integer
from mi_widgets.data.record import KINDS
from mi_widgets.errors import DataError

#: Version of the files. 2: results say where their numbers stop being finite. 3: and which interventions were made.
SCHEMA = 3
#: Packed bytes unpack to at most so many times as many (deflate's limit is 1032).
UNPACKED = 1100


def save(data: Any, path: str | Path) -> Path:
    """Write `data` to `path` as npz. Arrays keep their dtype; read back with `load`.

    Raises:
        DataError: `data` is no result of this package.
        ExportError: the file cannot be written; what stood there before stands as it was.
    """
    kind = type(data).__name__
    if KINDS.get(kind) is not type(data):
        raise DataError(f"a {kind} is no result that can be saved.", f"There are {', '.join(KINDS)}.")
    header = {"kind": kind, "schema": SCHEMA, **data.header()}
    # A file object, or numpy would add a suffix of its own.
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **data.arrays())
    return Path(path)


def load(path: str | Path) -> Any:
    """The result that `save` wrote.

    Raises:
        DataError: not such a file, damaged, or written by a newer version. A file that is not there is a
            FileNotFoundError too.
    """
    try:
        header, arrays = _read(Path(path))
        kind, schema = header.pop("kind"), integer("schema", header.pop("schema"))
    except FileNotFoundError:
        raise MissingFileError(f"there is no file {path}.", "Look at the path.") from None
    except Exception as reason:  # zip, zlib, numpy and JSON have each their own for what is damaged
        said = str(reason) or type(reason).__name__
        raise DataError(f"{path} holds no result of mi_widgets ({said}).") from None
    if not isinstance(kind, str) or kind not in KINDS or schema > SCHEMA:
        raise DataError(f"{path} was written by a newer mi_widgets ({kind}, schema {schema}).", "Update mi_widgets.")
    try:
        return KINDS[kind].restore(header, arrays)
    except Exception as reason:  # what is missing, of another type or shape than the others, or too much
        said = reason.message if isinstance(reason, DataError) else f"{type(reason).__name__}: {reason}"
        raise DataError(f"{path} holds a damaged {kind}: {said}", "Save the result again.") from None


class MissingFileError(DataError, FileNotFoundError):
    """A file that is not there."""


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file. Nothing is unpacked that is not what it says, so that a damaged size asks for no
    more memory than the file can hold."""
    whole = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        arrays = {}
        for entry in archive.infolist():
            if entry.file_size > UNPACKED * min(entry.compress_size, whole) + 1000:
                raise ValueError(f"{entry.filename} cannot be as large as it says")
            with archive.open(entry) as file:
                _check_array(file, entry)
            with archive.open(entry) as file:
                arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    header = json.loads(str(arrays.pop("header")))
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}")
    return header, arrays


def _check_array(file: Any, entry: zipfile.ZipInfo) -> None:
    """Raise ValueError unless an array of the zip is of a plain type, and as large as its shape says."""
    version = np.lib.format.read_magic(file)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"{entry.filename} is of npy version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.kind not in "fiubU":
        raise ValueError(f"{entry.filename} is of type {dtype}")
    if any(size < 0 for size in shape) or file.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
        raise ValueError(f"{entry.filename} is not of the shape {list(shape)} that it says")
