"""Sparse coders: load, save, encode and decode, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.cross_layer import CoderSet, CrossLayerTranscoder, TranscoderSet
from mi_widgets.sae.loading import load
from mi_widgets.sae.saving import save

__all__ = [
    "ARCHITECTURES",
    "CoderSet",
    "CrossLayerTranscoder",
    "SparseCoder",
    "TranscoderSet",
    "from_weights",
    "load",
    "save",
]
