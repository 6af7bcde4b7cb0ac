"""What must be known of a model to read it rightly: its shape, masks, positions and tokenizer.

Loading one is in `loading.py`, whose names are offered here too. Runs no forward pass (`compute/forward.py` is the
only file that does) and changes nothing on the model.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mi_widgets.data import Tokens
from mi_widgets.data.integers import truth
from mi_widgets.errors import ModelError, PromptError
from mi_widgets.loading import DEMO_FOLDER, DEMO_NAME, load_demo, load_model, load_notes  # noqa: F401 (offered)

#: A prompt: text, token ids `[position]` or `[1, position]`, or chat messages (dicts with role and content).
Prompt = Any


@dataclass(frozen=True)
class ModelInfo:
    """The facts about an architecture that views depend on.

    Attributes:
        name: what it was loaded as.
        n_layers: number of blocks.
        n_heads: query heads in each block.
        kv_heads: key-value heads, equal to `n_heads` without grouped-query attention.
        d_vocab: size of the vocabulary.
        n_ctx: positions it was made for, or None.
        learned_positions: it has a position table and cannot run beyond `n_ctx` at all.
        causal: no position reads a later one, as far as the configuration says; False for encoders and
            encoder-decoders, which read their whole input.
        windows: per layer the sliding window in positions, or None.
        d_model: width of the residual stream.
    """

    name: str
    n_layers: int
    n_heads: int
    kv_heads: int
    d_vocab: int
    n_ctx: int | None
    learned_positions: bool
    causal: bool
    windows: tuple[int | None, ...]
    d_model: int

    @property
    def label(self) -> str:
        """The name for captions: of a folder only its last part."""
        return Path(self.name).name if "/" in self.name and Path(self.name).is_dir() else self.name


def describe(model: Any) -> ModelInfo:
    """Read the facts from a TransformerBridge's configuration and its Hugging Face configuration.

    Raises:
        ModelError: not a TransformerLens model, or one without attention heads.
    """
    cfg = getattr(model, "cfg", None)
    if cfg is None or not hasattr(model, "run_with_hooks"):
        raise ModelError(
            f"{type(model).__name__} is not a TransformerLens model.",
            "Give a TransformerBridge: mw.load_model('gpt2') or TransformerBridge.boot_transformers(…).",
        )
    if not getattr(cfg, "n_heads", 0):
        raise ModelError("this model has no attention heads.", "Views of attention need a transformer.")
    n_layers = int(cfg.n_layers)
    return ModelInfo(
        name=str(getattr(cfg, "model_name", None) or type(model).__name__),
        n_layers=n_layers,
        n_heads=int(cfg.n_heads),
        kv_heads=int(getattr(cfg, "n_key_value_heads", None) or cfg.n_heads),
        d_vocab=int(cfg.d_vocab),
        n_ctx=int(cfg.n_ctx) if getattr(cfg, "n_ctx", None) else None,
        learned_positions=getattr(cfg, "positional_embedding_type", None) in {"standard", "shortformer"},
        causal=getattr(cfg, "attention_dir", "causal") == "causal" and not _reads_whole_input(model),
        windows=_windows(model, cfg, n_layers),
        d_model=int(cfg.d_model),
    )


def _reads_whole_input(model: Any) -> bool:
    """Whether it is an encoder-decoder, whose decoder is causal but reads what the encoder made of the whole prompt."""
    config = getattr(getattr(model, "original_model", None), "config", None)
    return bool(getattr(config, "is_encoder_decoder", False))


def _windows(model: Any, cfg: Any, n_layers: int) -> tuple[int | None, ...]:
    """Sliding windows stand only in the Hugging Face configuration, in three dialects."""
    config = getattr(getattr(model, "original_model", None), "config", None)
    if config is None:
        local = getattr(cfg, "window_size", None) if getattr(cfg, "use_local_attn", False) else None
        kinds = getattr(cfg, "attn_types", None) or ["local"] * n_layers
        return tuple(local if kind == "local" else None for kind in kinds[:n_layers])
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    kinds = getattr(config, "attention_layers", None)  # GPT-Neo: "global" and "local"
    if kinds:
        size = getattr(config, "window_size", None)
        return tuple(size if kind == "local" else None for kind in kinds[:n_layers])
    size = getattr(config, "sliding_window", None)
    if not size or getattr(config, "use_sliding_window", True) is False:
        return (None,) * n_layers
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return tuple(int(size) if "sliding" in str(kind) else None for kind in kinds[:n_layers])
    return (int(size),) * n_layers


def modules_of(model: Any) -> list[Any]:
    """Every module of the model, once. A Bridge keeps the Hugging Face model it wraps outside its own tree."""
    # By hand: a pass asks, so each sampled token does, and torch's own `modules()` takes several times as long.
    found: dict[int, Any] = {}
    waiting = [tree for tree in (getattr(model, "original_model", None), model) if tree is not None]
    while waiting:
        module = waiting.pop()
        if id(module) not in found:
            found[id(module)] = module
            waiting += [child for child in reversed(module._modules.values()) if child is not None]
    return list(found.values())


#: The name of every hook that a pass of ours puts on a model while it runs.
OWN_HOOK = "a hook of mi_widgets"

_LOCKS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


def lock_of(model: Any) -> Any:
    """The re-entrant lock of a model, a context manager: whoever hooks it, runs its modules or sets its flags holds it.

    Two threads inside one model would read each other's hooks and flags. Bridges that wrap the same Hugging Face model
    share its lock. It is never held across a `yield`.
    """
    inner = getattr(model, "original_model", None)
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(model if inner is None else inner, threading.RLock())


def in_training(model: Any) -> bool:
    """Whether any part of the model is in training mode."""
    with lock_of(model):  # a pass on another thread evaluates it meanwhile
        return any(module.training for module in modules_of(model))


def in_half_precision(model: Any) -> bool:
    """Whether the model computes in bfloat16 or float16, so that its own numbers are rounded."""
    return next(iter(model.parameters())).dtype.itemsize < 4


def fingerprint(model: Any) -> tuple[Any, ...]:
    """A cheap key that changes when weights are replaced or edited in place, or when hooks come or go.

    Edits through `.data` go unseen (torch does not count them): call `Session.refresh()` after those. Hooks of a pass
    of ours that is in a pause do not count.
    """
    return weights_fingerprint(model), hash(own_hooks(model)), bool(getattr(model, "compatibility_mode", False))


def own_hooks(model: Any, modules: Sequence[Any] | None = None) -> tuple[tuple[int, int], ...]:
    """The user's own hooks on the model's modules: the place of the module, and the hook's number. Those of libraries
    and of our own passes do not count.

    Args:
        model: a TransformerBridge.
        modules: where to look; all of the model's if None.
    """
    # Torch numbers its hooks and never reuses a number; ids of handle objects come back after a removal.
    with lock_of(model):  # a pass on another thread may be putting hooks there
        return tuple(
            (place, number)
            for place, module in enumerate(modules_of(model) if modules is None else modules)
            for table in (module._forward_pre_hooks, module._forward_hooks)
            if table
            for number, function in table.items()
            if (hasattr(module, "fwd_hooks") or not _of_libraries(function)) and not _of_ours(function)
        )


def weights_fingerprint(model: Any) -> int:
    """The part of `fingerprint` that is of the weights alone."""
    tensors = (*model.parameters(), *model.buffers())
    return hash(
        tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version, tensor.dtype) for tensor in tensors)
    )


def _of_libraries(hook: Any) -> bool:
    """Whether transformers or TransformerLens put this hook on a module for itself, as both do in a first pass."""
    return (getattr(hook, "__module__", None) or "").startswith(("transformers.", "transformer_lens."))


def _of_ours(hook: Any) -> bool:
    """Whether a pass of ours, which may be in a pause, put this hook there for itself."""
    return getattr(hook, "__name__", None) == OWN_HOOK


# --- prompts ----------------------------------------------------------------------------------------------


def has_tokenizer(model: Any) -> bool:
    """Whether the model has a tokenizer that knows its vocabulary. An empty one (TransformerLens may supply
    it where none was saved) does not count."""
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        return False
    try:
        known = len(tokenizer)
    except TypeError:
        return True
    special = len(set(getattr(tokenizer, "all_special_ids", None) or []))
    return known > special or known >= int(model.cfg.d_vocab)


def tokenize(model: Any, prompt: Prompt, prepend_bos: bool | None = None, beyond_context: bool = False) -> Tokens:
    """The prompt exactly as it will be run.

    Args:
        model: a TransformerBridge.
        prompt: text, ids `[position]` or `[1, position]` (run as they are), or chat messages.
        prepend_bos: for text only; None means what `model.to_tokens(text)` does.
        beyond_context: let models with rotary positions run past `n_ctx`.

    Raises:
        PromptError: empty, too long, ids out of range, or text for a model without a tokenizer.
    """
    info = describe(model)
    beyond_context = truth("beyond_context", beyond_context)
    text: str | None = None
    if isinstance(prompt, str):
        if not prompt:
            raise PromptError("The prompt is empty.", "Type some text.")
        text = prompt
        ids = _text_ids(model, prompt, prepend_bos)
    elif _is_chat(prompt):
        ids = _chat_ids(model, prompt)
    else:
        ids = _given_ids(prompt)
    if not len(ids):
        raise PromptError("The prompt has no tokens.", "Type some text.")
    _check_range(ids, info.d_vocab)
    if info.n_ctx is not None and len(ids) > info.n_ctx and (info.learned_positions or not beyond_context):
        over = len(ids) - info.n_ctx
        more = (
            ""
            if info.learned_positions
            else " Its positions are not learned: a Session with beyond_context=True runs it."
        )
        raise PromptError(
            f"The prompt has {len(ids):,} tokens; this model reads {info.n_ctx:,}.",
            f"Shorten it by {over:,} token{'s' if over > 1 else ''}.{more}",
        )
    tokenizer = model.tokenizer if has_tokenizer(model) else None
    special = set(getattr(tokenizer, "all_special_ids", None) or []) if tokenizer is not None else set()
    if text is None and tokenizer is not None:
        text = tokenizer.decode(ids.tolist())
        spans: tuple[tuple[int, int], ...] = ()
    else:
        spans = _spans(tokenizer, text, ids) if tokenizer is not None and text is not None else ()
    return Tokens(
        ids=ids,
        strings=tuple(token_strings(tokenizer, ids.tolist())),
        special=tuple(int(token) in special for token in ids),
        spans=spans,
        text=text,
    )


def token_ids(model: Any, prompt: Prompt, prepend_bos: bool | None = None) -> np.ndarray:
    """int64 `[position]`: the ids of `prompt` as `tokenize` finds them, however many. For corpora, which are cut later.

    Raises:
        PromptError: text for a model without a tokenizer, or a prompt of an unknown kind.
    """
    if isinstance(prompt, str):
        ids = _text_ids(model, prompt, prepend_bos)
    else:
        ids = _chat_ids(model, prompt) if _is_chat(prompt) else _given_ids(prompt)
    _check_range(ids, int(model.cfg.d_vocab))
    return ids


def _check_range(ids: np.ndarray, d_vocab: int) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= d_vocab):
        wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
        raise PromptError(
            f"Token id {wrong} is outside the vocabulary.", f"Ids of this model run from 0 to {d_vocab - 1}."
        )


def _text_ids(model: Any, text: str, prepend_bos: bool | None) -> np.ndarray:
    if not has_tokenizer(model):
        raise PromptError(
            "This model has no tokenizer, so it cannot read text.",
            f"Give token ids from 0 to {int(model.cfg.d_vocab) - 1}, e.g. [0, 1, 2].",
        )
    if prepend_bos is not None:
        if not isinstance(prepend_bos, (int, np.bool_)) or prepend_bos not in (0, 1):
            raise PromptError(f"prepend_bos={prepend_bos!r} is no answer.", "Give True, False or None.")
        prepend_bos = bool(prepend_bos)
    try:
        ids = model.to_tokens(text, prepend_bos=prepend_bos, truncate=False, move_to_device=False)
    except Exception as reason:  # tokenizers refuse in their own ways
        raise PromptError(f"The tokenizer cannot read this text ({reason}).", "Remove unusual characters.") from None
    return np.asarray(ids[0].tolist(), dtype=np.int64)


def _is_chat(prompt: Prompt) -> bool:
    return isinstance(prompt, (list, tuple)) and len(prompt) > 0 and isinstance(prompt[0], dict)


def _chat_ids(model: Any, messages: Sequence[dict[str, str]]) -> np.ndarray:
    for message in messages:
        if not isinstance(message, dict) or not {"role", "content"} <= set(message):
            raise PromptError("A chat message needs a role and a content.", 'E.g. {"role": "user", "content": "Hi"}.')
    tokenizer: Any = getattr(model, "tokenizer", None)
    if not has_tokenizer(model) or not getattr(tokenizer, "chat_template", None):
        raise PromptError("This model's tokenizer has no chat template.", "Give the prompt as text.")
    try:
        ids = tokenizer.apply_chat_template(
            list(messages), tokenize=True, add_generation_prompt=True, return_dict=False
        )
    except Exception as reason:  # templates raise whatever their author chose (jinja errors, ValueError, …)
        raise PromptError(
            f"The chat template refuses these messages ({reason}).", "Check roles and their order."
        ) from None
    return np.asarray(ids, dtype=np.int64).reshape(-1)


def _given_ids(prompt: Prompt) -> np.ndarray:
    try:
        values = prompt.tolist() if hasattr(prompt, "tolist") else prompt
        if isinstance(values, (bytes, bytearray, memoryview)) or _holds_truth(values):
            raise TypeError(f"of type {type(prompt).__name__}")
        array = np.asarray(values)
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"of type {array.dtype}")
    except Exception as reason:  # tensors without data, and whatever else is no list, refuse in their own ways
        raise PromptError(
            f"The prompt is neither text, nor token ids, nor chat messages ({str(reason)[:200]}).",
            "Give a string or whole numbers.",
        ) from None
    if array.ndim == 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 1:
        raise PromptError(f"Token ids have shape {list(array.shape)}; they must be [position] or [1, position].")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise PromptError(f"Token id {int(array.max())} is outside every vocabulary.", "Check the ids.")
    return array.astype(np.int64)


def _holds_truth(values: Any) -> bool:
    """Whether a list of ids, or one within a list, holds True or False, which numpy would count as 1 and 0."""
    if isinstance(values, (list, tuple)) and len(values) == 1 and isinstance(values[0], (list, tuple)):
        values = values[0]
    return isinstance(values, (list, tuple)) and bool({bool, np.bool_} & set(map(type, values)))


def _spans(tokenizer: Any, text: str, ids: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Character span of each token, found by tokenizing again; () where that gives other ids."""
    if not getattr(tokenizer, "is_fast", False):
        return ()
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    inner, offsets = encoded["input_ids"], encoded["offset_mapping"]
    lead = len(ids) - len(inner)
    if lead < 0 or ids[lead:].tolist() != list(inner):
        return ()
    return ((-1, -1),) * lead + tuple((int(start), int(end)) for start, end in offsets)


