"""A pass that is heard within one block: it runs on a thread of its own, in turns with the generator that drives it.

Of the two threads one stands still whenever the other may touch the model: the pass goes as far as the next block and
waits there, the model's lock given back and its flags as they were, until the generator is asked for its next step. So
the user may run the same model in each pause, hooked or not. Where no hook of anyone's can fire (in the product with
the unembedding, which costs as much as several blocks, and after the pass) it goes on by itself; it is *free*.

Who closes the generator, or interrupts it, waits until the pass has come to its pause and put everything back, which
it does itself. A pass that is free is not waited for where an event loop runs: it puts everything back as soon as it
comes out of its product, and until then its hooks act on nobody else's pass. Runs no model, and knows nothing of what
is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch.utils.hooks import RemovableHandle

from mi_widgets.compute.step import Step, Steps
from mi_widgets.compute.undisturbed import train_again
from mi_widgets.models import OWN_HOOK, fingerprint, lock_of, modules_of
from mi_widgets.workers import Work

Result = TypeVar("Result")

#: A step lasts no longer than this while the pass is free or another thread's pass is waited for.
TURN_SECONDS = 0.05


class AtOnce:
    """The pace of a pass that runs to its end on the thread that asks for it, without a pause."""

    def __init__(self) -> None:
        self._seconds, self._since = 0.0, time.perf_counter()
        #: Hooks were put on the model while the pass was under way, or its own taken off.
        self.disturbed = False
        #: Says what is known when only the product with the unembedding is left; called then, on the thread of the
        #: pass, with whether the model is to be put back into training mode.
        self.so_far: Callable[[bool], Any] | None = None

    @property
    def seconds(self) -> float:
        """How long the pass has worked so far; pauses do not count."""
        return self._seconds + (time.perf_counter() - self._since if self._since else 0.0)

    def holding(self, model: Any) -> contextlib.AbstractContextManager[Any]:
        """A context manager: in it the model is this pass's alone, but for the pauses."""
        return lock_of(model)

    def attend(self, model: Any, training: list[torch.nn.Module], disturbed: Callable[[], bool]) -> None:
        """The pass begins: from here on it may pause.

        Args:
            model: a TransformerBridge that evaluates.
            training: the modules to be put back into training mode; kept up to date.
            disturbed: whether what is read is of no single model.
        """

    def settle(self) -> None:
        """The pass is over, however it ended: there are no more pauses, and what it changed may be put back."""

    def heard(self) -> None:
        """Between pieces of work that touch no model; raises where nobody waits for the result any more."""


class _Cancelled(BaseException):
    """Nobody waits for this pass any more. No `except Exception` of a model's holds it up."""


