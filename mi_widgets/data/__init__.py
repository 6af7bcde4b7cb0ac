"""What a result is: frozen records with named axes, readable without a model, torch or a widget."""

from mi_widgets.data.alignment import Alignment, align
from mi_widgets.data.attention import (
    WEIGHTINGS,
    AttentionComparison,
    AttentionPatterns,
    attention_mask,
    patterns_from_arrays,
)
from mi_widgets.data.scores import prompt_scores
from mi_widgets.data.selection import Selection
from mi_widgets.data.store import load, save
from mi_widgets.data.tokens import Tokens, visible

__all__ = [
    "WEIGHTINGS",
    "Alignment",
    "AttentionComparison",
    "AttentionPatterns",
    "Selection",
    "Tokens",
    "align",
    "attention_mask",
    "load",
    "patterns_from_arrays",
    "prompt_scores",
    "save",
    "visible",
]