def token_strings(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """One display string per id, leading spaces kept; bytes of a split character show as `⟨E2⟩`.

    Without a tokenizer, the ids themselves.
    """
    if tokenizer is None:
        return [str(token) for token in ids]
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    kinds = _decoder_kinds(tokenizer)
    special = set(getattr(tokenizer, "all_special_ids", None) or [])
    strings = []
    for token, piece in zip(ids, pieces, strict=True):
        if piece is None:
            strings.append(f"⟨id {token}⟩")
        elif token in special:
            strings.append(str(piece))
        elif "ByteLevel" in kinds and all(character in _BYTE_OF for character in piece):
            strings.append(_show_bytes(bytes(_BYTE_OF[character] for character in piece)))
        elif "ByteFallback" in kinds and len(piece) == 6 and piece.startswith("<0x"):
            strings.append(_show_bytes(bytes([int(piece[3:5], 16)])))
        elif "▁" in piece:
            strings.append(piece.replace("▁", " "))
        elif kinds & {"Metaspace", "ByteFallback"}:
            strings.append(piece)
        else:
            # WordPiece and others: what the tokenizer itself says, unless it says nothing.
            strings.append(tokenizer.decode([token]) or str(piece))
    return strings


def _decoder_kinds(tokenizer: Any) -> set[str]:
    """Names of the decoder steps of a fast tokenizer, e.g. {"ByteLevel"}; empty for others."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return set()
    # The state it pickles by; the whole tokenizer as text would cost 0.1 s for GPT-2's vocabulary.
    decoder = json.loads(backend.decoder.__getstate__())
    return {step["type"] for step in decoder.get("decoders", [decoder]) if "type" in step}


def _byte_table() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, inverted: printable bytes are themselves, the rest start at U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return table | {chr(256 + order): byte for order, byte in enumerate(others)}


_BYTE_OF = _byte_table()


def _show_bytes(raw: bytes) -> str:
    """UTF-8 text, with bytes that are no whole character as `⟨E2⟩`."""
    text = raw.decode("utf-8", "surrogateescape")
    return "".join(
        f"⟨{ord(character) - 0xDC00:02X}⟩" if 0xDC80 <= ord(character) <= 0xDCFF else character for character in text
    )
