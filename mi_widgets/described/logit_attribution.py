"""The logit attribution described: how the logit difference is split, and which of its parts are shown."""

from __future__ import annotations

from mi_widgets.described.common import show_option
from mi_widgets.described.measure import Measure
from mi_widgets.described.option import Number, Option, numbers, words
from mi_widgets.described.view import Described

# fmt: off
_SOME = Number(1, 500, "Give a whole number from 1 to 500.", whole=True)

LOGIT_ATTRIBUTION = Described(
    "Attribution",
    height=560,
    options=(
        Option(
            "by", words("component", "layer", "head", "neuron", "feature"), "component", key="b",
            said="split by component, layer, head, neuron, feature", computed=True,
            tip="How the last residual stream is split. Component: the embedding, each layer's attention and MLP, the "
            "biases. Layer: attention and MLP together. Head: every attention head by itself. Neuron: the largest "
            "MLP neurons by themselves. Feature: what the features of a sparse coder (coder=) write at its place, and "
            "what it leaves out",
        ),
        Option(
            "top", _SOME, 30, label="largest", key="n", said="neurons or features by themselves", group="counts",
            computed=True, usual=numbers(10, 30, 100, 300),
            tip="How many neurons (of all layers) or features stand by themselves, the largest; the others of each "
            "layer are one part",
        ),
        show_option(
            "Prompt A, prompt B, or A − B: what each part, head and source adds in A more than in B, of one answer and "
            "foil and on aligned tokens",
            keys="d",
        ),
        Option(
            "sort", words("model", "size"), "model", key="s", group="chart",
            tip="Order of the parts: as the model computes them, from the embedding to the output; or the largest "
            "first",
        ),
        Option(
            "chart", words("waterfall", "bars"), "waterfall", key="c", group="chart",
            tip="Waterfall: each bar starts where the one before it ends, from 0 to the difference. Bars: every bar "
            "starts at 0",
        ),
        Option(
            "rows", _SOME, 40, key="r", said="rows shown", group="counts", usual=numbers(10, 20, 40, 80, 160),
            tip="How many parts have a row of their own, the largest; all others stand together in one",
        ),
        Option(
            "position", Number(whole=True, none=True), None, computed=True, control="own",
            tip="The position whose next token is asked for; None: the last; negative counts from the end",
        ),
    ),
    measures=(Measure("contribution", "contribution", "logits", signed=True),),
    differences=(Measure("contribution", "contribution, A − B", "logits", signed=True),),
)
