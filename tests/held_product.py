"""A product with the unembedding that is held up, so that a test sees what happens meanwhile."""

from __future__ import annotations

import threading


class Gate:
    """Holds the product with the unembedding up on every thread but the main one, until it is opened; then it may
    raise `error`."""

    def __init__(self, model):
        self.reached, self.opened, self.error = threading.Event(), threading.Event(), None
        self._product, self._multiply = model.unembed.original_component, model.unembed.original_component.forward
        self._product.forward = self

    def __call__(self, residual):
        if threading.current_thread() is not threading.main_thread():
            self.reached.set()
            assert self.opened.wait(20)
            if self.error is not None:
                raise self.error
        return self._multiply(residual)

    def remove(self):
        del self._product.forward
