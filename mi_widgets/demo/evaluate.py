"""Measures what a demo model can do, on held-out prompts of the grammar.

Knows the grammar's tasks and a model as a function from token ids to logits; nothing of how it was trained or
of what is inside it.
"""

from collections import defaultdict

import torch

from .grammar import TASKS, prompts
from .records import DemoPrompt, split_tokens
from .vocabulary import BOS, SPECIAL_TOKENS, TOKEN_IDS, VOCABULARY

BOS_ID = TOKEN_IDS[BOS]
# what is measured, per task; every measure lies between 0 and 1
MEASURES = {
    "induction": "argmax is the right token, second copy of 20, tokens 2 to 20",
    "ioi": "argmax is the receiver",
    "entity": "argmax is the content (or nothing)",
    "facts": "argmax is the verdict; mean of true and of false claims",
    "agreement": "the verb's right number above the wrong one",
    "greater_than": "probability on all later years",
    "sentiment": "argmax is the mood",
    "topic": "argmax is the topic",
    "languages": "argmax is the word in the language of the marker",
}


def prompt_ids(text: str) -> list[int]:
    """Token ids of a grammar text after one beginning-of-text token."""
    return [BOS_ID, *(TOKEN_IDS[token] for token in split_tokens(text))]


@torch.no_grad()
def last_logits(model, texts: list[str]) -> torch.Tensor:
    """Logits [prompt, vocabulary] after the last token of each text; padded on the right, which causality ignores."""
    rows = [prompt_ids(text) for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [BOS_ID] * (longest - len(row)) for row in rows])
    last = torch.tensor([len(row) - 1 for row in rows])
    return model(input_ids=ids).logits[torch.arange(len(rows)), last]


@torch.no_grad()
def induction_hits(model, n: int, length: int = 20, seed: int = 0) -> torch.Tensor:
    """Whether the argmax prediction is right [sequence, token of the second copy], over `n` repeated sequences.

    Ids are drawn independently and uniformly from all but the special tokens. Column 0, the first token of the
    second copy, is a guess: nothing before it says that the copy begins.
    """
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(len(SPECIAL_TOKENS), len(VOCABULARY), (n, length), generator=generator)
    ids = torch.cat([torch.full((n, 1), BOS_ID), half, half], dim=1)
    predicted = model(input_ids=ids).logits[:, length:-1].argmax(-1)
    return predicted == ids[:, length + 1 :]


def held_out(task: str, n: int, seed: int = 0) -> list[DemoPrompt]:
    """`n` different held-out prompts, or nearly all there are (the claims about facts are a closed table)."""
    while True:
        try:
            return prompts(task, n=n, seed=seed)
        except ValueError:
            n = n * 9 // 10


def prompt_scores(model, records: list[DemoPrompt]) -> torch.Tensor:
    """The measure of `MEASURES` for each prompt of one task [prompt], between 0 and 1."""
    logits = last_logits(model, [record.text for record in records])
    answers = torch.tensor([TOKEN_IDS[record.answer] for record in records])
    task = records[0].task
    if task == "agreement":
        foils = torch.tensor([TOKEN_IDS[record.foil] for record in records])
        return (logits.gather(1, answers[:, None]) > logits.gather(1, foils[:, None])).flatten().float()
    if task == "greater_than":
        accepted = torch.zeros_like(logits)
        for row, record in zip(accepted, records, strict=True):
            row[[TOKEN_IDS[token] for token in record.accepted]] = 1
        return (logits.softmax(-1) * accepted).sum(-1)
    return (logits.argmax(-1) == answers).float()


def task_report(model, n: int = 500, seed: int = 0) -> dict[str, dict]:
    """Per task: "score" (see `MEASURES`), "prompts" (how many) and "by_kind" (the score of each template or kind)."""
    report = {}
    for task in TASKS:
        if task == "induction":
            hits = induction_hits(model, n, seed=seed).float()
            by_kind = {
                f"length {length}": induction_hits(model, n // 4, length, seed)[:, 1:].float().mean().item()
                for length in (5, 10, 40, 60)
            }
            by_kind["first token of the copy"] = hits[:, 0].mean().item()
            report[task] = {"score": hits[:, 1:].mean().item(), "prompts": n, "by_kind": by_kind}
            continue
        records = held_out(task, n, seed)
        scores = prompt_scores(model, records).tolist()
        groups = defaultdict(list)
        for record, score in zip(records, scores, strict=True):
            groups[f"{record.answer.strip()} claims" if task == "facts" else record.kind].append(score)
        by_kind = {kind: sum(group) / len(group) for kind, group in sorted(groups.items())}
        # there are fewer true claims than false ones: each side counts half
        score = sum(by_kind.values()) / len(by_kind) if task == "facts" else sum(scores) / len(scores)
        report[task] = {"score": score, "prompts": len(records), "by_kind": by_kind}
    return report


def task_scores(model, n: int = 500, seed: int = 0) -> dict[str, float]:
    """The held-out score of each task, between 0 and 1, as `MEASURES` says."""
    return {task: entry["score"] for task, entry in task_report(model, n, seed).items()}
