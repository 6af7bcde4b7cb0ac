"""Sparse coders: load, save, encode and decode, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.cross_layer import CoderSet, CrossLayerTranscoder, TranscoderSet
from mi_widgets.sae.feature_index import Index
from mi_widgets.sae.indexing import index, index_steps, merge
from mi_widgets.sae.loading import load
from mi_widgets.sae.saving import save

__all__ = [
    "ARCHITECTURES",
    "CoderSet",
    "CrossLayerTranscoder",
    "Index",
    "SparseCoder",
    "TranscoderSet",
    "from_weights",
    "index",
    "index_steps",
    "load",
    "merge",
    "save",
]
