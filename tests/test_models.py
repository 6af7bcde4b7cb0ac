"""Prompts become exactly the tokens that are run, shown as they are; what cannot be run gets a clear answer."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import odd_prompts
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mi_widgets.errors import ModelError, PromptError
from mi_widgets.models import describe, fingerprint, has_tokenizer, load_model, token_ids, token_strings, tokenize


@pytest.mark.shared
@pytest.mark.parametrize("text", ["Once upon a time", " leading space", "a  b\n\tc", "naïve 日本語 🙂", "x" * 300])
def test_ids_are_those_of_the_model(text, stories):
    tokens = tokenize(stories, text)
    assert tokens.ids.tolist() == stories.to_tokens(text, truncate=False)[0].tolist()
    assert tokens.text == text


@pytest.mark.shared
def test_bos_is_shown_as_run(stories):
    tokens = tokenize(stories, "Once upon")
    assert tokens.strings == ("<s>", " Once", " upon")
    assert tokens.special == (True, False, False)
    assert tokenize(stories, "Once upon", prepend_bos=False).strings == (" Once", " upon")


@pytest.mark.shared
def test_pieces_of_a_split_character_show_as_bytes(stories):
    tokens = tokenize(stories, "é🙂")
    shown = "".join(tokens.strings)
    assert "⟨F0⟩⟨9F⟩⟨99⟩⟨82⟩" in shown
    assert "�" not in shown


@pytest.mark.shared
@pytest.mark.parametrize("text", ["Once upon a time, there was", "Tim's dog\nran", "a  b"])
def test_spans_map_tokens_back_to_the_text(text, stories):
    tokens = tokenize(stories, text)
    covered = "".join(text[start:end] for start, end in tokens.spans if start >= 0)
    assert covered == text
    for string, (start, end) in zip(tokens.strings, tokens.spans, strict=True):
        if start >= 0 and "⟨" not in string:
            assert text[start:end].strip() == string.strip()


def byte_level():
    """GPT-2's kind of tokenizer with single bytes as its tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({piece: number for number, piece in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def test_byte_level_tokens_show_characters_and_bytes():
    tokenizer = byte_level()
    ids = tokenizer("a é\n")["input_ids"]
    assert token_strings(tokenizer, ids) == ["a", " ", "⟨C3⟩", "⟨A9⟩", "\n"]


def test_ids_run_as_they_are_in_every_form(model):
    for given in (
        [5, 6, 7],
        (5, 6, 7),
        np.array([5, 6, 7]),
        torch.tensor([[5, 6, 7]]),
        np.array([[5, 6, 7]], np.int32),
    ):
        tokens = tokenize(model, given)
        assert tokens.ids.tolist() == [5, 6, 7]
        assert tokens.strings == ("w5", "w6", "w7")


def test_chat_messages_go_through_the_template(model):
    model.tokenizer.chat_template = "{{ bos_token }}{% for message in messages %} {{ message.content }}{% endfor %}{% if add_generation_prompt %} w9{% endif %}"
    tokens = tokenize(model, [{"role": "user", "content": "w3 w4"}, {"role": "assistant", "content": "w5"}])
    assert tokens.strings == ("<bos>", "w3", "w4", "w5", "w9")
    with pytest.raises(PromptError, match="role and a content"):
        tokenize(model, [{"role": "user"}])


def test_chat_needs_a_template(model):
    with pytest.raises(PromptError, match="chat template"):
        tokenize(model, [{"role": "user", "content": "w3"}])


def test_a_template_that_refuses_says_why(model):
    model.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(PromptError, match="roles must alternate"):
        tokenize(model, [{"role": "user", "content": "w3"}])


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "empty"),
        ([], "no tokens"),
        (np.zeros((1, 0), int), "no tokens"),
        ([128], "outside the vocabulary"),
        ([-1, 3], "outside the vocabulary"),
        ([10**30], "neither text"),
        ([1.5, 2.0], "neither text"),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "neither text"),
        (np.zeros((2, 3), int), "must be"),
        ([[1, 2], [3]], "neither text"),
        (None, "neither text"),
        ({"role": "user", "content": "w3"}, "neither text"),
        ([True, False], "neither text"),
        ([True, 3], "neither text"),
        ([[3, np.bool_(True)]], "neither text"),
        (b"w3", "neither text"),
        (bytearray(b"w3"), "neither text"),
        (float("nan"), "neither text"),
        (torch.zeros(3, dtype=torch.long, device="meta"), "neither text"),
        (np.ma.array([3, 4], mask=[False, True]), "neither text"),
        ("w3 " * 65, "reads 64"),
        (list(range(3, 70)), "reads 64"),
    ],
    ids=str,
)
def test_a_prompt_that_cannot_be_run_says_why(prompt, says, model):
    with pytest.raises(PromptError, match=says) as raised:
        tokenize(model, prompt)
    assert raised.value.message


