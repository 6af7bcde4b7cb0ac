"""Gemma Scope 1 and 2 as DeepMind stores them: JumpReLU coders and transcoders without `cfg.json`.

Gemma Scope 1 is `params.npz` alone: which hook it is of stands in the names of the folders. Gemma Scope 2 is
`params.safetensors` with lower-case names and, mostly, a `config.json` that names Hugging Face's modules. Neither takes
`b_dec` from the input.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from mi_widgets.errors import DataError, choose
from mi_widgets.sae import reading
from mi_widgets.sae.architectures import from_weights
from mi_widgets.sae.coder import SparseCoder

FIRST_FILE, SECOND_FILE, SECOND_SETTINGS = "params.npz", "params.safetensors", "config.json"
#: Gemma Scope 1: what the repository's name ends with, and the hooks. Its transcoders were trained with the norm's
#: gain folded into the MLP: they read before it.
FIRST_HOOKS = {
    "res": ("hook_resid_post",),
    "mlp": ("hook_mlp_out",),
    "att": ("attn.hook_z",),
    "transcoders": ("ln2.hook_normalized", "hook_mlp_out"),
}
INTO_MLP = "pre_feedforward_layernorm.output"
#: Gemma Scope 2: Hugging Face's places in a layer as the hooks of a TransformerBridge. What goes into the MLP is after
#: the norm and its gain, which `hook_mlp_in` is not.
PLACES = {
    "output": "hook_resid_post",
    "self_attn.o_proj.input": "attn.hook_z",
    INTO_MLP: "mlp.hook_in",
    "post_feedforward_layernorm.output": "hook_mlp_out",
    "mlp.output": "mlp.hook_out",
}
#: Gemma Scope 2: folders by what is in them, and the places that their coders read and write.
KINDS = {
    "resid_post": ("output",),
    "attn_out": ("self_attn.o_proj.input",),
    "mlp_out": ("post_feedforward_layernorm.output",),
    "transcoder": (INTO_MLP, "post_feedforward_layernorm.output"),
}


def in_folder(folder: Path, name: str = "", transcodes: bool = False) -> SparseCoder:
    """The coder in a folder that holds `params.npz`, or `params.safetensors` and `config.json`.

    Args:
        folder: with the names that it has on the hub, from which hooks are told where no file says them.
        name: for headers; the folder's if empty.
        transcodes: a transcoder, where neither names nor files say so.

    Raises:
        DataError: a bad file, or tensors that are not a JumpReLU coder's.
    """
    first = (folder / FIRST_FILE).is_file()
    weights = reading.arrays(folder / FIRST_FILE) if first else reading.tensors(folder / SECOND_FILE)
    weights = {re.sub("^w_", "W_", key): tensor for key, tensor in weights.items()}
    metadata = first_metadata(folder) if first else second_metadata(folder)
    if first and metadata.get("hook_name") == "hook_embed":  # trained on embeddings before they are scaled
        scale = weights["b_dec"].shape[-1] ** 0.5 if "b_dec" in weights else 1.0
        scales = {"W_enc": 1 / scale, "W_dec": scale}
        weights = {key: tensor * scales.get(key, 1.0) for key, tensor in weights.items()}
    skip = weights.pop("affine_skip_connection", None)  # [d_in, d_out]
    if skip is not None:
        weights["W_skip"] = skip.T.contiguous()
    has_skip = metadata.pop("affine_connection", False) or skip is not None
    transcodes |= bool({"hook_name_out", "hf_hook_name_out"} & set(metadata))
    architecture = f"jumprelu{'_skip' if has_skip else ''}{'_transcoder' if transcodes or has_skip else ''}"
    settings: dict[str, Any] = {"apply_b_dec_to_input": False}
    settings |= {"reshape_activations": "hook_z"} if first and metadata.get("hook_name", "").endswith("hook_z") else {}
    typed = {key: tensor.to(torch.float32) for key, tensor in weights.items()}
    return from_weights(architecture, typed, settings, metadata, name or name_of(folder), folder)


def name_of(folder: Path) -> str:
    """The folders from the repository's on, as they are told apart by."""
    names = [part.startswith("gemma-scope") for part in folder.parts]
    return "/".join(folder.parts[names.index(True) :]) if any(names) else folder.name


def first_metadata(folder: Path) -> dict[str, Any]:
    """Model and hooks of Gemma Scope 1, from the folders' names; nothing where they do not say."""
    path = str(folder.resolve())
    repository = re.search(r"gemma-scope-(\w+)-(pt|it)-(res|mlp|att|transcoders)", path)
    layer = re.search(r"layer_(\d+)", path)
    if not repository or not (layer or "embedding" in path):
        return {}
    size, tuned, site = repository.groups()
    model = {"model_name": f"gemma-2-{size}{'-it' if tuned == 'it' else ''}", "prepend_bos": True}
    if not layer:
        return model | {"hook_name": "hook_embed"}
    hooks = [f"blocks.{layer[1]}.{hook}" for hook in FIRST_HOOKS[site]]
    return model | dict(zip(("hook_name", "hook_name_out"), hooks, strict=False))


def second_metadata(folder: Path) -> dict[str, Any]:
    """Model and hooks of Gemma Scope 2, from its `config.json`; where that is not there, from the folders' names.

    Raises:
        DataError: a bad file, or an architecture that is not JumpReLU's.
    """
    file = folder / SECOND_SETTINGS
    said = reading.settings(file) if file.is_file() else _told_by_names(folder)
    architecture = said.get("architecture", "jump_relu")
    if architecture != "jump_relu":
        raise DataError(f"a Gemma Scope of architecture {architecture!r}.", choose(architecture, ("jump_relu",)))
    points = {"hook_name": said.get("hf_hook_point_in"), "hook_name_out": said.get("hf_hook_point_out")}
    if points["hook_name_out"] == points["hook_name"]:  # as autoencoders may say
        del points["hook_name_out"]
    hooks = {key: hook_of(str(point)) for key, point in points.items() if point}
    return {
        "model_name": said.get("model_name"),
        "prepend_bos": True,
        "affine_connection": bool(said.get("affine_connection")),
        **{key: hook for key, hook in hooks.items() if hook},
        **{f"hf_{key}": point for key, point in points.items() if point},
    }


def hook_of(point: str) -> str | None:
    """TransformerLens's hook of a place that Hugging Face's modules name, `model.layers.3.output`; None of others."""
    found = re.fullmatch(r".*\blayers\.(\d+)\.(.+)", point)
    return f"blocks.{found[1]}.{PLACES[found[2]]}" if found and found[2] in PLACES else None


def _told_by_names(folder: Path) -> dict[str, Any]:
    """What `config.json` would say of `gemma-scope-2-270m-pt/resid_post/layer_3_width_16k_l0_small`, as far as the
    names go."""
    path = str(folder.resolve())
    repository = re.search(r"gemma-scope-2-(\w+)-(pt|it)", path)
    found = re.search(rf"({'|'.join(KINDS)})(?:_all)?/layer_(\d+)_[^/]*$", path)
    if not found:
        return {}
    points = [f"model.layers.{found[2]}.{place}" for place in KINDS[found[1]]]
    return {
        **dict(zip(("hf_hook_point_in", "hf_hook_point_out"), points, strict=False)),
        "affine_connection": path.endswith("_affine"),
        **({"model_name": f"google/gemma-3-{repository[1]}-{repository[2]}"} if repository else {}),
    }
