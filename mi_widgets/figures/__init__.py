"""Results on paper: data in, plotly figures and files out.

Knows nothing of models, torch, widgets or sessions. Names load on first use, so that the small notebook previews
do not wait for plotly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mi_widgets.figures.attention import attention_figure, preview_png, preview_svg
    from mi_widgets.figures.coder_comparison import coder_comparison_figure
    from mi_widgets.figures.export import save_figure
    from mi_widgets.figures.logit_attribution import (
        attribution_preview_png,
        attribution_preview_svg,
        logit_attribution_figure,
    )
    from mi_widgets.figures.logit_lens import lens_preview_png, lens_preview_svg, logit_lens_figure
    from mi_widgets.figures.next_tokens import next_tokens_figure, next_tokens_preview_png, next_tokens_preview_svg
    from mi_widgets.figures.patching import patching_figure
    from mi_widgets.figures.superposition import superposition_figure

_HOMES = {
    "attention_figure": "attention",
    "attribution_preview_png": "logit_attribution",
    "attribution_preview_svg": "logit_attribution",
    "coder_comparison_figure": "coder_comparison",
    "lens_preview_png": "logit_lens",
    "lens_preview_svg": "logit_lens",
    "logit_attribution_figure": "logit_attribution",
    "logit_lens_figure": "logit_lens",
    "next_tokens_figure": "next_tokens",
    "next_tokens_preview_png": "next_tokens",
    "next_tokens_preview_svg": "next_tokens",
    "patching_figure": "patching",
    "preview_png": "attention",
    "preview_svg": "attention",
    "save_figure": "export",
    "superposition_figure": "superposition",
}

__all__ = [
    "attention_figure",
    "attribution_preview_png",
    "attribution_preview_svg",
    "coder_comparison_figure",
    "lens_preview_png",
    "lens_preview_svg",
    "logit_attribution_figure",
    "logit_lens_figure",
    "next_tokens_figure",
    "next_tokens_preview_png",
    "next_tokens_preview_svg",
    "patching_figure",
    "preview_png",
    "preview_svg",
    "save_figure",
    "superposition_figure",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
