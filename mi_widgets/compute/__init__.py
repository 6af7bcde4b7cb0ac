"""How results are computed: pure functions from a model and a prompt to data, usable without any widget."""

from mi_widgets.compute.attention import attention_patterns
from mi_widgets.compute.head_scores import head_scores
from mi_widgets.compute.step import Step, run

__all__ = ["Step", "attention_patterns", "head_scores", "run"]
