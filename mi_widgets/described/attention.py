"""The attention explorer described: how it is shown, and what a cell is by weighting."""

from __future__ import annotations

from mi_widgets.data.attention import UNITS
from mi_widgets.described.common import palette_option, show_option
from mi_widgets.described.measure import Measure, measured
from mi_widgets.described.option import Choice, Column, Flag, Number, OneOf, Option, words
from mi_widgets.described.view import Described

# fmt: off
LABELS = {
    "pattern": "pattern", "scores": "pre-softmax scores", "value": "value-weighted", "output": "output-weighted",
}
#: What a cell is, by weighting.
MEASURES = tuple(
    Measure(name, unit, label=LABELS[name], high=1.0 if name == "pattern" else None) for name, unit in UNITS.items()
)

ATTENTION = Described(
    "Attention",
    height=620,
    options=(
        Option(
            "weighting", measured(MEASURES), "pattern", key="w",
            computed=True,
            tip="What a cell holds. Pattern: the weight after the softmax, rows sum to 1. Scores: the numbers that the"
            " softmax saw. Value-weighted: weight × length of the value vector. Output-weighted: length of what "
            "the read writes through W_O.",
        ),
        show_option("Prompt A, prompt B, or the signed difference A − B on aligned tokens"),
        Option(
            "scale", OneOf((Choice("linear"), Choice("sqrt", "√ root"), Choice("log"))), "sqrt",
            key="s", group="colours",
            tip="How values become colour. Square root and log lift small weights into sight; the legend follows",
        ),
        Option(
            "shared_range", Flag("shared", "per head"), True, label="range", key="g", group="colours",
            tip="Shared: one colour means one value on every head. Per head: each head uses the whole palette, colours"
            " do not compare",
        ),
        palette_option("differences"),
        Option(
            "sort", Column("layer × head"), None, key="o", said="sort by", group="wall",
            tip="Order of the wall: by layer and head, or by how strongly a head shows a known behaviour",
        ),
        Option(
            "descending", Flag("↓", "↑"), True, label="order", key="i", group="wall", pair=True, control="button",
            tip="Largest or smallest score first",
        ),
        Option(
            "filter", Column("none"), None, key="f", said="filter by a score", group="wall",
            tip="Dims heads whose score is below the slider",
        ),
        Option(
            "filter_min", Number(), 0.0, label="filter: least score", pair=True, control="own",
            tip="Heads below this score are dimmed",
        ),
        Option(
            "direction", OneOf((Choice("reads", "reads from"), Choice("read_by", "read by"))), "reads", label="token",
            key="r", said="text: reads from, or read by",
            tip="For the token pointed at in the text: what it reads from (its row), or who reads it (its column)",
        ),
        Option(
            "panel", words("both", "matrix", "text"), "both", key="v",
            said="panel: matrix, text, both",
            tip="The large panel: the focused head as a matrix, the prompt as text, or both",
        ),
    ),
    measures=MEASURES,
    differences=tuple(Measure(measure.name, f"A − B, {measure.title}", signed=True) for measure in MEASURES),
)
