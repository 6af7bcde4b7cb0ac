"""Sentences in English and in a French-like language, with a marker that chooses, and lines that look like code.

Pure standard library; it knows nothing of tensors or models.
"""

import random

from . import vocabulary as words
from .records import DemoPrompt, Document, document_of, prompt_record, split_of


class Languages:
    """A sentence, said again in the language that the first word (the marker) selects: English or French-like."""

    name = "languages"

    def scene(self, rng: random.Random, split: str) -> dict:
        """Subject, verb, object (in English) and their adjectives, if any."""
        while True:
            subject, verb = rng.choice(tuple(words.ANIMATE)), rng.choice(tuple(words.FRENCH_VERBS))
            object_ = rng.choice([noun for noun in (*words.ANIMATE, *words.INANIMATE) if noun != subject])
            if split_of("sentence", subject, verb, object_) == split:
                break
        adjective = {
            role: rng.choice(tuple(words.FRENCH_ADJECTIVES)) if rng.random() < 0.35 else None
            for role in ("subject", "object")
        }
        return {"subject": subject, "verb": verb, "object": object_, "adjective": adjective}

    @staticmethod
    def _phrase(noun: str, adjective: str | None, language: str) -> str:
        if language == "English":
            return f"the {adjective} {noun}" if adjective else f"the {noun}"
        french, gender = (words.ANIMATE | words.INANIMATE)[noun]
        phrase = f"{words.ARTICLES[gender]} {french}"
        return f"{phrase} {words.FRENCH_ADJECTIVES[adjective]['mf'.index(gender)]}" if adjective else phrase

    def say(self, scene: dict, language: str) -> str:
        """The sentence of a scene in one language."""
        subject, object_ = (
            self._phrase(scene[role], scene["adjective"][role], language) for role in ("subject", "object")
        )
        verb = scene["verb"] if language == "English" else words.FRENCH_VERBS[scene["verb"]]
        return f"{subject} {verb} {object_}"

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        scene = self.scene(rng, "train")
        target, source = rng.choice(words.LANGUAGES), rng.choice(words.LANGUAGES)
        text = f"{target} : {self.say(scene, source)} = {self.say(scene, target)} ."
        return document_of(text, lambda tokens: range(tokens.index(" =") + 1, len(tokens) - 1))

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """Two kinds. "marker": the corrupt prompt has the other marker. "word": it names another object."""
        scene = self.scene(rng, split)
        target, other = rng.sample(words.LANGUAGES, 2)
        source = rng.choice(words.LANGUAGES)
        if rng.random() < 0.5:
            clean, corrupt = (f"{marker} : {self.say(scene, source)} =" for marker in (target, other))
            answer, foil = (" " + self.say(scene, language).split(" ")[0] for language in (target, other))
            return prompt_record(self.name, f"marker_{source}", clean, answer, foil, corrupt, foil)
        scene = {**scene, "adjective": {**scene["adjective"], "object": None}}
        pool = words.ANIMATE if scene["object"] in words.ANIMATE else words.INANIMATE
        gender = pool[scene["object"]][1]
        swaps = [
            noun
            for noun in pool
            if pool[noun][1] == gender
            and noun not in (scene["object"], scene["subject"])
            and split_of("sentence", scene["subject"], scene["verb"], noun) == split
        ]
        if not swaps:
            return self.prompt(rng, split)
        swapped = {**scene, "object": rng.choice(swaps)}
        begun, answer = self.say(scene, target).rsplit(" ", 1)
        clean, corrupt = (f"{target} : {self.say(said, source)} = {begun}" for said in (scene, swapped))
        foil = self.say(swapped, target).rsplit(" ", 1)[1]
        return prompt_record(self.name, f"word_{source}", clean, f" {answer}", f" {foil}", corrupt, f" {foil}")


class French(Languages):
    """Plain French-like sentences without a marker. No task of its own."""

    name = "french"

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        sentences = [self.say(self.scene(rng, "train"), "French") for _ in range(rng.randint(1, 3))]
        return document_of(" ".join(f"{sentence} ." for sentence in sentences))


class Code:
    """Code-like lines: functions that use their arguments, loops, calls, matched brackets. No task of its own."""

    name = "code"

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        lines = [self._line(rng) for _ in range(rng.randint(1, 3))]
        return document_of(" ".join(lines))

    @staticmethod
    def _line(rng: random.Random) -> str:
        function, operator = rng.choice(words.CODE_FUNCTIONS), rng.choice(words.CODE_OPERATORS)
        first, second = rng.sample(words.CODE_NAMES, 2)
        comparison = rng.choice(words.CODE_COMPARISONS)
        form = rng.randrange(5)
        if form == 0:
            return f"def {function} ( {first} , {second} ) : return {first} {operator} {second} ;"
        if form == 1:
            return f"def {function} ( {first} ) : return {first} {operator} {first} ;"
        if form == 2:
            return f"let {first} = {function} ( {second} ) ; print ( {first} ) ;"
        if form == 3:
            return f"if {first} {comparison} {second} : print ( {first} ) ; else : print ( {second} ) ;"
        return f"while {first} {comparison} {second} : let {first} = {first} {operator} {second} ;"
