"""The only file that runs the user's model: one forward pass, chosen activations, nothing left behind.

Activations arrive on the CPU in float32, stacked over layers as they are produced, so that beside the bare pass
there is exactly one copy. Knows nothing of what they are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mi_widgets.compute.output import is_output, kept_output
from mi_widgets.errors import ModelError
from mi_widgets.models import modules_of

#: Called in the pass with (row of the layer axis, activation without its batch axis, in its own dtype and device).
Reader = Callable[[int, torch.Tensor], None]

#: Sites that stand once in a model, not in each block, by their first name. (`"blocks.0.…"` names one block.)
OUTSIDE = {"hook_embed", "hook_pos_embed", "embed", "pos_embed", "ln_final", "unembed", "blocks"}


def in_block(site: str) -> bool:
    """Whether `site` is a hook of every block, e.g. `"hook_resid_post"`; not `"ln_final.hook_scale"`."""
    return site.split(".")[0] not in OUTSIDE and not is_output(site)


def at_position(site: str, position: int) -> str:
    """The site of one position alone, e.g. `"mlp.hook_post@7"`: its arrays lack the position (query) axis."""
    return f"{site}@{position}"


def take_position(site: str, array: Any) -> Any:
    """What `site`, made by `at_position`, keeps of the whole site's `array` `[…, position, …]` without batch axis.

    Patterns and scores are `[…, head, query, key]`, all else `[…, position, its own axes]`; a layer axis may lead.
    """
    name, _, position = site.partition("@")
    own = {PATTERN: 3, SCORES: 3, "attn.hook_z": 3, "attn.hook_v": 3, "attn.hook_q": 3, "attn.hook_k": 3}.get(name, 2)
    axis = array.ndim - own + (1 if name in (PATTERN, SCORES) else 0)
    index = int(position)
    return array[(slice(None),) * axis + (index,)]


PATTERN, SCORES = "attn.hook_pattern", "attn.hook_attn_scores"


@dataclass(eq=False)
class Activations:
    """What one forward pass left.

    Attributes:
        layers: model layer number of each row.
        arrays: by site. A hook of every block (`"attn.hook_pattern"`): float32 `[layer, …]`, the activation's own
            axes without batch. A hook that stands once (`"ln_final.hook_scale"`): float32, its own axes without
            batch. What is kept of the model's output (`output.OUTPUT_SITES`, `LAST_LOGITS`): as described there.
        was_training: the model was in training mode and was put back into it.
        known: what has been found out about the arrays, so that several results from them need not do it again.
    """

    layers: tuple[int, ...]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    was_training: bool = False
    known: dict[str, Any] = field(default_factory=dict, repr=False)

    def only(self, layers: tuple[int, ...] | None) -> Activations:
        """These layers alone; itself if it holds no others."""
        if layers is None or layers == self.layers:
            return self
        rows = [self.layers.index(layer) for layer in layers]
        arrays = {site: array[rows] if in_block(site) else array for site, array in self.arrays.items()}
        return Activations(layers, arrays, self.was_training)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes for array in self.arrays.values())


class _Stack:
    """Collects one site over the layers into one preallocated array."""

    def __init__(self, site: str, rows: int) -> None:
        self.site, self.rows = site, rows
        self.filled: set[int] = set()
        self.array: torch.Tensor | None = None

    def __call__(self, row: int, activation: torch.Tensor) -> None:
        if "@" in self.site:
            activation = take_position(self.site, activation)
        if self.array is None:
            self.array = torch.empty((self.rows, *activation.shape), dtype=torch.float32)
        if self.array.shape[1:] != activation.shape:
            raise ModelError(
                f"layers of this model differ in the shape of {self.site}: "
                f"{list(self.array.shape[1:])} and {list(activation.shape)}.",
                "Show layers of one shape at a time: layers=[…].",
            )
        self.array[row].copy_(activation)  # one copy: device to CPU, any dtype to float32
        self.filled.add(row)

    def result(self, with_layers: bool) -> np.ndarray:
        """All that was collected, `[layer, …]`, or without that axis."""
        assert self.array is not None
        return self.array.numpy() if with_layers else self.array[0].numpy()


def forward(
    model: Any,
    ids: np.ndarray,
    sites: Sequence[str],
    layers: Iterable[int] | None = None,
    readers: dict[str, Reader] | None = None,
) -> Activations:
    """Run the model once, in evaluation mode and without gradients.

    Hooks of the user's own stay active. Hooks, training flags, gradients and weights are as before afterwards,
    also after an exception.

    Args:
        model: a TransformerBridge.
        ids: int64 `[position]`.
        sites: hook names within a block, e.g. `"attn.hook_pattern"`, or of the whole model, e.g.
            `"ln_final.hook_scale"`; either of one position alone (`at_position`); or names of
            `output.OUTPUT_SITES` or `output.LAST_LOGITS`. Each becomes an array.
        layers: which blocks; all if None.
        readers: further functions by site, called in the pass after the site is stored.

    Returns:
        Activations with one array for each site.

    Raises:
        ModelError: a site that this architecture does not have, or whose hook never fired.
    """
    chosen = tuple(range(int(model.cfg.n_layers)) if layers is None else layers)
    hooked = [site for site in sites if not is_output(site)]
    stacks = {site: _Stack(site, len(chosen) if in_block(site) else 1) for site in hooked}
    watched: list[str] = list(dict.fromkeys([*hooked, *(readers or {})]))
    hooks = []
    for site in watched:
        takers = [taker for taker in (stacks.get(site), (readers or {}).get(site)) if taker is not None]
        name = site.partition("@")[0]
        if in_block(site):
            hooks += [(f"blocks.{layer}.{name}", _hook(row, takers)) for row, layer in enumerate(chosen)]
        else:
            hooks.append((name, _hook(0, takers)))
    wanted = [site for site in sites if is_output(site)]
    output: dict[str, np.ndarray] = {}
    tokens = torch.as_tensor(ids, dtype=torch.long)[None].to(_input_device(model))
    with evaluating(model) as was_training, torch.no_grad():
        try:
            logits = model.run_with_hooks(tokens, fwd_hooks=hooks, return_type="logits" if wanted else None)
            if wanted:
                output = kept_output(logits[0], tokens[0], wanted)
        except (ValueError, KeyError) as reason:
            if "hook" not in str(reason).lower():
                raise
            raise ModelError(
                f"this architecture has no {' or '.join(sites)} ({reason}).", "Choose another weighting or view."
            ) from reason
    for site, stack in stacks.items():
        if len(stack.filled) != stack.rows:
            raise ModelError(
                f"{site} was not computed in {stack.rows - len(stack.filled)} of {stack.rows} layers.",
                "This architecture's attention cannot be read there; choose layers=[…] that have it.",
            )
    return Activations(
        layers=chosen,
        arrays={site: stack.result(in_block(site)) for site, stack in stacks.items()}
        | {site: output[site] for site in wanted},
        was_training=was_training,
    )


def _hook(row: int, takers: list[Reader]) -> Callable[..., None]:
    def read(activation: torch.Tensor, hook: Any = None) -> None:  # noqa: ARG001 (TransformerLens names it)
        for taker in takers:
            taker(row, activation[0].detach())

    return read


def _input_device(model: Any) -> torch.device:
    """Where the token ids belong: the embedding's device, also for models spread over devices."""
    with contextlib.suppress(AttributeError, NotImplementedError):
        return model.original_model.get_input_embeddings().weight.device
    return next(model.parameters()).device


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[bool]:
    """Evaluation mode for the pass; every module's own flag is put back afterwards. Yields whether any was
    in training mode."""
    training = [module for module in modules_of(model) if module.training]
    try:
        for module in training:
            module.training = False
        yield bool(training)
    finally:
        _train_again(training)


def _train_again(modules: list[torch.nn.Module]) -> None:
    """Set every flag; a Ctrl-C meanwhile is heard when all stand."""
    interrupted: KeyboardInterrupt | None = None
    while True:
        try:
            for module in modules:
                module.training = True
            break
        except KeyboardInterrupt as reason:
            interrupted = reason
    if interrupted is not None:
        raise interrupted
