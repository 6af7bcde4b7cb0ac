"""The patching view described: what is put where, what is read of the answer, and how its cells are shown."""

from __future__ import annotations

from mi_widgets.data.patching import DIRECTIONS, PATCH_SITES
from mi_widgets.described.measure import Measure
from mi_widgets.described.option import Choice, Number, OneOf, Option, words
from mi_widgets.described.view import Described

# fmt: off
#: How the axes of a cell are written as one word.
TIMES = " × "
SITE_NAMES = {
    "resid_pre": "residual stream before the block",
    "resid_mid": "residual stream between the block's attention and its MLP",
    "resid_post": "residual stream after the block",
    "attn_out": "what the block's attention adds",
    "mlp_out": "what the block's MLP adds",
    "z": "what a head has read, before W_O",
    "q": "a head's queries",
    "k": "a head's keys; of grouped queries one for several heads",
    "v": "a head's values; of grouped queries one for several heads",
    "pattern": "a head's attention pattern",
    "post": "a neuron of the MLP, after its nonlinearity",
}
#: The axes that some site's grid can have, the usual ones of each site first.
GRIDS = tuple(dict.fromkeys(TIMES.join(axes) for choices in PATCH_SITES.values() for axes in choices))
#: What a cell shows, by the option `shows`.
MEASURES = (
    Measure(
        "effect", "effect", signed=True, none="not computed",
        tip="Patching: (m − m_corrupt) / (m_clean − m_corrupt), 0 as the corrupt run, 1 as the clean one. Ablation: "
        "(m − m_clean) / |m_clean|, −1 where nothing is left",
    ),
    Measure(
        "change", "change", signed=True, label="change of the metric", none="not computed",
        tip="The metric of the changed run minus that of the run it changes, in the metric's own unit",
    ),
)
METRIC_NAMES = {
    "logit_difference": ("logit difference", "Logit of the answer minus that of the foil"),
    "log_probability": ("log-probability", "Log-probability of the answer, nats"),
    "probability": ("probability", "Probability of the answer"),
    "rank": ("rank", "Tokens with a larger logit than the answer; 0 is on top"),
    "kl": ("KL to clean", "Kullback-Leibler divergence of the run's next token from the clean run's, nats"),
}
#: What a change of the metric is counted in.
METRIC_UNITS = {"logit_difference": "logits", "log_probability": "nats", "rank": "places", "kl": "nats"}

PATCHING = Described(
    "Patching",
    height=640,
    options=(
        Option(
            "experiment",
            OneOf((
                Choice("patching", tip="Activations of one run are put into the other"),
                Choice("ablation", tip="Activations of the clean run are taken out: zero, mean or resampled"),
            )),
            "patching", key="e", said="patching, ablation", computed=True,
            tip="Patching: activations of one run are put into the other. Ablation: activations of the clean run are "
            "replaced by zero, a mean, or another prompt's",
        ),
        Option(
            "site", OneOf(tuple(Choice(site, tip=SITE_NAMES[site]) for site in PATCH_SITES)), "resid_pre", key="s",
            said="site", computed=True,
            tip="Which activation is patched",
        ),
        Option(
            "by", words(*GRIDS), GRIDS[0], label="by", key="b", said="axes of the grid", computed=True,
            tip="What a cell is: which parts of the activation are patched by themselves. Where a site has no such "
            "grid it is the usual one of the site",
        ),
        Option(
            "over", OneOf((
                Choice("head", tip="Each attention head, by layer"),
                Choice("mlp", tip="Each MLP"),
                Choice("neuron", tip="Each neuron of one layer's MLP"),
                Choice("position", tip="Each position of the residual stream, by layer"),
            )),
            "head", label="over", key="o", said="what is ablated", computed=True,
            tip="What is taken out by itself: heads, MLPs, neurons of one layer, or positions of the residual stream",
        ),
        Option(
            "layer", Number(0, whole=True, none=True, hint="Give a layer of the model, or None for the last."), None,
            label="layer", computed=True, control="own",
            tip="The layer, of grids without an axis of layers; None: the last",
        ),
        Option(
            "metric", OneOf((
                *(Choice(name, *said) for name, said in METRIC_NAMES.items()),
                Choice("own", "own function", "The function of the logits that was given in Python as metric="),
            )),
            "logit_difference", key="m", said="metric", computed=True,
            tip="What is read of the logits at the last position",
        ),
        Option(
            "direction", OneOf((
                Choice(DIRECTIONS[0], tip="Clean activations in the corrupt run: what restores the answer"),
                Choice(DIRECTIONS[1], tip="Corrupt activations in the clean run: what breaks the answer"),
            )),
            "denoise", key="d", said="denoise, noise", computed=True,
            tip="Denoise: clean activations in the corrupt run, what suffices. Noise: corrupt activations in the clean "
            "run, what is needed",
        ),
        Option(
            "ablated_by", words("zero", "mean", "resample"), "mean", label="with", key="t", said="how it is ablated",
            computed=True,
            tip="Zero; mean: of the clean and the corrupt prompt, position by position where they are equally long, or "
            "of the prompt's own positions where there is no other; resample: what the corrupt prompt has there",
        ),
        Option(
            "exact", OneOf((
                Choice("auto", "where cheap", "Estimated first; then every cell exact, where that is not too dear"),
                Choice("all", "always", "Estimated first, then every cell exact, however long that takes"),
                Choice("estimate", "estimate only", "Attribution patching alone: a few passes for the whole grid"),
            )),
            "auto", label="exact", key="u", said="exact cells, estimate only", computed=True,
            tip="The whole grid is estimated at once by gradients, and exact values replace the estimates, the largest "
            "first: where two minutes and 20,000 cells are enough; always; or not at all",
        ),
        Option(
            "shows", OneOf(tuple(measure.choice for measure in MEASURES)), "effect", label="shows", key="c",
            said="effect, change of the metric", group="chart",
            tip="Effect: normalised by clean and corrupt. Change: in the metric's own unit",
        ),
        Option(
            "chart", OneOf((
                Choice("grid", tip="The grid of cells"),
                Choice("scatter", tip="Exact against estimated effects, a point for each cell: outliers are named"),
                Choice("paths", tip="The chosen head's effect through each receiver (path patching)"),
            )),
            "grid", key="g", said="grid, scatter, paths", group="chart", control="menu",
            tip="Grid; scatter of exact against estimated effects; paths: the effect of the chosen head through each "
            "receiver",
        ),
        Option(
            "beside", OneOf((
                Choice("patched", tip="The chosen cell's run stands beside the clean one in linked views"),
                Choice("corrupt", tip="The corrupt run stands beside the clean one in linked views"),
                Choice("nothing", tip="Linked views show their own run alone"),
            )),
            "patched", label="beside", key="w", said="what linked views set beside their run", group="linked",
            computed=False,
            tip="Which run linked views set beside the clean one: that of the chosen cell, the corrupt one, or none",
        ),
    ),
    measures=MEASURES,
)
