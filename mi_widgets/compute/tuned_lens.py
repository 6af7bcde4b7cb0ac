"""The tuned lens: for every layer an affine translator that brings its residual stream to the last layer's, which the
model's own readout then reads (Belrose et al. 2023). What it is, and its file; `tuned_lens_training.py` makes one.

Knows nothing of prompts or pictures.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.readout import Readout
from mi_widgets.compute.signature import WeightSignature, signature
from mi_widgets.compute.undisturbed import without_gradients
from mi_widgets.data.files import replacing
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import DEMO_FOLDER, DEMO_NAME, describe

#: What a file of ours calls itself, and the version of its layout. Version 1 knew its model by a few weights only.
FORMAT, VERSION = "mi_widgets tuned lens", 2
#: Weights of the unembedding by which files of version 1 know their model, and how far half precision may move them.
SAMPLED, SAMPLE_TOLERANCE = 64, 2e-2
#: Weights named in a refusal; the others are counted.
NAMED = 2


@dataclass(frozen=True, eq=False)
class TunedLens:
    """Translators `h ↦ h + A·h + b` of the residual stream after each block (`resid_post`), applied before the final
    norm (Belrose et al. 2023). Give it to `compute.logit_lens` as `lens`. The last layer needs none.

    Attributes:
        A: by layer, float32 `[d_model, d_model]` on the CPU; rows are outputs.
        b: by layer, float32 `[d_model]`.
        model: name of the model it was trained for.
        n_layers: blocks of that model.
        d_vocab: its vocabulary.
        weights: by which the model is known again, all of its weights; None of a file of version 1.
        sample: of such a file, a few numbers of the unembedding; else empty.
        training: how it was made: texts, tokens, epochs, seed, and for each layer the mean KL(final ‖ lens) in nats on
            held-out text of the logit lens (`kl_before`) and of this one (`kl_after`).
    """

    A: dict[int, torch.Tensor]
    b: dict[int, torch.Tensor]
    model: str
    n_layers: int
    d_vocab: int
    weights: WeightSignature | None = None
    sample: tuple[float, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.A or self.A.keys() != self.b.keys():
            raise DataError("a tuned lens needs A and b of the same layers, at least one.")
        for layer, matrix in self.A.items():
            if not all(isinstance(part, torch.Tensor) for part in (matrix, self.b[layer])) or matrix.ndim != 2:
                raise DataError(f"A and b of layer {layer} must be tensors [d_model, d_model] and [d_model].")
            shape = list(matrix.shape)
            if shape != [self.d_model] * 2 or list(self.b[layer].shape) != [self.d_model]:
                raise DataError(
                    f"A of layer {layer} has shape {shape} and b {list(self.b[layer].shape)}; they must be "
                    f"[d_model, d_model] and [d_model] with d_model {self.d_model}."
                )
            if not (matrix.isfinite().all() and self.b[layer].isfinite().all()):
                raise DataError(f"the translator of layer {layer} holds NaN or infinite numbers.", "Train it again.")
        if not set(self.A) <= set(range(self.n_layers - 1)):
            raise DataError(
                f"translators of layers {sorted(self.A)} for a model of {self.n_layers} layers.",
                "The last layer has none: it is read as it is.",
            )

    @classmethod
    def untrained(cls, model: Any) -> TunedLens:
        """Translators that change nothing: with them the tuned lens is the logit lens."""
        info = describe(model)
        layers = range(info.n_layers - 1)
        return cls(
            {layer: torch.zeros(info.d_model, info.d_model) for layer in layers},
            {layer: torch.zeros(info.d_model) for layer in layers},
            info.label,
            info.n_layers,
            Readout(model).d_vocab,
            signature(model),
        )

    def __repr__(self) -> str:
        return f"TunedLens({self.model!r}, layers {min(self.A)} to {max(self.A)}, d_model {self.d_model})"

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.A.values())).shape[-1]

    @property
    def source_layers(self) -> list[int]:
        """The layers that have a translator, in order."""
        return sorted(self.A)

    @without_gradients
    def transport(self, residual: torch.Tensor, layer: int) -> torch.Tensor:
        """float32 `[…, d_model]` of the last layer's kind, from `residual` `[…, d_model]` after block `layer`."""
        vectors = residual.float()
        matrix, bias = (part[layer].to(vectors.device) for part in (self.A, self.b))
        return vectors + vectors @ matrix.T + bias

    def validate_model(self, model: Any) -> TunedLens:
        """Itself, if it was trained for `model`.

        Raises:
            ModelError: another shape, or other weights (also where compatibility mode has changed them).
        """
        info = describe(model)
        for what, own, other in (
            ("d_model", self.d_model, info.d_model),
            ("layers", self.n_layers, info.n_layers),
            ("vocabulary", self.d_vocab, Readout(model).d_vocab),
        ):
            if own != other:
                raise ModelError(
                    f"this tuned lens is for {self.model} with {what} {own}; {info.label} has {other}.",
                    "Train one for this model: compute.train_tuned_lens(model, texts).",
                )
        differing = self._differing(model)
        if differing:
            more = len(differing) - NAMED
            raise ModelError(
                f"this tuned lens was trained for {self.model} with other weights than {info.label} has "
                f"({', '.join(differing[:NAMED])}{f' and {more:,} more' if more > 0 else ''}).",
                "Train one for this model, or load the model unedited and without compatibility mode.",
            )
        return self

    def _differing(self, model: Any) -> list[str]:
        """Names of weights that the model has not got from where this lens was trained."""
        if self.weights is not None:
            return self.weights.differing(signature(model))
        same = not self.sample or np.allclose(self.sample, unembedding_sample(model), SAMPLE_TOLERANCE, 1e-6)
        return [] if same else ["the unembedding"]

    def save(self, path: str | Path) -> Path:
        """Write it as safetensors: `layers.<layer>.A`, `layers.<layer>.b`, and all else as metadata. An error midway
        leaves an older file as it was.

        Raises:
            ExportError: it cannot be written there: no such folder, no space …
            DataError: `.training` holds what JSON cannot.
        """
        from safetensors.torch import save

        tensors = {f"layers.{layer}.A": matrix.contiguous() for layer, matrix in self.A.items()}
        tensors |= {f"layers.{layer}.b": bias.contiguous() for layer, bias in self.b.items()}
        about = {
            "format": FORMAT,
            "version": str(VERSION),
            "model": self.model,
            "d_model": str(self.d_model),
            "n_layers": str(self.n_layers),
            "d_vocab": str(self.d_vocab),
            "weights": json.dumps(None if self.weights is None else [self.weights.dtype, self.weights.numbers]),
            "sample": json.dumps(self.sample),
            "training": _as_json(self.training),
        }
        content = save(tensors, about)
        with replacing(path) as beside:
            beside.write_bytes(content)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> TunedLens:
        """The lens that `save` wrote. One of version 1 is known only by a few weights of its model's unembedding, and
        warns of it.

        Raises:
            DataError: no such file, or one that is damaged, of another kind or of a newer version.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, ValueError, RuntimeError, SafetensorError) as reason:
            raise DataError(f"{path} cannot be read as a tuned lens ({reason}).") from None
        if about.get("format") != FORMAT:
            raise DataError(f"{path} holds no tuned lens of mi_widgets.", "Make one with TunedLens.save.")
        try:
            lens = cls._read(about, tensors)
        except DataError as reason:
            raise DataError(f"{path} holds no whole tuned lens: {reason.message}", reason.hint) from None
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as reason:
            raise DataError(
                f"{path} is damaged ({type(reason).__name__}: {reason}).", "Train the lens again."
            ) from None
        if lens.weights is None:
            warnings.warn(
                f"{path} knows its model only by a few weights of the unembedding: it is taken for any model that "
                "shares them. Train it again to have it known by all weights.",
                stacklevel=2,
            )
        return lens

    @classmethod
    def _read(cls, about: dict[str, str], tensors: dict[str, torch.Tensor]) -> TunedLens:
        """From a file's metadata and tensors; DataError, or whatever damaged ones raise."""
        version = int(about["version"])
        if version > VERSION:
            raise DataError("it was written by a newer mi_widgets.", "Update mi_widgets.")
        parts: dict[str, dict[int, torch.Tensor]] = {"A": {}, "b": {}}
        for name, tensor in tensors.items():
            _, layer, part = name.split(".")
            parts[part][int(layer)] = tensor
        known = json.loads(about["weights"]) if version > 1 else None
        training = json.loads(about["training"])
        if not isinstance(training, dict):
            raise DataError("what it says of its training is no table.")
        sample = tuple(float(number) for number in json.loads(about["sample"]))
        if known is None and (len(sample) not in {0, SAMPLED} or not np.isfinite(sample).all()):
            raise DataError("the numbers that it knows its model by are not whole.")
        return cls(
            parts["A"],
            parts["b"],
            about["model"],
            int(about["n_layers"]),
            int(about["d_vocab"]),
            None if known is None else _signature_of(*known),
            sample,
            training,
        )


