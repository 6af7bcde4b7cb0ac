"""The embedded demo model's room: its small world (grammar), its trainer, its weights and what is known inside.

This file offers the prompts of that world, pairs of them, and the model's sparse coders. It imports no torch by itself;
the model is the Hugging Face folder at `WEIGHTS`. What trains and measures it is in the checkout alone, in no wheel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_widgets.data.integers import integer, word
from mi_widgets.errors import DataError

from .grammar import TASKS, prompts
from .pairs import pairs
from .records import DemoPrompt

if TYPE_CHECKING:
    from .toy import superposition

WEIGHTS = Path(__file__).parent / "weights"
#: Of each kind of coder what it reads, and what it explains where that is something else.
CODER_SITES = {
    "resid_post": ("blocks.{}.hook_resid_post", None),
    "mlp": ("blocks.{}.mlp.hook_in", "blocks.{}.hook_mlp_out"),
}

__all__ = [
    "CODER_SITES",
    "TASKS",
    "WEIGHTS",
    "DemoPrompt",
    "coder",
    "coder_folder",
    "pairs",
    "prompts",
    "superposition",
]


def coder_folder(layer: int, site: str = "resid_post", weights: Path = WEIGHTS) -> Path:
    """The folder of one of the demo model's sparse coders, in SAELens's format, whether it is there or not."""
    return weights / "coders" / f"layer_{integer('layer', layer)}_{word('site', site, CODER_SITES)}"


def coder(layer: int, site: str = "resid_post") -> Any:
    """A sparse coder of the demo model, trained with it (its worth: the model card).

    Args:
        layer: of the model, from 0.
        site: `"resid_post"`, an autoencoder of the residual stream behind the layer (TopK); or `"mlp"`, a transcoder
            from what the layer's MLP reads to what it writes.

    Returns:
        sae.SparseCoder, in float32.

    Raises:
        DataError: a layer or site that there is not.
    """
    from mi_widgets.sae import load

    folder = coder_folder(layer, site)
    if not folder.is_dir():
        known = sorted(path.name for path in folder.parent.glob(f"*_{site}"))
        raise DataError(f"the demo model has no {site} coder of layer {layer}.", f"There are {', '.join(known)}.")
    return load(folder, dtype="float32", name=f"demo L{layer} {site}")


def __getattr__(name: str) -> Any:
    if name == "superposition":  # it imports torch
        from .toy import superposition

        return superposition
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
