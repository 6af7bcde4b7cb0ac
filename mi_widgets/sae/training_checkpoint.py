"""A training on disk, beside the coder it has made so far: one safetensors file, written whole or not at all.

Holds all that goes on learning (parameters, the optimiser's moments, who fired when), the curve so far, and in its
header what is trained, on what, and how far. Knows nothing of how any of it is made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mi_widgets.compute.signature import WeightSignature
from mi_widgets.data.files import replacing
from mi_widgets.errors import DataError

NAME = "training.safetensors"
#: Version of the file.
SCHEMA = 1
#: What may differ when a training goes on: how long it lasts, and how memory is used.
FREE = ("steps",)


@dataclass(frozen=True)
class Checkpoint:
    """How far a training has come.

    Attributes:
        about: what is trained and on what; the same when it goes on.
        done: steps made.
        place: of the activations that come next, `training_stream.Place`.
        state: of the learner, by name.
        curve: float64 `[step, column]`, see `training.COLUMNS`.
    """

    about: dict[str, Any]
    done: int = 0
    place: dict[str, int] = field(default_factory=dict)
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    curve: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))

    def write(self, folder: Path) -> Path:
        """Put it into `folder`, in the place of what was there.

        Raises:
            ExportError: it cannot be written; what stood there stands as it was.
        """
        from safetensors.torch import save_file

        header = {"schema": SCHEMA, "about": self.about, "done": self.done, "place": self.place}
        tensors = {f"state.{name}": tensor.cpu().contiguous() for name, tensor in self.state.items()}
        with replacing(folder / NAME) as beside:
            save_file(tensors | {"curve": self.curve}, beside, {"training": json.dumps(header)})
        return folder / NAME


def read(folder: Path) -> Checkpoint | None:
    """What `write` put into `folder`; None where there is nothing.

    Raises:
        DataError: a damaged file, or one of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if header["schema"] > SCHEMA:
            raise DataError(f"{path} was written by a newer mi_widgets.", "Update mi_widgets.")
        state = {name.removeprefix("state."): tensor for name, tensor in tensors.items() if name.startswith("state.")}
        return Checkpoint(header["about"], int(header["done"]), header["place"], state, tensors["curve"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as reason:
        if isinstance(reason, DataError):
            raise
        raise DataError(
            f"{path} holds no whole training ({reason}).", "Delete it to begin again, or give another folder."
        ) from reason


def check_same(found: Checkpoint, about: dict[str, Any], folder: Path) -> None:
    """Raise DataError where the training in `folder` is another one, naming both sides."""
    for name, wanted in about.items():
        held = found.about.get(name)
        if name == "weights" and held is not None:
            if differing := WeightSignature(**held).differing(WeightSignature(**wanted)):
                raise DataError(
                    f"{folder} holds a training on another model: {len(differing)} weights differ ({differing[0]} …).",
                    "Give the same model to go on with it, or another folder to begin.",
                )
        elif name not in FREE and held != wanted:
            raise DataError(
                f"{folder} holds a training with {name}={held!r}, not {wanted!r}.",
                "Give the same options to go on with it, or another folder to begin.",
            )
