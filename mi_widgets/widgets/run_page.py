"""What the page knows of runs and orders of them: interventions made or taken away, and the run of side B.

Knows nothing of sessions or of how an intervention acts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mi_widgets.data.integers import integer, integers
from mi_widgets.data.interventions import Ablate, Change, Run
from mi_widgets.errors import DataError
from mi_widgets.session.prompts import from_wire, to_wire
from mi_widgets.wire.interventions import labels
from mi_widgets.wire.messages import PromptValue, RunValue

Changes = tuple[Change, ...]


def interventions_after(
    order: dict[str, Any], made: Changes, before: Changes, shape: tuple[int, int] | None
) -> Changes:
    """The interventions that an order of the page leaves.

    Args:
        order: one of `ORDERS`, a `wire.messages.Order`.
        made: those of now.
        before: those before the last change.
        shape: layers and heads that there are; None for any.

    Raises:
        DataError: a head or an intervention that is not there.
    """
    return ORDERS[order["order"]](order, made, before, shape)


def _ablate(order: dict[str, Any], made: Changes, _before: Changes, shape: tuple[int, int] | None) -> Changes:
    """Heads that are all ablated, however, are put back; else those that are not are set to zero."""
    given = order.get("heads")
    heads = [_head(pair, shape) for pair in given] if isinstance(given, list) else []
    if not heads:
        raise DataError("no head is named.", "Choose one.")
    ablated = {(change.layer, change.head) for change in made if isinstance(change, Ablate)}
    if ablated.issuperset(heads):
        return tuple(
            change for change in made if not (isinstance(change, Ablate) and (change.layer, change.head) in heads)
        )
    return (*made, *(Ablate(layer, head) for layer, head in dict.fromkeys(heads) if (layer, head) not in ablated))


def _head(pair: Any, shape: tuple[int, int] | None) -> tuple[int, int]:
    numbers = integers("heads", pair) if isinstance(pair, list) else []
    if len(numbers) != 2:
        raise DataError(f"{pair!r:.40} names no head.", "Give [layer, head].")
    layer, head = numbers
    if shape is not None and not (0 <= layer < shape[0] and 0 <= head < shape[1]):
        raise DataError(f"there is no head L{layer} H{head}.", f"The model has {shape[0]} layers of {shape[1]} heads.")
    return layer, head


def _remove(order: dict[str, Any], made: Changes, _before: Changes, _shape: tuple[int, int] | None) -> Changes:
    at = integer("at", order.get("at"))
    if not 0 <= at < len(made) or made[at].label != order.get("label"):
        raise DataError(f"there is no intervention {order.get('label')!r:.60} any more.", "Nothing was changed.")
    return (*made[:at], *made[at + 1 :])


#: What the page may order of interventions.
ORDERS: dict[str, Callable[[dict[str, Any], Changes, Changes, tuple[int, int] | None], Changes]] = {
    "ablate": _ablate,
    "remove": _remove,
    "restore": lambda _order, _made, _before, _shape: (),
    "undo": lambda _order, _made, before, _shape: before,
}


def run_to_wire(compare: Any, view: Any) -> PromptValue | RunValue | None:  # noqa: ARG001
    """Side B as it crosses to the page: a prompt, or a run of which what is left out is the session's."""
    if not isinstance(compare, Run):
        return to_wire(compare)
    return {
        "kind": "run",
        "prompt": to_wire(compare.prompt),
        "model": _model_label(compare.model),
        "interventions": None if compare.interventions is None else labels(compare.interventions),
    }


def run_from_wire(value: Any, view: Any) -> Any:
    """Side B as the page sent it: of the run that `view` compares with it may edit the prompt, alone or with the rest
    named as it stands, for the page knows only its name; and it may ask for the untouched run.

    Raises:
        DataError: another model, or other interventions.
        PromptError: what came is no prompt.
    """
    held = view.compare if isinstance(view.compare, Run) else Run()
    if not isinstance(value, dict) or value.get("kind") != "run":
        prompt = from_wire(value)
        return prompt if prompt is None or held == Run() else Run(held.model, prompt, held.interventions)
    return Run(
        model=_held("model", value.get("model"), held.model, _model_label(held.model)),
        prompt=from_wire(value.get("prompt")),
        interventions=_held_or_none(value.get("interventions"), held),
    )


def _held_or_none(named: Any, held: Run) -> Changes | None:
    if named == []:
        return ()
    own = None if held.interventions is None else labels(held.interventions)
    return _held("interventions", named, held.interventions, own)


def _held(what: str, named: Any, held: Any, own: Any) -> Any:
    """`held`, where the page named it as it is called; None where it named none."""
    if named is None:
        return None
    if named != own:
        raise DataError(f"the page names {what} that the view does not compare with.", "Reload the page.")
    return held


def _model_label(model: Any) -> str | None:
    from mi_widgets.models import describe

    return None if model is None else describe(model).label
