"""How a training goes, as it goes: a small plotly figure, and in a notebook one that follows.

Knows nothing of what is trained.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mi_widgets import color

#: Points of a curve at most: of a long training, means of several steps.
POINTS = 400
#: Between two pictures in a notebook, in seconds.
PAUSE = 2.0


def curve_figure(history: pd.DataFrame, steps: int) -> Any:
    """Variance unexplained and L0 over the steps, and how many features are dead.

    Args:
        history: of a training, a row for each step.
        steps: of the whole training, at which the axis ends.
    """
    import plotly.graph_objects as go

    shown = thinned(history)
    several = {
        "variance_unexplained": ("variance unexplained", "y"),
        "l0": ("L0", "y2"),
        "dead": ("dead features", "y2"),
    }
    traces = [
        go.Scatter(
            x=shown.index.tolist(), y=shown[column].tolist(), name=title, yaxis=axis, mode="lines",
            line={"width": 1.5, "color": color.CATEGORICAL[place], "dash": "solid" if axis == "y" else "dot"},
        )
        for place, (column, (title, axis)) in enumerate(several.items())
    ]  # fmt: skip
    last = "" if history.empty else f"step {history.index[-1]:,} of {steps:,}, loss {history['loss'].iloc[-1]:.4g}"
    axis = {"showgrid": False, "rangemode": "tozero", "ticks": "outside"}
    return go.Figure(
        traces,
        layout={
            "template": "simple_white",
            "width": 560,
            "height": 240,
            "margin": {"l": 55, "r": 55, "t": 50, "b": 40},
            "title": {"text": last, "font": {"size": 12}},
            "font": {"size": 11},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {**axis, "title": {"text": "step"}, "range": [0, steps]},
            "yaxis": {**axis, "title": {"text": "variance unexplained"}, "range": [0, 1]},
            "yaxis2": {**axis, "title": {"text": "features"}, "overlaying": "y", "side": "right"},
        },
    )


def thinned(history: pd.DataFrame) -> pd.DataFrame:
    """At most `POINTS` rows, each the mean of as many steps, at the last of them."""
    size = -(-len(history) // POINTS) if len(history) else 1
    if size == 1:
        return history
    starts = np.arange(0, len(history), size)
    ends = np.append(starts[1:], len(history))
    sums = np.add.reduceat(history.to_numpy(float), starts, axis=0)
    index = pd.Index(history.index.to_numpy()[ends - 1], name=history.index.name)
    return pd.DataFrame(sums / (ends - starts)[:, None], columns=history.columns, index=index)


def live_curve() -> Callable[[Any], None] | None:
    """What shows the curve of a `training.Training` in this notebook's cell, anew where it has grown; None where there
    is no notebook."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    shown: list[Any] = []
    last = 0.0

    def show(training: Any) -> None:
        nonlocal last
        if time.monotonic() - last < PAUSE and training.done < training.options.steps:
            return
        # As a bundle: a plotly figure displays itself, and so never in the place of the one before.
        plotly = json.loads(training.figure().to_json())
        bundle = {"text/plain": "a sparse coder learns", "application/vnd.plotly.v1+json": plotly}
        if shown:
            shown[0].update(bundle, raw=True)
        else:
            shown.append(display(bundle, raw=True, display_id=True))
        last = time.monotonic()

    return show
