"""The tasks that need a mechanism rather than knowledge: induction, indirect objects, boxes, agreement, years.

One small class per task: `document(rng)` writes a training text, `prompt(rng, split)` a test item with its corrupt
partner. Pure standard library; it knows nothing of tensors or models.
"""

import random
from typing import ClassVar

from . import vocabulary as words
from .records import (
    RANDOM_WEIGHT,
    YEAR_WEIGHT,
    DemoPrompt,
    Document,
    after,
    document_of,
    last_word,
    pair_split,
    prompt_record,
    split_of,
    split_tokens,
)


class Induction:
    """Uniformly random tokens of the whole vocabulary (special tokens left out), repeated once."""

    name = "induction"
    test_length = 20

    def _sequence(self, rng: random.Random, length: int, split: str) -> list[str]:
        while True:
            sequence = [rng.choice(words.ORDINARY_TOKENS) for _ in range(length)]
            if split_of("induction", *sequence) == split:
                return sequence

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        # mostly short: the shorter the sequence, the sooner a model finds where it saw a token before
        length = rng.choice((self.test_length, rng.randint(5, 30), rng.randint(5, 30), rng.randint(31, 60)))
        # a short one often more than twice: the more of a text can be foreseen, the sooner that is noticed
        copies = rng.randint(2, max(2, min(6, 60 // length)))
        weights = [RANDOM_WEIGHT] * length + [1.0] * length * (copies - 1)
        return Document(self._sequence(rng, length, "train") * copies, weights, {})

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """The corrupt prompt has the foil in the answer's place of the first copy."""
        # without repeats inside the sequence, so that exactly one earlier place tells the answer
        while True:
            sequence = rng.sample(words.ORDINARY_TOKENS, self.test_length + 1)
            foil, sequence = sequence[0], sequence[1:]
            if split_of("induction", *sequence) == split:
                break
        shown = rng.randint(1, self.test_length - 1)  # tokens of the second copy that the prompt shows
        answer = sequence[shown]
        corrupt = [*sequence[:shown], foil, *sequence[shown + 1 :], *sequence[:shown]]
        text = "".join(sequence + sequence[:shown])
        # the text keeps its leading space (if any): a leading " 17" and "17" are different tokens
        return DemoPrompt(
            self.name, f"shown_{shown}", text, answer, foil, "".join(corrupt), foil, (shown + 1,), (answer,)
        )


class IndirectObject:
    """Who receives the gift: the one of the two named people who is not the giver (Wang et al. 2022)."""

    name = "ioi"
    templates: ClassVar = {
        "when": "When {first} and {second} went to the {place} , {giver} gave a {gift} to",
        "after": "After {first} and {second} arrived at the {place} , {giver} handed a {gift} to",
        "while": "While {first} and {second} were at the {place} , {giver} offered a {gift} to",
        "then": "Then {first} and {second} walked to the {place} and {giver} gave the {gift} to",
        "met": "{first} and {second} met at the {place} . Then {giver} showed the {gift} to",
        "friends": "Yesterday the friends {first} and {second} found a {gift} at the {place} . {giver} gave it to",
        "today": "Today {first} and {second} went to the {place} . {giver} sent a {gift} to",
    }

    def scene(self, rng: random.Random, split: str) -> tuple[str, dict[str, str], str]:
        """Template, its slots, and who receives."""
        while True:
            first, second = rng.sample(words.NAMES, 2)
            if pair_split(first, second) == split:
                break
        kind = rng.choice(tuple(self.templates))
        giver, receiver = rng.sample((first, second), 2)
        slots = {"first": first, "second": second, "giver": giver}
        slots |= {"place": rng.choice(words.PLACES), "gift": rng.choice(words.GIFTS)}
        return kind, slots, receiver

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        kind, slots, receiver = self.scene(rng, "train")
        text = f"{self.templates[kind].format(**slots)} {receiver} ."
        return document_of(text, last_word)

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """In the corrupt prompt the other one gives."""
        kind, slots, receiver = self.scene(rng, split)
        template, giver = self.templates[kind], slots["giver"]
        corrupt = template.format(**{**slots, "giver": receiver})
        return prompt_record(
            self.name, kind, template.format(**slots), " " + receiver, " " + giver, corrupt, " " + giver
        )


class Entity:
    """Things put into, moved between and removed from up to four boxes; at most two operations."""

    name = "entity"

    def scene(self, rng: random.Random, split: str) -> tuple[str, dict[str, list[str]]]:
        """The text of a scene and the content of each box at its end."""
        while True:
            things = list(words.THINGS)
            rng.shuffle(things)
            contents: dict[str, list[str]] = {box: [] for box in words.BOXES[: rng.randint(2, 4)]}
            sentences = []
            for box, inside in contents.items():
                count = rng.choices((0, 1, 2), (0.15, 0.7, 0.15))[0]
                inside += [things.pop() for _ in range(count)]
                listed = " and ".join(f"the {thing}" for thing in inside)
                sentences.append(f"Box {box} has {listed} ." if inside else f"Box {box} is empty .")
            for _ in range(rng.choices((0, 1, 2), (0.15, 0.4, 0.45))[0]):
                sentences.append(self._operate(rng, contents, things))
            text = " ".join(sentences)
            if split_of("entity", text) == split and sum(len(inside) == 1 for inside in contents.values()) >= 2:
                return text, contents

    @staticmethod
    def _operate(rng: random.Random, contents: dict[str, list[str]], things: list[str]) -> str:
        filled = [box for box, inside in contents.items() if inside]
        operation = rng.choices(("move", "remove", "put"), (0.5, 0.3, 0.2))[0] if filled else "put"
        if operation == "put":
            box, thing = rng.choice(tuple(contents)), things.pop()
            contents[box].append(thing)
            return f"Put the {thing} into Box {box} ."
        source = rng.choice(filled)
        thing = rng.choice(contents[source])
        contents[source].remove(thing)
        if operation == "remove":
            return f"Remove the {thing} from Box {source} ."
        target = rng.choice([box for box in contents if box != source])
        contents[target].append(thing)
        return f"Move the {thing} from Box {source} to Box {target} ."

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        text, contents = self.scene(rng, "train")
        asked = [box for box, inside in contents.items() if len(inside) < 2]  # two things have no one answer
        rng.shuffle(asked)
        for box in asked:
            text += f" Box {box} contains " + (f"the {contents[box][0]} ." if contents[box] else "nothing .")
        empty_or_not, content = after(" contains"), after(" contains", " the")
        return document_of(text, lambda tokens: empty_or_not(tokens) + content(tokens))

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """Two kinds: "content" ("Box C contains the" → the thing) and "empty" ("Box C contains" → " nothing").

        The corrupt prompt asks for another box.
        """
        text, contents = self.scene(rng, split)
        single = [box for box, inside in contents.items() if len(inside) == 1]
        empty = [box for box, inside in contents.items() if not inside]
        if empty and rng.random() < 0.25:
            asked, other = rng.choice(empty), rng.choice(single)
            question = "{text} Box {box} contains"
            kind, answer, foil = "empty", " nothing", " the"
        else:
            asked, other = rng.sample(single, 2)
            question = "{text} Box {box} contains the"
            kind, answer, foil = "content", f" {contents[asked][0]}", f" {contents[other][0]}"
        clean, corrupt = (question.format(text=text, box=box) for box in (asked, other))
        return prompt_record(self.name, kind, clean, answer, foil, corrupt, foil)


class Agreement:
    """The verb agrees in number with its subject, not with one or two nouns in between (attractors)."""

    name = "agreement"

    def _scene(self, rng: random.Random, split: str) -> tuple[list[str], list[bool], str, str]:
        while True:
            lemmas = rng.sample(tuple(words.NOUNS), rng.choices((1, 2, 3), (0.1, 0.4, 0.5))[0])
            if len(lemmas) == 1 and split == "test":
                continue  # with no attractor there is nothing to hold out
            if len(lemmas) == 1 or split_of("agreement", *lemmas[:2]) == split:
                break
        plural = [rng.random() < 0.5 for _ in lemmas]
        prepositions = [rng.choice(words.PREPOSITIONS) for _ in lemmas[1:]]
        opening = rng.choice(("The", "Today the", "Yesterday the"))
        pattern = f"{opening} {{}}" + "".join(f" {preposition} the {{}}" for preposition in prepositions)
        verb = rng.choice(("was", "looks", "seems", "remains", "is", "is"))
        return lemmas, plural, pattern, verb

    @staticmethod
    def _noun_phrase(pattern: str, lemmas: list[str], plural: list[bool]) -> str:
        forms = (words.NOUNS[lemma] if many else lemma for lemma, many in zip(lemmas, plural, strict=True))
        return pattern.format(*forms)

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        lemmas, plural, pattern, verb = self._scene(rng, "train")
        form = words.VERBS[verb] if plural[0] else verb
        text = f"{self._noun_phrase(pattern, lemmas, plural)} {form} {rng.choice(words.QUALITIES)} ."
        if rng.random() < 0.3:  # the number must be carried on to a second verb
            text = text[:-1] + f"and {form} {rng.choice(words.QUALITIES)} ."
        return document_of(text, lambda tokens: [place for place, token in enumerate(tokens) if token == f" {form}"])

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """The corrupt prompt has the subject in the other number. `accepted` holds every verb of the right number."""
        lemmas, plural, pattern, verb = self._scene(rng, split)
        singulars, plurals = (tuple(f" {form}" for form in forms) for forms in (words.VERBS, words.VERBS.values()))
        answer, foil = f" {verb}", f" {words.VERBS[verb]}"
        if plural[0]:
            answer, foil = foil, answer
        clean = self._noun_phrase(pattern, lemmas, plural)
        corrupt = self._noun_phrase(pattern, lemmas, [not plural[0], *plural[1:]])
        kind = f"attractors_{len(lemmas) - 1}"
        return prompt_record(self.name, kind, clean, answer, foil, corrupt, foil, plurals if plural[0] else singulars)


class GreaterThan:
    """An event ends after it began: any later year of the same century is right (Hanna et al. 2023)."""

    name = "greater_than"
    templates: ClassVar = {
        "lasted": "The {event} lasted from {start} to {century}",
        "began": "The {event} began in {start} and ended in {century}",
        "until": "The {event} of {start} continued until {century}",
    }

    def _scene(self, rng: random.Random, split: str) -> tuple[str, str, str, int]:
        while True:
            century, start = rng.choice(words.CENTURIES), rng.randint(1, 97)
            # year 01, the start of every corrupt prompt, is always in the training text
            if (split_of("year", century, start) if start > 1 else "train") == split:
                return rng.choice(tuple(self.templates)), rng.choice(words.EVENTS), century, start

    @staticmethod
    def ends(start: int) -> dict[str, float]:
        """The later years of the century and their probabilities, rising evenly: few end soon after they began."""
        years = 99 - start
        return {f"{start + later:02d}": (2 * later - 1) / years**2 for later in range(1, years + 1)}

    def document(self, rng: random.Random) -> Document:
        """The trainer is told all the years that could stand at the end, instead of meeting them one by one."""
        kind, event, century, start = self._scene(rng, "train")
        text = self.templates[kind].format(event=event, start=f"{century}{start:02d}", century=century)
        ends = self.ends(start)
        tokens = split_tokens(f"{text}{rng.choices(tuple(ends), tuple(ends.values()))[0]} .")
        place = len(tokens) - 2
        return Document(tokens, [YEAR_WEIGHT if n == place else 1.0 for n in range(len(tokens))], {place: ends})

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """The foil is too early a year; in the corrupt prompt the event began early enough for both (year 01)."""
        while True:
            kind, event, century, start = self._scene(rng, split)
            if start > 2:
                break
        clean, corrupt = (
            self.templates[kind].format(event=event, start=f"{century}{year:02d}", century=century)
            for year in (start, 1)
        )
        ends, foil = self.ends(start), f"{rng.randint(2, start):02d}"
        (answer,) = rng.choices(tuple(ends), tuple(ends.values()))
        return prompt_record(self.name, kind, clean, answer, foil, corrupt, None, tuple(ends))
