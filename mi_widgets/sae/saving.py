"""`sae.save`: a coder in SAELens's on-disk format, as SAELens 6 reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mi_widgets.data.files import replacing
from mi_widgets.errors import DataError, ExportError
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.saelens import SETTINGS_FILE, WEIGHTS_FILE

#: Of the format that is written: SAELens reads files of 6.0 and later as they are.
FORMAT = "6.0.0"


def save(coder: SparseCoder, folder: str | Path) -> Path:
    """Writes `cfg.json` and `sae_weights.safetensors` into a folder, which is made; each whole or not at all.

    Args:
        coder: of any architecture that SAELens has.
        folder: where; files of those names in it are replaced.

    Returns:
        The folder.

    Raises:
        DataError: a coder for which SAELens has no name, or a set.
        ExportError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not isinstance(coder, SparseCoder):
        raise DataError(f"{coder!r} cannot be saved in SAELens's format.", "Save the coders of its layers one by one.")
    said = saelens_settings(coder)
    there = Path(folder).expanduser()
    try:
        there.mkdir(parents=True, exist_ok=True)
    except OSError as refusal:
        raise ExportError(f"cannot make the folder {there}: {refusal.strerror}.", "Choose another.") from refusal
    weights = {key: tensor.contiguous().cpu() for key, tensor in coder.weights.items()}
    with replacing(there / WEIGHTS_FILE) as path:
        try:
            save_file(weights, path)
        except SafetensorError as reason:  # of the system, told in text
            raise OSError(None, str(reason)) from reason
    with replacing(there / SETTINGS_FILE) as path:
        path.write_text(json.dumps(said, indent=1) + os.linesep, encoding="utf-8")
    return there


def saelens_settings(coder: SparseCoder) -> dict[str, Any]:
    """What stands in `cfg.json`.

    Raises:
        DataError: a coder for which SAELens has no name.
    """
    settings = dict(coder.settings)
    by_threshold = "threshold" in coder.weights and bool((coder.weights["threshold"] >= 0).all())
    clips = settings.pop("clips", True) or by_threshold  # above a threshold of 0 there is nothing to clip
    if coder.architecture.startswith("topk_") or not clips:
        what = "that keeps negative activations" if not clips else "for which it has no name"
        raise DataError(
            f"{coder.name} is a {coder.architecture} {what}: SAELens cannot read it.", "Keep its own files."
        )
    metadata = {"sae_lens_version": FORMAT, "sae_lens_training_version": None, "hook_head_index": None} | coder.metadata
    if not str(metadata["sae_lens_version"]).startswith(tuple("6789")):
        metadata["sae_lens_version"] = FORMAT
    metadata |= {"hook_name": coder.hook_in} | ({"hook_name_out": coder.hook_out} if coder.is_transcoder else {})
    return {
        "d_in": coder.d_in,
        "d_sae": coder.d_sae,
        **({"d_out": coder.d_out} if coder.is_transcoder else {}),
        "dtype": str(coder.dtype).removeprefix("torch."),
        "device": "cpu",
        **settings,
        "metadata": metadata,
        "architecture": coder.architecture,
    }
