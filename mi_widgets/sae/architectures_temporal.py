"""The temporal coder (Lubana 2025): what attention over the positions before predicts is set apart from what is new.

The features are the new part; the predicted codes are decoded with them, so `decode` makes them again from the input.
Knows nothing of files. Definition and tensors are SAELens's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from mi_widgets.errors import DataError, choose
from mi_widgets.sae.coder import CONSTANT_SCALAR, NORMALISATIONS, SparseCoder


class Temporal(SparseCoder):
    """Codes are `relu(λ · left W_enc)`, λ = 1 / (4 d_in), of what the predictions left; the `kval_topk` largest of them
    with `sae_diff_type` "topk". `W_enc` is `W_decᵀ` where `tied_weights`."""

    OWN_SETTINGS: ClassVar = {
        "n_heads": 8,
        "n_attn_layers": 1,
        "bottleneck_factor": 64,
        "sae_diff_type": "topk",
        "kval_topk": None,
        "tied_weights": True,
        "activation_normalization_factor": 1.0,
    }
    NORMALISATIONS: ClassVar = (*NORMALISATIONS, CONSTANT_SCALAR)
    reads_sequence: ClassVar = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        heads, factor = self.settings["n_heads"], self.settings["bottleneck_factor"]
        if self.d_sae % (heads * factor):
            raise DataError(
                f"{self.d_sae} features of {self.name} do not fall into {heads} heads of 1/{factor} of them.",
                "Look at n_heads and bottleneck_factor.",
            )
        if (self.settings["kval_topk"] or 0) > self.d_sae:
            k = self.settings["kval_topk"]
            raise DataError(f"kval_topk={k} of {self.name}, which has {self.d_sae} features.", "Give one among them.")
        if self.settings["sae_diff_type"] not in ("relu", "topk"):
            kind = self.settings["sae_diff_type"]
            raise DataError(f"sae_diff_type={kind!r} of {self.name}.", choose(kind, ("relu", "topk")))

    @property
    def bottleneck(self) -> int:
        """Numbers of all heads' queries and keys."""
        return self.d_sae // self.settings["bottleneck_factor"]

    @property
    def wants_input(self) -> bool:
        """See `SparseCoder`: the predicted codes come from it."""
        return True

    @property
    def W_dec(self) -> torch.Tensor:  # noqa: N802  # the field's name
        """See `SparseCoder`."""
        return self.weights["W_dec"] if self._factor == 1.0 else self.weights["W_dec"] / self._factor

    @property
    def b_dec(self) -> torch.Tensor:
        """See `SparseCoder`."""
        return self.weights["b_dec"] / self._factor

    @property
    def _factor(self) -> float:
        by_factor = self.normalisation == CONSTANT_SCALAR
        return self.settings["activation_normalization_factor"] if by_factor else 1.0

    def _tensors(self) -> dict[str, tuple[str, ...]]:
        wide, narrow = ("d_sae", "d_sae"), ("bottleneck", "d_sae")
        projections = {"k_ctx": narrow, "q_target": narrow, "v_ctx": wide, "c_proj": wide}
        attention = {
            f"attn_layers.{layer}.{projection}.{part}": axes if part == "weight" else axes[:1]
            for layer in range(self.settings["n_attn_layers"])
            for projection, axes in projections.items()
            for part in ("weight", "bias")
        }
        encoder = {} if self.settings["tied_weights"] else {"W_enc": ("d_in", "d_sae")}
        return {"W_dec": ("d_sae", "d_in"), **encoder, "b_dec": ("d_in",), **attention}

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        return x * self._factor if self.normalisation == CONSTANT_SCALAR else super()._normalised(x)

    def _encode(self, entered: torch.Tensor) -> torch.Tensor:
        return self._parted(entered)[0]

    def _decode(self, acts: torch.Tensor, x: torch.Tensor | None) -> torch.Tensor:
        assert x is not None
        predicted = self._parted(self._entered(x))[1]
        out = (acts + predicted) @ self.weights["W_dec"] + self.weights["b_dec"]
        return self._left(out / self._factor, x)

    def _parted(self, entered: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """New and predicted codes, `[…, position, feature]` each."""
        if entered.ndim < 2:
            raise DataError(f"{self.name} reads positions in order, and there is one.", "Give [..., position, d_in].")
        left = entered.reshape(-1, *entered.shape[-2:])
        predicted: Any = 0.0
        for layer in range(self.settings["n_attn_layers"]):
            codes = self._attended(layer, self._codes(left)).relu()
            direction = codes @ self.weights["W_dec"]
            length = direction.norm(dim=-1, keepdim=True) + 1e-6
            share = (direction * left).sum(-1, keepdim=True) / length.pow(2)
            predicted = predicted + codes * share
            left = left - share * direction
        new, k = self._codes(left), self.settings["kval_topk"]
        if self.settings["sae_diff_type"] == "topk" and k is not None:
            values, features = new.topk(k, dim=-1)
            new = torch.zeros_like(new).scatter_(-1, features, values)
        shape = (*entered.shape[:-1], self.d_sae)
        return new.reshape(shape), (predicted + torch.zeros_like(new)).reshape(shape)

    def _codes(self, left: torch.Tensor) -> torch.Tensor:
        encoder = self.weights["W_dec"].T if self.settings["tied_weights"] else self.weights["W_enc"]
        return (left * (1 / (4 * self.d_in)) @ encoder).relu()

    def _attended(self, layer: int, codes: torch.Tensor) -> torch.Tensor:
        """What attention reads from the codes of the positions before: `[sequence, position, feature]`."""
        before = torch.cat((torch.zeros_like(codes[:, :1]), codes[:, :-1]), dim=1)
        keys, values = self._projected(layer, "k_ctx", before), self._projected(layer, "v_ctx", before)
        queries = self._projected(layer, "q_target", codes)
        queries, keys, values = (
            one.unflatten(-1, (self.settings["n_heads"], -1)).transpose(1, 2) for one in (queries, keys, values)
        )
        mixed = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self._projected(layer, "c_proj", mixed.transpose(1, 2).flatten(-2))

    def _projected(self, layer: int, projection: str, codes: torch.Tensor) -> torch.Tensor:
        at = f"attn_layers.{layer}.{projection}"
        return linear(codes, self.weights[f"{at}.weight"], self.weights[f"{at}.bias"])
