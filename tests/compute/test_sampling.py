"""The model writes on from exactly its own distribution, within its context, and is left as it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny_models
import tiny_oracle
import torch
import transformers
from model_state import state_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mi_widgets import compute
from mi_widgets.compute import continued, nucleus, sample_steps
from mi_widgets.compute.forward import forward
from mi_widgets.compute.output import LAST_LOGITS
from mi_widgets.compute.sampling import draw, end_ids, room_left
from mi_widgets.data import Continuation, Tokens
from mi_widgets.data.interventions import Ablate, Add, Intervention, Patch
from mi_widgets.errors import DataError, ModelError, PromptError
from mi_widgets.models import load_model, tokenize

ARCHITECTURES = list(tiny_models.CONFIGS)
IDS = np.random.default_rng(5).integers(3, tiny_models.D_VOCAB, 9)
LOGITS = np.array([1.0, 3.0, -2.0, 3.0, 0.5, -np.inf, 2.0])


def softmax(logits):
    return torch.as_tensor(np.asarray(logits)).double().softmax(-1).numpy()


def smallest_set(probabilities, mass):
    """By trying all of them: the fewest tokens that hold `mass`; of those the likeliest, then the lowest ids."""
    for size in range(1, len(probabilities) + 1):
        sets = [list(one) for one in itertools.combinations(range(len(probabilities)), size)]
        best = max(sets, key=lambda one: (round(float(probabilities[one].sum()), 12), [-token for token in one]))
        if probabilities[best].sum() >= mass - 1e-12:
            return best
    raise AssertionError


class TestNucleus:
    """The distribution that is drawn from, exactly."""

    @pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
    def test_without_a_cut_it_is_the_softmax_of_the_heated_logits(self, temperature):
        assert np.allclose(nucleus(LOGITS, temperature), softmax(LOGITS / temperature), rtol=1e-12, atol=0)

    @pytest.mark.parametrize("top_p", [1e-9, 0.1, 0.4, 0.41, 0.7, 0.9, 0.99, 0.999999])
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
    def test_the_cut_keeps_the_smallest_set_that_holds_the_mass(self, top_p, temperature):
        whole = softmax(LOGITS / temperature)
        kept = smallest_set(whole, top_p)
        want = np.zeros_like(whole)
        want[kept] = whole[kept] / whole[kept].sum()
        assert np.allclose(nucleus(LOGITS, temperature, top_p), want, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("count", range(1, 11))
    def test_a_mass_that_is_met_exactly_is_enough(self, count):
        assert (nucleus(np.zeros(10), 1.0, count / 10) > 0).sum() == count

    def test_temperature_zero_is_the_likeliest_and_of_equals_the_first(self):
        assert nucleus(LOGITS, 0).tolist() == [0, 1, 0, 0, 0, 0, 0]

    @pytest.mark.parametrize("temperature", [1e-300, 1e-12])
    def test_a_temperature_near_zero_shares_between_equals(self, temperature):
        assert nucleus(LOGITS, temperature).tolist() == [0, 0.5, 0, 0.5, 0, 0, 0]

    def test_torch_and_half_precision_are_read(self):
        logits = torch.tensor([1.0, 2.0, 0.5]).bfloat16()
        assert np.allclose(nucleus(logits), softmax([1.0, 2.0, 0.5]))

    @pytest.mark.parametrize("logits", [[1.0, np.nan], [1.0, np.inf], [-np.inf, -np.inf]])
    def test_logits_that_are_no_numbers_are_refused(self, logits):
        with pytest.raises(ModelError, match="logits"):
            nucleus(np.array(logits))

    def test_a_wrong_axis_is_named(self):
        with pytest.raises(DataError, match="d_vocab"):
            nucleus(np.zeros((2, 3)))


class TestDraws:
    """What comes out follows the distribution."""

    def test_frequencies_are_the_probabilities(self):
        probabilities = nucleus(LOGITS, 1.3, 0.95)
        generator = torch.Generator().manual_seed(0)
        count = 20_000
        seen = np.bincount([draw(probabilities, generator) for _ in range(count)], minlength=len(probabilities))
        inside = probabilities > 0
        assert (seen[~inside] == 0).all()
        expected = count * probabilities[inside]
        statistic = ((seen[inside] - expected) ** 2 / expected).sum()
        assert inside.sum() == 5
        assert statistic < 18.5  # chi-square of 4 degrees of freedom: beyond this once in a thousand

    def test_a_draw_is_never_of_probability_zero(self):
        probabilities = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
        for value, token in ((0.0, 1), (1 - 2**-53, 3), (0.3, 3)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torch, "rand", lambda *_, value=value, **__: torch.tensor(value, dtype=torch.float64))
                assert draw(probabilities, torch.Generator()) == token

    @pytest.mark.shared
    def test_what_a_model_writes_follows_its_own_distribution(self, shared):
        folder = shared / "models" / "gpt-nano-sort"
        model, hugging = load_model(folder), tiny_oracle.load(folder)
        ids = np.array([2, 0, 1])
        with torch.no_grad():
            want = softmax(hugging(torch.tensor(np.asarray(ids))[None]).logits[0, -1] / 2.0)
        count = 400
        seen = np.bincount(
            [compute.sample(model, ids, 1, temperature=2.0, seed=seed).ids[0] for seed in range(count)], minlength=3
        )
        statistic = ((seen - count * want) ** 2 / (count * want)).sum()
        assert statistic < 13.9  # chi-square of 2 degrees of freedom: once in a thousand


class TestGreedy:
    """Temperature 0 is Hugging Face's `generate(do_sample=False)`."""

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_on_every_architecture(self, architecture, tiny_folder, tiny_model):
        hugging = tiny_oracle.load(tiny_folder(architecture))
        want = hugging.generate(torch.as_tensor(IDS)[None], do_sample=False, max_new_tokens=12)[0, len(IDS) :]
        found = compute.sample(tiny_model(architecture), IDS, 12, temperature=0)
        assert found.ids.tolist() == want.tolist()

    @pytest.mark.shared
    @pytest.mark.parametrize("name", ["stories260K-llama", "stories3M-llama"])
    def test_on_pretrained_models(self, name, shared):
        folder = shared / "models" / name
        model, hugging = load_model(folder), tiny_oracle.load(folder)
        found = compute.sample(model, "Once upon a time", 25, temperature=0)
        want = hugging.generate(torch.tensor(found.prompt.ids)[None], do_sample=False, max_new_tokens=25)[0]
        assert [*found.prompt.ids.tolist(), *found.ids.tolist()] == want.tolist()

    def test_on_the_demo_model(self, demo_model):
        found = compute.sample(demo_model, "When Mary and John went to the store , John gave a drink to", 8, 0)
        ids = torch.tensor(found.prompt.ids)[None]
        want = demo_model.original_model.generate(ids, do_sample=False, max_new_tokens=8)[0, ids.shape[1] :]
        assert found.ids.tolist() == want.tolist()


