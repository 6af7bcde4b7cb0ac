"""`sae.load`: a coder from wherever it is, told by what lies there. Knows the formats' files by name, not what is in
them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mi_widgets.errors import DataError
from mi_widgets.sae import saelens
from mi_widgets.sae.coder import SparseCoder


def load(source: Any, device: Any = None, dtype: Any = None, name: str = "") -> SparseCoder:
    """A sparse coder.

    Args:
        source: a folder that SAELens wrote.
        device: where it is put; the CPU if None.
        dtype: what it is computed in; as the file says if None.
        name: for headers; the folder's if empty.

    Raises:
        DataError: nothing that can be read there, and why.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}.", "Give the folder with cfg.json and sae_weights.safetensors.")
    return saelens.in_folder(folder, name).to(device, dtype)
