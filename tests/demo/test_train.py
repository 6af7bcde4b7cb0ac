"""A tiny retraining: the trainer learns more than word pairs, and a seed says exactly what comes out."""

import itertools
import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from mi_widgets.demo import circuit, corpus, evaluate, records, train, vocabulary
from mi_widgets.demo.grammar import MIXTURE

pytestmark = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="the trainer needs torch 2.9 or later")

# long enough to learn the sentences; a smaller step count leaves it near the word-pair baseline
RECIPE = train.TINY


@pytest.fixture(scope="module")
def tiny():
    lines: list[str] = []
    model = train.train(RECIPE, report=lines.append)
    model.lines = lines
    return model


@pytest.fixture(scope="module")
def unseen() -> list[corpus.Row]:
    """Rows of a corpus with another seed."""
    return rows(seed=99, count=64)


def rows(seed: int, count: int) -> list[corpus.Row]:
    return list(itertools.islice(corpus.rows_of_documents(seed), count))


def documents(row: corpus.Row) -> list[list[int]]:
    """The documents of a row, without beginning-of-text tokens and padding."""
    starts = [place for place, token in enumerate(row.ids) if token == corpus.BOS_ID]
    return [row.ids[start + 1 : end] for start, end in itertools.pairwise([*starts, len(row.ids)]) if end - start > 1]


def baselines(unseen: list[corpus.Row]) -> tuple[float, float]:
    """Weighted cross-entropy in nats of `unseen` under word frequencies and under word-pair frequencies.

    Counted on as much text as the tiny model was trained on.
    """
    single, pairs = Counter(), Counter()
    for row in rows(RECIPE.seed, RECIPE.steps * RECIPE.rows):
        single.update(row.ids[1:])
        pairs.update(itertools.pairwise(row.ids))
    befores = Counter()
    for (before, _), count in pairs.items():
        befores[before] += count
    total, vocabulary_size = sum(single.values()), len(vocabulary.VOCABULARY)

    def frequency(token):
        return (single[token] + 1) / (total + vocabulary_size)

    unigram = bigram = count = 0
    for row in unseen:
        for (before, token), weight in zip(itertools.pairwise(row.ids), row.weights[1:], strict=True):
            unigram -= weight * math.log(frequency(token))
            # pairs never seen fall back on the frequency of the word, with the weight of five sightings
            bigram -= weight * math.log((pairs[before, token] + 5 * frequency(token)) / (befores[before] + 5))
            count += weight
    return unigram / count, bigram / count


def test_a_tiny_model_learns_more_than_word_frequencies_and_word_pairs(tiny, unseen):
    unigram, bigram = baselines(unseen)
    with torch.no_grad():
        loss = train.batch_loss(tiny, corpus.batch_of(unseen)).item()
    assert bigram < unigram < math.log(len(vocabulary.VOCABULARY))
    assert loss < unigram - 1.5
    assert loss < bigram - 0.1