class TestContinuation:
    """What comes back."""

    @pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 1.6, "top_p": 0.8, "seed": 4}])
    def test_log_probs_are_of_the_model_itself_whatever_was_sampled_with(self, options, stories):
        found = compute.sample(stories, "Once upon a time", 12, **options)
        ids = np.array([*found.prompt.ids, *found.ids])
        with torch.no_grad():
            log_probs = (
                stories.original_model(torch.tensor(np.asarray(ids))[None]).logits[0].double().log_softmax(-1).numpy()
            )
        start = len(found.prompt)
        for place, token in enumerate(found.ids):
            assert found.log_probs[place] == pytest.approx(log_probs[start + place - 1, token], abs=2e-5)

    def test_strings_and_text_belong_to_the_ids(self, stories):
        found = compute.sample(stories, "Once upon a time", 12, temperature=0)
        assert len(found) == len(found.strings) == 12
        assert "".join(found.strings) == found.text
        assert found.text.startswith(",")

    def test_a_seed_is_the_same_text_and_another_is_not(self, stories):
        texts = [compute.sample(stories, "Once", 15, seed=seed).text for seed in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]

    def test_the_users_own_random_numbers_go_on_undisturbed(self, model):
        torch.manual_seed(7)
        want = torch.rand(3)
        torch.manual_seed(7)
        compute.sample(model, IDS, 3)
        assert torch.equal(torch.rand(3), want)

    def test_an_end_of_text_token_ends_it(self, tiny_model):
        model = tiny_model("llama")
        free = compute.sample(model, IDS, 10, temperature=0, stop_at_eos=False)
        model.original_model.generation_config.eos_token_id = [1, int(free.ids[3])]
        first = free.ids.tolist().index(free.ids[3]) + 1
        ended = compute.sample(model, IDS, 10, temperature=0)
        assert ended.ids.tolist() == free.ids[:first].tolist()
        assert ended.ended
        assert not free.ended
        assert len(compute.sample(model, IDS, 10, temperature=0, stop_at_eos=False)) == 10

    def test_end_of_text_is_the_tokenizers_where_the_model_says_none(self, tiny_model):
        model = tiny_model("llama")
        model.original_model.generation_config.eos_token_id = None
        assert end_ids(model) == {1}

    def test_a_model_without_a_tokenizer_writes_ids(self, shared):
        found = compute.sample(load_model(shared / "models" / "gpt-nano-sort"), [2, 0, 1, 1, 2, 0], 5, temperature=0)
        assert found.text is None
        assert found.strings == tuple(str(token) for token in found.ids.tolist())


