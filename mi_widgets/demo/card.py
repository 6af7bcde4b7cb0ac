"""Publishes what was measured: `python -m mi_widgets.demo.card [--weights DIR]` (the trainer runs it at its end).

Writes, beside the weights, known.json (scores per task and per head, machine-readable) and reference.npz (a few
prompts with their logits), and rewrites the tables of MODEL_CARD.md. Knows the two measuring files and the form
of the card; measures nothing itself.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from . import WEIGHTS
from .circuit import CONTRASTS
from .evaluate import MEASURES, last_logits, prompt_ids, task_report
from .grammar import MIXTURE, TASKS, prompts
from .inside import HEAD_SCORE_FLOOR, known_inside
from .vocabulary import NAMES

CARD = Path(__file__).parent / "MODEL_CARD.md"
TARGETS = {
    "induction": 0.95,
    "ioi": 0.98,
    "entity": 0.95,
    "facts": 0.95,
    "agreement": 0.98,
    "greater_than": 0.98,
}


def rounded(value, digits: int = 4):
    """The same nested value with its floats rounded, so that the published file does not change with the machine."""
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner, digits) for inner in value]
    return round(value, digits) if isinstance(value, float) else value


def write_reference(model, path: Path) -> None:
    """Two held-out prompts per task: ids [prompt, position] (padded with -1), last logits [prompt, vocabulary]."""
    texts = [record.text for task in TASKS for record in prompts(task, n=2, seed=7)]
    rows = [prompt_ids(text) for text in texts]
    ids = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
    np.savez_compressed(path, ids=ids, logits=last_logits(model, texts).numpy())


def task_table(report: dict[str, dict]) -> str:
    """Scores per task, and below them per template or kind."""
    lines = ["| task | measure | held-out prompts | score | asked for |", "| --- | --- | ---: | ---: | ---: |"]
    for task, entry in report.items():
        target = f"≥ {TARGETS[task]:.0%}" if task in TARGETS else "-"
        lines.append(f"| {task} | {MEASURES[task]} | {entry['prompts']} | {entry['score']:.1%} | {target} |")
    lines += ["", "By template or kind:", "", "| task | scores |", "| --- | --- |"]
    for task, entry in report.items():
        scores = " · ".join(f"{kind} {score:.1%}" for kind, score in entry["by_kind"].items())
        lines.append(f"| {task} | {scores} |")
    return "\n".join(lines)


def head_table(heads: dict[str, dict[str, float]]) -> str:
    """The heads of each kind, highest score first."""
    lines = [f"| kind | heads (layer.head) with a score of at least {HEAD_SCORE_FLOOR} |", "| --- | --- |"]
    for kind, scores in heads.items():
        ranked = sorted(scores.items(), key=lambda pair: -pair[1])
        lines.append(f"| {kind} | " + (", ".join(f"{head} ({score:.2f})" for head, score in ranked) or "none") + " |")
    return "\n".join(lines)


def circuit_table(circuit: dict) -> str:
    """The indirect-object circuit's heads and what they do, and below it how much of the task they carry; or why there
    is none."""
    if "not_found" in circuit:
        return circuit["not_found"]
    lines = [
        "| head | role | direct | ablated at the end | ablated at the giver | attention from the end: receiver | giver "
        "| giver again |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]

    def both(entry, name):
        return " / ".join(f"{entry[f'{name}_{contrast}']:+.0%}" for contrast in CONTRASTS)

    for head, entry in circuit["heads"].items():
        roles = ", ".join(entry["roles"]) or "in the circuit"
        lines.append(
            f"| {head} | {roles} | {both(entry, 'direct')} | {both(entry, 'end')} | {both(entry, 'at_giver')} "
            f"| {entry['end_to_receiver']:.2f} | {entry['end_to_giver']:.2f} | {entry['end_to_giver_again']:.2f} |"
        )
    quality, means = circuit["quality"], circuit["contrasts"]
    lines += [
        "",
        f"On {circuit['prompts']} held-out prompts the receiver's logit is {means['giver']:.1f} above the giver's and "
        f"{means['absent']:.1f} above the mean of the {len(NAMES) - 2} names not mentioned. Backward elimination "
        f"leaves {len(circuit['circuit'])} of {circuit['all_heads']} heads: {', '.join(circuit['circuit'])}. With all "
        f"others ablated they keep {quality['faithfulness_giver']:.0%} and {quality['faithfulness_absent']:.0%} of "
        f"these two contrasts and are right on {quality['accuracy']:.1%} of the prompts; with only them ablated "
        f"{quality['without_giver']:.0%} and {quality['without_absent']:.0%} remain, and "
        f"{quality['accuracy_without']:.1%} of the prompts are right.",
    ]
    return "\n".join(lines)


def coder_table(known: dict[str, dict]) -> str:
    """The sparse coders and what they are worth."""
    lines = [
        "| layer | site | form | features | L0 | variance explained | loss with it | loss recovered | dead | dense |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, entry in known.items():
        _, layer, site = name.split("_", 2)
        lines.append(
            f"| {layer} | {site} | {entry['architecture']} | {entry['d_sae']} | {entry['l0']:.1f} "
            f"| {entry['variance_explained']:.3f} | {entry['loss_spliced']:.3f} | {entry['loss_recovered']:.1%} "
            f"| {entry['dead']} | {entry['dense']} |"
        )
    clean = next(iter(known.values()))["loss_clean"]
    return "\n".join([*lines, "", f"The model's own loss on this text is {clean:.3f} nats per token."])


def write_coders(known: dict[str, dict], card: Path = CARD) -> None:
    """Put the table of the coders into the card."""
    filled = fill_card(card.read_text(encoding="utf-8"), {"coders": coder_table(known)})
    card.write_text(filled, encoding="utf-8")


def mixture_table() -> str:
    """What the corpus is made of."""
    lines = ["| source | share of the tokens |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {name} | {share:.0%} |" for name, (_, share) in MIXTURE.items()])


def all_tables(known: dict) -> str:
    """What was measured, one table after the other."""
    tables = task_table(known["tasks"]), head_table(known["heads"]), circuit_table(known["indirect_object"])
    return "\n\n".join(tables)


def fill_card(text: str, tables: dict[str, str]) -> str:
    """`text` with each table put between its markers `<!-- name -->` and `<!-- /name -->`.

    Raises ValueError if a marker is missing.
    """
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"the model card has no place for {name!r}: put {begin} and {end} into it")
        before, rest = text.split(begin, 1)
        text = f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}"
    return text


def write_card(folder: Path, known: dict, card: Path = CARD) -> None:
    """Put the tables of `known`, and what the files in `folder` say of the model, into the card."""
    config, recipe = (json.loads((folder / name).read_text()) for name in ("config.json", "recipe.json"))
    size = (folder / "model.safetensors").stat().st_size
    tables = {
        "model": f"{config['n_layer']} layers, {config['n_head']} heads, d_model {config['n_embd']}, context "
        f"{config['n_positions']}, vocabulary {config['vocab_size']}, embedding and unembedding tied, float32, "
        f"{size / 1e6:.1f} MB.",
        "mixture": mixture_table(),
        "recipe": f"Seed {recipe['seed']}, {recipe['steps']:,} steps of {recipe['rows']} rows, peak learning rates "
        f"{recipe['muon_learning_rate']} (Muon) and {recipe['learning_rate']} (AdamW), "
        f"warm-up {recipe['warmup']} steps, cosine to zero, weight decay {recipe['weight_decay']}.",
        "tasks": task_table(known["tasks"]),
        "heads": head_table(known["heads"]),
        "circuit": circuit_table(known["indirect_object"]),
    }
    card.write_text(fill_card(card.read_text(encoding="utf-8"), tables), encoding="utf-8")


def publish(folder: Path, card: Path | None = None, n: int = 1000) -> dict:
    """Measure the model in `folder`, write known.json and reference.npz there and, if given, the card's tables.

    On `n` prompts of each task; the circuit, where every head is tried, on 7 for every 20 of these.
    """
    from transformers import GPT2LMHeadModel

    torch.set_num_threads(1)
    model = GPT2LMHeadModel.from_pretrained(folder, local_files_only=True).eval()
    known = rounded({"tasks": task_report(model, n), **known_inside(model, n * 7 // 20)})
    (folder / "known.json").write_text(json.dumps(known, indent=1) + "\n")
    write_reference(model, folder / "reference.npz")
    if card is not None:
        write_card(folder, known, card)
    return known


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    shipped = arguments.weights.resolve() == WEIGHTS.resolve()
    known = publish(arguments.weights, CARD if shipped else None)
    print(all_tables(known))


if __name__ == "__main__":
    main()
