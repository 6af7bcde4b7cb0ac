"""How results are computed: pure functions from a model and a prompt to data, usable without any widget."""

from mi_widgets.compute.ablation import ablate, ablate_steps
from mi_widgets.compute.attention import attention_patterns
from mi_widgets.compute.attribution_patching import attribution_patch, attribution_patch_steps
from mi_widgets.compute.coder_comparison import compare_coders, compare_coders_steps
from mi_widgets.compute.feature_dashboard import feature_dashboard
from mi_widgets.compute.features import features, features_steps
from mi_widgets.compute.head_scores import head_scores
from mi_widgets.compute.logit_attribution import logit_attribution
from mi_widgets.compute.logit_lens import logit_lens, logit_lens_comparison
from mi_widgets.compute.next_tokens import next_tokens
from mi_widgets.compute.patch_cost import PatchCost, patch_cost
from mi_widgets.compute.patching import patch, patch_steps
from mi_widgets.compute.path_patching import path_patch, path_patch_steps
from mi_widgets.compute.sampling import continued, nucleus, sample, sample_steps
from mi_widgets.compute.step import Step, run
from mi_widgets.compute.tuned_lens import TunedLens
from mi_widgets.compute.tuned_lens_training import train_tuned_lens

__all__ = [
    "PatchCost",
    "Step",
    "TunedLens",
    "ablate",
    "ablate_steps",
    "attention_patterns",
    "attribution_patch",
    "attribution_patch_steps",
    "compare_coders",
    "compare_coders_steps",
    "continued",
    "feature_dashboard",
    "features",
    "features_steps",
    "head_scores",
    "logit_attribution",
    "logit_lens",
    "logit_lens_comparison",
    "next_tokens",
    "nucleus",
    "patch",
    "patch_cost",
    "patch_steps",
    "path_patch",
    "path_patch_steps",
    "run",
    "sample",
    "sample_steps",
    "train_tuned_lens",
]
