"""What a session looks at: which model, prompt and interventions a run may have beside its own.

Knows nothing of passes or views.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from mi_widgets.data.coder_interventions import CoderChange, CoderName
from mi_widgets.data.interventions import Add, Change, Intervention, Run, checked_interventions
from mi_widgets.errors import DataError, ModelError, choose
from mi_widgets.session.prompts import plain


def fitting(given: Any, model: Any, info: Any) -> tuple[Change, ...]:
    """Interventions as a tuple, whose layers, heads and hooks this model has.

    Args:
        given: one or several, or None for none.
        model: a TransformerBridge.
        info: its facts.

    Raises:
        DataError: no interventions, a layer, head or hook that does not exist, or another width.
    """
    changes = checked_interventions(given)
    for change in changes:
        if isinstance(change, CoderChange):
            if not isinstance(change.coder, CoderName):  # of one that is only a name the pass says so
                change.coder.fits(model)
            continue
        if isinstance(change, Intervention):
            hooks = model.hook_dict
            if change.hook_name not in hooks:
                raise DataError(
                    f"{change.hook_name!r} is no hook of this model.",
                    choose(change.hook_name, _near(change.hook_name, hooks), "Its hooks there are"),
                )
            continue
        layer, head = getattr(change, "layer", None), getattr(change, "head", None)
        heads = info.kv_heads if getattr(change, "site", None) in {"k", "v"} else info.n_heads
        for name, value, count in (("layer", layer, info.n_layers), ("head", head, heads)):
            if value is not None and value >= count:
                raise DataError(f"{change!r}: there is no {name} {value}.", f"This model has {name}s 0 to {count - 1}.")
        if isinstance(change, Add) and change.head is None and len(change.direction) != info.d_model:
            raise DataError(
                f"{change!r}: the direction has {len(change.direction)} numbers and the model's stream {info.d_model}.",
                "Give one of [d_model].",
            )
    return changes


def _near(name: str, hooks: Any) -> list[str]:
    """Hooks of the block that `name` speaks of, or those that stand once: all of a model's would be hundreds."""
    parts = name.split(".")
    prefix = ".".join(parts[:2]) + "." if parts[0] == "blocks" else ""
    near = [hook for hook in hooks if prefix and hook.startswith(prefix)]
    return near or [hook for hook in hooks if not hook.startswith("blocks.")]


def compared(given: Any, model: Any, info: Any) -> Any:
    """What a view compares with, checked: a prompt as plain values, a `Run`, or None.

    Raises:
        PromptError: neither.
        ModelError: the run's model is none, or of another shape.
        DataError: interventions that its model cannot have.
    """
    if not isinstance(given, Run):
        return plain(given)
    if given.model is not None and given.model is not model:
        info = _of_one_shape(given.model, info)
        model = given.model
    if given.interventions is not None:
        fitting(given.interventions, model, info)
    return Run(given.model, plain(given.prompt), given.interventions)


def _of_one_shape(model: Any, info: Any) -> Any:
    """The facts about another model, which can be compared with that of `info`."""
    from mi_widgets.models import describe

    other = describe(model)
    for name, called in (("n_layers", "layers"), ("n_heads", "heads"), ("d_vocab", "tokens in its vocabulary")):
        theirs, own = getattr(other, name), getattr(info, name)
        if theirs != own:
            raise ModelError(
                f"{other.label} has {theirs} {called}, {info.label} has {own}: they cannot be compared.",
                "Give a model of the same shape, e.g. one fine-tuned from it.",
            )
    return other


def run_key(run: Run) -> Hashable:
    """Equal for runs that compute the same."""
    return id(run.model), repr(run.prompt), keys_of(run.interventions or ())


def keys_of(interventions: Sequence[Change]) -> tuple[Hashable, ...]:
    """Equal for interventions that do the same."""
    return tuple(change.identity for change in interventions)
