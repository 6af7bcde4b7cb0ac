"""Sparse coders: load, encode and decode, whatever format they are in."""

from mi_widgets.sae.architectures import ARCHITECTURES, from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.feature_index import Index
from mi_widgets.sae.indexing import index, index_steps, merge
from mi_widgets.sae.loading import load

__all__ = ["ARCHITECTURES", "Index", "SparseCoder", "from_weights", "index", "index_steps", "load", "merge"]