def test_the_loss_falls_and_progress_says_how_far_and_how_long(tiny):
    assert len(tiny.losses) == RECIPE.steps
    assert tiny.losses[0] == pytest.approx(math.log(len(vocabulary.VOCABULARY)), abs=0.3)
    assert sum(tiny.losses[-10:]) / 10 < tiny.losses[0] * 0.6
    assert f"step {RECIPE.steps}/{RECIPE.steps}" in tiny.lines[-1] and "min left" in tiny.lines[-1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    short = replace(RECIPE, steps=4)
    first, again, other = (
        train.train(recipe, report=lambda line: None).state_dict() for recipe in (short, short, replace(short, seed=1))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_measuring_in_between_does_not_change_the_training():
    short = replace(RECIPE, steps=4)
    seen = []
    plain = train.train(short, report=lambda line: None)
    watched = train.train(
        short,
        report=lambda line: None,
        check=lambda model, step: seen.append((step, evaluate.task_scores(model, n=4)["ioi"])),
        check_every=2,
    )
    assert [step for step, _ in seen] == [2, 4]
    assert all(torch.equal(plain.state_dict()[name], weight) for name, weight in watched.state_dict().items())


def test_rows_are_full_of_whole_documents_and_a_little_padding(unseen):
    signs = {vocabulary.TOKEN_IDS[sign] for sign in (" .", " ;")}
    for row in unseen:
        assert len(row.ids) == len(row.weights) == corpus.CONTEXT_LENGTH
        assert row.ids[0] == corpus.BOS_ID and row.ids[1] != corpus.BOS_ID
        for document in documents(row):
            assert document[-1] in signs or is_repeated(document)
    padding = [weight for row in unseen for weight in row.weights].count(0.0)
    assert padding < 0.05 * len(unseen) * corpus.CONTEXT_LENGTH


def is_repeated(sequence: list[int]) -> bool:
    return any(sequence[period:] == sequence[:-period] for period in range(1, len(sequence) // 2 + 1))


def test_weights_and_expected_years_follow_their_tokens_into_the_rows(unseen):
    verdict, colon, *answers = (vocabulary.TOKEN_IDS[word] for word in (" Verdict", " :", " true", " false"))
    verdicts = years = 0
    for row in unseen:
        for place in range(2, len(row.ids)):
            if row.ids[place - 2 : place] == [verdict, colon] and row.ids[place] in answers:
                verdicts += 1
                assert row.weights[place] == records.ANSWER_WEIGHT
        for place, distribution in row.expected.items():
            years += 1
            assert row.weights[place] == records.YEAR_WEIGHT
            assert sum(distribution.values()) == pytest.approx(1)
            assert row.ids[place] in distribution
    assert verdicts > 50 and years > 20


def test_the_loss_is_the_weighted_mean_with_the_expected_years(tiny, unseen):
    row = next(row for row in unseen if row.expected)
    with torch.no_grad():
        scores = tiny(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        found = train.batch_loss(tiny, corpus.batch_of([row])).item()
    total = 0.0
    for place in range(1, len(row.ids)):
        distribution = row.expected.get(place, {row.ids[place]: 1.0})
        lost = -sum(share * scores[place - 1, token].item() for token, share in distribution.items())
        total += row.weights[place] * lost
    assert found == pytest.approx(total / sum(row.weights[1:]), rel=1e-4)


def test_the_mixture_is_kept_in_tokens():
    openings = {"entity": {" Box"}, "facts": {" Fact", " Claim"}}
    counts, total = Counter(), 0
    for row in rows(seed=5, count=1500):
        for document in documents(row):
            total += len(document) + 1
            opening = vocabulary.VOCABULARY[document[0]]
            counts.update({name: len(document) + 1 for name, words in openings.items() if opening in words})
    for name in openings:
        assert counts[name] / total == pytest.approx(MIXTURE[name][1], rel=0.1)


def test_a_saved_model_is_the_trained_model_for_plain_transformers(tiny, unseen, tmp_path):
    train.save(tiny, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True).eval()
    assert loaded.config.activation_function == "gelu_new"
    with torch.no_grad():
        ids = corpus.batch_of(unseen[:4]).ids
        torch.testing.assert_close(loaded(input_ids=ids).logits, tiny(input_ids=ids).logits, atol=1e-4, rtol=0)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o444 == 0o444


def test_a_tiny_run_ends_well_says_what_it_did_not_find_and_leaves_the_shipped_model(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(train.tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    before = {path: path.read_bytes() for path in train.WEIGHTS.iterdir() if path.is_file()}
    train.main(["--tiny", "--steps", "2"])
    told = capsys.readouterr().out
    [folder] = tmp_path.iterdir()
    assert str(folder) in told
    assert "| induction | none |" in told
    assert "no circuit was looked for" in told
    assert "not_found" in json.loads((folder / "known.json").read_text())["indirect_object"]
    assert {path: path.read_bytes() for path in train.WEIGHTS.iterdir() if path.is_file()} == before


def test_a_task_that_no_head_is_needed_for_has_an_empty_circuit():
    study = circuit.IndirectObjectStudy(train.build_model(RECIPE).eval(), n=7)
    study.clean = study.run_ablated(torch.ones(2, 4, dtype=torch.bool))[0] * study.clean  # what remains without heads
    assert not study.find_circuit().any()
    assert set(study.circuit_quality(study.find_circuit())) >= {"accuracy", "accuracy_without"}


@pytest.mark.parametrize("steps", ["0", "-3"])
def test_a_run_of_no_steps_is_refused(steps):
    with pytest.raises(SystemExit):
        train.main(["--tiny", "--steps", steps])
