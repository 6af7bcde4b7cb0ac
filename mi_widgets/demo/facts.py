"""Facts about cities, countries and languages, told and claimed; a claim may be true or false.

Pure standard library; it knows nothing of tensors or models.
"""

import random
from typing import ClassVar

from . import vocabulary as words
from .records import DemoPrompt, Document, after, document_of, hash_of, prompt_record


def held_out_wording(wordings: tuple[str, ...], subject: str, object_: str, share: float) -> str | None:
    """The one wording in which a claim on this pair is kept for the test, for `share` of the pairs; None for the rest.

    Never more than one: a pair that is met in no wording at all could only be guessed.
    """
    place = hash_of("claim", subject, object_) / share
    return wordings[int(place * len(wordings))] if place < 1 else None


class Facts:
    """Claims about a closed table of cities, countries and languages, each with its verdict, true or false.

    What is held out is a claim: a pair of subject and object, true or not, in one wording. The model has met the pair
    in the other wordings, and what is true also in the words of `tellings`, which no claim uses.
    """

    name = "facts"
    share = 0.5  # of the pairs, for which one wording is held out
    claims: ClassVar = {
        "city_country": (
            "{subject} is a city in {object}",
            "the city of {subject} belongs to {object}",
            "the people in {subject} are in {object}",
        ),
        "city_language": (
            "people in {subject} speak {object}",
            "the city of {subject} speaks {object}",
            "the language in {subject} is {object}",
        ),
        "country_language": (
            "the people of {subject} speak {object}",
            "the language of {subject} is {object}",
            "in {subject} the language is {object}",
        ),
        "capital": (
            "the capital of {subject} is {object}",
            "{subject} has the capital {object}",
            "the capital city of {subject} is {object}",
        ),
    }
    tellings: ClassVar = {
        "city_country": ("Fact : {subject} lies in {object} .", "Fact : in {object} lies {subject} ."),
        "city_language": ("Fact : a person from {subject} speaks {object} .",),
        "country_language": ("Fact : {object} is spoken in {subject} .", "Fact : {subject} speaks {object} ."),
        "capital": ("Fact : {object} is the capital of {subject} .",),
    }
    kind_weights = (0.35, 0.35, 0.15, 0.15)

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, str]] = {kind: {} for kind in self.claims}  # kind → subject → true object
        for country, (language, *cities) in words.COUNTRIES.items():
            self.objects["country_language"][country] = language
            self.objects["capital"][country] = cities[0]
            for city in cities:
                self.objects["city_country"][city] = country
                self.objects["city_language"][city] = language
        cities = [city for _, *cities in words.COUNTRIES.values() for city in cities]
        languages = [language for language, *_ in words.COUNTRIES.values()]
        candidates = {"city_country": list(words.COUNTRIES), "capital": cities}
        # (split, kind, truth) → (wording, subject, object)
        self.by_split: dict[tuple[str, str, bool], list[tuple[str, str, str]]] = {}
        for kind, table in self.objects.items():
            for subject, right in table.items():
                for object_ in candidates.get(kind, languages):
                    held_out = held_out_wording(self.claims[kind], subject, object_, self.share)
                    for wording in self.claims[kind]:
                        split = "test" if wording == held_out else "train"
                        claims = self.by_split.setdefault((split, kind, object_ == right), [])
                        claims.append((wording, subject, object_))

    def _kind(self, rng: random.Random) -> str:
        return rng.choices(tuple(self.claims), self.kind_weights)[0]

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        sentences = []
        for _ in range(rng.randint(1, 4)):
            kind = self._kind(rng)
            if rng.random() < 0.25:
                subject, object_ = rng.choice(tuple(self.objects[kind].items()))
                sentences.append(rng.choice(self.tellings[kind]).format(subject=subject, object=object_))
            else:
                true = rng.random() < 0.5
                wording, subject, object_ = rng.choice(self.by_split["train", kind, true])
                claim = wording.format(subject=subject, object=object_)
                sentences.append(f"Claim : {claim} . Verdict : {'true' if true else 'false'} .")
        return document_of(" ".join(sentences), after(" Verdict", " :"))

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """The corrupt claim has the opposite truth: same wording and subject, another object, of the same split."""
        while True:
            kind, true = self._kind(rng), rng.random() < 0.5
            wording, subject, object_ = rng.choice(self.by_split[split, kind, true])
            others = [claim for claim in self.by_split[split, kind, not true] if claim[:2] == (wording, subject)]
            if others:
                break
        answer, foil = (" true", " false") if true else (" false", " true")
        clean, corrupt = (
            f"Claim : {wording.format(subject=subject, object=shown)} . Verdict :"
            for shown in (object_, rng.choice(others)[2])
        )
        return prompt_record(self.name, kind, clean, answer, foil, corrupt, foil)
