"""The indirect-object circuit of a demo model: which heads find the receiver of a gift, and how much each carries.

A head's direct attribution is what it writes itself, read through the final norm with its scale frozen; an ablated head
has its output (z, before W_O) replaced by its mean over prompts of the same template, everywhere or at one position
(Wang et al. 2022). Knows the grammar's task "ioi"; nothing of how the numbers are published.
"""

from dataclasses import dataclass

import torch

from .evaluate import prompt_ids
from .grammar import prompts
from .heads import ablated, eager_attention, head_shape, recorded_z
from .records import DemoPrompt
from .vocabulary import NAMES, TOKEN_IDS

TASK_FLOOR = 0.5  # share of right prompts from which a model does the task
# receiver minus giver: the usual logit difference. receiver minus absent: minus the mean of the names not mentioned
CONTRASTS = ("giver", "absent")
NAME_IDS = torch.tensor([TOKEN_IDS[" " + name] for name in NAMES])


@dataclass
class TemplateBatch:
    """Held-out indirect-object prompts of one template, so that a position means the same in every row.

    ids [prompt, position]; answers, foils [prompt]; first, second, giver: positions of the two names' first
    mention and of the giver's second one.
    """

    ids: torch.Tensor
    answers: torch.Tensor
    foils: torch.Tensor
    first: int
    second: int
    giver: int

    @property
    def end(self) -> int:
        """Position of the last token, which predicts the receiver."""
        return self.ids.shape[1] - 1


def template_batches(n: int = 350, seed: int = 0) -> list[TemplateBatch]:
    """`n` held-out prompts of the task "ioi", one batch per template."""
    by_kind: dict[str, list[DemoPrompt]] = {}
    for record in prompts("ioi", n=n, seed=seed):
        by_kind.setdefault(record.kind, []).append(record)
    batches = []
    for _, records in sorted(by_kind.items()):
        ids = torch.tensor([prompt_ids(record.text) for record in records])
        first, second, giver = torch.isin(ids[0], NAME_IDS).nonzero().flatten().tolist()
        answers = torch.tensor([TOKEN_IDS[record.answer] for record in records])
        foils = torch.tensor([TOKEN_IDS[record.foil] for record in records])
        batches.append(TemplateBatch(ids, answers, foils, first, second, giver))
    return batches


def contrasts(logits: torch.Tensor, batch: TemplateBatch) -> torch.Tensor:
    """[prompt, contrast] at the last position of `logits` [prompt, position, vocabulary], in the order `CONTRASTS`."""
    last = logits[:, -1]
    receiver, giver = (last.gather(1, ids[:, None])[:, 0] for ids in (batch.answers, batch.foils))
    absent = (last[:, NAME_IDS].sum(-1) - receiver - giver) / (len(NAMES) - 2)
    return torch.stack([receiver - giver, receiver - absent], dim=-1)


