"""The shipped weights: what they can do, what is inside, and that every way of loading them says the same."""

import itertools
import json
import time

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from mi_widgets import demo
from mi_widgets.demo import evaluate, inside, records, vocabulary
from mi_widgets.demo.circuit import CONTRASTS, IndirectObjectStudy, contrasts
from mi_widgets.demo.heads import head_shape, repeated_sequence_scores

GIFT = "When Mary and John went to the store , John gave a drink to"
SCORE_FLOORS = {
    "induction": 0.95,
    "ioi": 0.98,
    "entity": 0.95,
    "facts": 0.95,
    "agreement": 0.98,
    "greater_than": 0.98,
    "sentiment": 0.98,
    "topic": 0.98,
    "languages": 0.95,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(demo.WEIGHTS, local_files_only=True).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(demo.WEIGHTS, local_files_only=True)


@pytest.fixture(scope="module")
def bridge():
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(str(demo.WEIGHTS), device="cpu")


@pytest.fixture(scope="module")
def known() -> dict:
    return json.loads((demo.WEIGHTS / "known.json").read_text())


# --- what it can do ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(model) -> dict:
    return evaluate.task_report(model, n=400, seed=11)  # not the seed of the model card


@pytest.mark.parametrize("task", demo.TASKS)
def test_held_out_score_is_what_was_asked_for(task, report):
    assert report[task]["score"] >= SCORE_FLOORS[task]


def test_entity_tracking_holds_for_contents_and_for_empty_boxes(report):
    assert min(report["entity"]["by_kind"].values()) >= 0.95
    assert set(report["entity"]["by_kind"]) == {"content", "empty"}


def test_agreement_holds_across_one_and_two_attractors(report):
    assert report["agreement"]["by_kind"].keys() == {"attractors_1", "attractors_2"}
    assert min(report["agreement"]["by_kind"].values()) >= 0.98


def test_true_and_false_claims_are_both_known(report):
    assert min(report["facts"]["by_kind"].values()) >= 0.9


def test_the_card_states_the_scores_that_the_weights_have(model, known):
    measured = evaluate.task_scores(model, n=1000)
    assert measured == pytest.approx({task: entry["score"] for task, entry in known["tasks"].items()}, abs=0.005)


def test_the_corrupt_prompt_turns_the_answer(model):
    for task in ("ioi", "entity", "facts", "agreement", "sentiment", "topic", "languages", "induction"):
        records = demo.prompts(task, n=30)
        logits = torch.stack([ids_logits(model, record.corrupt) for record in records])
        answers, foils = (
            torch.tensor([vocabulary.TOKEN_IDS[getattr(record, name)] for record in records])
            for name in ("answer", "foil")
        )
        rows = torch.arange(len(records))
        assert (logits[rows, foils] > logits[rows, answers]).float().mean() >= 0.95, task


def ids_logits(model, text: str) -> torch.Tensor:
    tokenizer = Tokenizer.from_file(str(demo.WEIGHTS / "tokenizer.json"))
    with torch.no_grad():
        return model(input_ids=torch.tensor([[0, *tokenizer.encode(text).ids]])).logits[0, -1]


# --- the same numbers everywhere ------------------------------------------------------------------------------


def test_logits_equal_the_stored_reference(model):
    with np.load(demo.WEIGHTS / "reference.npz") as reference:
        ids, logits = reference["ids"], reference["logits"]
    assert len(ids) >= len(demo.TASKS)
    for row, expected in zip(ids, logits, strict=True):
        with torch.no_grad():
            found = model(input_ids=torch.tensor(row[row >= 0])[None]).logits[0, -1]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-4, rtol=0)


def test_the_bridge_gives_the_logits_of_plain_transformers(bridge, model):
    ids = bridge.to_tokens(GIFT)
    with torch.no_grad():
        torch.testing.assert_close(bridge(ids), model(input_ids=ids).logits, atol=1e-4, rtol=0)
        assert bridge.to_string(bridge(GIFT)[0, -1].argmax()) == " Mary"


def test_weights_are_small_enough_to_ship():
    files = [path for path in demo.WEIGHTS.rglob("*") if path.is_file()]
    read_by_transformers = "config.json model.safetensors tokenizer.json tokenizer_config.json generation_config.json"
    assert set(read_by_transformers.split()) <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) <= 6_000_000


def test_loading_takes_less_than_a_second_of_processor_time():
    from transformer_lens.model_bridge import TransformerBridge

    TransformerBridge.boot_transformers(str(demo.WEIGHTS), device="cpu")  # pays for imports
    began = time.process_time()
    TransformerBridge.boot_transformers(str(demo.WEIGHTS), device="cpu")
    assert time.process_time() - began < 1


