"""The logit lens described: what is read out, and what its cells are coloured by."""

from __future__ import annotations

from mi_widgets.data.logit_lens import LENSES, MOST_TARGETS, STREAMS
from mi_widgets.described.common import palette_option, show_option
from mi_widgets.described.measure import Measure, measured
from mi_widgets.described.option import Choice, Number, OneOf, Option, TokenList, words
from mi_widgets.described.view import Described

# fmt: off
STREAM_NAMES = {
    "resid_pre": "residual stream before the block",
    "attn_out": "what the block's attention adds",
    "resid_mid": "residual stream after the block's attention",
    "mlp_out": "what the block's MLP adds",
    "resid_post": "residual stream after the block",
}
#: What a cell can be coloured by. The name is that of `data.logit_lens_comparison.cell_values`.
MEASURES = (
    Measure(
        "probability", "probability of the top token", high=1.0, label="top probability", block="top_probs",
        tip="Probability of the token that stands in the cell",
    ),
    Measure(
        "entropy", "entropy", "nats",
        tip="Entropy of the row's distribution over the vocabulary: how undecided it is",
    ),
    Measure(
        "final_rank", "rank of the model's choice", scale="rank", label="rank of model's choice",
        tip="Where the row ranks the token that the model will choose at the end; 0 is on top",
    ),
    Measure(
        "next_rank", "rank of the token that follows", scale="rank", label="rank of what follows",
        none="nothing follows", lacking="last position",
        tip="Where the row ranks the token that actually follows in the prompt; 0 is on top",
    ),
    Measure(
        "kl", "KL(model ‖ row)", "nats", scale="sqrt", label="KL to the model",
        tip="Kullback-Leibler divergence of the row from the model's own output, in nats: how much is still to come",
    ),
    Measure(
        "change", "KL(row ‖ row before)", "nats", scale="sqrt", label="change per row", none="no row before",
        lacking="first row",
        tip="Kullback-Leibler divergence between this row and the one below it, in nats: where the prediction changes",
    ),
    Measure(
        "target_probability", "probability of {token}", label="pinned: probability", block="target_probs",
        tip="Probability of one pinned token in every cell",
    ),
    Measure(
        "target_rank", "rank of {token}", scale="rank", label="pinned: rank", block="target_ranks",
        tip="Rank of one pinned token in every cell; 0 is on top",
    ),
)
DIFFERENCES = (
    Measure(
        "kl", "KL(A ‖ B)", "nats", scale="sqrt", label="KL(A ‖ B)", none="no counterpart",
        tip="How far B is from A in each cell: KL(A ‖ B) in nats",
    ),
    Measure(
        "target_probability", "p({token}): A − B", signed=True, label="pinned: A − B", none="no counterpart",
        block="target_probs",
        tip="Probability of one pinned token in every cell",
    ),
)

LOGIT_LENS = Described(
    "Lens",
    height=560,
    options=(
        Option(
            "stream", OneOf(tuple(Choice(stream, tip=STREAM_NAMES[stream]) for stream in STREAMS)), "resid_post",
            key="s", group="read", computed=True,
            tip="What is read out at each layer: the residual stream before the block, after its attention, or after "
            "the block; or what attention or MLP alone add to it.",
        ),
        Option(
            "lens", words(*LENSES), "logit", key="l", group="read", computed=True,
            tip="How a row becomes logits. Logit lens: the model's final norm and unembedding, as they are. Tuned "
            "lens: a learned affine map of the layer first. Jacobian lens: the averaged Jacobian of the layers "
            "above first.",
        ),
        Option(
            "versus", OneOf((Choice(None, "–"), *(Choice(lens) for lens in LENSES))), None, key="v",
            said="second lens", group="read", computed=True,
            tip="A second lens on the same prompt, as side B. For a second prompt use “+ compare” above",
        ),
        show_option(
            "Side A, side B, or their difference: the top tokens of both where they differ, coloured by KL(A ‖ B) "
            "or by a pinned token's A − B",
            "difference",
        ),
        Option(
            "color", measured(MEASURES), "probability", label="colour", key="c",
            said="colour by", group="colours",
        ),
        Option(
            "target",
            Number(0, MOST_TARGETS - 1, f"Give the place of a pinned token, 0 to {MOST_TARGETS - 1}.", whole=True), 0,
            label="of", key="t", said="which pinned token", group="colours", pair=True,
            tip="Which pinned token colours the table",
        ),
        Option(
            "stride", Number(1, 64, "Give a whole number of layers from 1 to 64.", whole=True), 1, label="layers",
            key="g", said="layer stride", group="part", computed=True,
            usual=(
                Choice(1, "all"), Choice(2, "every 2nd"), Choice(3, "every 3rd"),
                *(Choice(stride, f"every {stride}th") for stride in (4, 6, 8)),
            ),
            others="every {}th",
            tip="Every so many layers, counted from the last: large models are read faster by every second or fourth",
        ),
        Option(
            "first", Number(whole=True, none=True), None, label="first position", key="f", said="position range",
            group="part", computed=True, control="own",
            tip="Which positions are computed: first and last, empty for the ends, negative counts from the end. Long "
            "prompts on large models are read faster in part",
        ),
        Option(
            "last", Number(whole=True, none=True), None, label="last position", computed=True, control="own",
            tip="The last position that is computed; see `first`",
        ),
        palette_option("differences of probabilities"),
        Option(
            "targets", TokenList(MOST_TARGETS), [], key="i", said="type a token to pin", group="pins", computed=True,
            control="own",
            tip=f"Pinned tokens, as text or ids, at most {MOST_TARGETS}",
        ),
        Option(
            "chart", words("probability", "rank"), "probability", label="curves", key="r",
            said="curves: probability or rank", group="pins", control="own",
            tip="What the curves show: the probability that a row gives to a pinned token, or its rank among all "
            "tokens (0 is the most likely) on a logarithmic scale",
        ),
    ),
    measures=MEASURES,
    differences=DIFFERENCES,
)
