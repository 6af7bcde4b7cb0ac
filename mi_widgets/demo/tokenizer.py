"""The demo model's tokenizer: the vocabulary as a `tokenizers` word-level model with leading-space words.

Knows the spelling rules of the vocabulary and the `tokenizers` library, nothing of tasks or tensors.
"""

import json
from pathlib import Path

from .vocabulary import BOS, TOKEN_IDS, UNKNOWN

CONTEXT_LENGTH = 128


def build_tokenizer():
    """A `tokenizers.Tokenizer`; like GPT-2's it adds no beginning-of-text token itself.

    The first word of a text gets its leading space (so "When" and " When" are one token), except before a
    digit: "32" is the end of a year, " 17" its beginning. Punctuation may be written with or without a space
    before it. Decoding joins the tokens as they are, so decoded text begins with a space.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(vocab=dict(TOKEN_IDS), unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"^(?=[^\s\d])"), " "),
            *(normalizers.Replace(Regex(f" ?[{sign}]"), f" {sign}") for sign in ".,:;"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[0-9]{2}| ?[^\s0-9]+| ?[0-9]|\s+"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (BOS, UNKNOWN)])
    return tokenizer


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json as `transformers` reads them."""
    build_tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": BOS,
        "pad_token": BOS,
        "unk_token": UNKNOWN,
        "model_max_length": CONTEXT_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
