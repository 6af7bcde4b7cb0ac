"""A sparse coder: tensors, settings and the hooks it stands at, and how it encodes and decodes.

What is the same for every architecture is here: the way in (reshaping, normalisation, the decoder's bias), the way
out, the checks, the identity. How features come from what went in is `architectures.py` and its neighbours. Knows
nothing of files; of models only what `fits` asks. Names of tensors and settings are SAELens's (sae-lens 6).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from mi_widgets.errors import DataError, choose

#: `normalize_activations`: what is done to the input before all else. `expected_average_only_in` is folded into the
#: weights when SAELens saves and does nothing after, nor does `covariance_whitening`.
LAYER_NORM, CONSTANT_NORM, CONSTANT_SCALAR = "layer_norm", "constant_norm_rescale", "constant_scalar_rescale"
NORMALISATIONS = ("none", "expected_average_only_in", CONSTANT_NORM, LAYER_NORM, "covariance_whitening")
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: Settings of every architecture, as SAELens has them where a file says nothing.
SETTINGS: dict[str, Any] = {
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
}
#: Hooks whose activations are `d_model` numbers at each position.
STREAMS = ("hook_embed", "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
STREAMS += ("ln1.hook_normalized", "ln2.hook_normalized", "ln_final.hook_normalized", "mlp.hook_in", "mlp.hook_out")


class SparseCoder(ABC):
    """A sparse autoencoder or transcoder of one layer. Never changed in place: `to` gives another one.

    Args:
        architecture: SAELens's word for it.
        weights: by SAELens's names; `W_dec` is `[feature, d_out]`, `W_enc` `[d_in, feature]`, `W_skip` `[d_out, d_in]`.
        settings: what the architecture computes with, by SAELens's names; what is left out has SAELens's default.
        metadata: what the file says of model, hooks and training; `hook_name` and `hook_name_out` are read.
        name: a few words for headers; made from folder or hook where empty.
        folder: where it was read.

    Attributes:
        d_in: width of what is encoded (of hook_z coders all heads, flat). d_out: of what is decoded. d_sae: features.
        is_transcoder: whether it writes elsewhere than it reads. has_skip: whether its input is added, through W_skip.
        skips_first: whether position 0 is left out, as the `seqpos_slice` of the metadata says.
        hook_in, hook_out: full TransformerLens hook names, or None; equal for autoencoders.
        W_dec: `[feature, d_out]`, the directions that are added to the output, times `scale(x)`; own number type.
        b_dec: `[d_out]`, likewise.
        decoder_norms: float32 `[feature]`, of `W_dec`.

    Raises:
        DataError: a tensor that is missing, unknown, of another shape or not finite, or a setting that is not known.
    """

    #: Tensors that it has beside W_dec and b_dec, with their axes, and its own settings with their defaults.
    TENSORS: ClassVar[Mapping[str, tuple[str, ...]]] = {"W_enc": ("d_in", "d_sae"), "b_enc": ("d_sae",)}
    OWN_SETTINGS: ClassVar[Mapping[str, Any]] = {}
    NORMALISATIONS: ClassVar[tuple[str, ...]] = NORMALISATIONS
    #: Whether the codes of a position are made from those before it too: then `x` is `[…, position, d_in]` in order.
    reads_sequence: ClassVar[bool] = False

    def __init__(
        self,
        architecture: str,
        weights: Mapping[str, torch.Tensor],
        settings: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str = "",
        folder: str | Path | None = None,
    ) -> None:
        self.architecture = architecture
        self.is_transcoder = architecture.endswith("transcoder")
        self.has_skip = "skip" in architecture
        self.metadata = dict(metadata or {})
        self.folder = None if folder is None else Path(folder)
        self.hook_in: str | None = self.metadata.get("hook_name")
        self.hook_out: str | None = self.metadata.get("hook_name_out") or (None if self.is_transcoder else self.hook_in)
        self.name = name or (self.folder.name if self.folder else f"{self.hook_in or 'coder'} {architecture}")
        self.skips_first = _skips_first(self.metadata.get("seqpos_slice"), self.name)
        self.settings = self._settings(settings or {})
        self.weights = {key: tensor.detach() for key, tensor in weights.items()}
        self._check_weights()

    # -- what it is ----------------------------------------------------------------------------------

    @property
    def d_in(self) -> int:
        """Width of what is encoded."""
        return self.weights["W_enc"].shape[0] if self.is_transcoder else self.d_out

    @property
    def d_out(self) -> int:
        """Width of what is decoded."""
        return self.weights["W_dec"].shape[1]

    @property
    def d_sae(self) -> int:
        """How many features there are."""
        return self.weights["W_dec"].shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.weights["W_dec"].device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the tensors and of what is computed with them."""
        return self.weights["W_dec"].dtype

    @property
    def W_dec(self) -> torch.Tensor:  # noqa: N802  # the field's name
        """`[feature, d_out]`: what one unit of each feature's activation adds to the output, times `scale(x)`."""
        return self.weights["W_dec"]

    @property
    def b_dec(self) -> torch.Tensor:
        """`[d_out]`: what is added to every output, times `scale(x)`."""
        return self.weights["b_dec"]

    @cached_property
    def decoder_norms(self) -> torch.Tensor:
        """float32 `[feature]`: lengths of the rows of `W_dec`."""
        return self.W_dec.float().norm(dim=-1)

    @property
    def flattens_heads(self) -> bool:
        """Whether it reads what the heads put out, all heads of a position as one row."""
        of_heads = self.settings["reshape_activations"] == "hook_z" or (self.hook_in or "").endswith("attn.hook_z")
        return of_heads and not self.is_transcoder

    @property
    def wants_input(self) -> bool:
        """Whether `decode` needs the `x` that was encoded: for the skip, or for the statistics of its normalisation."""
        return self.has_skip or (not self.is_transcoder and self.normalisation in (LAYER_NORM, CONSTANT_NORM))

    @property
    def normalisation(self) -> str:
        """The `normalize_activations` of the settings."""
        return self.settings["normalize_activations"]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over architecture, settings, hooks and all tensors: equal for coders that compute the same."""
        said = [self.architecture, self.settings, self.hook_in, self.hook_out, self.skips_first]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
        for key, tensor in sorted(self.weights.items()):
            digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(bytes_of(tensor))
        return digest.hexdigest()

    def __repr__(self) -> str:
        at = self.hook_in if self.hook_in == self.hook_out else f"{self.hook_in} → {self.hook_out}"
        wide = f"{self.d_in}" if self.d_in == self.d_out else f"{self.d_in} → {self.d_out}"
        return f"<{self.name}: {self.architecture}, {self.d_sae:,} features of {wide} at {at}>"

    # -- what it computes ----------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Activations of the features.

        Args:
            x: `[…, d_in]` at `hook_in`; of coders that flatten heads `[…, head, d_head]` will do.

        Returns:
            `[…, feature]` in the coder's number type.

        Raises:
            DataError: x of another width; the message has both.
        """
        return self._encode(self._entered(self._flat_input(x)))

    @torch.no_grad()
    def encode_some(self, x: torch.Tensor, features: Iterable[int]) -> torch.Tensor:
        """As `encode`, of some features alone: `[…, feature]` in their order."""
        chosen = torch.as_tensor(list(features), dtype=torch.long, device=self.device)
        if chosen.numel() and not -self.d_sae <= int(chosen.min()) <= int(chosen.max()) < self.d_sae:
            raise DataError(f"{self.name} has features 0 to {self.d_sae - 1:,}.", "Give features among them.")
        return self._encode_some(self._entered(self._flat_input(x)), chosen)

    @torch.no_grad()
    def decode(self, acts: torch.Tensor, x: torch.Tensor | None = None) -> torch.Tensor:
        """What the features say stands at `hook_out`.

        Args:
            acts: `[…, feature]`.
            x: what was encoded; needed where `wants_input` says so.

        Returns:
            `[…, d_out]` in the coder's number type; heads are flat.

        Raises:
            DataError: acts of another width, or no x where it is needed.
        """
        if x is None and self.wants_input:
            why = (
                f"undoes {self.normalisation} of"
                if self.normalisation in (LAYER_NORM, CONSTANT_NORM)
                else "decodes also"
            )
            why = f"{'adds a skip from' if self.has_skip else why} its input"
            raise DataError(f"{self.name} {why}, and there is no input.", "Give it: decode(acts, x).")
        acts = _tensor(acts).to(self.device, self.dtype)
        if acts.shape[-1:] != (self.d_sae,):
            raise DataError(
                f"activations of shape {list(acts.shape)} are not of the {self.d_sae:,} features of {self.name}.",
                "Give [..., feature].",
            )
        return self._decode(acts, None if x is None else self._flat_input(x))

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """What stands at `hook_out` with the coder in place: decoded from what it encodes, in the shape of `x` where
        the coder flattens heads."""
        return self.unflat(self.decode(self.encode(x), x), x)

    def scale(self, x: torch.Tensor) -> torch.Tensor | float:
        """What `W_dec` and `b_dec` are multiplied by at each position: `[…, 1]`, or 1.0 where it is the same at all."""
        if self.is_transcoder:
            return 1.0
        flat = self._flat_input(x)
        if self.normalisation == LAYER_NORM:
            return (flat - flat.mean(-1, keepdim=True)).std(-1, keepdim=True)
        return flat.norm(dim=-1, keepdim=True) / self.d_in**0.5 if self.normalisation == CONSTANT_NORM else 1.0

    # -- shapes, places, the model -------------------------------------------------------------------

    def flat(self, x: torch.Tensor) -> torch.Tensor:
        """`[…, d_in]`: `x` itself, or its heads side by side where the coder flattens them."""
        if self.flattens_heads and x.ndim > 1 and x.shape[-1] != self.d_in == x.shape[-1] * x.shape[-2]:
            return x.flatten(-2)
        return x

    def unflat(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """`y [..., d_out]` with its heads apart, as `x` has them; `y` itself where the coder flattens none."""
        return y if self.flat(x) is x else y.unflatten(-1, x.shape[-2:])

    def at(self, hook_in: str | None = None, hook_out: str | None = None) -> SparseCoder:
        """The same coder at other hooks; None leaves them, and an autoencoder writes where it reads.

        Raises:
            DataError: an autoencoder with another `hook_out`.
        """
        if not (hook_in or hook_out):
            return self
        if not self.is_transcoder and hook_out not in (None, hook_in or self.hook_in):
            raise DataError(f"{self.name} is an autoencoder: it writes where it reads.", "Leave out hook_out.")
        hooks = {"hook_name": hook_in or self.hook_in}
        if hook_out or self.is_transcoder:
            hooks["hook_name_out"] = hook_out or self.hook_out
        return self._with(self.weights, self.metadata | hooks)

    def to(self, device: Any = None, dtype: torch.dtype | str | None = None) -> SparseCoder:
        """The same coder elsewhere or in another number type; itself where nothing changes."""
        kind = as_dtype(dtype) or self.dtype
        place = torch.device(device) if device is not None else self.device
        if kind == self.dtype and place == self.device:
            return self
        moved = {key: tensor.to(place, kind) for key, tensor in self.weights.items()}
        return self._with(moved, self.metadata)

    def fits(self, model: Any) -> None:
        """Nothing, if the model has the coder's hooks, of its widths.

        Raises:
            DataError: a hook that the model or the file lacks, a coder of one head alone, or another width; the
                message names both sides.
        """
        if self.metadata.get("hook_head_index") is not None:
            raise DataError(
                f"{self.name} reads head {self.metadata['hook_head_index']} alone.", "Give one of all heads."
            )
        known = model.hook_dict
        for hook, width in ((self.hook_in, self.d_in), (self.hook_out, self.d_out)):
            if hook is None:
                point = self.metadata.get("hf_hook_name")
                said = f" but {point}, which is not known here" if point else ""
                raise DataError(
                    f"{self.name} does not say at which hook it stands{said}.",
                    'Say it: load(…, hook_in="blocks.3.hook_resid_post").',
                )
            if hook not in known:
                block = hook.rsplit(".", 1)[0] + "."
                near = [name for name in known if name.startswith(block)] or list(known)
                raise DataError(
                    f"{self.name} stands at {hook}, which the model ({_model_name(model)}, "
                    f"{model.cfg.n_layers} layers) does not have.",
                    choose(hook, near[:12], "Some of its hooks:"),
                )
            own = _width(model.cfg, hook)
            if own not in (None, width):
                raise DataError(
                    f"{self.name} is {width} wide at {hook}, where the model ({_model_name(model)}) is {own} wide.",
                    "Give the coder of this model.",
                )

    def _with(self, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> SparseCoder:
        return type(self)(self.architecture, weights, self.settings, metadata, self.name, self.folder)

    # -- for the architectures -----------------------------------------------------------------------

    @abstractmethod
    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        """`[…, feature]` of what went in."""

    def _encode_some(self, entered: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self._encode(entered)[..., features]

    def _decode(self, acts: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        return self._left(acts @ self.W_dec + self.b_dec, x)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        if self.normalisation == LAYER_NORM:
            centred = x - x.mean(-1, keepdim=True)
            return centred / (centred.std(-1, keepdim=True) + 1e-5)
        if self.normalisation == CONSTANT_NORM:
            return x * (self.d_in**0.5 / x.norm(dim=-1, keepdim=True))
        return x

    def _left(self, out: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        """Of what was decoded, what stands at `hook_out`: normalisation undone, the skip added."""
        if x is not None and self.has_skip:
            out = out + x @ self.weights["W_skip"].T
        if x is None or self.is_transcoder:
            return out
        if self.normalisation == LAYER_NORM:
            mean = x.mean(-1, keepdim=True)
            return out * (x - mean).std(-1, keepdim=True) + mean
        if self.normalisation == CONSTANT_NORM:
            return out / (self.d_in**0.5 / x.norm(dim=-1, keepdim=True))
        return out

    def _entered(self, x: torch.Tensor) -> torch.Tensor:
        entered = self._normalised(x)
        return entered - self.weights["b_dec"] if self.settings["apply_b_dec_to_input"] else entered

    def _flat_input(self, x: torch.Tensor) -> torch.Tensor:
        x = self.flat(_tensor(x))
        if x.shape[-1:] != (self.d_in,):
            raise DataError(
                f"activations of shape {list(x.shape)} for {self.name}, which reads {self.d_in} numbers a position.",
                f"Give [..., {self.d_in}] of {self.hook_in or 'its hook'}.",
            )
        return x.to(self.device, self.dtype)

    # -- checks --------------------------------------------------------------------------------------

    def _settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        known = {**SETTINGS, **self.OWN_SETTINGS}
        if unknown := sorted(set(given) - set(known)):
            raise DataError(f"a {self.architecture} coder has no setting {unknown[0]}.", choose(unknown[0], known))
        settings = known | ({"apply_b_dec_to_input": False} if self.is_transcoder else {}) | dict(given)
        for key, default in known.items():
            if not _means(settings[key], default):
                raise DataError(
                    f"{key}={settings[key]!r} of {self.name} means nothing.", f"SAELens's own is {default!r}."
                )
        if settings["normalize_activations"] not in self.NORMALISATIONS:
            raise DataError(
                f"normalize_activations={settings['normalize_activations']!r} of {self.name} is not known.",
                choose(settings["normalize_activations"], self.NORMALISATIONS),
            )
        if self.is_transcoder and settings["apply_b_dec_to_input"]:
            raise DataError(f"{self.name} is a transcoder with apply_b_dec_to_input.", "It can only be False.")
        return settings

    def _tensors(self) -> dict[str, tuple[str, ...]]:
        """Axes of every tensor."""
        out = "d_out" if self.is_transcoder else "d_in"
        skip = {"W_skip": (out, "d_in")} if self.has_skip else {}
        return {"W_dec": ("d_sae", out), **self.TENSORS, "b_dec": (out,), **skip}

    def _check_weights(self) -> None:
        wanted, has = self._tensors(), ", ".join(f"{key} {list(one.shape)}" for key, one in self.weights.items())
        for problem, names in (
            ("lacks", set(wanted) - set(self.weights)),
            ("has also", set(self.weights) - set(wanted)),
        ):
            if names:
                raise DataError(
                    f"{self.name} {problem} {', '.join(sorted(names))}: a {self.architecture} coder is made of "
                    f"{', '.join(sorted(wanted))}; there is {has or 'nothing'}.",
                    "Look whether the architecture is right and the file whole.",
                )
        for key, axes in wanted.items():
            tensor, shape = self.weights[key], list(self.weights[key].shape)
            fits = tensor.ndim == len(axes)
            # the ranks of those that the sizes are read from are checked first: W_dec, then W_enc
            right = [getattr(self, axis) for axis in axes] if fits else []
            if shape != right:
                of = f"[{', '.join(axes)}]" + (f" = {right}" if fits else "")
                raise DataError(
                    f"{key} of {self.name} is of shape {shape}, not {of}; all there is: {has}.",
                    "Look whether it is the right file, and not transposed.",
                )
            if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
                what = f"{int((~torch.isfinite(tensor)).sum()):,} numbers that are not finite"
                what = what if tensor.is_floating_point() else f"numbers of type {tensor.dtype}"
                raise DataError(f"{key} of {self.name} holds {what}.", "Get the file again.")


def as_dtype(given: Any) -> torch.dtype | None:
    """A number type as torch's, given so, by name or None.

    Raises:
        DataError: a name that is not known.
    """
    if given is None or isinstance(given, torch.dtype):
        return given
    word = str(given).removeprefix("torch.")
    if word not in DTYPES:
        raise DataError(f"{given!r} is no number type of a coder.", choose(word, DTYPES))
    return DTYPES[word]


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """Its numbers as they are in memory."""
    return tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data


def _skips_first(given: Any, name: str) -> bool:
    """Whether a slice of positions, given as its parts, leaves out the first."""
    try:
        return 0 not in range(*slice(*(given or (None,))).indices(1 << 30))
    except (TypeError, ValueError):
        raise DataError(f"seqpos_slice={given!r} of {name} is no slice.", "Give [start, stop], or null.") from None


def _means(value: Any, default: Any) -> bool:
    """Whether a setting is of the kind of its default: a count, a number, a truth value or a word; None is a count
    that may be left out."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int) or default is None:
        return (value is None and default is None) or (isinstance(value, int) and value > 0)
    return isinstance(value, str if isinstance(default, str) else (int, float))


def _tensor(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.as_tensor(values)


def _model_name(model: Any) -> str:
    return str(getattr(model.cfg, "model_name", "") or type(model).__name__)


def _width(cfg: Any, hook: str) -> int | None:
    """Numbers at each position of a hook, where its name says so."""
    if hook.endswith("attn.hook_z"):
        return int(cfg.n_heads) * int(cfg.d_head)
    if hook.endswith(("mlp.hook_post", "mlp.hook_pre")):
        return None if getattr(cfg, "d_mlp", None) is None else int(cfg.d_mlp)
    return int(cfg.d_model) if hook.endswith(STREAMS) else None