# --- tokenizer ------------------------------------------------------------------------------------------------


def test_the_shipped_tokenizer_has_the_grammars_vocabulary(tokenizer, model):
    by_id = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    assert tuple(by_id) == vocabulary.VOCABULARY
    assert model.config.vocab_size == len(vocabulary.VOCABULARY)
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == 0
    assert tokenizer.unk_token_id == 1


@pytest.mark.parametrize("task", demo.TASKS)
def test_prompts_round_trip_and_are_cut_as_the_grammar_says(task, tokenizer):
    for record in demo.prompts(task, n=40):
        for text in (record.text, record.corrupt):
            ids = tokenizer(text).input_ids
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids).removeprefix(" ") == text.removeprefix(" ")
            if task != "induction":
                assert tokenizer.convert_ids_to_tokens(ids) == records.split_tokens(text)
        clean, corrupt = tokenizer(record.text).input_ids, tokenizer(record.corrupt).input_ids
        assert len(clean) == len(corrupt)
        assert record.differs == tuple(n + 1 for n in range(len(clean)) if clean[n] != corrupt[n])


@pytest.mark.parametrize("task", demo.TASKS)
def test_answers_and_foils_are_the_one_next_token(task, tokenizer):
    for record in demo.prompts(task, n=40):
        ids = tokenizer(record.text).input_ids
        for token in (record.answer, record.foil):
            assert tokenizer(record.text + token).input_ids == [*ids, tokenizer.convert_tokens_to_ids(token)]


def test_any_sequence_of_tokens_survives_decoding_and_encoding(tokenizer):
    for record in demo.prompts("induction", n=200):
        ids = tokenizer(record.text).input_ids
        assert tokenizer(tokenizer.decode(ids)).input_ids == ids


def test_text_typed_without_spaces_before_punctuation_reads_the_same(tokenizer):
    typed = "When Mary and John went to the store, John gave a drink to Mary."
    assert tokenizer(typed).input_ids == tokenizer(typed.replace(",", " ,").replace(".", " .")).input_ids


def test_character_spans_do_not_overlap(tokenizer):
    typed = "In 1732, Mary met John."
    spans = tokenizer(typed, return_offsets_mapping=True).offset_mapping
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert [typed[begin:end].strip() for begin, end in spans][1:] == ["17", "32", ",", "Mary", "met", "John", "."]


def test_the_bridge_prepends_exactly_one_beginning_of_text(bridge):
    ids = bridge.to_tokens(GIFT)[0].tolist()
    assert ids[0] == 0 and 0 not in ids[1:]
    assert bridge.to_str_tokens(GIFT)[:5] == ["<|endoftext|>", " When", " Mary", " and", " John"]
    assert bridge.to_str_tokens("The war lasted from 1732 to 17")[-4:] == [" 17", "32", " to", " 17"]


def test_the_bridge_resolves_single_tokens(bridge):
    assert bridge.to_single_token(" Mary") == vocabulary.TOKEN_IDS[" Mary"]
    assert bridge.to_single_token("32") == vocabulary.TOKEN_IDS["32"]
    assert bridge.to_single_token(" 17") == vocabulary.TOKEN_IDS[" 17"]


# --- what is known inside -----------------------------------------------------------------------------------


def test_head_scores_are_those_of_the_card(model, known):
    scores = repeated_sequence_scores(model)
    for kind, named in known["heads"].items():
        found = {
            inside.head_name(*index): scores[kind][tuple(index)].item()
            for index in (scores[kind] >= inside.HEAD_SCORE_FLOOR).nonzero().tolist()
        }
        assert found == pytest.approx(named, abs=0.01)


def test_there_are_previous_token_and_induction_heads_and_in_that_order(known):
    previous, induction = known["heads"]["previous_token"], known["heads"]["induction"]
    assert max(induction.values()) > 0.6
    # several heads share the previous token; even attention would give it 0.04
    assert max(previous.values()) > 0.25
    # an induction head reads what a previous-token head of an earlier layer wrote
    assert min(int(head.split(".")[0]) for head in previous) < min(int(head.split(".")[0]) for head in induction)


def test_head_scores_agree_with_the_bridges_patterns(bridge, known):
    generator = torch.Generator().manual_seed(5)
    half = torch.randint(2, len(vocabulary.VOCABULARY), (8, 25), generator=generator)
    ids = torch.cat([torch.zeros(8, 1, dtype=torch.long), half, half], dim=1)
    head, score = max(known["heads"]["induction"].items(), key=lambda pair: pair[1])
    layer, index = map(int, head.split("."))
    name = f"blocks.{layer}.attn.hook_pattern"
    _, cache = bridge.run_with_cache(ids, names_filter=lambda hook: hook == name)
    found = [cache[name][:, index, query, query - 24].mean().item() for query in range(26, 51)]
    assert np.mean(found) == pytest.approx(score, abs=0.1)