class TestSteps:
    """One pass a token, stoppable."""

    def test_each_step_holds_what_is_written_so_far(self, stories):
        tokens = tokenize(stories, "Once upon a time")
        steps = sample_steps(stories, tokens, 5, temperature=0)
        seen = []
        while True:
            try:
                seen.append(next(steps))
            except StopIteration as finished:
                result = finished.value
                break
        assert isinstance(result, Continuation)
        assert [(step.done, step.total) for step in seen] == [(count, 5) for count in range(1, 6)]
        assert [step.partial for step in seen] == [result.ids[:count].tolist() for count in range(1, 6)]

    def test_the_pass_over_the_prompt_pauses_where_asked_to(self, model):
        want = compute.sample(model, IDS, 3, temperature=0, stop_at_eos=False).ids.tolist()
        before = state_of(model)
        seen = []
        for step in sample_steps(model, tokenize(model, IDS), 3, temperature=0, stop_at_eos=False, pausing=True):
            seen.append(step.partial)
        assert state_of(model) == before
        pauses = seen.index(want[:1])
        assert pauses >= 2  # before each of the two blocks
        assert seen[:pauses] == [None] * pauses
        assert seen[pauses:] == [want[:1], want[:2], want]  # new positions alone are not worth a thread

    def test_stopped_in_a_pause_it_leaves_nothing(self, model):
        model("w3")
        before = state_of(model)
        steps = sample_steps(model, tokenize(model, IDS), 3, pausing=True)
        next(steps)
        steps.close()
        assert state_of(model) == before

    def test_the_model_is_left_as_it_was_also_when_stopped(self, model):
        model.train()
        model("w3")  # transformers installs hooks of its own in a first pass, and leaves them
        before = state_of(model)
        steps = sample_steps(model, tokenize(model, IDS), 8)
        next(steps)
        steps.close()
        assert state_of(model) == before
        compute.sample(model, IDS, 3)
        assert state_of(model) == before

    def test_only_the_last_positions_logits_are_kept(self, model):
        kept = forward(model, IDS, (LAST_LOGITS,), ())
        assert list(kept.arrays) == [LAST_LOGITS]
        with torch.no_grad():
            want = model.original_model(torch.as_tensor(IDS)[None]).logits[0, -1].numpy()
        assert np.abs(kept.arrays[LAST_LOGITS] - want).max() < 1e-5
        assert kept.arrays[LAST_LOGITS].shape == (tiny_models.D_VOCAB,)


@pytest.fixture
def whole_passes(monkeypatch):
    """`whole_passes()`: from here on no architecture keeps keys and values."""
    from mi_widgets.compute import kept_keys

    return lambda: monkeypatch.setattr(kept_keys, "_empty", lambda *_given: None)


