"""What is read of a run's logits where the answer stands: one number for each run, as torch functions of the logits.

All but the rank can be differentiated. Runs no model. Knows nothing of what was changed in a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mi_widgets.compute.answers import resolve
from mi_widgets.data import Tokens
from mi_widgets.data.integers import word
from mi_widgets.data.patching import METRICS
from mi_widgets.errors import DataError

#: A function of the user's: logits `[1, 1, d_vocab]` of one run, where they are read, to one number.
OwnMetric = Callable[[torch.Tensor], Any]


@dataclass(frozen=True, eq=False)
class PatchMetric:
    """A metric of one pair, its answers resolved.

    Attributes:
        metric: one of `METRICS`.
        name: of the user's function, else "".
        answer: token id, or -1 where the metric needs none.
        foil: likewise.
        function: the user's.
        clean: float32 `[d_vocab]`, log-probabilities of the clean run, for KL.
    """

    metric: str
    name: str = ""
    answer: int = -1
    foil: int = -1
    function: OwnMetric | None = None
    clean: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The metric of each run.

        Args:
            logits: `[run, d_vocab]` where they are read, of any number type and device.

        Returns:
            float32 `[run]`, with its graph.

        Raises:
            DataError: the user's function raised, or did not give one number.
        """
        if self.function is not None:
            return torch.stack([self._own(row[None, None]) for row in logits])
        logits = logits.float()
        if self.metric == "kl":
            assert self.clean is not None
            clean = self.clean.to(logits.device)
            apart = clean - logits.log_softmax(-1)
            terms = torch.where(clean == -torch.inf, 0.0, clean.exp() * apart)  # what the clean run forbids counts as 0
            return terms.sum(-1).clamp_min(0.0)
        if self.tokens is not None:
            return self.of_tokens(logits[:, list(self.tokens)])
        own = logits[:, self.answer]
        if self.metric == "rank":
            rank = (logits > own[:, None]).sum(-1).float()
            return torch.where(own.isnan(), torch.nan, rank)
        log_probability = own - logits.logsumexp(-1)
        return log_probability if self.metric == "log_probability" else log_probability.exp()

    @property
    def tokens(self) -> tuple[int, ...] | None:
        """The tokens whose logits alone it reads; None where it reads all."""
        if self.metric != "logit_difference":
            return None
        return (self.answer,) if self.foil < 0 else (self.answer, self.foil)

    def of_tokens(self, logits: torch.Tensor) -> torch.Tensor:
        """The metric of each run from the logits `[run, token]` of `tokens` alone."""
        return logits[:, 0].float() if logits.shape[1] == 1 else logits[:, 0].float() - logits[:, 1].float()

    def _own(self, logits: torch.Tensor) -> torch.Tensor:
        """One run's number by the user's function."""
        assert self.function is not None
        try:
            value = self.function(logits)
        except Exception as reason:
            raise DataError(
                f"the metric {self.name} raised {type(reason).__name__}: {reason}",
                "It is called with the logits [1, 1, d_vocab] of one run, at the position that is read.",
            ) from reason
        try:
            value = torch.as_tensor(value, device=logits.device)
            if value.numel() != 1 or value.is_complex():
                raise TypeError
        except (TypeError, ValueError, RuntimeError) as reason:
            said = f"a tensor {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise DataError(
                f"the metric {self.name} gives {said}, not one number.",
                "It is called with the logits [1, 1, d_vocab] of one run; e.g. logits[0, -1, answer].",
            ) from reason
        return value.reshape(()).float()


def patch_metric(
    model: Any,
    metric: str | OwnMetric,
    clean: Tokens,
    logits: torch.Tensor,
    answer: Any = None,
    foil: Any = None,
) -> PatchMetric:
    """A metric made ready for one pair.

    Args:
        model: a TransformerBridge.
        metric: one of `METRICS` but `"own"`, or a function of the logits `[1, 1, d_vocab]` of one run.
        clean: the clean prompt, after which answer and foil are one token each.
        logits: `[d_vocab]` of the clean run where they are read.
        answer: text or token id; None: the clean run's first choice (where there is a foil, the first other than it).
        foil: likewise; None with an answer: the answer alone. None without: the clean run's second choice.

    Raises:
        AnswerError: an answer or foil that is no single token.
        DataError: no such metric, or an answer that is the foil.
    """
    chosen = None if answer is None else resolve(model, clean, answer)
    against = None if foil is None else resolve(model, clean, foil, role="foil")
    if chosen is not None and chosen == against:
        raise DataError("the answer and the foil are the same token.", "Choose another foil, or none.")
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        return PatchMetric("own", name, _or_none(chosen), _or_none(against), metric)
    kind = word("metric", metric, [one for one in METRICS if one != "own"])
    logits = logits.detach().float()
    if kind == "kl":
        return PatchMetric(kind, clean=logits.log_softmax(-1))
    if chosen is None:
        first, second = logits.topk(2).indices.tolist()
        if against is None:
            chosen, against = first, second
        else:
            chosen = second if first == against else first
    return PatchMetric(kind, "", chosen, _or_none(against) if kind == "logit_difference" else -1)


def _or_none(token: int | None) -> int:
    return -1 if token is None else token
