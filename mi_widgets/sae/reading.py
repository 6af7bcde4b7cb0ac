"""Tensors and settings from files, never pickled ones, with one clear error for each way a file can be bad.

Knows nothing of what the tensors mean.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mi_widgets.errors import DataError

AGAIN = "Get the file again, whole."
#: How files of `torch.save` and `pickle` begin; the first is any zip file's too, an npz among them.
ZIPPED, PICKLED = b"PK\x03\x04", b"\x80"
LFS = b"version https://git-lfs"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Raises:
        DataError: no such file, a truncated or damaged one, or one that is pickled whatever its name says.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_there(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as reason:
        # looked at after: a header's length may begin with the same bytes
        begins = _first_bytes(path)
        raise (pickled(path) if begins.startswith((ZIPPED, PICKLED)) else _damaged(path, reason)) from reason


def arrays(path: Path) -> dict[str, torch.Tensor]:
    """All arrays of an npz file as tensors.

    Raises:
        DataError: no such file, a truncated or damaged one, or one with pickled objects in it.
    """
    _check_there(path)
    try:
        with np.load(path, allow_pickle=False) as read:
            if not isinstance(read, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is no npz file.", AGAIN)
            return {key: torch.from_numpy(np.array(read[key])) for key in read.files}
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, TypeError, ValueError) as reason:
        begins = _first_bytes(path)
        within = begins.startswith(ZIPPED) and isinstance(reason, ValueError) and "allow_pickle" in str(reason)
        raise (pickled(path) if within or begins.startswith(PICKLED) else _damaged(path, reason)) from reason


def settings(path: Path) -> dict[str, Any]:
    """What a JSON file says.

    Raises:
        DataError: no such file, or no JSON object in it.
    """
    _check_there(path)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as reason:
        raise DataError(f"{path} is no whole JSON file: {reason}.", AGAIN) from reason
    return _names_and_values(path, said)


def yaml_settings(path: Path) -> dict[str, Any]:
    """What a YAML file says.

    Raises:
        DataError: no such file, or no names and values in it.
    """
    import yaml

    _check_there(path)
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError) as reason:
        raise DataError(f"{path} is no whole YAML file: {reason}.", AGAIN) from reason
    return _names_and_values(path, said)


def pickled(path: Path | str) -> DataError:
    """The refusal of a file that may run code when it is opened."""
    return DataError(
        f"{path} is pickled; opening it could run any code, so it is not opened.",
        "Get it as safetensors or npz, or open it yourself where you trust it and give the object.",
    )


def some(names: Iterable[str], most: int = 12) -> str:
    """The first of them, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")


def _names_and_values(path: Path, said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise DataError(f"{path} holds {type(said).__name__}, not names and values.", AGAIN)
    return said


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"there is no {path.name} in {path.parent}.", "Give the folder that holds it.")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(LFS))
    except OSError:
        return b""


def _damaged(path: Path, reason: Exception) -> DataError:
    if _first_bytes(path) == LFS:
        return DataError(f"{path} is a pointer of Git LFS, not the file that it points to.", "Get it: git lfs pull.")
    kind = path.suffix.removeprefix(".")
    return DataError(f"{path} is no whole {kind} file: {str(reason).rstrip('.')}.", AGAIN)
