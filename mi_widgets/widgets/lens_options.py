"""What the options of the logit lens choose of a model and a prompt: layers and positions."""

from __future__ import annotations


def chosen_layers(n_layers: int, stride: int) -> tuple[int, ...]:
    """Every `stride`-th layer, counted back from the last."""
    return tuple(sorted(range(n_layers - 1, -1, -stride)))


def chosen_positions(count: int, first: int | None, last: int | None) -> tuple[int, ...] | None:
    """Positions from `first` to `last`, both shown, as far as the prompt has them; None for all of them."""
    if first is None and last is None:
        return None
    start = 0 if first is None else max(0, first if first >= 0 else count + first)
    end = count - 1 if last is None else min(count - 1, last if last >= 0 else count + last)
    # A range that an edit has left empty shows the last position, not nothing.
    return tuple(range(min(start, count - 1), max(min(start, count - 1), end) + 1))