class _Bell:
    """Wakes the one who waits; rung twice is rung once. In one step each, so that no Ctrl-C can come between, as it
    can in `threading.Event`, which is Python code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it rings already
            self._lock.release()

    def wait(self) -> None:
        """At most one turn: what is waited for is a state, and a wait without end hears no Ctrl-C on Windows."""
        self._lock.acquire(timeout=TURN_SECONDS)


#: What the thread of the pass does: waits for its turn, has it, works where it touches no model, is over. It alone
#: changes this, but for the generator, which turns WAITS into RUNS.
WAITS, RUNS, FREE, DONE = "waits", "runs", "free", "done"


class Lockstep(AtOnce):
    """The pace of a pass that pauses before every block. Made by the generator; its methods are for the pass.

    Args:
        model: a TransformerBridge.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._since = 0.0
        self.model = model
        self.done, self.total = 0, int(model.cfg.n_layers) + 1
        self.state = WAITS
        self.cancelled = False
        #: What `so_far` said, until the generator hands it out.
        self.partial: Any = None
        self.turn, self.go = _Bell(), _Bell()  # for the generator, for the pass
        self._thread = 0
        self._lock = lock_of(model)
        self._held = False
        self._handles: list[Any] = []
        self._modules: list[torch.nn.Module] = []
        self._training: list[torch.nn.Module] = []

    def work(self, function: Callable[[Lockstep], Any], results: list[Any], errors: list[BaseException]) -> None:
        """All that the thread of the pass does: `function`, whose result or error goes into these lists."""
        try:
            self._wait()
            self.heard()
            results.append(function(self))
        except _Cancelled:
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            self._stand(DONE)

    @contextlib.contextmanager
    def holding(self, model: Any) -> Iterator[None]:  # noqa: ARG002
        """In it the model is this pass's alone, but for the pauses; afterwards the pass is free."""
        try:
            self._come_back()
            self.heard()
            yield
        finally:
            self._give(FREE)

    def attend(self, model: Any, training: list[torch.nn.Module], disturbed: Callable[[], bool]) -> None:
        """Pauses before each block, and is free in the product with the unembedding.

        The hooks are torch's, on whole modules: they come before every hook point of a block, and before and after
        those of the unembedding. Hooks that a user puts on hook points in a pause, and takes away, are so never seen.
        """
        self._thread = threading.get_ident()
        self._modules, self._training = modules_of(model), training
        self._made_of, self._hooks = fingerprint(model), RemovableHandle.next_id

        # Torch forgets that a hook takes the named arguments as soon as it is removed, even where it calls it still: in
        # another pass, which was in its own pause before this block when this one ended.
        def block(_module: Any, given: tuple[Any, ...], named: Mapping[str, Any] = MappingProxyType({})) -> None:
            if self._thread == threading.get_ident():
                self._block((*given, named.get("hidden_states")))

        def leave(*_given: Any) -> None:
            if self._thread == threading.get_ident():
                if self.so_far is not None and not disturbed():
                    self.partial = self.so_far(bool(self._training))
                self.so_far = None
                self._give(FREE)

        def come_back(*_given: Any) -> None:
            if self._thread == threading.get_ident():
                self._go_on()

        for hook in (block, leave, come_back):
            hook.__name__ = OWN_HOOK
        stacks = [child for name, child in model.named_children() if name.endswith("blocks")]
        blocks = dict.fromkeys(module for stack in stacks for module in stack.children())
        self.total = len(blocks) + 1
        for module in blocks:
            self._handles.append(module.register_forward_pre_hook(block, prepend=True, with_kwargs=True))
        unembed = getattr(model, "unembed", None)
        product = getattr(unembed, "original_component", None)
        if isinstance(product, torch.nn.Module) and not any(hasattr(part, "fwd_hooks") for part in product.modules()):
            self._handles.append(product.register_forward_pre_hook(leave))
            self._handles.append(product.register_forward_hook(come_back, prepend=True))
            self._handles.append(model.unembed.register_forward_hook(leave))

    def settle(self) -> None:
        """Has the model again; the pauses are over."""
        self._come_back()
        self._thread = 0  # of a copy of the model, made in a pause, these hooks are part for ever
        for handle in self._handles:
            handle.remove()

    def heard(self) -> None:
        """Raises where nobody waits for the pass any more."""
        if self.cancelled:
            raise _Cancelled

    def cancel(self) -> None:
        """Nobody waits for the pass any more."""
        self.cancelled = True
        self.go.ring()

    def _block(self, given: tuple[Any, ...]) -> None:
        """Pause before a block, and after it on the way back of the gradients, if there will be one."""
        self._pause()
        residual = next((one for one in given if isinstance(one, torch.Tensor)), None)
        if residual is not None and residual.requires_grad:
            self.total += 1
            residual.register_hook(self._gradient)

    def _gradient(self, _gradient: torch.Tensor) -> None:
        if self._thread == threading.get_ident():
            self._pause()

    def _pause(self) -> None:
        self._give(WAITS)
        self._go_on()
        self.done += 1

    def _go_on(self) -> None:
        """Have the model again, in evaluation mode whatever the user has made of it meanwhile."""
        self._come_back()
        self.heard()
        for module in self._modules:
            if module.training:
                self._training.append(module)
                module.training = False
        if RemovableHandle.next_id != self._hooks:  # somebody has put a hook somewhere
            self._hooks = RemovableHandle.next_id
            self.disturbed = self.disturbed or fingerprint(self.model) != self._made_of

    def _give(self, state: str) -> None:
        """Leave the model to others."""
        if self._held:
            train_again(self._training)
            self._training.clear()
            self._held = False
            self._lock.release()
            self._stand(state)

    def _come_back(self) -> None:
        """Have the turn and the model's lock; where another thread has that, hand over the turn meanwhile."""
        while not self._held:
            if self.state == FREE:
                self._stand(WAITS)
            self._wait()
            self._held = self._lock.acquire(timeout=TURN_SECONDS)
            if not self._held and self.cancelled:  # nobody is to wait for the other thread
                self._stand(FREE)
                self._held = self._lock.acquire()
                self.state = RUNS
            elif not self._held:
                self._stand(WAITS)

    def _wait(self) -> None:
        while self.state == WAITS and not self.cancelled:
            self.go.wait()
        self.state = RUNS
        self._since = self._since or time.perf_counter()

    def _stand(self, state: str) -> None:
        """Say what this thread does from here on, which is the generator's turn."""
        if state != FREE:
            self._seconds, self._since = self.seconds, 0.0
        self.state = state
        self.turn.ring()


