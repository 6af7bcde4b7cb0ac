"""A Ctrl-C at any one line of what may leave something behind on a model, for tests that nothing is left."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformer_lens

import mi_widgets

OURS = str(Path(mi_widgets.__file__).parent / "compute")
THEIRS = (
    str(Path(transformer_lens.__file__).parent / "hook_points.py"),
    str(Path(transformer_lens.__file__).parent / "model_bridge" / "bridge_core.py"),
)
TORCHS = (
    str(Path(torch.__file__).parent / "autograd" / "grad_mode.py"),
    str(Path(torch.__file__).parent / "utils" / "_contextlib.py"),
)


class Interrupted:
    """Raises KeyboardInterrupt at the line that is number `at` of those run in a block; `lines` counts them."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.lines = at, 0

    def __enter__(self) -> Interrupted:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_reason: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame, event, argument):
        name = frame.f_code.co_filename
        return self._line if name.startswith(OURS) or name in THEIRS + TORCHS else None

    def _line(self, frame, event, argument):
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self._line
