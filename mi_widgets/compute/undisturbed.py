"""Computing with the user's model and leaving nothing behind: gradients off, modes put back, hooks taken away.

A Ctrl-C may come anywhere, also while something is put back. So everything is put back twice over, by functions that
may be called again, in a `finally` inside a `finally` of the very function that changed it; what a context manager of
Python's own would put back is lost when the interrupt comes as its exit begins. Runs no model.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch

from mi_widgets.compute.step import Step
from mi_widgets.models import OWN_HOOK

Given = ParamSpec("Given")
Result = TypeVar("Result")

#: Sets the mode of this thread in one step that no Ctrl-C can come between; `torch.set_grad_enabled` is Python code.
set_gradients = torch._C._set_grad_enabled


def without_gradients(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`function` without a graph; the mode of the calling thread is as before afterwards, also after Ctrl-C."""
    return _in_mode(function, False)


def with_gradients(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`function` with a graph, also where the caller has none, or is in inference mode; the mode of the calling thread
    is as before afterwards, also after Ctrl-C."""
    inner = _in_mode(function, True)

    @functools.wraps(function)
    def run(*given: Given.args, **named: Given.kwargs) -> Result:
        if not torch.is_inference_mode_enabled():
            return inner(*given, **named)
        with torch.inference_mode(False):
            return inner(*given, **named)

    return run


def learning(steps: Generator[Step, None, Result]) -> Generator[Step, None, Result]:
    """`steps` of something that learns, each outside of inference mode, where nothing can; the caller, who may be in
    it, is again so at every step."""
    try:
        while True:
            with torch.inference_mode(False):
                try:
                    step = next(steps)
                except StopIteration as finished:
                    return finished.value
            yield step
    finally:
        steps.close()


def _in_mode(function: Callable[Given, Result], gradients: bool) -> Callable[Given, Result]:
    @functools.wraps(function)
    def run(*given: Given.args, **named: Given.kwargs) -> Result:
        before = torch.is_grad_enabled()
        try:
            try:
                set_gradients(gradients)
                return function(*given, **named)
            finally:
                set_gradients(before)
        finally:
            set_gradients(before)

    return run


def evaluate(modules: Sequence[torch.nn.Module]) -> None:
    """Clear every module's own flag; past torch's `__setattr__`, which takes as long as a block of a small model."""
    for module in modules:
        vars(module)["training"] = False


def train_again(modules: Sequence[torch.nn.Module]) -> None:
    """Set every module's own flag; a Ctrl-C meanwhile is heard when all stand."""
    interrupted: KeyboardInterrupt | None = None
    while True:
        try:
            for module in modules:
                vars(module)["training"] = True
            break
        except KeyboardInterrupt as reason:
            interrupted = reason
    if interrupted is not None:
        raise interrupted


class OwnHook:
    """A hook of ours. It acts on the thread that made it alone: a pass of the user's on another is theirs.

    Args:
        act: called with the activation of the one prompt, without its batch axis and without a graph.
        runs: it is called with the activations of all runs, `[run, position, …]`, instead.
    """

    def __init__(self, act: Callable[[torch.Tensor], None], runs: bool = False) -> None:
        self._act, self._runs, self._thread = act, runs, threading.get_ident()

    def __repr__(self) -> str:
        """The name that TransformerLens gives the function it makes of this hook."""
        return OWN_HOOK

    def __deepcopy__(self, _memo: Any) -> OwnHook:
        """A copy of the model, made while a pass of ours is in a pause, carries this very hook for ever."""
        return self

    def retire(self) -> None:
        """The pass is over: acts no more."""
        self._thread = 0

    def __call__(self, activation: torch.Tensor, hook: Any = None) -> None:  # noqa: ARG002
        """As TransformerLens calls it."""
        if threading.get_ident() == self._thread:
            self._act((activation if self._runs else activation[0]).detach())


class OwnWrite(OwnHook):
    """A hook of ours that puts something in place of the activation; also on its own thread alone.

    Args:
        act: called with the activation `[run, position, …]` and the place in the prompt of its first position; what it
            returns stands instead.
        first: that place.
    """

    def __init__(self, act: Callable[[torch.Tensor, int], torch.Tensor | None], first: int = 0) -> None:
        super().__init__(lambda _activation: None)
        self._write, self._first = act, first

    def __call__(self, activation: torch.Tensor, hook: Any = None) -> torch.Tensor | None:  # type: ignore[override]  # noqa: ARG002
        """As TransformerLens calls it."""
        if threading.get_ident() != self._thread:
            return None
        return self._write(activation, self._first)


def take_away(points: Iterable[Any], hooks: Iterable[OwnHook]) -> None:
    """Remove those of `hooks` that still hang on these hook points, however far they had been put there.

    Others' stay, and those of another pass of ours, which may be in a pause.
    """
    own = {id(hook): hook for hook in hooks}
    for hook in own.values():
        hook.retire()
    for point in points:
        for held in [held for held in point.fwd_hooks if id(getattr(held, "user_hook", None)) in own]:
            with contextlib.suppress(ValueError):  # changed meanwhile by a thread of the user's
                point.fwd_hooks.remove(held)
        for number, function in list(point._forward_hooks.items()):
            if any(_holds(cell, own) for cell in getattr(function, "__closure__", None) or ()):
                point._forward_hooks.pop(number, None)


def _holds(cell: Any, own: Container[int]) -> bool:
    try:
        return id(cell.cell_contents) in own
    except ValueError:  # empty: a name that a hook of the user's closes over and that has no value yet
        return False