def can_pause(model: Any) -> bool:
    """Whether a pass may run on a thread of its own: not where torch computes otherwise on the calling thread alone
    (autocast, modes that watch every operation), nor inside another pass on this thread, which has the model's lock."""
    device_type = next(iter(model.parameters())).device.type
    modes = torch._C._len_torch_function_stack() - (torch.get_default_device().type != "cpu")
    alike = modes <= 0 and not torch._C._len_torch_dispatch_stack() and not torch.is_autocast_enabled(device_type)
    return alike and not lock_of(model)._is_owned()


def in_lockstep(model: Any, function: Callable[[AtOnce], Result]) -> Steps[Result]:
    """`function(pace)` on a thread of its own, as steps.

    Every `next` lets it run to its next pause, or for one turn while it is free. What it raises is raised here. When it
    becomes free in the product, one step has what is known by then as its `partial`.

    Args:
        model: a TransformerBridge.
        function: works with the model in `with pace.holding(model)` alone.
    """
    pace = Lockstep(model)
    device = torch.get_default_device()  # is of this thread alone, as are the variables of contexts

    def there(pace: Lockstep) -> Result:
        with device if device.type != "cpu" else contextlib.nullcontext():
            return function(pace)

    results: list[Result] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()
    work = Work(lambda: context.run(pace.work, there, results, errors), "a pass of mi_widgets", pace.cancel)
    try:
        try:
            work.start()
            while pace.state != DONE:
                since = time.monotonic()
                if pace.state == WAITS:
                    pace.state = RUNS
                    pace.go.ring()
                while pace.state == RUNS or (
                    pace.state == FREE and pace.partial is None and time.monotonic() - since < TURN_SECONDS
                ):
                    pace.turn.wait()
                if pace.state != DONE:
                    partial, pace.partial = pace.partial, None
                    yield Step(pace.done, pace.total, partial)
        finally:
            _end(pace, work)
    finally:
        _end(pace, work)  # a Ctrl-C may have come as the first began
    if errors:
        error = errors.pop()
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    return results.pop()


def _end(pace: Lockstep, work: Work) -> None:
    """The pass is over, or will be by itself; a Ctrl-C meanwhile is heard afterwards."""
    interrupted: KeyboardInterrupt | None = None
    while True:
        try:
            pace.cancel()
            while work.is_alive() and not _may_be_left(pace, work):
                if pace.state == DONE:
                    work.join()
                else:
                    pace.turn.wait()
            break
        except KeyboardInterrupt as reason:
            interrupted = reason
    if interrupted is not None:
        raise interrupted


def _may_be_left(pace: Lockstep, work: Work) -> bool:
    """Whether nobody may wait for the pass: it is free and a loop would be held; or this very thread holds what it
    waits for (it was ended inside another pass, or as rubbish, on whichever thread that was found)."""
    if threading.current_thread() is work.thread or lock_of(pace.model)._is_owned():
        return True
    return pace.state == FREE and asyncio._get_running_loop() is not None