class IndirectObjectStudy:
    """The measurements on one model; prompts, mean outputs and clean logits are computed once.

    Effects and attributions are given per contrast (see `CONTRASTS`): [contrast, layer, head].
    """

    def __init__(self, model, n: int = 350, seed: int = 0) -> None:
        self.model = model
        self.batches = template_batches(n, seed)
        self.z: list[dict[int, torch.Tensor]] = []
        clean, right = [], []
        for batch in self.batches:
            with torch.no_grad(), recorded_z(model) as z:
                logits = model(input_ids=batch.ids).logits
            clean.append(contrasts(logits, batch))
            right.append(logits[:, -1].argmax(-1) == batch.answers)
            self.z.append(dict(z))
        self.means = [{layer: values.mean(0) for layer, values in z.items()} for z in self.z]
        self.clean = torch.cat(clean).mean(0)  # [contrast]
        self.right = torch.cat(right).float().mean().item()  # share of prompts

    @property
    def does_the_task(self) -> bool:
        """Whether there is something for a circuit to carry: shares of a contrast near or below 0 mean nothing."""
        return self.right >= TASK_FLOOR and bool((self.clean > 0).all())

    @torch.no_grad()
    def run_ablated(self, mask: torch.Tensor, at: str | None = None) -> tuple[torch.Tensor, float]:
        """Mean contrasts [contrast], as shares of the clean ones, and the share of prompts whose argmax stays right.

        The heads of `mask` [layer, head] are ablated at "first", "second", "giver" or "end", or everywhere.
        """
        found, right = [], []
        for batch, means in zip(self.batches, self.means, strict=True):
            position = None if at is None else getattr(batch, at)
            with ablated(self.model, means, mask, position):
                logits = self.model(input_ids=batch.ids).logits
            found.append(contrasts(logits, batch))
            right.append(logits[:, -1].argmax(-1) == batch.answers)
        return torch.cat(found).mean(0) / self.clean, torch.cat(right).float().mean().item()

    def ablation_effect(self, at: str | None = None) -> torch.Tensor:
        """[contrast, layer, head]: share of the mean contrast lost when that head alone is ablated."""
        layers, heads, _ = head_shape(self.model)
        effect = torch.zeros(len(CONTRASTS), layers, heads)
        for layer in range(layers):
            for head in range(heads):
                mask = torch.zeros(layers, heads, dtype=torch.bool)
                mask[layer, head] = True
                effect[:, layer, head] = 1 - self.run_ablated(mask, at)[0]
        return effect

    @torch.no_grad()
    def direct_attribution(self) -> torch.Tensor:
        """[contrast, layer, head]: its direct part of the mean contrast, as a share; final norm's scale frozen."""
        layers, heads, d_head = head_shape(self.model)
        norm = self.model.transformer.ln_f
        total = torch.zeros(len(CONTRASTS), layers, heads)
        for batch, z in zip(self.batches, self.z, strict=True):
            residual = {}

            def keep(_, inputs, kept=residual):
                kept["final"] = inputs[0][:, -1]

            handle = norm.register_forward_pre_hook(keep)
            self.model(input_ids=batch.ids)
            handle.remove()
            scale = (residual["final"].var(-1, unbiased=False) + norm.eps).sqrt()
            readout = norm.weight * self._directions(batch) / scale[:, None, None]
            readout = readout - readout.mean(-1, keepdim=True)  # the norm centres what it is given
            for layer in range(layers):
                W_O = self.model.transformer.h[layer].attn.c_proj.weight.unflatten(0, (heads, d_head))
                written = torch.einsum("phd,hdm->phm", z[layer][:, -1], W_O)
                total[:, layer] += torch.einsum("phm,pcm->ch", written, readout)
        prompt_count = sum(len(batch.answers) for batch in self.batches)
        return total / prompt_count / self.clean[:, None, None]

    def _directions(self, batch: TemplateBatch) -> torch.Tensor:
        """Unembedding directions [prompt, contrast, d_model] that read the contrasts out of the normed residual."""
        unembed = self.model.lm_head.weight
        receiver, giver = unembed[batch.answers], unembed[batch.foils]
        absent = (unembed[NAME_IDS].sum(0) - receiver - giver) / (len(NAMES) - 2)
        return torch.stack([receiver - giver, receiver - absent], dim=1)

    @torch.no_grad()
    def attention(self) -> dict[str, torch.Tensor]:
        """Mean attention weights [layer, head].

        From the last token to the receiver, to the giver's first and to the giver's second mention
        ("end_to_receiver", "end_to_giver", "end_to_giver_again"), and from the giver's second mention to the first
        ("giver_to_giver").
        """
        layers, heads, _ = head_shape(self.model)
        names = ("end_to_receiver", "end_to_giver", "end_to_giver_again", "giver_to_giver")
        total = {name: torch.zeros(layers, heads) for name in names}
        for batch in self.batches:
            with eager_attention(self.model):
                patterns = torch.stack(self.model(input_ids=batch.ids, output_attentions=True).attentions)
            giver_is_first = batch.ids[:, batch.first] == batch.foils
            giver = torch.where(giver_is_first, batch.first, batch.second)
            receiver = torch.where(giver_is_first, batch.second, batch.first)
            rows = torch.arange(len(giver))
            # indexing rows and keys together puts the prompts first: [prompt, layer, head]
            total["end_to_receiver"] += patterns[:, rows, :, batch.end, receiver].sum(0)
            total["end_to_giver"] += patterns[:, rows, :, batch.end, giver].sum(0)
            total["end_to_giver_again"] += patterns[:, :, :, batch.end, batch.giver].sum(1)
            total["giver_to_giver"] += patterns[:, rows, :, batch.giver, giver].sum(0)
        prompt_count = sum(len(batch.answers) for batch in self.batches)
        return {name: values / prompt_count for name, values in total.items()}

    def circuit_quality(self, circuit: torch.Tensor) -> dict[str, float]:
        """What remains when every head outside `circuit` [layer, head] is ablated everywhere, and what without it.

        faithfulness_…: share of the mean contrast kept by the circuit alone. accuracy: share of prompts on which it is
        still right (argmax over the vocabulary). without_…: the same with only the circuit ablated.
        """
        (kept, kept_right), (lost, lost_right) = self.run_ablated(~circuit), self.run_ablated(circuit)
        return {
            **{f"faithfulness_{name}": share for name, share in zip(CONTRASTS, kept.tolist(), strict=True)},
            "accuracy": kept_right,
            **{f"without_{name}": share for name, share in zip(CONTRASTS, lost.tolist(), strict=True)},
            "accuracy_without": lost_right,
        }

    def find_circuit(self, faithfulness: float = 0.9) -> torch.Tensor:
        """[layer, head]: backward elimination.

        Drops, one by one, the head that costs least, while both contrasts keep at least `faithfulness` of their mean.
        No head is left of a model that does the task without them.
        """
        layers, heads, _ = head_shape(self.model)
        circuit = torch.ones(layers, heads, dtype=torch.bool)
        while circuit.any():
            trials = {}
            for layer, head in circuit.nonzero().tolist():
                smaller = circuit.clone()
                smaller[layer, head] = False
                trials[layer, head] = self.run_ablated(~smaller)[0].min().item()
            dropped = max(trials, key=trials.get)
            if trials[dropped] < faithfulness:
                break
            circuit[dropped] = False
        return circuit
