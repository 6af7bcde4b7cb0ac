"""All that a computation could leave behind on a model, for tests that it leaves nothing."""

from __future__ import annotations

import hashlib

import torch

from mi_widgets.models import modules_of


def state_of(model):
    """Everything that a pass could leave behind, as one comparable value."""
    weights = hashlib.sha256()
    for name, tensor in sorted(model.original_model.state_dict().items()):
        weights.update(name.encode() + tensor.float().numpy().tobytes())
    return {
        "weights": weights.hexdigest(),
        "hooks": {
            name: ([id(hook) for hook in point.fwd_hooks], [id(hook) for hook in point.bwd_hooks])
            for name, point in model.hook_dict.items()
        },
        "torch hooks": [(*module._forward_hooks, *module._forward_pre_hooks) for module in modules_of(model)],
        "training": [module.training for module in modules_of(model)],
        "flags": {name: value for name, value in vars(model.cfg).items() if name.startswith("use_")},
        "gradients": [(parameter.requires_grad, parameter.grad is None) for parameter in model.parameters()],
        "context": getattr(model, "context_level", 0),
        "grad mode": torch.is_grad_enabled(),
    }
