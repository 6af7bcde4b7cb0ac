"""What the grammar hands out: training documents, prompt records, and the split that a scene belongs to.

Pure standard library. It knows how a text of the demo world is cut into tokens, and no sentence of that world.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

SPLITS = ("train", "test")
HELD_OUT_SHARE = 0.15
TOKEN = re.compile(r" ?[0-9]{2}| ?[^\s0-9]+")


def hash_of(*key: object) -> float:
    """A stable hash of a scene's key, evenly spread over [0, 1), the same on every machine."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def split_of(*key: object, share: float = HELD_OUT_SHARE) -> str:
    """The split, "train" or "test", that a scene's key belongs to."""
    return "test" if hash_of(*key) < share else "train"


def split_tokens(text: str) -> list[str]:
    """The tokens of a text of the grammar, spelled as in the vocabulary.

    Each word keeps its leading space (the first one gets it); a year is two tokens, " 17" and "32".
    """
    return TOKEN.findall(text if text[0] == " " or text[0].isdigit() else " " + text)


class Document(NamedTuple):
    """A training text: its tokens and how much the trainer should care for each of them (1 is ordinary).

    What a task asks for weighs more; what nobody can foresee, the random tokens before their repetition, hardly.
    """

    tokens: list[str]
    weights: list[float]
    # place → what the grammar might as well have written there, with its probability
    expected: dict[int, dict[str, float]]


ANSWER_WEIGHT = 4.0
YEAR_WEIGHT = 16.0
RANDOM_WEIGHT = 0.1


def document_of(text: str, answers: Callable[[list[str]], Iterable[int]] | None = None) -> Document:
    """The document of a text; `answers` says at which places of its tokens an answer stands."""
    tokens = split_tokens(text)
    weights = [1.0] * len(tokens)
    for place in answers(tokens) if answers else ():
        weights[place] = ANSWER_WEIGHT
    return Document(tokens, weights, {})


def last_word(tokens: list[str]) -> list[int]:
    """The place before the final full stop."""
    return [len(tokens) - 2]


def after(*before: str) -> Callable[[list[str]], list[int]]:
    """The places that follow these tokens."""
    size, before = len(before), list(before)
    return lambda tokens: [place for place in range(size, len(tokens)) if tokens[place - size : place] == before]


@dataclass(frozen=True)
class DemoPrompt:
    """One test item: a prompt, what should follow, what should not, and a minimally different partner.

    `text` and `corrupt` have the same number of tokens. `differs` holds the positions of the tokens that
    differ, counted as the model sees them: position 0 is the beginning-of-text token, position 1 the first
    word. `answer`, `foil` and `corrupt_answer` are single tokens, spelled as the tokenizer does (" Mary";
    "45" for a year). `corrupt_answer` is what follows `corrupt`; None where many answers are right there.
    `accepted` holds every right answer to `text`, `answer` included. `kind` names the template or variant.
    """

    task: str
    kind: str
    text: str
    answer: str
    foil: str
    corrupt: str
    corrupt_answer: str | None
    differs: tuple[int, ...]
    accepted: tuple[str, ...]


def prompt_record(task, kind, text, answer, foil, corrupt, corrupt_answer, accepted=None) -> DemoPrompt:
    """A record whose `differs` is read off the two texts; ValueError if they have different numbers of tokens."""
    clean_tokens, corrupt_tokens = split_tokens(text), split_tokens(corrupt)
    differs = tuple(
        position
        for position, (clean, other) in enumerate(zip(clean_tokens, corrupt_tokens, strict=True), start=1)
        if clean != other
    )
    return DemoPrompt(task, kind, text, answer, foil, corrupt, corrupt_answer, differs, accepted or (answer,))


def pair_split(first: str, second: str) -> str:
    """The split of an unordered pair of names: a held-out pair shares no training document (random text aside)."""
    return split_of("pair", *sorted((first, second)))
