"""Sparse coders: load, encode and decode, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.loading import load

__all__ = ["ARCHITECTURES", "SparseCoder", "from_weights", "load"]
