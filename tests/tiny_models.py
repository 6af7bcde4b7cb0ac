"""Seven architectures as tiny random models, built from configs and saved to a local folder. No network.

Each is what its real family is in kind: grouped-query attention, sliding windows, soft-caps, parallel blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

D_VOCAB, N_CTX = 128, 64
SHAPE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=D_VOCAB)
ROTARY = dict(SHAPE, max_position_embeddings=N_CTX, num_key_value_heads=2, head_dim=8, bos_token_id=0, eos_token_id=1)

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        dict(n_embd=32, n_layer=2, n_head=4, n_positions=N_CTX, vocab_size=D_VOCAB, bos_token_id=0, eos_token_id=0),
    ),
    "neox": ("GPTNeoXConfig", dict(SHAPE, max_position_embeddings=N_CTX, bos_token_id=0, eos_token_id=0)),
    "llama": ("LlamaConfig", ROTARY),
    "mistral": ("MistralConfig", dict(ROTARY, sliding_window=5)),
    "gemma2": (
        "Gemma2Config",
        dict(
            ROTARY,
            sliding_window=5,
            query_pre_attn_scalar=8,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
            layer_types=["sliding_attention", "full_attention"],
        ),
    ),
    "gemma3": (
        "Gemma3TextConfig",
        dict(ROTARY, sliding_window=5, query_pre_attn_scalar=8, layer_types=["sliding_attention", "full_attention"]),
    ),
    "qwen3": ("Qwen3Config", ROTARY),
}

#: Blocks that hand more than the residual to their callers, or have no cache.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gptj": ("GPTJConfig", dict(n_embd=32, n_layer=3, n_head=4, rotary_dim=4, vocab_size=128, n_positions=64)),
    "gptneo": (
        "GPTNeoConfig",
        dict(
            hidden_size=32,
            num_layers=3,
            num_heads=4,
            attention_types=[[["global", "local"], 1], [["global"], 1]],
            window_size=5,
            vocab_size=128,
            max_position_embeddings=64,
            intermediate_size=48,
        ),
    ),
    "falcon": ("FalconConfig", dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, vocab_size=128)),
    "gpt1": ("OpenAIGPTConfig", dict(n_embd=32, n_layer=3, n_head=4, n_positions=64, vocab_size=128)),
}

#: Whose patterns and scores are made for show: nothing reads what stands at their hooks.
DEAF: dict[str, tuple[str, dict[str, Any]]] = {
    "gptj": (
        "GPTJConfig",
        dict(
            vocab_size=D_VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=N_CTX, rotary_dim=4, bos_token_id=0,
            eos_token_id=0,
        ),
    ),
    "gptneo": (
        "GPTNeoConfig",
        dict(
            vocab_size=D_VOCAB, hidden_size=32, num_layers=2, num_heads=4, window_size=4,
            attention_types=[[["global", "local"], 1]], max_position_embeddings=N_CTX, bos_token_id=0, eos_token_id=0,
        ),
    ),
}  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of `D_VOCAB` entries: `<bos>`, `<eos>`, `<unk>`, then w3 … w127."""
    words = {"<bos>": 0, "<eos>": 1, "<unk>": 2} | {f"w{number}": number for number in range(3, D_VOCAB)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<eos>"
    )


def save(architecture: str, folder: Path, config: tuple[str, dict] | None = None) -> Path:
    """Write the tiny model `architecture`, or of another `config` than `CONFIGS`' (class and values), with seeded
    weights, large enough to give uneven attention.
    """
    name, values = config or CONFIGS[architecture]
    config = getattr(transformers, name)(**values)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
