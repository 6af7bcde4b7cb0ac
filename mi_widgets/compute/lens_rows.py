"""Which vectors a lens reads: the streams an architecture has, the hooks they stand at, the rows, and how a lens brings
each to the last layer.

Knows nothing of logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from mi_widgets.compute.activations import hook_of, unwritten
from mi_widgets.compute.attention import check_layers
from mi_widgets.compute.forward import Reader
from mi_widgets.data import Tokens
from mi_widgets.data.integers import integers
from mi_widgets.data.logit_lens import STREAMS
from mi_widgets.errors import DataError, ModelError

#: What is kept of the model's own output to check the last row against.
CHECKS = ("output.top_ids", "output.top_logits")
#: How far the parts of a block may be from their sum, relative to the parts, and in steps of the model's precision.
SUM_TOLERANCE, ROUNDING = 1e-3, 8


def lens_sites(stream: str = "resid_post") -> tuple[str, ...]:
    """The activations that a lens on `stream` needs: for `compute.forward`, or a session's `Need`.

    Raises:
        DataError: an unknown stream.
    """
    if stream not in STREAMS:
        raise DataError(f"unknown stream {stream!r}.", f"Choose one of {', '.join(STREAMS)}.")
    return tuple(dict.fromkeys((f"hook_{stream}", "hook_resid_post", *CHECKS)))


def available_streams(model: Any) -> tuple[str, ...]:
    """The streams that every block of this architecture has; parallel blocks have no `"resid_mid"`."""
    hooks, layers = model.hook_dict, range(int(model.cfg.n_layers))
    return tuple(stream for stream in STREAMS if all(f"blocks.{layer}.hook_{stream}" in hooks for layer in layers))


def lens_readers(model: Any, stream: str) -> dict[str, Reader]:
    """What must be watched in the pass beside storing: that `"attn_out"` and `"mlp_out"` are what the block adds.

    Some architectures scale or normalise what attention and MLP give before adding it, and a hook before that would
    show another vector. TransformerLens puts its hooks behind; this holds it to that. The readers refuse (ModelError)
    a block where `resid_pre + attn_out` is not `resid_mid`, or in parallel blocks where the three do not sum.
    """
    if stream not in ("attn_out", "mlp_out"):
        return {}
    # Sums are as the model made them: what an intervention puts in their place it need not bear out.
    if "resid_mid" in available_streams(model):
        parts = ["resid_pre", "attn_out"] if stream == "attn_out" else [unwritten("resid_mid"), "mlp_out"]
        total = unwritten("resid_mid" if stream == "attn_out" else "resid_post")
    else:
        parts, total = ["resid_pre", "attn_out", "mlp_out"], unwritten("resid_post")
    seen: dict[str, torch.Tensor] = {}

    def remember(part: str) -> Reader:
        def take(_row: int, value: torch.Tensor) -> None:
            seen[part] = value

        return take

    def compare(_row: int, value: torch.Tensor) -> None:
        if not set(parts) <= set(seen):
            return  # the hook of the sum fires a second time in compatibility mode, by its other name
        error = (sum(seen[part].float() for part in parts) - value.float()).norm()
        rounding = ROUNDING * torch.finfo(value.dtype).eps * value.float().norm()
        allowed = SUM_TOLERANCE * seen[parts[-1] if stream == "mlp_out" else "attn_out"].float().norm() + rounding
        seen.clear()
        if float(error) > float(allowed):  # NaN is neither: the result says that numbers are not finite
            raise ModelError(
                f"{stream} is not what this model adds to its residual stream: "
                f"{' + '.join(map(hook_of, parts))} is not {hook_of(total)}.",
                'Read stream="resid_post", or take away your own hooks on these.',
            )

    return {f"hook_{part}": remember(part) for part in parts} | {f"hook_{total}": compare}


def lens_rows(
    model: Any, stream: str, layers: Iterable[int] | None, lenses: Sequence[Any] = ("logit",)
) -> list[tuple[str, int]]:
    """`(stream, layer)` of each row, in the order of the layers, the model's output last.

    Args:
        model: a TransformerBridge.
        stream: what is read.
        layers: which; all that every lens can read if None.
        lenses: those that will read the rows.

    Raises:
        DataError: an unknown stream, layer or lens, or a layer that a lens was not fitted for.
        ModelError: a stream that this architecture lacks, or a lens of another model.
    """
    lens_sites(stream)
    if stream not in available_streams(model):
        raise _lacking(model, stream)
    last = int(model.cfg.n_layers) - 1
    chosen = check_layers(model, layers) or tuple(range(last + 1))
    for lens in lenses:
        if lens_name(lens) == "logit":
            continue
        if stream != "resid_post":
            raise DataError(
                f"the {lens_name(lens)} lens was fitted to resid_post; it cannot read {stream}.",
                'Choose lens="logit" for other streams.',
            )
        _check_fit(model, lens)
        known = {*lens.source_layers, last}
        unfitted = [layer for layer in chosen if layer not in known]
        if layers is not None and unfitted:
            raise DataError(
                f"the {lens_name(lens)} lens was not fitted for layers {unfitted}.", f"It reads {sorted(known)}."
            )
        chosen = tuple(layer for layer in chosen if layer in known)
    rows = [(stream, layer) for layer in sorted(chosen)]
    final = ("resid_post", last)
    return rows if rows[-1] == final else [*rows, final]


def _lacking(model: Any, stream: str) -> ModelError:
    there = available_streams(model)
    choose = f"Choose one of {', '.join(there)}." if there else "Lenses need a transformer's residual stream."
    if stream == "resid_mid" and getattr(model.cfg, "parallel_attn_mlp", False):
        return ModelError(
            "attention and MLP of this model run side by side: there is no residual stream between them.", choose
        )
    return ModelError(f"not every block of this architecture has {stream}.", choose)


def lens_name(lens: Any) -> str:
    """`"logit"`, `"tuned"` or `"jacobian"`.

    Raises:
        DataError: none of these.
    """
    if isinstance(lens, str) and lens == "logit":
        return "logit"
    if not isinstance(lens, str) and callable(getattr(lens, "transport", None)) and hasattr(lens, "source_layers"):
        return "jacobian" if hasattr(lens, "jacobians") else "tuned"
    raise DataError(f"{lens!r} is no lens.", 'Give "logit", a TunedLens (compute.train_tuned_lens) or a JacobianLens.')


def _check_fit(model: Any, lens: Any) -> None:
    """Raise ModelError where `lens` says that it was fitted for another model."""
    try:
        lens.validate_model(model)
    except (TypeError, ValueError) as reason:
        if isinstance(reason, ModelError):
            raise
        raise ModelError(f"the {lens_name(lens)} lens does not fit this model: {reason}") from reason


def transported(lens: Any, vectors: torch.Tensor, layer: int) -> torch.Tensor:
    """`vectors` float32 `[position, d_model]` of `layer`, as `lens` brings them to the last layer."""
    return vectors if lens_name(lens) == "logit" else lens.transport(vectors, layer)


def check_positions(tokens: Tokens, positions: Iterable[int] | None) -> tuple[int, ...]:
    """The positions as a tuple, negative ones counted from the end; all if None. DataError if one does not exist."""
    count = len(tokens)
    if positions is None:
        return tuple(range(count))
    given = integers("positions", positions)
    wrong = [position for position in given if not -count <= position < count]
    if wrong or not given:
        raise DataError(f"positions {wrong or given} do not exist.", f"The prompt has positions 0 to {count - 1}.")
    return tuple(dict.fromkeys(position % count for position in given))
