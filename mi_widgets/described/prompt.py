"""The prompt view described: how its tokens are coloured, and how its model writes on."""

from __future__ import annotations

from mi_widgets.described.common import show_option
from mi_widgets.described.measure import Measure, measured
from mi_widgets.described.option import Choice, Flag, Number, Option
from mi_widgets.described.view import Described

#: Tokens that can be written at a time.
MOST_TOKENS = 1000

# fmt: off
#: What a token can be coloured by.
MEASURES = (
    Measure(
        "surprisal", "surprisal", "bits",
        tip="Surprisal in bits: −log₂ of the probability that the model gave each token before it came (Hale 2001, "
        "Levy 2008). One bit is a coin flip",
    ),
    Measure(
        "probability", "probability", high=1.0,
        tip="The probability that the model gave each token before it came",
    ),
    Measure(
        "entropy", "entropy of the next token", "bits",
        tip="Entropy in bits of what the model expects after each token: how open it is what comes next",
    ),
    Measure(
        "rank", "rank", scale="rank",
        tip="How many tokens were likelier than the one that came; 0 is the model's first choice",
    ),
)

PROMPT = Described(
    "Prompt",
    height=420,
    options=(
        Option(
            "color", measured(MEASURES, Choice("none", tip="No colours: the tokens alone")), "surprisal",
            label="colour", key="c", group="looks",
        ),
        show_option(
            "Prompt A's numbers, prompt B's, or the difference A − B of surprisal on aligned tokens: blue where "
            "A's token was the likelier",
            said="A − B", pair=True,
        ),
        Option(
            "ids", Flag("ids", "ids"), False, label="token ids", key="i", group="looks", pair=True, control="toggle",
            tip="The id of every token under it",
        ),
        Option(
            "length",
            Number(
                1, MOST_TOKENS, f"Write 1 to {MOST_TOKENS:,} tokens at a time.", whole=True, field=(1, MOST_TOKENS, 1)
            ),
            20, label="tokens", control="number",
            tip="How many tokens the model writes, at most: it stops at an end-of-text token",
        ),
        Option(
            "temperature",
            Number(0, hint="Give 0 (greedy) or more; 1 is the model's own distribution.", field=(0, 100, 0.1)), 1.0,
            control="number",
            tip="Divides the logits before the softmax. 0: always the likeliest token (greedy). 1: as the model "
            "expects. More: flatter",
        ),
        Option(
            "top_p",
            Number(
                0, 1, "Give a probability above 0, up to 1 (the whole vocabulary).", above=True, field=(0.001, 1, 0.05)
            ),
            1.0, label="top-p", control="number",
            tip="Nucleus sampling: draws only from the smallest set of tokens whose probabilities sum to this "
            "(Holtzman et al. 2020); 1 leaves all",
        ),
        Option(
            # As far as a page can count.
            "seed", Number(0, 2**53 - 1, "Give a whole number from 0.", whole=True, field=(0, 2**53 - 1, 1)), 0,
            control="number",
            tip="Of the random draws: the same seed writes the same text again",
        ),
    ),
    measures=MEASURES,
    differences=(Measure("surprisal", "surprisal A − B", "bits", signed=True),),
)
