"""Sparse coders: load, save, train, encode and decode, index, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.cross_layer import CoderSet, CrossLayerTranscoder, TranscoderSet
from mi_widgets.sae.feature_index import Index
from mi_widgets.sae.indexing import index, index_steps, merge
from mi_widgets.sae.loading import load
from mi_widgets.sae.saving import save
from mi_widgets.sae.training import Training, train, train_on, train_steps

__all__ = [
    "ARCHITECTURES",
    "CoderSet",
    "CrossLayerTranscoder",
    "Index",
    "SparseCoder",
    "Training",
    "TranscoderSet",
    "from_weights",
    "index",
    "index_steps",
    "load",
    "merge",
    "save",
    "train",
    "train_on",
    "train_steps",
]
