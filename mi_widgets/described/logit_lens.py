"""The logit lens described: what is read out, and what its cells are coloured by."""

from __future__ import annotations

from mi_widgets.data.logit_lens import LENSES, MOST_TARGETS, STREAMS
from mi_widgets.described.common import palette_option, show_option
from mi_widgets.described.measure import Measure
from mi_widgets.described.option import Choice, Number, OneOf, Option, TokenList, words
from mi_widgets.described.view import Described

#: What a cell can be coloured by. The name is that of `data.logit_lens_comparison.cell_values`.
MEASURES = (
    Measure(
        "probability",
        "probability of the top token",
        high=1.0,
        label="top probability",
        tip="Probability of the token that stands in the cell",
        block="top_probs",
    ),
    Measure(
        "entropy",
        "entropy",
        "nats",
        tip="Entropy of the row's distribution over the vocabulary: how undecided it is",
    ),
    Measure(
        "final_rank",
        "rank of the model's choice",
        scale="rank",
        label="rank of model's choice",
        tip="Where the row ranks the token that the model will choose at the end; 0 is on top",
    ),
    Measure(
        "next_rank",
        "rank of the token that follows",
        scale="rank",
        label="rank of what follows",
        tip="Where the row ranks the token that actually follows in the prompt; 0 is on top",
        none="nothing follows",
        lacking="last position",
    ),
    Measure(
        "kl",
        "KL(model ‖ row)",
        "nats",
        # Divergences have long tails: the root lifts the small ones into sight.
        scale="sqrt",
        label="KL to the model",
        tip="Kullback-Leibler divergence of the row from the model's own output, in nats: how much is still to come",
    ),
    Measure(
        "change",
        "KL(row ‖ row before)",
        "nats",
        scale="sqrt",
        label="change per row",
        tip="Kullback-Leibler divergence between this row and the one below it, in nats: where the prediction changes",
        none="no row before",
        lacking="first row",
    ),
    Measure(
        "target_probability",
        "probability of {token}",
        label="pinned: probability",
        tip="Probability of one pinned token in every cell",
        block="target_probs",
    ),
    Measure(
        "target_rank",
        "rank of {token}",
        scale="rank",
        label="pinned: rank",
        tip="Rank of one pinned token in every cell; 0 is on top",
        block="target_ranks",
    ),
)
DIFFERENCES = (
    Measure(
        "kl",
        "KL(A ‖ B)",
        "nats",
        scale="sqrt",
        label="KL(A ‖ B)",
        tip="How far B is from A in each cell: KL(A ‖ B) in nats",
        none="no counterpart",
    ),
    Measure(
        "target_probability",
        "p({token}): A − B",
        signed=True,
        label="pinned: A − B",
        tip="Probability of one pinned token in every cell",
        none="no counterpart",
        block="target_probs",
    ),
)

LOGIT_LENS = Described(
    "Lens",
    height=560,
    options=(
        Option(
            "stream",
            words(*STREAMS),
            "resid_post",
            label="stream",
            tip="What is read out at each layer: the residual stream before the block, after its attention, or after "
            "the block; or what attention or MLP alone add to it.",
            key="s",
            group="read",
            computed=True,
        ),
        Option(
            "lens",
            words(*LENSES),
            "logit",
            label="lens",
            tip="How a row becomes logits. Logit lens: the model's final norm and unembedding, as they are. Tuned "
            "lens: a learned affine map of the layer first. Jacobian lens: the averaged Jacobian of the layers above "
            "first.",
            key="l",
            group="read",
            computed=True,
        ),
        Option(
            "versus",
            OneOf((Choice(None, "–"), *(Choice(lens) for lens in LENSES))),
            None,
            label="versus",
            tip="A second lens on the same prompt, as side B. For a second prompt use “+ compare” above",
            key="v",
            said="second lens",
            group="read",
            computed=True,
        ),
        show_option(
            "Side A, side B, or their difference: the top tokens of both where they differ, coloured by KL(A ‖ B) or "
            "by a pinned token's A − B",
            "difference",
        ),
        Option(
            "color",
            OneOf(tuple(measure.choice for measure in MEASURES)),
            "probability",
            label="colour",
            key="c",
            said="colour by",
            group="colours",
        ),
        Option(
            "target",
            Number(0, MOST_TARGETS - 1, f"Give the place of a pinned token, 0 to {MOST_TARGETS - 1}.", whole=True),
            0,
            label="of",
            tip="Which pinned token colours the table",
            key="t",
            said="which pinned token",
            group="colours",
            pair=True,
        ),
        Option(
            "stride",
            Number(1, 64, "Give a whole number of layers from 1 to 64.", whole=True),
            1,
            label="layers",
            tip="Every so many layers, counted from the last: large models are read faster by every second or fourth",
            key="g",
            said="layer stride",
            group="part",
            computed=True,
            usual=(
                Choice(1, "all"),
                Choice(2, "every 2nd"),
                Choice(3, "every 3rd"),
                *(Choice(stride, f"every {stride}th") for stride in (4, 6, 8)),
            ),
            others="every {}th",
        ),
        Option(
            "first",
            Number(whole=True, none=True),
            None,
            label="first position",
            tip="Which positions are computed: first and last, empty for the ends, negative counts from the end. Long "
            "prompts on large models are read faster in part",
            key="f",
            said="position range",
            group="part",
            computed=True,
            control="own",
        ),
        Option("last", Number(whole=True, none=True), None, label="last position", computed=True, control="own"),
        palette_option("differences of probabilities"),
        Option(
            "targets",
            TokenList(MOST_TARGETS),
            [],
            key="i",
            said="type a token to pin",
            group="pins",
            computed=True,
            control="own",
        ),
        Option(
            "chart",
            words("probability", "rank"),
            "probability",
            label="curves",
            tip="What the curves show: the probability that a row gives to a pinned token, or its rank among all "
            "tokens (0 is the most likely) on a logarithmic scale",
            key="r",
            said="curves: probability or rank",
            group="pins",
            control="own",
        ),
    ),
    measures=MEASURES,
    differences=DIFFERENCES,
)
