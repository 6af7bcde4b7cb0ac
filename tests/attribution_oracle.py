"""What each part of a Hugging Face model adds to a logit difference, by torch hooks on its own modules and the weights
of its own final norm. Never sees TransformerLens, and knows each architecture by the names of its modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def first_of(holder: Any, *names: str) -> Any:
    """The first of these attributes that there is, or None."""
    return next((getattr(holder, name) for name in names if getattr(holder, name, None) is not None), None)


def centres(norm: Any) -> bool:
    """Whether a norm takes the mean away, by its class (torch's LayerNorm, Cohere's)."""
    return type(norm).__name__.endswith("LayerNorm")


class Attribution:
    """One pass over `ids`, everything kept in float64.

    Attributes:
        logits: `[position, d_vocab]`.
        first, last: `[position, d_model]`, the stream before the first and after the last block.
        attention, mlp: one `[position, d_model]` for each layer: what is added to the stream.
        attention_raw, mlp_raw: the same before a norm that follows.
        mixed, neurons: one `[position, head · d_head]`, `[position, neuron]` for each layer: what the output matrices
            read.
    """

    def __init__(self, hugging: Any, ids: np.ndarray) -> None:
        self.hugging = hugging
        base = first_of(hugging, "model", "transformer", "gpt_neox")
        self.blocks = list(first_of(base, "layers", "h"))
        self.norm = first_of(base, "norm", "ln_f", "final_layer_norm")
        self.attentions = [first_of(block, "self_attn", "attn", "attention") for block in self.blocks]
        self.heads = hugging.config.num_attention_heads
        caught: dict[str, list[torch.Tensor]] = {
            name: [] for name in ("first", "last", "attention", "mlp", "attention_raw", "mlp_raw", "mixed", "neurons")
        }
        hooks = []

        def outputs(module: Any, name: str) -> None:
            def keep(_module: Any, _inputs: Any, out: Any) -> None:
                caught[name].append((out[0] if isinstance(out, tuple) else out)[0].double())

            hooks.append(module.register_forward_hook(keep))

        def inputs(module: Any, name: str) -> None:
            def keep(_module: Any, given: Any, named: Any) -> None:
                caught[name].append((given[0] if given else named["hidden_states"])[0].double())

            hooks.append(module.register_forward_pre_hook(keep, with_kwargs=True))

        inputs(self.blocks[0], "first")
        inputs(self.norm, "last")
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            after_attention, after_mlp = self.after(block)
            outputs(after_attention or attention, "attention")
            outputs(after_mlp or block.mlp, "mlp")
            outputs(attention, "attention_raw")
            outputs(block.mlp, "mlp_raw")
            inputs(self.output_of(attention), "mixed")
            inputs(self.output_of(block.mlp), "neurons")
        with torch.no_grad():
            logits = hugging(torch.tensor(np.asarray(ids))[None], use_cache=False).logits[0]
        for hook in hooks:
            hook.remove()
        self.logits = logits.double().numpy()
        kept = {name: [value.numpy() for value in values] for name, values in caught.items()}
        self.first, self.last = kept["first"][0], kept["last"][0]
        self.attention, self.mlp = kept["attention"], kept["mlp"]
        self.attention_raw, self.mlp_raw = kept["attention_raw"], kept["mlp_raw"]
        self.mixed, self.neurons = kept["mixed"], kept["neurons"]

    @staticmethod
    def after(block: Any) -> tuple[Any, Any]:
        """The norms behind attention and MLP, which only Gemma 2, Gemma 3 and OLMo 2 have."""
        if first_of(block, "post_feedforward_layernorm") is None:
            return None, None  # Llama's post_attention_layernorm stands before the MLP
        return block.post_attention_layernorm, block.post_feedforward_layernorm

    @staticmethod
    def output_of(part: Any) -> Any:
        """The output matrix of an attention or MLP module."""
        return first_of(part, "o_proj", "down_proj", "dense_4h_to_h", "c_proj", "dense", "out_proj", "fc_out")

    @classmethod
    def matrix(cls, part: Any) -> np.ndarray:
        """`[unit, d_model]` of that matrix."""
        module = cls.output_of(part)
        weight = module.weight.detach().double()
        return (weight if type(module).__name__ == "Conv1D" else weight.T).numpy()

    @classmethod
    def bias(cls, part: Any) -> np.ndarray | float:
        """Its bias, or 0."""
        bias = getattr(cls.output_of(part), "bias", None)
        return 0.0 if bias is None else bias.detach().double().numpy()

    @staticmethod
    def affine(norm: Any) -> tuple[np.ndarray, np.ndarray | float]:
        """Gain and bias of a norm by its class: Gemma's code adds 1 to the weight."""
        weight = norm.weight.detach().double().numpy()
        bias = getattr(norm, "bias", None)
        gain = 1.0 + weight if type(norm).__name__.startswith("Gemma") else weight
        return gain, 0.0 if bias is None else bias.detach().double().numpy()

    @staticmethod
    def scale(norm: Any, vector: np.ndarray) -> float:
        """What the norm divides `vector` by."""
        eps = next(getattr(norm, name) for name in ("eps", "variance_epsilon") if hasattr(norm, name))
        return float(np.sqrt((vector.var() if centres(norm) else (vector**2).mean()) + eps))

    def column(self, answer: int, foil: int | None) -> np.ndarray:
        """`W_U[:, answer] − W_U[:, foil]`."""
        rows = self.hugging.get_output_embeddings().weight.detach().double().numpy()
        return rows[answer] - (0.0 if foil is None else rows[foil])

    def worth(self, vector: np.ndarray, position: int, answer: int, foil: int | None) -> float:
        """What a part of the final stream adds to the difference, logits."""
        gain, _ = self.affine(self.norm)
        if centres(self.norm):
            vector = vector - vector.mean()
        return float((vector / self.scale(self.norm, self.last[position]) * gain) @ self.column(answer, foil))

    def through(self, vector: np.ndarray, norm: Any, whole: np.ndarray) -> np.ndarray:
        """A share of `whole` behind `norm`, whose scale is that of the whole; `norm` may be None."""
        return vector if norm is None else vector / self.scale(norm, whole) * self.affine(norm)[0]

    def head(self, layer: int, head: int, position: int, answer: int, foil: int | None) -> float:
        """What one head adds, by slicing what the output matrix reads."""
        width = self.mixed[layer].shape[1] // self.heads
        rows = slice(head * width, (head + 1) * width)
        write = self.mixed[layer][position, rows] @ self.matrix(self.attentions[layer])[rows]
        norm = self.after(self.blocks[layer])[0]
        return self.worth(self.through(write, norm, self.attention_raw[layer][position]), position, answer, foil)

    def neuron(self, layer: int, neuron: int, position: int, answer: int, foil: int | None) -> float:
        """What one neuron adds."""
        write = self.neurons[layer][position, neuron] * self.matrix(self.blocks[layer].mlp)[neuron]
        norm = self.after(self.blocks[layer])[1]
        return self.worth(self.through(write, norm, self.mlp_raw[layer][position]), position, answer, foil)

    def difference(self, position: int, answer: int, foil: int | None) -> float:
        """The model's own logits."""
        return float(self.logits[position, answer] - (0.0 if foil is None else self.logits[position, foil]))
