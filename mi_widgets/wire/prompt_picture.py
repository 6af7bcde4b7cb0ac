"""One picture of the prompt view: everything that crosses to the page of one finished run.

Takes `data` once. Knows nothing of widgets or models.
"""

from __future__ import annotations

import math

import numpy as np

from mi_widgets.data import NextTokens, NextTokensComparison
from mi_widgets.data.next_tokens import BIT
from mi_widgets.wire.attention import token_table
from mi_widgets.wire.blocks import Block, pack
from mi_widgets.wire.checks import finite_checks, worst
from mi_widgets.wire.messages import CheckValue, TokenName
from mi_widgets.wire.picture import Picture
from mi_widgets.wire.view_messages import PromptManifest, PromptSide

#: Candidates of all positions together that cross; very long prompts show fewer of each.
CANDIDATES = 120_000
#: Largest difference between a token's probability and that of its candidate which the self-check accepts.
TOLERANCE = 1e-5


class PromptPicture(Picture[NextTokens, NextTokensComparison]):
    """What one run shows, as `Picture`."""

    @property
    def top_k(self) -> int:
        """Candidates of each position that cross."""
        positions = sum(len(side.tokens) for side in self.sides.values())
        return max(1, min(*(side.top_k for side in self.sides.values()), CANDIDATES // positions, 50))

    def parcel(self, live: bool | None = None) -> bytes:
        """The whole picture."""
        blocks = []
        for name, side in self.sides.items():
            top_ids, top_probs = side.top_ids[:, : self.top_k], side.top_probs[:, : self.top_k]
            blocks += [
                Block(f"{name}/surprisal", side.surprisal, ("position",)),
                Block(f"{name}/rank", side.rank.astype(np.float32), ("position",)),
                Block(f"{name}/entropy", side.entropy / np.float32(BIT), ("position",)),
                Block(f"{name}/top_ids", top_ids.astype(np.float32), ("position", "k")),
                Block(f"{name}/top_probs", top_probs, ("position", "k")),
            ]
        return pack(blocks, self.manifest(live))

    def manifest(self, live: bool | None = None) -> PromptManifest:
        """What the picture means."""
        return {
            **self.of_any_view(live),
            "kind": "prompt",
            "other": self.other(),
            "sides": [_side(side) for side in self.sides.values()],
            "pairs": None if self.comparison is None else self.pairs(self.comparison.alignment.pairs),
            "names": self._names(),
            "top_k": self.top_k,
            "d_vocab": self.data.d_vocab,
            "prepended": prepended(self.data),
        }

    def _names(self) -> list[TokenName]:
        """Of the candidates that cross; the prompts' own tokens have theirs in their tables."""
        names: dict[int, str] = {}
        for side in self.sides.values():
            for token in np.unique(side.top_ids[:, : self.top_k]).tolist():
                names[token] = side.names.get(token, str(token))
        return [{"id": token, "string": string} for token, string in sorted(names.items())]

    def _checks(self) -> list[CheckValue]:
        checks = finite_checks(*(side.not_finite for side in self.sides.values()))
        error = worst(side.max_error for side in self.sides.values())
        if error is not None:
            label, detail = "tokens and candidates agree", f"max error {error:.0e}"
            checks.append({"label": label, "ok": error <= TOLERANCE, "detail": detail})
        return checks

    def _own_notes(self) -> list[str]:
        notes = []
        for side in self.sides.values():
            tokens = side.tokens
            if len(tokens) > 1 and not tokens.special[0]:
                notes.append(f"Nothing stands before “{tokens.strings[0].strip()}”, so it is not scored.")
        if self.top_k < min(side.top_k for side in self.sides.values()):
            notes.append(f"Of so many tokens only the {self.top_k} likeliest candidates each are shown.")
        return list(dict.fromkeys(notes))


def prepended(data: NextTokens) -> bool:
    """Whether a BOS token stands before the text that the user gave."""
    tokens = data.tokens
    return bool(
        len(tokens) and tokens.special[0] and tokens.text is not None and not tokens.text.startswith(tokens.strings[0])
    )


def _side(side: NextTokens) -> PromptSide:
    """Totals over every token but the first; the perplexity of none is sent as 0."""
    return {
        "tokens": token_table(side.tokens),
        "total": None if side.not_finite else _number(side.total_surprisal()),
        "scored": int(side.scored().sum()),
        "perplexity": None if side.not_finite else _number(side.perplexity()),
    }


def _number(value: float) -> float:
    """JSON has neither NaN nor infinity (a token that a mask forbids has infinite surprisal)."""
    return 0.0 if math.isnan(value) else min(value, 1e300)
