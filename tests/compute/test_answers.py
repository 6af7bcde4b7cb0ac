"""An answer is the one token that it is in place; what is none is refused with its pieces and single tokens to take."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mi_widgets.compute.answers import MOST_OFFERS, resolve, token_string
from mi_widgets.errors import AnswerError, DataError, PromptError
from mi_widgets.models import load_model, token_strings, tokenize

STORY = "Tom and Sue were playing. Tom said to"
STORE = "When Mary and John went to the store , John gave a drink to"


@pytest.fixture(scope="module")
def llama(shared):
    """A Llama tokenizer: alone, " Sue" is two tokens, in place one."""
    return load_model(shared / "models" / "stories3M-llama")


def refused(model, prompt, answer, **options) -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        resolve(model, prompt, answer, **options)
    return caught.value


def in_place(model, prompt, word):
    """What `word` adds to `prompt`, by tokenizing both here."""
    before = model.to_tokens(prompt)[0].tolist()
    after = model.to_tokens(prompt + word)[0].tolist()
    assert after[: len(before)] == before
    return after[len(before) :]


@pytest.mark.shared
def test_a_word_is_the_token_that_it_adds_to_the_prompt(llama):
    assert len(llama.to_tokens(" Sue", prepend_bos=False)[0]) == 2  # alone it is not
    assert [resolve(llama, STORY, " Sue")] == in_place(llama, STORY, " Sue")
    assert token_string(llama, resolve(llama, STORY, " Sue")) == " Sue"


@pytest.mark.shared
@pytest.mark.parametrize("prepend_bos", [None, True, False])
def test_the_prompt_counts_as_it_was_run(prepend_bos, llama):
    tokens = tokenize(llama, STORY, prepend_bos)
    assert resolve(llama, tokens, " Sue") == resolve(llama, STORY, " Sue", prepend_bos)
    assert token_string(llama, resolve(llama, tokens, " Sue")) == " Sue"


@pytest.mark.shared
@pytest.mark.parametrize("prompt", [[1, 458, 269, 603], [1, 458, 4021, 480, 267]], ids=["a text's", "no text's"])
def test_after_token_ids_a_word_is_the_entry_that_reads_so(prompt, llama):
    assert resolve(llama, prompt, " Tom") == 458
    assert resolve(llama, np.array(prompt), " Tom") == 458
    assert "Sue" in refused(llama, prompt, "Sue").message  # only " Sue" is a token


@pytest.mark.shared
@pytest.mark.parametrize("answer", [" unbelievable", " Susan", "Sue", " Sue Tom"])
def test_a_word_of_several_tokens_is_refused_with_its_pieces(answer, llama):
    error = refused(llama, STORY, answer)
    want = token_strings(llama.tokenizer, in_place(llama, STORY, answer))
    assert list(error.pieces) == want
    assert len(want) > 1
    assert f"{len(want)} tokens" in error.message
    assert error.text == answer
    assert error.offers[-1][1] == want[0]  # its first piece is among what is offered
    assert isinstance(error, DataError)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("prompt", "answer", "near"),
    [
        (STORY, "Sue", " Sue"),
        (STORY, " sue", " Sue"),
        (STORY, "SUE", " Sue"),
        (STORY, " TOM", " Tom"),
        (f"{STORY} ", "Sue", " Sue"),
    ],
)
def test_tokens_offered_are_near_and_are_single_tokens_in_place(prompt, answer, near, llama):
    error = refused(llama, prompt, answer)
    assert near in [string for _, string in error.offers]
    assert 0 < len(error.offers) <= MOST_OFFERS
    for token, string in error.offers:
        assert resolve(llama, prompt, token) == token
        assert token_strings(llama.tokenizer, [token]) == [string]
        assert in_place(llama, STORY, string) == [token]
    assert len(dict(error.offers)) == len(error.offers)


def test_names_are_tokens_of_the_embedded_model(demo_model):
    for name in (" Mary", " John"):
        assert [resolve(demo_model, STORE, name)] == in_place(demo_model, STORE, name)
        assert token_string(demo_model, resolve(demo_model, STORE, name)) == name


@pytest.mark.parametrize("answer", [" mary", "MARY", "Mary"])
def test_a_name_written_otherwise_is_offered_as_the_model_knows_it(answer, demo_model):
    error = refused(demo_model, STORE, answer, role="foil")
    assert " Mary" in [string for _, string in error.offers]
    assert "foil" in error.message
    assert "' Mary'" in error.hint


def test_a_word_that_changes_the_prompts_last_token_is_refused(demo_model):
    assert "read together with the token before it" in refused(demo_model, STORE, "Mary").message


@pytest.mark.parametrize("answer", [" Xylophonist", "Qqqqq"])
def test_a_word_that_the_vocabulary_lacks_is_not_taken_for_the_unknown_token(answer, demo_model):
    error = refused(demo_model, STORE, answer)
    assert "not in this model's vocabulary" in error.message
    assert demo_model.tokenizer.unk_token_id not in dict(error.offers)


def test_the_unknown_token_itself_can_be_asked_for(model):
    assert resolve(model, "w3 w4", "<unk>") == model.tokenizer.unk_token_id


@pytest.mark.parametrize("answer", ["w5", " w5"])
def test_where_the_tokenizer_hides_spaces_a_word_needs_none(answer, model):
    assert resolve(model, "w3 w4", answer) == 5
    assert resolve(model, [3, 4], answer) == 5


def test_a_tokenizer_that_melts_words_together_offers_what_can_follow(tiny_folder, tmp_path):
    """The prompt is no prefix of prompt + answer: "ab" and "c" are "a" and "bc"."""
    vocabulary = {"<unk>": 0, "a": 1, "b": 2, "c": 3, "bc": 4, "d": 5}
    inner = Tokenizer(models.BPE(vocabulary, [("b", "c")], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    inner.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(tmp_path)
    model = load_model(tiny_folder("llama"), tokenizer=PreTrainedTokenizerFast.from_pretrained(tmp_path))
    assert model.to_tokens("abc", prepend_bos=False)[0].tolist() == [1, 4]
    error = refused(model, "ab", "c", prepend_bos=False)
    assert "read together" in error.message
    assert error.offers == ((3, "c"),)  # by its id it can still be the next token
    assert resolve(model, "ab", 3, prepend_bos=False) == 3
    assert resolve(model, "ab", "d", prepend_bos=False) == 5


@pytest.mark.parametrize(
    "answer",
    [7, np.int64(7), np.int32(7), np.uint8(7), np.array(7), np.array([7]), torch.tensor(7), torch.tensor([[7]])],
)
def test_ids_of_any_integer_type_are_taken_as_they_are(answer, model):
    found = resolve(model, "w3 w4", answer)
    assert found == 7
    assert type(found) is int


@pytest.mark.parametrize("answer", [128, -1, np.int64(128)])
def test_ids_outside_the_vocabulary_are_refused(answer, model):
    assert "0 to 127" in refused(model, "w3", answer).hint


@pytest.mark.parametrize("answer", [None, True, 2.0, np.float32(2), [1, 2], b"w5", torch.tensor([1, 2]), {}])
def test_what_is_neither_text_nor_an_id_is_refused(answer, model):
    assert "text or as its id" in refused(model, "w3", answer).hint


@pytest.mark.parametrize("answer", ["", "\ud800", "\x00", "é漢", " "])
def test_odd_text_never_breaks(answer, model, demo_model):
    assert refused(model, "w3 w4", answer).message
    with contextlib.suppress(AnswerError):  # a byte-level vocabulary may know it
        assert isinstance(resolve(demo_model, STORE, answer), int)


@pytest.mark.shared
def test_a_model_without_a_tokenizer_takes_ids_alone(shared):
    model = load_model(shared / "models" / "gpt-nano-sort")
    assert resolve(model, [0, 1, 2], 2) == 2
    assert "no tokenizer" in refused(model, [0, 1, 2], "2").message
    assert token_string(model, 2) == "2"


def test_a_prompt_that_cannot_be_run_is_the_prompts_error(model):
    with pytest.raises(PromptError):
        resolve(model, "", " w5")


def test_an_answer_after_a_prompt_that_fills_the_context_is_found(model):
    assert resolve(model, " ".join(["w3"] * 63), " w5") == 5


def test_after_chat_messages_a_word_is_the_entry_that_reads_so(demo_model, monkeypatch):
    monkeypatch.setattr(
        demo_model.tokenizer, "chat_template", "{% for message in messages %}{{ message.content }}{% endfor %}"
    )
    assert token_string(demo_model, resolve(demo_model, [{"role": "user", "content": STORE}], " Mary")) == " Mary"
