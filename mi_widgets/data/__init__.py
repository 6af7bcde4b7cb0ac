"""What a result is: frozen records with named axes, readable without a model, torch or a widget."""

from mi_widgets.data.alignment import Alignment, align
from mi_widgets.data.attention import (
    WEIGHTINGS,
    AttentionComparison,
    AttentionPatterns,
    attention_mask,
    patterns_from_arrays,
)
from mi_widgets.data.coder_comparison import CoderComparison
from mi_widgets.data.coder_interventions import Clamp, Splice
from mi_widgets.data.feature_dashboard import FeatureDashboard
from mi_widgets.data.features import FeatureActivations
from mi_widgets.data.interventions import Ablate, Add, Change, Intervention, Patch, Run
from mi_widgets.data.logit_attribution import AttributionRow, LogitAttribution
from mi_widgets.data.logit_attribution_comparison import LogitAttributionComparison
from mi_widgets.data.logit_lens import LogitLens
from mi_widgets.data.logit_lens_comparison import LogitLensComparison
from mi_widgets.data.next_tokens import Continuation, NextTokens, NextTokensComparison, next_tokens_from_logits
from mi_widgets.data.pairs import Pair, Pairs
from mi_widgets.data.patching import PatchGrid
from mi_widgets.data.paths import PathEffects
from mi_widgets.data.scores import prompt_scores
from mi_widgets.data.selection import Selection
from mi_widgets.data.store import load, save
from mi_widgets.data.superposition import Superposition
from mi_widgets.data.tokens import Tokens, visible

__all__ = [
    "WEIGHTINGS",
    "Ablate",
    "Add",
    "Alignment",
    "AttentionComparison",
    "AttentionPatterns",
    "AttributionRow",
    "Change",
    "Clamp",
    "CoderComparison",
    "Continuation",
    "FeatureActivations",
    "FeatureDashboard",
    "Intervention",
    "LogitAttribution",
    "LogitAttributionComparison",
    "LogitLens",
    "LogitLensComparison",
    "NextTokens",
    "NextTokensComparison",
    "Pair",
    "Pairs",
    "Patch",
    "PatchGrid",
    "PathEffects",
    "Run",
    "Selection",
    "Splice",
    "Superposition",
    "Tokens",
    "align",
    "attention_mask",
    "load",
    "next_tokens_from_logits",
    "patterns_from_arrays",
    "prompt_scores",
    "save",
    "visible",
]