@pytest.mark.parametrize("kind", ["template", "ids only", "demo"])
def test_any_prompt_is_run_or_refused_but_never_breaks(kind, tiny_model, demo_model):
    draw = random.Random(f"prompts of {kind}")
    model = demo_model if kind == "demo" else tiny_model("gpt2")
    if kind == "template":
        model.tokenizer.chat_template = "{% for message in messages %} {{ message.content }}{% endfor %}"
    elif kind == "ids only":
        model.tokenizer = None
    run = 0
    for _ in range(1000):
        given, how = odd_prompts.prompt(draw), draw.choice([None, None, True, False, np.bool_(True), "x", [], 2])
        with contextlib.suppress(PromptError):
            corpus = token_ids(model, given, how)  # however long
            tokens = tokenize(model, given, how)
            assert tokens.ids.tolist() == corpus.tolist()
            assert len(tokens.strings) == len(tokens.ids)
            run += 1
    assert 100 < run < 900


def test_past_the_context_only_where_positions_are_not_learned(tiny_model):
    ids = [3] * 65
    assert len(tokenize(tiny_model("llama"), ids, beyond_context=True)) == 65
    with pytest.raises(PromptError, match="Shorten it by 1 token"):
        tokenize(tiny_model("gpt2"), ids, beyond_context=True)


@pytest.mark.shared
@pytest.mark.parametrize(
    "text", ["\ud800", "a\udfffb", "\x00\x01\x1b", "\u202e\u200b\ufeff", "🙂" * 50, "<script>alert(1)</script>"]
)
def test_strange_text_is_run_or_refused_but_never_breaks(text, stories):
    try:
        tokens = tokenize(stories, text)
    except PromptError as refusal:
        told = refusal.hint
        assert told
        return
    "".join(tokens.strings).encode("utf-8")
    assert len(tokens.strings) == len(tokens.ids)


@pytest.mark.shared
def test_a_word_of_ten_thousand_characters_is_refused_with_numbers(stories):
    with pytest.raises(PromptError, match="this model reads"):
        tokenize(stories, "x" * 10_000)


@pytest.mark.shared
def test_a_model_with_an_empty_tokenizer_wants_ids(shared):
    model = load_model(shared / "models" / "gpt-nano-sort")
    assert not has_tokenizer(model)
    with pytest.raises(PromptError, match="no tokenizer"):
        tokenize(model, "2 0 1")
    assert tokenize(model, [2, 0, 1]).strings == ("2", "0", "1")


def test_a_model_without_tokenizer_wants_ids(model):
    model.tokenizer = None
    with pytest.raises(PromptError, match="token ids from 0 to 127"):
        tokenize(model, "w3")
    assert tokenize(model, [3, 4]).strings == ("3", "4")


def test_ids_beyond_the_tokenizer_still_show(model):
    model.tokenizer.convert_ids_to_tokens = lambda ids: [None for _ in ids]
    assert tokenize(model, [5]).strings == ("⟨id 5⟩",)


@pytest.mark.parametrize("folder", ["no/such/folder/", "."])
def test_a_folder_without_a_model_is_named(folder, tmp_path):
    with pytest.raises(ModelError, match=r"no folder|no config\.json"):
        load_model(tmp_path / folder)


def test_a_broken_model_folder_says_why(tmp_path):
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(ModelError, match="Cannot load"):
        load_model(tmp_path)


def test_describe_reads_the_architecture(tiny_model):
    info = describe(tiny_model("gemma2"))
    assert (info.n_layers, info.n_heads, info.kv_heads, info.d_vocab, info.n_ctx) == (2, 4, 2, 128, 64)
    assert info.windows == (5, None)
    assert not info.learned_positions
    assert describe(tiny_model("gpt2")).learned_positions


class TestFingerprint:
    """The key of the cache changes whenever a pass could give something else."""

    def test_is_stable_over_passes(self, tiny_model):
        from mi_widgets.compute import attention_patterns

        for architecture in ("gpt2", "gemma3"):
            model = tiny_model(architecture)
            before = fingerprint(model)
            attention_patterns(model, [3, 4, 5])
            assert fingerprint(model) == before

    def test_sees_an_edit_in_place(self, model):
        before = fingerprint(model)
        with torch.no_grad():
            next(model.parameters()).mul_(2)
        assert fingerprint(model) != before

    def test_sees_a_weight_replaced(self, model):
        before = fingerprint(model)
        parameter = next(model.parameters())
        parameter.data = parameter.data.clone()
        assert fingerprint(model) != before

    def test_sees_hooks_come_go_and_swap(self, model):
        seen = {fingerprint(model)}
        for _ in range(20):  # handles are freed and made anew, often at the same address
            model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value)
            seen.add(fingerprint(model))
            model.reset_hooks()
        assert len(seen) == 21
        assert fingerprint(model) in seen

    def test_sees_hooks_on_the_wrapped_model(self, model):
        before = fingerprint(model)
        handle = model.original_model.register_forward_pre_hook(lambda module, inputs: None)
        assert fingerprint(model) != before
        handle.remove()
        assert fingerprint(model) == before