def _signature_of(dtype: str, numbers: dict[str, list[float]]) -> WeightSignature:
    whole = {name: (float(size), float(first), float(second)) for name, (size, first, second) in numbers.items()}
    if not isinstance(dtype, str) or not whole or any(math.isnan(size) or size < 0 for size, *_ in whole.values()):
        raise DataError("the weights that it knows its model by are not whole.")
    return WeightSignature(dtype, whole)


def _as_json(training: dict[str, Any]) -> str:
    try:
        return json.dumps(training)
    except (TypeError, ValueError) as reason:
        raise DataError(f"training holds what cannot be written ({reason}).", "Give plain numbers and text.") from None


def shipped_lens(model: Any) -> TunedLens | None:
    """The tuned lens that comes with the demo model; None for other models, or where its weights were changed."""
    path = DEMO_FOLDER / "tuned_lens.safetensors"
    if str(getattr(model.cfg, "model_name", "")) != DEMO_NAME or not path.exists():
        return None
    try:
        return TunedLens.load(path).validate_model(model)
    except ModelError:
        return None


def unembedding_sample(model: Any) -> tuple[float, ...]:
    """A few numbers of the unembedding, always at the same places."""
    weights = model.W_U.detach()
    draw = np.random.default_rng(0)
    rows, columns = (torch.from_numpy(draw.integers(0, size, SAMPLED)) for size in weights.shape)
    return tuple(weights[rows.to(weights.device), columns.to(weights.device)].float().cpu().tolist())
