"""Short free stories with one topic and one mood, and the two tasks that ask for them.

Pure standard library; it knows nothing of tensors or models.
"""

import random

from . import vocabulary as words
from .records import DemoPrompt, Document, after, document_of, pair_split, prompt_record, split_of


class Story:
    """Short free stories with one topic and one mood. Base of the tasks "sentiment" and "topic".

    A story is a plan (people, place, sentence patterns, and for each slot an index into the lists of its topic
    or mood), so the same plan told in another mood or topic is a corrupt partner of equal length.
    """

    patterns = (
        "{name} {verb} a {noun} near the {place} .",
        "{name} {verb} the {colour} {noun} .",
        "The {noun} {link} {adjective} and {adjective} .",
        "{pronoun} {verb} the {noun} again .",
        "It was a {day} {time} for {name} .",
        "{name} felt {emotion} and {reaction} .",
        "{name} and {friend} talked about the {colour} {noun} .",
        "Everyone was {emotion} because the {noun} {link} {adjective} .",
        "{name} {reaction} and went to the {place} .",
        "{pronoun} was {emotion} at the {place} .",
        "The {colour} {noun} {link} {adjective} .",
        "{pronoun} found a {noun} and a {noun_two} .",
        "Then {friend} {reaction} about the {noun} .",
    )
    # of these at least one is told, so that mood and topic can be known
    telling_mood = frozenset((2, 4, 5, 7, 8, 9, 10, 12))
    telling_topic = frozenset((0, 1, 2, 3, 6, 7, 10, 11, 12))

    def plan(self, rng: random.Random, split: str) -> dict:
        """What is told, but for topic and mood."""
        while True:
            chosen = rng.sample(range(len(self.patterns)), rng.randint(2, 4))
            name, friend = rng.sample(words.NAMES, 2)
            place = rng.choice(words.PLACES)
            told = set(chosen)
            if not (told & self.telling_mood and told & self.telling_topic) or pair_split(name, friend) != "train":
                continue
            if split_of("story", name, place, *chosen) == split:
                break
        return {
            "patterns": chosen,
            "name": name,
            "friend": friend,
            "place": place,
            "colour": rng.choice(words.COLOURS),
            "time": rng.choice(words.TIMES),
            "slots": [[rng.randrange(1000) for _ in range(6)] for _ in chosen],
            "nouns": rng.sample(range(10), 2),
        }

    def tell(self, plan: dict, topic: str, mood: str) -> str:
        """The plan told about a topic in a mood."""
        roles, feelings = words.TOPICS[topic], words.MOODS[mood]
        pronoun = "He" if plan["name"] in words.MALE_NAMES else "She"

        def pick(options, index):
            return options[index % len(options)]

        sentences = []
        for pattern, slots in zip(plan["patterns"], plan["slots"], strict=True):
            verb, first, step, emotion, reaction, day = slots
            text = self.patterns[pattern]
            adjectives = roles[mood]
            for adjective in (pick(adjectives, first), pick(adjectives, first + 1 + step % (len(adjectives) - 1))):
                text = text.replace("{adjective}", adjective, 1)
            sentences.append(
                text.format(
                    name=plan["name"],
                    friend=plan["friend"],
                    pronoun=pronoun,
                    place=plan["place"],
                    colour=plan["colour"],
                    time=plan["time"],
                    noun=roles["nouns"][plan["nouns"][0]],
                    noun_two=roles["nouns"][plan["nouns"][1]],
                    link=roles["link"],
                    verb=pick(roles["verbs"], verb),
                    emotion=pick(feelings["emotions"], emotion),
                    reaction=pick(feelings["reactions"], reaction),
                    day=pick(feelings["days"], day),
                )
            )
        return " ".join(sentences)

    def document(self, rng: random.Random) -> Document:
        """A training text."""
        topic, mood = rng.choice(tuple(words.TOPICS)), rng.choice(tuple(words.MOODS))
        text = self.tell(self.plan(rng, "train"), topic, mood)
        tags = [f"Mood : {mood} .", f"Topic : {topic} ."]
        rng.shuffle(tags)
        of_mood, of_topic = after(" Mood", " :"), after(" Topic", " :")
        return document_of(" ".join([text, *tags]), lambda tokens: of_mood(tokens) + of_topic(tokens))


class Sentiment(Story):
    """The mood of a story; the corrupt story is the same plan told in the other mood."""

    name = "sentiment"

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """The corrupt story has the other mood."""
        topic, (mood, other) = rng.choice(tuple(words.TOPICS)), rng.sample(tuple(words.MOODS), 2)
        plan = self.plan(rng, split)
        clean, corrupt = (f"{self.tell(plan, topic, told)} Mood :" for told in (mood, other))
        return prompt_record(self.name, topic, clean, f" {mood}", f" {other}", corrupt, f" {other}")


class Topic(Story):
    """The topic of a story; the corrupt story is the same plan told about another topic."""

    name = "topic"

    def prompt(self, rng: random.Random, split: str) -> DemoPrompt:
        """The corrupt story has another topic."""
        (topic, other), mood = rng.sample(tuple(words.TOPICS), 2), rng.choice(tuple(words.MOODS))
        plan = self.plan(rng, split)
        clean, corrupt = (f"{self.tell(plan, told, mood)} Topic :" for told in (topic, other))
        return prompt_record(self.name, mood, clean, f" {topic}", f" {other}", corrupt, f" {other}")
