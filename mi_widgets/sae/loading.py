"""`sae.load`: a coder from wherever it is, told by what lies there. Knows the formats' files by name, not what is in
them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mi_widgets.errors import DataError
from mi_widgets.sae import cross_layer, gemma_scope, hub, reading, saelens
from mi_widgets.sae.coder import SparseCoder, as_dtype

#: Files by which a folder is known, and the room that reads it. The first that is there decides.
FORMATS = (
    (saelens.SETTINGS_FILE, saelens),
    (saelens.WEIGHTS_FILE, saelens),
    (cross_layer.SETTINGS_FILE, cross_layer),
    (gemma_scope.FIRST_FILE, gemma_scope),
    (gemma_scope.SECOND_FILE, gemma_scope),
)
KNOWN = (
    "Known are SAELens's folders (cfg.json, sae_weights.safetensors), Gemma Scope's (params.npz, or params.safetensors "
    "and config.json) and circuit-tracer's (config.yaml and the layers)."
)


def load(
    source: Any,
    sae_id: str | None = None,
    *,
    layer: int | None = None,
    device: Any = None,
    dtype: Any = None,
    name: str = "",
    hook_in: str | None = None,
    hook_out: str | None = None,
) -> Any:
    """A sparse coder, or a set of them.

    Args:
        source: a folder of this disk, or on the hub `owner/name` (with folders after it, if you like): in the format
            of SAELens, Gemma Scope or circuit-tracer, safetensors and npz only. Or a live object of SAELens's, which
            is copied.
        sae_id: a folder in it, where it holds several.
        layer: of a set of transcoders this one alone.
        device: where it is put; if None the CPU, or where a live object is.
        dtype: what it is computed in; if None as the file says, and float32 for circuit-tracer's.
        name: for headers; the folder's if empty.
        hook_in: the full name of the hook it reads, where the file says none or another.
        hook_out: likewise of the hook it writes; `hook_in` of an autoencoder.

    Returns:
        A `SparseCoder`; of circuit-tracer's folders a `TranscoderSet` or `CrossLayerTranscoder`.

    Raises:
        DataError: nothing that can be read there, and why; the message has both sides where two do not fit.
    """
    kind, read = as_dtype(dtype), None
    if not isinstance(source, (str, os.PathLike)):
        coder = source if isinstance(source, SparseCoder) else _of_object(source, name)
    else:
        folder, called = _folder(source, sae_id, layer)
        read = next((read for file, read in FORMATS if (folder / file).is_file()), None)
        if read is None:
            raise _nothing(folder)
        if read is cross_layer:
            coder = cross_layer.in_folder(folder, layer, device, kind, name or called)
        else:
            coder = _alone(read, folder, name or called, bool(hook_out) and hook_out != hook_in)
    if not isinstance(coder, SparseCoder):
        if hook_in or hook_out:
            raise DataError(f"{coder.name} has hooks in every layer.", "Leave out hook_in and hook_out.")
        return coder
    if layer is not None and read is not cross_layer:
        raise DataError(f"{coder.name} is of one layer alone.", "Leave out layer.")
    return coder.at(hook_in, hook_out).to(device, kind)


def _alone(read: Any, folder: Path, name: str, transcodes: bool) -> SparseCoder:
    if read is gemma_scope:
        return gemma_scope.in_folder(folder, name, transcodes)
    return saelens.in_folder(folder, name)


def _of_object(source: Any, name: str) -> SparseCoder:
    if not saelens.is_object(source):
        raise DataError(
            f"{type(source).__name__} is no coder.", "Give a folder, an id on the hub, or an object of SAELens's."
        )
    return saelens.of_object(source, name)


def _folder(source: str | os.PathLike[str], sae_id: str | None, layer: int | None) -> tuple[Path, str]:
    """The folder with the files, and a name where the folder's own will not do."""
    there = Path(source).expanduser()
    if there.is_file():
        if there.suffix in reading.PICKLES:
            raise reading.pickled(there)
        there = there.parent  # one of the files of a folder
    if there.is_dir():
        folder = there / sae_id if sae_id else there
        if not folder.is_dir():
            raise DataError(f"{there} has no folder {sae_id}.", f"It has {reading.some(_coders_in(there)) or 'none'}.")
        return folder, ""
    if isinstance(source, str) and hub.is_id(source):
        return hub.folder(source, sae_id, layer)
    raise DataError(f"there is no folder {there}.", "Give a folder, or an id on the hub: owner/name.")


def _nothing(folder: Path) -> DataError:
    """Why there is no coder in a folder."""
    if inside := _coders_in(folder):
        listed = reading.some(inside)
        return DataError(f"{folder} holds {len(inside)} coders: {listed}.", 'Say which: load(folder, sae_id="…").')
    files = sorted(path.name for path in folder.iterdir())
    pickles = [folder / name for name in files if name.endswith(reading.PICKLES)]
    if pickles:
        return reading.pickled(pickles[0])
    if any(name.startswith(("layer_", "W_enc_")) and name.endswith(".safetensors") for name in files):
        return DataError(f"{folder} holds the layers of a set, and no {cross_layer.SETTINGS_FILE}.", reading.AGAIN)
    return DataError(f"{folder} holds no coder; there is {reading.some(files) or 'nothing'}.", KNOWN)


def _coders_in(folder: Path, depth: int = 4) -> list[str]:
    """Folders below that hold a coder, as `sae_id` takes them."""
    found: list[str] = []
    for inside in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if any((inside / file).is_file() for file, _ in FORMATS):
            found.append(inside.name)
        elif depth > 1:
            found += [f"{inside.name}/{deeper}" for deeper in _coders_in(inside, depth - 1)]
    return found
