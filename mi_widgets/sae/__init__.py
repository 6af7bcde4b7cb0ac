"""Sparse coders: load, save, train, encode and decode, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.cross_layer import CoderSet, CrossLayerTranscoder, TranscoderSet
from mi_widgets.sae.loading import load
from mi_widgets.sae.saving import save
from mi_widgets.sae.training import Training, train, train_on, train_steps

__all__ = [
    "ARCHITECTURES",
    "CoderSet",
    "CrossLayerTranscoder",
    "SparseCoder",
    "Training",
    "TranscoderSet",
    "from_weights",
    "load",
    "save",
    "train",
    "train_on",
    "train_steps",
]
