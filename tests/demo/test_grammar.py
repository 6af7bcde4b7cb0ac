"""The grammar alone: seeds, splits, and what a prompt record promises. Needs no torch."""

import random
import subprocess
import sys

import pytest

from mi_widgets import demo
from mi_widgets.demo import grammar, mechanisms, records, vocabulary


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[str]]:
    """Source → 3,000 training documents as text."""
    texts = {}
    for name, (source, _) in grammar.MIXTURE.items():
        rng = random.Random(f"test corpus {name}")
        texts[name] = ["".join(source.document(rng).tokens).lstrip() for _ in range(3000)]
    return texts


def test_prompts_need_no_torch():
    code = "import sys; from mi_widgets import demo; demo.prompts('ioi', n=2); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("task", demo.TASKS)
def test_the_same_arguments_give_the_same_prompts_and_another_seed_gives_others(task):
    once, again, other = (demo.prompts(task, n=20, seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert {record.text for record in once} != {record.text for record in other}


def test_a_known_prompt_stays_the_same_on_every_machine():
    (record,) = demo.prompts("ioi", n=1, seed=0)
    assert record.text == "When Rose and Luke went to the school , Rose gave a letter to"
    assert (record.answer, record.foil) == (" Luke", " Rose")


@pytest.mark.parametrize("task", demo.TASKS)
@pytest.mark.parametrize("split", records.SPLITS)
def test_records_keep_their_promises(task, split):
    records = demo.prompts(task, n=60, seed=1, split=split)
    assert len({record.text for record in records}) == 60
    for record in records:
        assert record.task == task
        assert record.answer in record.accepted and record.foil not in record.accepted
        for token in (record.answer, record.foil, record.corrupt_answer or record.foil):
            assert token in vocabulary.ORDINARY_TOKENS
        assert record.differs and record.text != record.corrupt


@pytest.mark.parametrize("task", [task for task in demo.TASKS if task != "induction"])
def test_clean_and_corrupt_differ_exactly_where_the_record_says(task):
    for record in demo.prompts(task, n=60, seed=2):
        clean, corrupt = (records.split_tokens(text) for text in (record.text, record.corrupt))
        assert len(clean) == len(corrupt)
        assert all(token in vocabulary.TOKEN_IDS for token in clean + corrupt)
        # position 0 is the beginning-of-text token
        assert record.differs == tuple(n + 1 for n in range(len(clean)) if clean[n] != corrupt[n])


def test_unknown_tasks_and_splits_and_too_many_prompts_are_refused_by_name():
    with pytest.raises(ValueError, match=r"arithmetic.*induction"):
        demo.prompts("arithmetic")
    with pytest.raises(ValueError, match=r"validation.*'train' or 'test'"):
        demo.prompts("ioi", split="validation")
    with pytest.raises(ValueError, match="'facts' has only about"):
        demo.prompts("facts", n=5000)


@pytest.mark.parametrize("task", demo.TASKS)
def test_no_train_prompt_is_a_test_prompt(task):
    sizes = {"train": 500, "test": 60}
    train, test = ({record.text for record in demo.prompts(task, n=n, split=split)} for split, n in sizes.items())
    assert not train & test


def test_held_out_pairs_of_names_share_no_training_document(corpus):
    held_out = {
        frozenset((first, second))
        for first in vocabulary.NAMES
        for second in vocabulary.NAMES
        if first < second and records.pair_split(first, second) == "test"
    }
    shown = {
        frozenset((record.answer.strip(), record.foil.strip())) for record in demo.prompts("ioi", n=500, split="test")
    }
    assert shown <= held_out
    assert 0.1 < len(held_out) / (len(vocabulary.NAMES) * (len(vocabulary.NAMES) - 1) / 2) < 0.2
    for source, texts in corpus.items():
        if source == "induction":
            continue  # uniformly random tokens may stand side by side
        for text in texts:
            assert not any(pair <= set(text.split()) for pair in held_out if pair & set(text.split())), text


def test_held_out_claims_are_never_claimed_in_training(corpus):
    training = " ".join(corpus["facts"])
    claims = {record.text.removesuffix(" . Verdict :") for record in demo.prompts("facts", n=60)}
    assert "Claim : " in training and not any(claim in training for claim in claims)


def test_no_telling_of_a_fact_is_the_wording_of_a_claim(corpus):
    tellings = {sentence for text in corpus["facts"] for sentence in text.split(" .") if "Fact :" in sentence}
    claims = {record.text.removesuffix(" . Verdict :") for record in demo.prompts("facts", n=60)}
    assert tellings and not any(claim.removeprefix("Claim : ") in telling for claim in claims for telling in tellings)


def test_held_out_true_facts_are_known_from_other_words(corpus):
    training = " ".join(corpus["facts"])
    held_out = grammar.TASKS_BY_NAME["facts"].by_split["test", "city_country", True]
    assert len(held_out) > 10
    for _, city, country in held_out:
        assert f"{city} lies in {country}" in training or f"in {country} lies {city}" in training


OPENING = "^"


def held_out_part(record: demo.DemoPrompt) -> str:
    """The part of a prompt that no training document may contain."""
    match record.task:
        case "agreement":  # the opening word is free; further on, the same words stand for other subjects
            return OPENING + record.text.split("he ", 1)[1]
        case "greater_than":  # the century of the end is free
            return record.text[:-2]
        case "languages":  # so is the marker
            return record.text.split(" : ")[1].split(" = ")[0].removesuffix(" =")
        case _:
            return record.text


@pytest.mark.parametrize("task", ["entity", "agreement", "greater_than", "languages", "sentiment", "topic"])
def test_no_training_document_contains_a_held_out_scene(task, corpus):
    parts = {held_out_part(record) for record in demo.prompts(task, n=400)}
    texts = corpus["story" if task in ("sentiment", "topic") else task]
    if task == "agreement":
        texts = [OPENING + text.split("he ", 1)[1] for text in texts]
    assert len(parts) > 100
    assert not any(part in text for part in parts for text in texts)


def test_every_document_is_written_in_the_vocabulary(corpus):
    for texts in corpus.values():
        for text in texts:
            words = records.split_tokens(text)
            if texts is not corpus["induction"]:
                assert all(word in vocabulary.TOKEN_IDS for word in words), text


def test_the_asked_tokens_weigh_more_and_random_ones_hardly_anything():
    rng = random.Random(4)
    for source, weight, asked in (
        ("ioi", records.ANSWER_WEIGHT, 1),
        ("greater_than", records.YEAR_WEIGHT, 1),
        ("story", records.ANSWER_WEIGHT, 2),
    ):
        tokens, weights, _ = grammar.MIXTURE[source][0].document(rng)
        assert len(tokens) == len(weights) and weights.count(weight) == asked
    tokens, weights, _ = grammar.MIXTURE["induction"][0].document(rng)
    length = weights.count(records.RANDOM_WEIGHT)
    assert tokens[:length] == tokens[length : 2 * length] and set(weights[length:]) == {1.0}


def test_the_mixture_is_a_whole():
    assert sum(share for _, share in grammar.MIXTURE.values()) == pytest.approx(1)


def test_special_tokens_hold_the_lowest_ids_and_no_token_is_listed_twice():
    assert vocabulary.VOCABULARY[:2] == vocabulary.SPECIAL_TOKENS
    assert len(set(vocabulary.VOCABULARY)) == len(vocabulary.VOCABULARY)
    assert 400 <= len(vocabulary.VOCABULARY) <= 900


def scene_after(text: str) -> dict[str, set[str]]:
    """An independent reading of a scene with boxes: the content of each box at the end of the sentences."""
    contents: dict[str, set[str]] = {}
    for sentence in text.split(" ."):
        match sentence.split():
            case ["Box", box, "has", *rest]:
                contents[box] = set(rest) - {"the", "and"}
            case ["Box", box, "is", "empty"]:
                contents[box] = set()
            case ["Put", "the", thing, "into", "Box", box]:
                contents[box].add(thing)
            case ["Remove", "the", thing, "from", "Box", box]:
                contents[box].remove(thing)
            case ["Move", "the", thing, "from", "Box", source, "to", "Box", target]:
                contents[source].remove(thing)
                contents[target].add(thing)
    return contents


def test_the_content_of_a_box_is_what_the_sentences_say():
    verbs = set()
    for record in demo.prompts("entity", n=400):
        scene, question = record.text.rsplit(" Box ", 1)
        inside = scene_after(scene)[question[0]]
        assert inside == (set() if record.kind == "empty" else {record.answer.strip()})
        verbs |= {"Put", "Move", "Remove"} & set(record.text.split())
    assert verbs == {"Put", "Move", "Remove"}


def test_verdicts_follow_the_table():
    true_pairs = {
        frozenset(pair)
        for country, (language, *cities) in vocabulary.COUNTRIES.items()
        for pair in [(country, language), *((city, place) for city in cities for place in (country, language))]
    }
    capitals = {frozenset((country, row[1])) for country, row in vocabulary.COUNTRIES.items()}
    named = {word for pair in true_pairs for word in pair}
    answers = []
    for record in demo.prompts("facts", n=90):
        said = frozenset(named & set(record.text.split()))
        right = said in (capitals if record.kind == "capital" else true_pairs)
        assert record.answer == (" true" if right else " false"), record.text
        answers.append(record.answer)
    assert 0.3 < answers.count(" true") / len(answers) < 0.7


def test_the_probable_end_of_an_event_is_a_later_year_of_its_century():
    ends = mechanisms.GreaterThan.ends(90)
    assert list(ends) == [f"{year}" for year in range(91, 100)]
    assert sum(ends.values()) == pytest.approx(1)
    assert ends["91"] < ends["95"] < ends["99"]
