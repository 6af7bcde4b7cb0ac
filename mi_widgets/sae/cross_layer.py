"""Coders of all layers at once: sets of transcoders, one a layer, and cross-layer transcoders, whose features write to
their own layer and to all above.

Read as circuit-tracer lays them out: `config.yaml` beside `layer_0.safetensors` … or `W_enc_0.safetensors`,
`W_dec_0.safetensors` …. Its encoders are `[feature, d_in]`, stored in half precision and computed with in single; its
JumpReLU and TopK do not clip at 0.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mi_widgets.errors import DataError, choose
from mi_widgets.sae import gemma_scope, hub, reading
from mi_widgets.sae.architectures import from_weights
from mi_widgets.sae.coder import SparseCoder, as_dtype, bytes_of

SETTINGS_FILE = "config.yaml"
SET, CROSS = "transcoder_set", "cross_layer_transcoder"


class CoderSet(ABC):
    """Coders of several layers.

    Attributes:
        name: for headers.
        folder: where it was read.
        metadata: what `config.yaml` says.
        layers: what each reads from, in order.
        d_in, d_out, d_sae: as of a `SparseCoder`, the same for all.
        hooks_in, hooks_out: full hook names, one a layer.
    """

    def __init__(self, encoders: Mapping[int, SparseCoder], name: str, folder: Path | None, metadata: Any) -> None:
        self._encoders = dict(sorted(encoders.items()))
        self.layers = tuple(self._encoders)
        self.name, self.folder, self.metadata = name, folder, dict(metadata)
        first = self._encoders[self.layers[0]]
        self.d_in, self.d_out, self.d_sae = first.d_in, first.d_out, first.d_sae
        self.hooks_in = tuple(str(coder.hook_in) for coder in self._encoders.values())
        self.hooks_out = tuple(str(coder.hook_out) for coder in self._encoders.values())
        for layer, coder in self._encoders.items():
            if (coder.d_in, coder.d_out, coder.d_sae) != (self.d_in, self.d_out, self.d_sae):
                raise DataError(
                    f"layer {layer} of {name} has {coder.d_sae} features of {coder.d_in} → {coder.d_out}, layer "
                    f"{self.layers[0]} has {self.d_sae} of {self.d_in} → {self.d_out}.",
                    "Load the layers one by one: load(folder, layer=…).",
                )

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[SparseCoder]:
        return (self[layer] for layer in self.layers)

    @abstractmethod
    def __getitem__(self, layer: int) -> SparseCoder:
        """The coder of one layer."""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that it computes with; see `SparseCoder.fingerprint`."""
        return hashlib.sha256(" ".join(coder.fingerprint for coder in self._encoders.values()).encode()).hexdigest()

    @torch.no_grad()
    def encode(self, x: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
        """Activations `[layer, …, feature]` of `x [layer, …, d_in]`, what each layer reads in the order of `layers`.

        Raises:
            DataError: x of other layers or width.
        """
        return torch.stack([coder.encode(one) for coder, one in self._each(x)])

    @torch.no_grad()
    def decode(self, acts: torch.Tensor, x: torch.Tensor | Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """What the features say stands at each `hooks_out`: `[layer, …, d_out]` of `acts [layer, …, feature]`.

        Args:
            acts: of all layers.
            x: what was encoded; needed where there is a skip.

        Raises:
            DataError: acts of other layers or width, or no x where it is needed.
        """
        inputs = [None] * len(self) if x is None else [one for _, one in self._each(x)]
        return self._decode([one for _, one in self._each(acts)], inputs)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """Decoded from what is encoded of `x`: `[layer, …, d_out]`."""
        return self.decode(self.encode(x), x)

    def fits(self, model: Any) -> None:
        """Nothing, if the model has every layer's hooks, of their widths; see `SparseCoder.fits`."""
        for coder in self._encoders.values():
            coder.fits(model)

    def __repr__(self) -> str:
        kind = "cross-layer transcoder" if isinstance(self, CrossLayerTranscoder) else "transcoders"
        at = f"{self.hooks_in[0]} → {self.hooks_out[0]}"
        return f"<{self.name}: {kind} of {len(self)} layers, {self.d_sae:,} features each, {at} …>"

    @abstractmethod
    def _decode(self, acts: list[torch.Tensor], x: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Of each layer's."""

    def _each(self, values: Any) -> list[tuple[SparseCoder, torch.Tensor]]:
        if len(values) != len(self):
            raise DataError(
                f"values of {len(values)} layers for {self.name}, which has {len(self)}.", "Give [layer, ..., width]."
            )
        return list(zip(self._encoders.values(), values, strict=True))


class TranscoderSet(CoderSet):
    """Transcoders that know nothing of each other, one a layer."""

    def __getitem__(self, layer: int) -> SparseCoder:
        if layer not in self._encoders:
            raise DataError(f"{self.name} has no layer {layer}.", f"It has {_listed(self.layers)}.")
        return self._encoders[layer]

    def _decode(self, acts: list[torch.Tensor], x: Sequence[torch.Tensor | None]) -> torch.Tensor:
        coders = self._encoders.values()
        return torch.stack([coder.decode(one, own) for coder, one, own in zip(coders, acts, x, strict=True)])


class CrossLayerTranscoder(CoderSet):
    """Features of layer l read there and write to l and all above (Ameisen 2025).

    Args:
        encoders: coders of each layer with its features' writing to their own layer alone.
        decoders: by layer read, `[feature, layer written − layer read, d_out]`.
        name, folder, metadata: see `CoderSet`.
    """

    def __init__(
        self,
        encoders: Mapping[int, SparseCoder],
        decoders: Mapping[int, torch.Tensor],
        name: str,
        folder: Path | None,
        metadata: Any,
    ) -> None:
        super().__init__(encoders, name, folder, metadata)
        self._decoders = dict(decoders)

    def __getitem__(self, layer: int) -> SparseCoder:
        raise DataError(
            f"{self.name} is a cross-layer transcoder: no layer of it stands alone.",
            "Use encode and decode of all layers, or decoder(layer, to).",
        )

    def decoder(self, layer: int, to: int) -> torch.Tensor:
        """Directions `[feature, d_out]` that features of one layer write to another, not below.

        Raises:
            DataError: a layer that there is not, or one below.
        """
        if layer not in self.layers or to not in self.layers[self.layers.index(layer) :]:
            raise DataError(
                f"features of layer {layer} of {self.name} write to no layer {to}.",
                f"It has {_listed(self.layers)}, each of which writes to itself and those above.",
            )
        return self._decoders[layer][:, to - layer]

    @cached_property
    def fingerprint(self) -> str:
        """See `CoderSet`."""
        digest = hashlib.sha256(super().fingerprint.encode())
        for decoder in self._decoders.values():
            digest.update(bytes_of(decoder))
        return digest.hexdigest()

    def _decode(self, acts: list[torch.Tensor], x: Sequence[torch.Tensor | None]) -> torch.Tensor:
        out = []
        for to, (layer, coder) in enumerate(self._encoders.items()):
            written = coder.decode(acts[to], x[to])  # its own layer's features, bias and skip
            for source, below in zip(self.layers[:to], acts, strict=False):
                written = written + below.to(coder.device, coder.dtype) @ self.decoder(source, layer)
            out.append(written)
        return torch.stack(out)


def in_folder(
    folder: Path, layer: int | None = None, device: Any = None, dtype: Any = None, name: str = ""
) -> CoderSet | SparseCoder:
    """What a folder with `config.yaml` holds.

    Args:
        folder: as circuit-tracer lays it out.
        layer: of a set of transcoders this one alone; all if None.
        device: where it is put.
        dtype: what it is computed in; float32 if None, whatever it is stored in.
        name: for headers.

    Raises:
        DataError: a missing or bad file, a kind that is not known, layers that do not fit together.
    """
    said = reading.yaml_settings(folder / SETTINGS_FILE)
    kind, name = said.get("model_kind"), name or folder.name
    if kind not in (SET, CROSS):
        raise DataError(f"{folder / SETTINGS_FILE} says model_kind {kind!r}.", choose(kind, (SET, CROSS), "Known are"))
    place, computed = torch.device(device or "cpu"), as_dtype(dtype) or torch.float32
    if kind == CROSS:
        if layer is not None:
            raise DataError(f"{name} is a cross-layer transcoder: no layer of it stands alone.", "Leave out layer.")
        return _cross(folder, said, name, place, computed)
    files = _files(folder, said, layer)
    coders = {
        one: _transcoder(path, one, said, f"{name}/layer_{one}").to(place, computed) for one, path in files.items()
    }
    return coders[layer] if layer is not None else TranscoderSet(coders, name, folder, said)


def _files(folder: Path, said: Mapping[str, Any], layer: int | None) -> dict[int, Path]:
    """Of every layer, or of one."""
    listed: dict[int, Any] = dict(enumerate(said.get("transcoders") or ()))
    there = listed or _numbered(folder, "layer_")
    if layer is None:
        if not there or list(there) != list(range(len(there))):
            raise _gap(folder, "layer_", there)
    elif layer not in there:
        raise DataError(f"{folder.name} has no layer {layer}.", f"It has {_listed(there) or 'none'}.")
    chosen = there if layer is None else {layer: there[layer]}
    named = {one: str(file) for one, file in chosen.items()}
    return {one: hub.file(file) if file.startswith(hub.SCHEME) else folder / file for one, file in named.items()}


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    """Files `stem0.safetensors` …, by number."""
    found = {path.stem.removeprefix(stem): path for path in folder.glob(f"{stem}*.safetensors")}
    return {int(number): found[number] for number in sorted((one for one in found if one.isdigit()), key=int)}


def _gap(folder: Path, stem: str, there: Mapping[int, Any]) -> DataError:
    found = f"layers {_listed(there)}" if there else "none"
    return DataError(
        f"{folder} should hold {stem}0.safetensors, {stem}1.safetensors …; there is {found}.", reading.AGAIN
    )


def _metadata(said: Mapping[str, Any], layer: int) -> dict[str, Any]:
    hooks = {"hook_name": said.get("feature_input_hook"), "hook_name_out": said.get("feature_output_hook")}
    named = {key: f"blocks.{layer}.{hook}" for key, hook in hooks.items() if hook}
    return {"model_name": said.get("model_name"), **named}


def _transcoder(path: Path, layer: int, said: Mapping[str, Any], name: str) -> SparseCoder:
    if path.suffix == ".npz" or path.name == gemma_scope.SECOND_FILE:
        coder = gemma_scope.in_folder(path.parent, name, transcodes=True)
        settings = {**coder.settings, "clips": False}
        return from_weights(coder.architecture, coder.weights, settings, _metadata(said, layer), name, path.parent)
    weights = reading.tensors(path)
    if "activation_function.threshold" in weights:
        weights["threshold"] = weights.pop("activation_function.threshold")
    return _coder(weights, layer, said, name, path.parent)


def _coder(
    weights: dict[str, torch.Tensor], layer: int, said: Mapping[str, Any], name: str, folder: Path
) -> SparseCoder:
    """Of tensors with circuit-tracer's names and its encoder the other way round."""
    by = said.get("activation") or ("jump_relu" if "threshold" in weights else "relu")
    words = {"relu": "", "jump_relu": "jumprelu_", "jumprelu": "jumprelu_", "topk": "topk_"}
    if by not in words:
        raise DataError(f"{folder / SETTINGS_FILE} says activation {by!r}.", choose(by, words, "Known are"))
    settings: dict[str, Any] = {"clips": False} if words[by] else {}
    if by == "topk":
        settings["k"] = int(said.get("k") or 0)
    if "W_enc" in weights and weights["W_enc"].ndim == 2:
        weights["W_enc"] = weights["W_enc"].T.contiguous()
    typed = {key: tensor.float() for key, tensor in weights.items()}
    architecture = f"{words[by]}{'skip_' if 'W_skip' in weights else ''}transcoder"
    return from_weights(architecture, typed, settings, _metadata(said, layer), name, folder)


def _cross(
    folder: Path, said: Mapping[str, Any], name: str, place: torch.device, dtype: torch.dtype
) -> CrossLayerTranscoder:
    files, encoders, decoders = _numbered(folder, "W_enc_"), {}, {}
    if not files or list(files) != list(range(len(files))):
        raise _gap(folder, "W_enc_", files)
    for layer, path in files.items():
        own = {key.removesuffix(f"_{layer}"): tensor for key, tensor in reading.tensors(path).items()}
        beside = reading.tensors(folder / f"W_dec_{layer}.safetensors")
        decoder = beside.get(f"W_dec_{layer}", torch.empty(0)).float()
        if decoder.ndim != 3 or decoder.shape[1] != len(files) - layer or not bool(torch.isfinite(decoder).all()):
            raise DataError(
                f"W_dec_{layer} of {name} is {list(decoder.shape)}, with numbers that are not finite or for other "
                f"layers than the {len(files) - layer} from {layer} on.",
                reading.AGAIN,
            )
        decoders[layer] = decoder.to(place, dtype)
        if "W_skip" in own:  # here [d_in, d_out]
            own["W_skip"] = own["W_skip"].T.contiguous()
        own["W_dec"] = decoder[:, 0]
        encoders[layer] = _coder(own, layer, said, f"{name}/layer_{layer}", folder).to(place, dtype)
    return CrossLayerTranscoder(encoders, decoders, name, folder, said)


def _listed(layers: Any) -> str:
    return ", ".join(str(layer) for layer in layers)
