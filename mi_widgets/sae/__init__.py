"""Sparse coders: load, encode and decode, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.loading import load
from mi_widgets.sae.training import Training, train, train_on, train_steps

__all__ = ["ARCHITECTURES", "SparseCoder", "Training", "from_weights", "load", "train", "train_on", "train_steps"]
