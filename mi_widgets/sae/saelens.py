"""SAELens's on-disk format: `cfg.json` and `sae_weights.safetensors`, of every version, read without SAELens.

Since 6.0 settings stand at the top and everything about model and training under `metadata`; before, all is flat, with
older names the further back. What is made of old ones is what SAELens 6 makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mi_widgets.data.integers import integer
from mi_widgets.errors import DataError, choose
from mi_widgets.sae import gemma_scope, reading
from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SETTINGS, SparseCoder, as_dtype

SETTINGS_FILE, WEIGHTS_FILE = "cfg.json", "sae_weights.safetensors"
#: Names before 6.0.
OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
#: What of a flat file is about model and training.
ABOUT = (
    "model_name",
    "hook_name",
    "hook_name_out",
    "hook_head_index",
    "hook_head_index_out",
    "model_class_name",
    "model_from_pretrained_kwargs",
    "prepend_bos",
    "exclude_special_tokens",
    "neuronpedia_id",
    "context_size",
    "seqpos_slice",
    "dataset_path",
    "sae_lens_version",
    "sae_lens_training_version",
)


@dataclass(frozen=True)
class Said:
    """What a settings file says, in one form whatever its age.

    Attributes:
        architecture: SAELens's word.
        settings: what the architecture computes with.
        metadata: about model and training.
        dtype: what it is computed in.
        widths: `d_in`, `d_sae` and, of transcoders, `d_out`, where said.
    """

    architecture: str
    settings: dict[str, Any]
    metadata: dict[str, Any]
    dtype: torch.dtype
    widths: dict[str, int]


def said(values: Mapping[str, Any], where: str) -> Said:
    """What SAELens's settings say, as a file of any version or as `cfg.to_dict()` of a live object.

    Raises:
        DataError: an architecture, activation or number type that is not known, or an old scaling that SAELens 6 does
            not apply either.
    """
    about: Any = values.get("metadata") or {}
    about = about.to_dict() if hasattr(about, "to_dict") else about
    if not isinstance(about, Mapping):
        raise DataError(f"the metadata of {where} is {type(about).__name__}, not names and values.", reading.AGAIN)
    metadata = dict(about)
    version = str(values.get("sae_lens_version") or metadata.get("sae_lens_version") or "0")
    flat = int(version.split(".")[0]) < 6 if version.split(".")[0].isdigit() else False
    current = _from_flat(values, where) if flat else dict(values)
    metadata |= {key: value for key, value in current.items() if flat and key in ABOUT}
    architecture = current.get("architecture") or "standard"
    if architecture not in ARCHITECTURES:
        raise DataError(
            f"{where} is of architecture {architecture!r}, which is not known here.",
            choose(architecture, ARCHITECTURES, "Known are"),
        )
    point = str(metadata.get("hf_hook_name"))
    if str(metadata.get("hook_name")).endswith(".hook_mlp_in") and point.endswith(gemma_scope.INTO_MLP):
        # SAELens's name for it is of what goes into the norm
        metadata["hook_name"] = gemma_scope.hook_of(point) or metadata["hook_name"]
    known = {**SETTINGS, **ARCHITECTURES[architecture].OWN_SETTINGS}
    return Said(
        architecture,
        {key: value for key, value in current.items() if key in known and not (value is None and key in SETTINGS)},
        metadata,
        as_dtype(current.get("dtype") or "float32") or torch.float32,
        {key: integer(key, current[key]) for key in ("d_in", "d_sae", "d_out") if current.get(key) is not None},
    )


def _from_flat(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    current: dict[str, Any] = {"prepend_bos": True} | {OLD_NAMES.get(key, key): value for key, value in values.items()}
    current["architecture"] = current.get("architecture") or "standard"
    current.setdefault("apply_b_dec_to_input", not str(current["architecture"]).endswith("transcoder"))
    heads = "hook_z" in str(current.get("hook_name") or "")
    current.setdefault("reshape_activations", "hook_z" if heads else "none")
    activation, options = current.get("activation_fn") or "relu", current.get("activation_fn_kwargs") or {}
    if activation == "topk" and options.get("k") is not None:
        current |= {"architecture": "topk", "k": options["k"]}
    elif activation != "relu":
        raise DataError(f"{where} has the activation {activation!r}.", choose(activation, ("relu", "topk")))
    how = current.get("normalize_activations")
    current["normalize_activations"] = "expected_average_only_in" if how is True else how or "none"
    return current


def in_folder(folder: Path, name: str = "") -> SparseCoder:
    """The coder in a folder that SAELens wrote.

    Raises:
        DataError: a missing or bad file, an unknown architecture, or weights that do not fit it or the settings.
    """
    stated = said(reading.settings(folder / SETTINGS_FILE), str(folder / SETTINGS_FILE))
    return made(stated, reading.tensors(folder / WEIGHTS_FILE), name or folder.name, folder)


def is_object(source: Any) -> bool:
    """Whether it looks like a coder of SAELens's in memory."""
    return hasattr(source, "cfg") and callable(getattr(source, "state_dict", None))


def of_object(source: Any, name: str = "") -> SparseCoder:
    """The coder that an object of SAELens's is, at this moment: its tensors are copied. Of one in training it is what
    SAELens would save for others to use.

    Raises:
        DataError: settings or tensors that cannot be read, or an architecture that is not known.
    """
    where, cfg = f"the {type(source).__name__} object", source.cfg
    if training := hasattr(cfg, "get_inference_sae_cfg_dict"):
        values = cfg.get_inference_sae_cfg_dict()
    else:
        values = cfg.to_dict() if hasattr(cfg, "to_dict") else vars(cfg)
    stated = said(values, where)
    weights = {key: tensor.detach().clone() for key, tensor in source.state_dict().items()}
    finish = "process_state_dict_for_saving_inference" if training else "process_state_dict_for_saving"
    getattr(source, finish, lambda _: None)(weights)
    if "W_dec" in weights:  # which may have been moved to another type since
        stated = replace(stated, dtype=weights["W_dec"].dtype)
    hook = stated.metadata.get("hook_name") or where
    return made(stated, weights, name or f"{hook} {stated.architecture}")


def made(stated: Said, weights: Mapping[str, torch.Tensor], name: str, folder: Path | None = None) -> SparseCoder:
    """The coder of what was said and its tensors.

    Raises:
        DataError: see `in_folder`.
    """
    weights = dict(weights)
    scaling = weights.pop("scaling_factor", None)  # written by old versions, all ones but after a finetuning of theirs
    if scaling is not None and not torch.allclose(scaling.float(), torch.ones(())):
        raise DataError(
            f"{name} has a scaling_factor of its finetuning, which SAELens no longer applies.", "Fold it into W_dec."
        )
    typed = {key: tensor.to(stated.dtype) for key, tensor in weights.items()}
    coder = from_weights(stated.architecture, typed, stated.settings, stated.metadata, name, folder)
    for key, width in stated.widths.items():
        if getattr(coder, key) != width:
            raise DataError(
                f"the settings of {name} say {key} {width}, its weights are of {getattr(coder, key)}.",
                "Give settings and weights of one coder.",
            )
    return coder