@pytest.fixture(scope="module")
def study(model):
    return IndirectObjectStudy(model)


def head_mask(study, heads) -> torch.Tensor:
    layers, heads_per_layer, _ = head_shape(study.model)
    mask = torch.zeros(layers, heads_per_layer, dtype=torch.bool)
    for head in heads:
        mask[tuple(map(int, head.split(".")))] = True
    return mask


def test_the_indirect_object_circuit_is_that_of_the_card(study, known):
    circuit = known["indirect_object"]
    assert dict(zip(CONTRASTS, study.clean.tolist(), strict=True)) == pytest.approx(circuit["contrasts"], abs=0.02)
    direct, attention = study.direct_attribution(), study.attention()
    for head, entry in circuit["heads"].items():
        layer, index = map(int, head.split("."))
        for number, contrast in enumerate(CONTRASTS):
            assert direct[number, layer, index].item() == pytest.approx(entry[f"direct_{contrast}"], abs=0.01)
        for name, values in attention.items():
            assert values[layer, index].item() == pytest.approx(entry[name], abs=0.01)
        assert inside.roles_of(entry) == entry["roles"]


PLACES = {"anywhere": None, "end": "end", "at_giver": "giver"}


@pytest.mark.parametrize(("column", "place"), PLACES.items())
def test_ablating_a_named_head_costs_what_the_card_says(study, known, column, place):
    for head, entry in known["indirect_object"]["heads"].items():
        kept, _ = study.run_ablated(head_mask(study, [head]), place)
        for contrast, share in zip(CONTRASTS, kept.tolist(), strict=True):
            assert 1 - share == pytest.approx(entry[f"{column}_{contrast}"], abs=0.01)


def test_the_circuit_alone_does_the_task_and_without_it_little_remains(study, known):
    circuit = head_mask(study, known["indirect_object"]["circuit"])
    quality = study.circuit_quality(circuit)
    assert quality == pytest.approx(known["indirect_object"]["quality"], abs=0.02)
    assert min(quality["faithfulness_giver"], quality["faithfulness_absent"], quality["accuracy"]) >= 0.9
    assert max(quality["without_giver"], quality["without_absent"]) <= 0.6
    assert circuit.sum() <= circuit.numel() / 2


def test_the_circuit_has_heads_that_move_names_and_heads_that_put_down_the_giver(known):
    roles = {role for entry in known["indirect_object"]["heads"].values() for role in entry["roles"]}
    assert {"name mover", "giver suppressor"} <= roles


def test_the_readout_directions_read_the_contrasts_out_of_the_final_residual(model):
    study = IndirectObjectStudy(model, n=20)
    (batch,) = study.batches[:1]
    with torch.no_grad():
        output = model(input_ids=batch.ids, output_hidden_states=True)
        normed = output.hidden_states[-1][:, -1]  # after the final norm
        read = torch.einsum("pm,pcm->pc", normed, study._directions(batch))
        torch.testing.assert_close(read, contrasts(output.logits, batch), atol=1e-3, rtol=0)


def test_measuring_leaves_no_hook_and_no_flag_on_the_model(model, study):
    assert not any(block.attn.c_proj._forward_pre_hooks for block in model.transformer.h)
    assert not model.transformer.ln_f._forward_pre_hooks
    assert model.config._attn_implementation == "sdpa"


def test_the_card_is_filled_in_from_the_weights(known):
    from mi_widgets.demo import card

    text = card.CARD.read_text(encoding="utf-8")
    assert card.task_table(known["tasks"]) in text
    assert card.head_table(known["heads"]) in text
    assert card.circuit_table(known["indirect_object"]) in text
    assert card.mixture_table() in text


def test_the_shipped_tuned_lens_reads_the_layers_better_than_the_logit_lens():
    from mi_widgets import compute, load_demo
    from mi_widgets.compute.tuned_lens import shipped_lens

    bridge = load_demo()
    lens = shipped_lens(bridge)
    gains = []
    for record in demo.prompts("ioi", n=5) + demo.prompts("topic", n=5):
        plain, tuned = (compute.logit_lens(bridge, record.text, lens=which) for which in ("logit", lens))
        np.testing.assert_allclose(tuned.top_probs[-1], plain.top_probs[-1], atol=1e-6)  # the last row is the model
        gains.append(plain.kl[:-1].mean(axis=1) - tuned.kl[:-1].mean(axis=1))
    assert (np.mean(gains, axis=0) > 0.5).all()  # nats, every layer before the last
