"""A sparse coder while it learns: its parameters, what is active in each architecture, the losses, the optimiser.

Activations come scaled, so that a typical input has length √width whatever the model's units; what is learned is
scaled back when it leaves (`weights`). Decoder rows act by their direction alone. A feature that has not fired for long
learns to explain what the others leave (an auxiliary loss, Gao 2024), so that it comes back. Knows nothing of models,
texts or files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mi_widgets.sae.training_options import Options

#: The threshold of a batch's smallest active feature is followed so: this share of each new one is taken.
FOLLOWED = 0.01
#: Width of the band about a JumpReLU's threshold in which it hears gradients (Conerly 2025), in scaled units.
BAND = 0.5
#: Positions that JumpReLU thresholds start from, and where they start at least, in scaled units.
SEEN, FIRST_THRESHOLD = 2048, 0.1
#: What it costs a JumpReLU to miss the wanted L0 by a factor of e, as a share of the scaled output's squared length.
MISS = 0.5
#: Above this share of active features a dense product is the faster one, on the CPU.
SPARSE = 1 / 8


class _Step(torch.autograd.Function):
    """1 where `pre` is above the threshold; to gradients a ramp of width `BAND` (Rajamanoharan 2024)."""

    @staticmethod
    def forward(ctx: Any, pre: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(pre, threshold)
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pre, threshold = ctx.saved_tensors
        near = grad_outputs[0] * ((pre - threshold).abs() < BAND / 2) / BAND
        return near, -near.sum(0)


class Learner:
    """The coder that is in the making.

    Args:
        options: what is trained.
        x: the first activations, `[position, d_in]`, in the model's units: scale and bias start from them.
        y: what is to be explained of them, `[position, d_out]`; `x` itself for an autoencoder.
        device: where it learns.
    """

    def __init__(self, options: Options, x: torch.Tensor, y: torch.Tensor, device: Any) -> None:
        self.options, self.device = options, torch.device(device)
        self.d_in, self.d_out = x.shape[1], y.shape[1]
        self.scales = tuple(float(one.norm(dim=1).mean()) / one.shape[1] ** 0.5 or 1.0 for one in (x, y))
        draw = torch.Generator().manual_seed(options.seed)
        rows = torch.randn(options.d_sae, self.d_out, generator=draw)
        rows /= rows.norm(dim=1, keepdim=True)
        columns = rows.T
        if options.transcodes:
            columns = torch.randn(self.d_in, options.d_sae, generator=draw)
            columns = columns / columns.norm(dim=0, keepdim=True)
        if options.architecture == "standard":  # half of all features begin active: each says little
            columns = columns * min(1.0, self.d_in / options.d_sae)
        parts = {
            "W_enc": columns,
            "b_enc": torch.zeros(options.d_sae),
            "W_dec": rows,
            "b_dec": y.mean(0).float().cpu() / self.scales[1],
        }
        if options.architecture == "jumprelu":  # as many features begin active as are wanted
            first = x[:SEEN].float().cpu() / self.scales[0] - (0.0 if options.transcodes else parts["b_dec"])
            least = max(float(_least(first @ columns, options.k)), FIRST_THRESHOLD)
            parts["log_threshold"] = torch.full((options.d_sae,), least).log()
        self.parts = {name: part.clone().to(self.device).requires_grad_() for name, part in parts.items()}
        self.optimizer = torch.optim.Adam(self.parts.values(), lr=options.learning_rate)
        #: Steps since each feature fired.
        self.idle = torch.zeros(options.d_sae, dtype=torch.long, device=self.device)
        #: The followed threshold of TopK and BatchTopK; 0 before the first step.
        self.threshold = 0.0

    def step(self, number: int, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """Learn from one batch, as step `number` from 0; what was found before it learned: `loss`,
        `variance_unexplained`, `l0`, `dead` and `learning_rate`."""
        options = self.options
        rate = options.rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x, y = x.to(self.device) / self.scales[0], y.to(self.device) / self.scales[1]
        with torch.enable_grad():
            pre, directions = self._before(x), functional.normalize(self.parts["W_dec"], dim=1)
            acts = self._active(pre)
            error = y - self._decoded(acts, directions) - self.parts["b_dec"]
            missed = error.square().sum(1).mean()
            loss = missed + self._price(number, pre, acts)
            fired = (acts.detach() > 0).any(0)
            dead = (self.idle >= options.dead_after) & ~fired
            if bool(dead.any()):
                loss = loss + self._revival(pre[:, dead], directions[dead], error.detach())
            gradients = torch.autograd.grad(loss, list(self.parts.values()))
        for part, gradient in zip(self.parts.values(), gradients, strict=True):
            part.grad = gradient
        self.optimizer.step()
        self.idle = torch.where(fired, 0, self.idle + 1)
        spread = (y - y.mean(0)).square().sum(1).mean()
        return {
            "loss": float(loss.detach()),
            "variance_unexplained": float(missed.detach() / spread) if spread > 0 else float("nan"),
            "l0": float((acts.detach() > 0).sum(1).float().mean()),
            "dead": int(dead.sum()),
            "learning_rate": rate,
        }

    def _before(self, x: torch.Tensor) -> torch.Tensor:
        entered = x if self.options.transcodes else x - self.parts["b_dec"]
        return entered @ self.parts["W_enc"] + self.parts["b_enc"]

    def _active(self, pre: torch.Tensor) -> torch.Tensor:
        """Activations of a batch while it learns, `[position, feature]`."""
        options = self.options
        if options.architecture == "standard":
            return pre.relu()
        if options.architecture == "jumprelu":
            threshold = self.parts["log_threshold"].exp()
            return pre.relu() * _Step.apply(pre, threshold)  # type: ignore[operator]
        if options.architecture == "topk":
            values, places = pre.topk(options.k, sorted=False)
            self._follow(values.detach().amin(1).clamp(min=0).mean())
            return torch.zeros_like(pre).scatter(1, places, values.relu())
        least = _least(pre.detach(), options.k)
        self._follow(least.clamp(min=0))
        return (pre * (pre >= least)).relu()

    def _follow(self, smallest: torch.Tensor) -> None:
        """Let the threshold follow the smallest activation that counted in a batch."""
        least = float(smallest)
        self.threshold = self.threshold + FOLLOWED * (least - self.threshold) if self.threshold else least

    def _decoded(self, acts: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """`acts @ directions`, by the active features alone where they are few: several times as fast on a CPU."""
        if self.device.type != "cpu":
            return acts @ directions
        row, feature = acts.detach().nonzero(as_tuple=True)
        if len(feature) > SPARSE * acts.numel():
            return acts @ directions
        starts = torch.zeros(len(acts), dtype=torch.long)
        starts[1:] = torch.bincount(row, minlength=len(acts)).cumsum(0)[:-1]
        return functional.embedding_bag(feature, directions, starts, mode="sum", per_sample_weights=acts[row, feature])

    def _price(self, number: int, pre: torch.Tensor, acts: torch.Tensor) -> torch.Tensor | float:
        """What activity costs: a ReLU's by its size (L1), a JumpReLU's by how far its L0 is from the wanted one."""
        options = self.options
        share = min(1.0, (number + 1) / options.price_steps)
        if options.architecture == "standard":
            return options.l1_coefficient * share * acts.sum(1).mean()
        if options.architecture == "jumprelu":
            l0 = _Step.apply(pre, self.parts["log_threshold"].exp()).sum(1).mean()  # type: ignore[union-attr]
            return MISS * self.d_out * share * (l0.clamp(min=1e-3) / options.k).log().square()
        return 0.0

    def _revival(self, pre: torch.Tensor, directions: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """How badly the dead features that lie nearest explain what the living leave, weighed by how many are dead."""
        most = max(1, self.d_out // 2)
        values, places = pre.topk(min(most, pre.shape[1]), sorted=False)
        said = torch.zeros_like(pre).scatter(1, places, values) @ directions
        return min(1.0, pre.shape[1] / most) * (said - error).square().sum(1).mean()

    # -- what it has learned -------------------------------------------------------------------------

    def weights(self) -> dict[str, torch.Tensor]:
        """The coder's tensors in the model's units, by SAELens's names, float32 on the CPU; features are measured in
        the units of what they are decoded to, and rows of `W_dec` have length 1."""
        scale_in, scale_out = self.scales
        held = {name: part.detach().double().cpu() for name, part in self.parts.items()}
        found = {
            "W_enc": held["W_enc"] * (scale_out / scale_in),
            "b_enc": held["b_enc"] * scale_out,
            "W_dec": functional.normalize(held["W_dec"], dim=1),
            "b_dec": held["b_dec"] * scale_out,
        }
        if self.options.saved_as.startswith("jumprelu"):
            followed = torch.full((self.options.d_sae,), self.threshold, dtype=torch.float64)
            found["threshold"] = (held["log_threshold"].exp() if "log_threshold" in held else followed) * scale_out
        return {name: tensor.float().contiguous() for name, tensor in found.items()}

    def state(self) -> dict[str, torch.Tensor]:
        """All that goes on learning from here, by name: parameters, the optimiser's moments, who fired when."""
        found = {name: part.detach() for name, part in self.parts.items()}
        for name, part in self.parts.items():
            found |= {f"{name}.{kept}": value for kept, value in self.optimizer.state[part].items()}
        numbers = torch.tensor([*self.scales, self.threshold], dtype=torch.float64)
        return found | {"idle": self.idle, "numbers": numbers}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        for name, part in self.parts.items():
            part.detach().copy_(state[name])
            kept = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            self.optimizer.state[part] = {
                key: value if key == "step" else value.to(self.device) for key, value in kept.items()
            }
        self.idle = state["idle"].to(self.device)
        first, second, self.threshold = np.asarray(state["numbers"]).tolist()
        self.scales = (first, second)


def _least(pre: torch.Tensor, k: int) -> torch.Tensor:
    """The smallest of the k largest for each position, on average, of `pre [position, feature]`."""
    return pre.flatten().kthvalue(pre.numel() - k * len(pre) + 1).values
