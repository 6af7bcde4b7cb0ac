"""What is known inside a demo model, as plain numbers: named attention heads and the indirect-object circuit.

Puts names to what `heads` and `circuit` measure; knows nothing of how it is printed.
"""

from .circuit import CONTRASTS, IndirectObjectStudy
from .heads import head_shape, repeated_sequence_scores

HEAD_SCORE_FLOOR = 0.25  # mean attention weight from which a head is named
ROLE_FLOOR = 0.1  # share of the mean contrast from which a head has a role in the circuit


def head_name(layer: int, head: int) -> str:
    """Layer and head, both counted from 0, as "layer.head"."""
    return f"{layer}.{head}"


def roles_of(entry: dict[str, float]) -> list[str]:
    """What a head does in the circuit, by its numbers (see `known_inside`).

    name mover: at the last token it looks at the mentioned names and brings them up against absent ones. giver
    suppressor: at the last token it looks at the giver's second mention and brings the receiver up against the giver.
    duplicate detector: matters at the giver's second mention.
    """
    roles = []
    to_names = entry["end_to_receiver"] + entry["end_to_giver"]
    if entry["end_absent"] >= ROLE_FLOOR and to_names > entry["end_to_giver_again"]:
        roles.append("name mover")
    if entry["end_giver"] >= ROLE_FLOOR and entry["end_to_giver_again"] > to_names:
        roles.append("giver suppressor")
    if max(entry["at_giver_giver"], entry["at_giver_absent"]) >= ROLE_FLOOR:
        roles.append("duplicate detector")
    return roles


def known_inside(model, n: int = 350) -> dict:
    """Everything the model card says about the inside, as plain numbers.

    "heads": kind → {head: score} of the heads above `HEAD_SCORE_FLOOR`. "indirect_object": the circuit. Each of its
    heads has "direct_…" (direct attribution), "anywhere_…", "end_…" and "at_giver_…" (share of the contrast lost
    when it is ablated everywhere, at the last token, at the giver's second mention), each for both `CONTRASTS`, and
    the attention weights of `IndirectObjectStudy.attention`. A model that does not do the task has "not_found" instead:
    why no circuit was looked for.
    """
    scores = repeated_sequence_scores(model)
    heads = {
        kind: {
            head_name(*index): values[tuple(index)].item() for index in (values >= HEAD_SCORE_FLOOR).nonzero().tolist()
        }
        for kind, values in scores.items()
    }
    return {"heads": heads, "indirect_object": indirect_object(IndirectObjectStudy(model, n), n)}


def indirect_object(study: IndirectObjectStudy, n: int) -> dict:
    """The circuit measured by `study` on `n` prompts, as `known_inside` gives it."""
    layers, heads_per_layer, _ = head_shape(study.model)
    about = {
        "prompts": n,
        "all_heads": layers * heads_per_layer,
        "contrasts": dict(zip(CONTRASTS, study.clean.tolist(), strict=True)),
    }
    if not study.does_the_task:
        reason = (
            f"The model finds the receiver on {study.right:.0%} of {n} held-out prompts: no circuit was looked for."
        )
        return {**about, "not_found": reason}
    measured = dict(study.attention())
    by_contrast = {
        "direct": study.direct_attribution(),
        "anywhere": study.ablation_effect(),
        "end": study.ablation_effect("end"),
        "at_giver": study.ablation_effect("giver"),
    }
    for name, values in by_contrast.items():
        measured |= {f"{name}_{contrast}": values[index] for index, contrast in enumerate(CONTRASTS)}
    circuit = study.find_circuit()
    described = {}
    for layer in range(layers):
        for head in range(heads_per_layer):
            entry = {name: values[layer, head].item() for name, values in measured.items()}
            roles = roles_of(entry)
            if roles or circuit[layer, head]:
                described[head_name(layer, head)] = {"roles": roles, **entry}
    return {
        **about,
        "heads": described,
        "circuit": [head_name(*index) for index in circuit.nonzero().tolist()],
        "quality": study.circuit_quality(circuit),
    }