def run_lengths(model):
    """A list that every pass adds its number of positions to."""
    lengths: list[int] = []

    def count(_module, given, named):
        ids = next(value for value in (*given, *named.values()) if isinstance(value, torch.Tensor))
        lengths.append(ids.shape[1])

    count.__module__ = "transformers.tests"  # as a library's, for hooks of the user's own mean whole passes
    model.original_model.get_input_embeddings().register_forward_pre_hook(count, with_kwargs=True)
    return lengths


CHANGES = {
    "a head": [Ablate(layer=0, head=2)],
    "a mean": [Ablate(layer=1, site="mlp_out", by="mean")],
    "a place": [Ablate(layer=1, site="resid_pre", positions=[-1, 2])],
    "a direction": [Add(np.linspace(-2, 2, 32), site="resid_post", layer=0, strength=3.0)],
    "a patch": [Patch("resid_pre", layer=1, position=4, source=list(range(10, 19)))],
    "several": [Ablate(layer=0, head=1), Add(np.ones(32), layer=1, positions=[0]), Ablate(layer=1, neuron=3)],
}


class TestKept:
    """A token costs one position, and is the token of whole passes."""

    @pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 1.4, "top_p": 0.9, "seed": 3}])
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_the_tokens_are_those_of_whole_passes(self, architecture, options, tiny_model, whole_passes):
        model = tiny_model(architecture)
        kept = compute.sample(model, IDS, 20, stop_at_eos=False, **options)
        whole_passes()
        whole = compute.sample(model, IDS, 20, stop_at_eos=False, **options)
        assert kept.ids.tolist() == whole.ids.tolist()
        assert np.abs(kept.log_probs - whole.log_probs).max() < 2e-5

    @pytest.mark.parametrize("what", CHANGES)
    @pytest.mark.parametrize("architecture", ["gpt2", "mistral", "gemma2"])
    def test_under_interventions_too(self, architecture, what, tiny_model, whole_passes):
        model = tiny_model(architecture)
        kept = compute.sample(model, IDS, 12, temperature=0, stop_at_eos=False, interventions=CHANGES[what])
        whole_passes()
        whole = compute.sample(model, IDS, 12, temperature=0, stop_at_eos=False, interventions=CHANGES[what])
        assert kept.ids.tolist() == whole.ids.tolist()
        assert np.abs(kept.log_probs - whole.log_probs).max() < 2e-5
        assert kept.interventions == tuple(CHANGES[what])
        plain = compute.sample(model, IDS, 12, temperature=0, stop_at_eos=False)
        assert np.abs(kept.log_probs - plain.log_probs).max() > 1e-3  # they did act

    def test_without_positions_they_act_on_the_new_tokens(self, model):
        # A direction so strong that it alone decides what comes next, wherever it is added.
        with torch.no_grad():
            unembed = model.original_model.get_output_embeddings().weight
            direction = unembed[77] - unembed.mean(0)
        found = compute.sample(model, IDS, 6, temperature=0, interventions=[Add(direction, layer=1, strength=1e4)])
        assert set(found.ids.tolist()) == {int(found.ids[0])}
        placed = [Add(direction, layer=1, strength=1e4, positions=[-1])]
        first, *rest = compute.sample(model, IDS, 6, temperature=0, stop_at_eos=False, interventions=placed).ids
        assert first == found.ids[0]
        assert set(rest) != {first}

    def test_a_token_costs_one_position(self, model):
        lengths = run_lengths(model)
        compute.sample(model, IDS, 5, stop_at_eos=False)
        assert lengths == [9, 1, 1, 1, 1]

    def test_a_function_of_the_users_sees_the_whole_prompt(self, model):
        seen = []

        def own(activation, hook):
            seen.append(activation.shape[1])

        compute.sample(model, IDS, 3, stop_at_eos=False, interventions=[Intervention("blocks.0.hook_resid_pre", own)])
        assert seen[-3:] == [9, 10, 11]

    def test_so_does_a_hook_of_the_users_on_the_model(self, model):
        seen = []
        model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: seen.append(value.shape[1]))
        compute.sample(model, IDS, 3, stop_at_eos=False)
        assert seen == [9, 10, 11]
        model.reset_hooks()
        lengths = run_lengths(model)
        compute.sample(model, IDS, 3, stop_at_eos=False)
        assert lengths == [9, 1, 1]

    def test_a_weight_edited_between_two_tokens_is_heeded(self, model):
        steps = sample_steps(model, tokenize(model, IDS), 3, temperature=0, stop_at_eos=False)
        next(steps)
        lengths = run_lengths(model)
        with torch.no_grad():
            model.original_model.get_output_embeddings().weight.mul_(-1)
        ids = next(steps).partial
        assert lengths == [10]
        with torch.no_grad():
            logits = model.original_model(torch.tensor([[*IDS, ids[0]]])).logits[0, -1]
        assert ids[1] == int(logits.argmax())

    def test_an_architecture_that_keeps_none_writes_by_whole_passes(self, tmp_path):
        config = transformers.OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=128)
        torch.manual_seed(0)
        transformers.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
        tiny_models.tokenizer().save_pretrained(tmp_path)
        model = load_model(tmp_path)
        ids = list(IDS)
        with torch.no_grad():
            for _token in range(5):
                ids.append(int(model.original_model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert compute.sample(model, IDS, 5, temperature=0, stop_at_eos=False).ids.tolist() == ids[9:]

    def test_numbers_that_are_not_finite_say_where_also_behind_kept_keys(self, model):
        steps = sample_steps(model, tokenize(model, IDS), 3, temperature=0, stop_at_eos=False)
        next(steps)
        with torch.no_grad():
            model.original_model.model.layers[1].mlp.down_proj.weight.fill_(float("nan"))
        with pytest.raises(ModelError, match="from layer 1 on"):
            next(steps)

    def test_a_model_that_sees_ahead_is_refused_before_the_first_token(self, tmp_path):
        torch.manual_seed(0)
        config = transformers.BertConfig(**tiny_models.SHAPE, max_position_embeddings=64)
        transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
        tiny_models.tokenizer().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="sees ahead"):
            compute.sample(load_model(tmp_path), IDS, 3)

    def test_an_intervention_that_cannot_act_is_refused(self, model):
        with pytest.raises(DataError, match="layer 9"):
            compute.sample(model, IDS, 3, interventions=[Ablate(layer=9, head=0)])


class TestRefusals:
    """What cannot be done is said, with what can."""

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"n_tokens": 0}, "n_tokens"),
            ({"n_tokens": 1.5}, "n_tokens"),
            ({"temperature": -0.1}, "temperature"),
            ({"temperature": float("nan")}, "temperature"),
            ({"temperature": "hot"}, "temperature"),
            ({"top_p": 0}, "top_p"),
            ({"top_p": 1.01}, "top_p"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_options_that_mean_nothing(self, options, says, model):
        with pytest.raises(DataError, match=says):
            compute.sample(model, IDS, **options)

    def test_how_many_tokens_still_fit(self, model):
        ids = np.arange(3, 63)  # 60 of 64
        with pytest.raises(PromptError, match="4 more tokens fit") as refused:
            compute.sample(model, ids, 5)
        assert "at most 4" in refused.value.hint
        assert len(compute.sample(model, ids, 4, stop_at_eos=False)) == 4

    def test_a_full_context_says_so(self, model):
        with pytest.raises(PromptError, match="no more fit"):
            compute.sample(model, np.arange(3, 67), 1)

    def test_rotary_models_go_on_beyond_if_asked(self, model):
        found = compute.sample(model, np.arange(3, 65), 4, stop_at_eos=False, beyond_context=True)
        assert len(found) == 4
        assert room_left(model, found.prompt, beyond_context=True) is None

    def test_learned_positions_never_do(self, tiny_model):
        with pytest.raises(PromptError, match="2 more tokens fit"):
            compute.sample(tiny_model("gpt2"), np.arange(3, 65), 3, beyond_context=True)


def ids_of(model, prompt, prepend_bos=None):
    return tokenize(model, prompt, prepend_bos).ids.tolist()


@pytest.fixture(scope="module")
def byte_level(shared, tmp_path_factory):
    """A tiny GPT-2 with GPT-2's real vocabulary: characters split into bytes."""
    folder = tmp_path_factory.mktemp("byte-level")
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, n_positions=64)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    data = shared / "data" / "gpt2-bpe"
    inner = Tokenizer(models.BPE.from_file(str(data / "vocab.json"), str(data / "merges.txt")))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    marks = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **marks).save_pretrained(folder)
    return load_model(folder)


