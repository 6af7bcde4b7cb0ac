"""Products by oneDNN: the same numbers to rounding, on this thread alone, and nothing of it left on the model."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from mi_widgets.compute.forward import forward
from mi_widgets.compute.products import Product, fits, hasten, slow_down

IDS = np.arange(1, 13)


def hastened(model) -> list[str]:
    return [name for name, module in model.named_modules() if "forward" in module.__dict__]


def test_a_hasty_pass_has_the_same_numbers_and_leaves_nothing(demo_model):
    seen = []

    def look(activation, hook):
        seen.append(len(hastened(demo_model)))

    with demo_model.hooks(fwd_hooks=[("blocks.1.hook_resid_post", look)]):
        hasty = forward(demo_model, IDS, ("hook_resid_post",), hasty=True).arrays["hook_resid_post"]
        plain = forward(demo_model, IDS, ("hook_resid_post",)).arrays["hook_resid_post"]
    assert np.abs(hasty - plain).max() < 1e-5 * np.abs(plain).max()
    assert (seen[0] > 0 or not torch.backends.mkldnn.is_available()) and seen[1] == 0
    assert hastened(demo_model) == []


def test_nothing_is_left_when_a_hook_raises(demo_model):
    def refuse(activation, hook):
        raise RuntimeError("no")

    with (
        demo_model.hooks(fwd_hooks=[("blocks.1.hook_resid_post", refuse)]),
        pytest.raises(RuntimeError, match="no"),
    ):
        forward(demo_model, IDS, ("hook_resid_post",), hasty=True)
    assert hastened(demo_model) == []


def test_on_another_thread_the_module_is_its_own():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    module = torch.nn.Linear(8, 8)
    given, found, used = torch.randn(3, 8), {}, []
    hasten([module])
    standing = module.forward
    assert isinstance(standing, Product)
    standing._weight = torch.zeros_like(standing._weight)  # what this thread computes is told apart
    standing._bias = None

    def there() -> None:
        with torch.no_grad():
            found["there"] = module(given)
        used.append(True)

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    with torch.no_grad():
        here = module(given)
        slow_down([module])
        assert torch.equal(found["there"], module(given)) and used
    assert not here.any() and "forward" not in module.__dict__


class Lora(torch.nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) + 1


def part_of_a_table() -> torch.nn.Linear:
    module = torch.nn.Linear(4, 4)
    module.weight = torch.nn.Parameter(torch.randn(4, 12)[:, :4])
    return module


@pytest.mark.parametrize(
    "module",
    [
        part_of_a_table(),
        Lora(4, 4),
        torch.nn.Linear(4, 4).bfloat16(),
        torch.nn.Linear(4, 4).double(),
        torch.nn.LayerNorm(4),
    ],
    ids=["a part of a table", "a class of the user's", "bfloat16", "float64", "no product"],
)
def test_what_it_might_not_be_is_left_alone(module):
    hasten([module])
    assert not fits(module) and "forward" not in module.__dict__


def test_a_forward_of_the_users_own_is_left_alone():
    module = torch.nn.Linear(4, 4)
    module.forward = own = lambda given: given
    hasten([module])
    slow_down([module])
    assert module.forward is own
