"""Products with weights by oneDNN: the same sums in another order, up to twice as fast as MKL's where the processor is
not Intel's. Of single precision on the CPU alone, and without gradients.

Knows nothing of what the modules are part of; changes nothing of their weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import torch
from transformers.pytorch_utils import Conv1D

#: What it can be the product of, whether the weight is [in, out]. These very classes: others may compute otherwise.
KINDS: dict[type, bool] = {torch.nn.Linear: False, Conv1D: True}


class Product:
    """Stands as the `forward` of a module with a weight and a bias, on the thread that put it there.

    Args:
        module: of a class in `KINDS`.
        everywhere: on any thread.
    """

    def __init__(self, module: torch.nn.Module, everywhere: bool) -> None:
        weight, bias = module._parameters["weight"], module._parameters.get("bias")
        assert weight is not None
        self._own = type(module).forward.__get__(module)
        self._thread = None if everywhere else threading.get_ident()
        self._weight = weight.detach().T if KINDS[type(module)] else weight.detach()
        self._bias = None if bias is None else bias.detach()

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        """As the module is called."""
        elsewhere = self._thread is not None and self._thread != threading.get_ident()
        if elsewhere or given.dtype != torch.float32:
            return self._own(given)
        return torch.ops.mkldnn._linear_pointwise(given, self._weight, self._bias, "none", [], "")


def fits(module: torch.nn.Module) -> bool:
    """Whether its product can be made so."""
    if type(module) not in KINDS or "forward" in module.__dict__ or not torch.backends.mkldnn.is_available():
        return False
    weight = module._parameters.get("weight")
    if weight is None or weight.ndim != 2 or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    # Of a part of a larger table, as where queries, keys and values share one, it would be hundreds of times slower.
    dense = weight.is_contiguous() or weight.T.is_contiguous()
    return dense and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def hasten(modules: Iterable[torch.nn.Module], everywhere: bool = False) -> None:
    """Let those that fit make their products so, until `slow_down`: on this thread, or `everywhere`."""
    for module in modules:
        if fits(module):
            module.__dict__["forward"] = Product(module, everywhere)


def slow_down(modules: Iterable[torch.nn.Module]) -> None:
    """As before `hasten`, however far that came; may be called again."""
    for module in modules:
        if isinstance(module.__dict__.get("forward"), Product):
            del module.__dict__["forward"]