@pytest.mark.shared
class TestContinued:
    """The longer prompt runs exactly the ids, as text where that is possible."""

    @pytest.mark.parametrize("prepend_bos", [None, True, False])
    def test_text_stays_text_where_it_gives_the_same_ids(self, prepend_bos, stories):
        tokens = tokenize(stories, "Once upon a time", prepend_bos)
        new = compute.sample(stories, "Once upon a time", 12, temperature=0, prepend_bos=prepend_bos).ids
        longer = continued(stories, tokens, new, prepend_bos)
        assert isinstance(longer, str)
        assert longer.startswith("Once upon a time, ")
        assert ids_of(stories, longer, prepend_bos) == [*tokens.ids.tolist(), *new.tolist()]

    @pytest.mark.parametrize("prepend_bos", [None, False])
    def test_every_token_of_the_vocabulary_can_be_appended(self, prepend_bos, stories):
        tokens = tokenize(stories, "Tom said to", prepend_bos)
        texts = 0
        for token in range(stories.cfg.d_vocab):
            longer = continued(stories, tokens, [token], prepend_bos)
            assert ids_of(stories, longer, prepend_bos) == [*tokens.ids.tolist(), token]
            texts += isinstance(longer, str)
        assert texts > 100  # words and letters that begin with a space, at least

    @pytest.mark.parametrize("which", ["stories", "byte_level"])
    def test_a_split_character_is_ids_until_it_is_whole(self, which, request):
        model = request.getfixturevalue(which)
        tokens = tokenize(model, "I see")
        pieces = ids_of(model, "I see 漢")[len(tokens) :]
        assert len(pieces) >= 3
        for count in range(2, len(pieces)):  # the first holds the space alone, or with the first byte
            assert continued(model, tokens, pieces[:count]) == [*tokens.ids.tolist(), *pieces[:count]]
        half = tokenize(model, [*tokens.ids.tolist(), *pieces[:2]])
        assert ids_of(model, continued(model, half, pieces[2:])) == [*half.ids.tolist(), *pieces[2:]]
        assert continued(model, tokens, pieces) == "I see 漢"

    def test_a_merge_over_the_seam_is_ids(self, byte_level):
        tokens = tokenize(byte_level, "the")
        new = ids_of(byte_level, "re", prepend_bos=False)
        assert ids_of(byte_level, "there") != [*tokens.ids.tolist(), *new]
        assert continued(byte_level, tokens, new) == [*tokens.ids.tolist(), *new]

    def test_what_the_user_typed_is_kept_as_typed(self, byte_level):
        text = "  A\tstrange \n prompt"
        longer = continued(byte_level, tokenize(byte_level, text), ids_of(byte_level, " here", prepend_bos=False))
        assert longer == text + " here"

    def test_ids_without_a_tokenizer_stay_ids(self, shared):
        model = load_model(shared / "models" / "gpt-nano-sort")
        assert continued(model, tokenize(model, [2, 0]), np.array([1])) == [2, 0, 1]

    def test_tokens_without_text_stay_ids(self, stories):
        assert continued(stories, Tokens(np.array([1, 403]), ("<s>", " O")), [407]) == [1, 403, 407]

    def test_no_room_is_said(self, byte_level):
        tokens = tokenize(byte_level, [5] * 64)
        with pytest.raises(PromptError, match="no more fit"):
            continued(byte_level, tokens, [5])
