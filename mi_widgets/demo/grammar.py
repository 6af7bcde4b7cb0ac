"""The grammar of the demo world: its tasks, the mixture its corpus is made of, and the prompts it offers.

Training documents and prompts draw their scenes from the same distribution, and a stable hash of the scene's key (the
pair of names, the claim, the start year …) says once and for all whether it belongs to "train" or "test": training
documents are only ever made of "train" scenes. Pure standard library: it knows nothing about tensors, models or
tokenizer libraries, and the same seed gives the same text on every machine.
"""

import random

from .facts import Facts
from .languages import Code, French, Languages
from .mechanisms import Agreement, Entity, GreaterThan, IndirectObject, Induction
from .records import SPLITS, DemoPrompt
from .stories import Sentiment, Topic

TASKS_BY_NAME = {
    task.name: task
    for task in (
        Induction(),
        IndirectObject(),
        Entity(),
        Facts(),
        Agreement(),
        GreaterThan(),
        Sentiment(),
        Topic(),
        Languages(),
    )
}
TASKS: tuple[str, ...] = tuple(TASKS_BY_NAME)

# what the corpus is made of: source and its share of the tokens
MIXTURE = {
    "induction": (TASKS_BY_NAME["induction"], 0.23),
    "ioi": (TASKS_BY_NAME["ioi"], 0.08),
    "entity": (TASKS_BY_NAME["entity"], 0.25),
    "facts": (TASKS_BY_NAME["facts"], 0.16),
    "agreement": (TASKS_BY_NAME["agreement"], 0.06),
    "greater_than": (TASKS_BY_NAME["greater_than"], 0.09),
    "story": (TASKS_BY_NAME["sentiment"], 0.06),
    "languages": (TASKS_BY_NAME["languages"], 0.04),
    "french": (French(), 0.01),
    "code": (Code(), 0.02),
}


def prompts(task: str, n: int = 32, seed: int = 0, split: str = "test") -> list[DemoPrompt]:
    """`n` prompt records of one task, different from each other, the same for the same arguments on every machine.

    `task` is one of `TASKS`. `split="test"` gives scenes that no training document was made from (the name
    pair, claim, start year … is held out); `split="train"` gives scenes the model may have seen.
    Raises ValueError for an unknown task or split, or if the task has fewer than `n` different prompts.
    """
    if task not in TASKS_BY_NAME:
        raise ValueError(f"unknown task {task!r}; the demo model's tasks are {', '.join(TASKS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; use 'train' or 'test'")
    rng = random.Random(f"{task}/{split}/{seed}")
    source = TASKS_BY_NAME[task]
    found: dict[str, DemoPrompt] = {}
    for _ in range(50 * n + 1000):
        if len(found) >= n:
            break
        record = source.prompt(rng, split)
        found.setdefault(record.text, record)
    if len(found) < n:
        raise ValueError(f"task {task!r} has only about {len(found)} different {split} prompts, {n} were asked for")
    return list(found.values())[:n]
