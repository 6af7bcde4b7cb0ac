"""A pass that pauses: exact whatever happens in its pauses, and gone without a trace wherever it is ended."""

from __future__ import annotations

import _thread
import contextvars
import copy
import gc
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress

import numpy as np
import pytest
import tiny_models
import torch
from held_product import Gate
from interrupted import Interrupted
from model_state import state_of

from mi_widgets.compute import lockstep
from mi_widgets.compute.forward import Write, forward, forward_steps
from mi_widgets.compute.lockstep import DONE, FREE, in_lockstep
from mi_widgets.compute.output import LAST_LOGITS, OUTPUT_SITES
from mi_widgets.errors import ModelError
from mi_widgets.models import fingerprint, lock_of
from mi_widgets.workers import under_way

IDS, OTHERS = np.arange(3, 20), np.arange(40, 62)
SITES = ("attn.hook_pattern", "attn.hook_attn_scores", "hook_resid_post", "ln_final.hook_scale")
EVERY = (*SITES, *OUTPUT_SITES, LAST_LOGITS)
ARCHITECTURES = [*tiny_models.CONFIGS, "demo"]


@pytest.fixture(params=ARCHITECTURES)
def each_model(request, tiny_model):
    """Each architecture in turn, after one pass: transformers installs hooks of its own in the first."""
    model = request.getfixturevalue("demo_model") if request.param == "demo" else tiny_model(request.param)
    forward(model, IDS, ("hook_resid_post",))
    return model


@pytest.fixture
def small(model):
    """A tiny Llama after one pass."""
    forward(model, IDS, ("hook_resid_post",))
    return model


def pausing(model, ids=IDS, sites=EVERY, **named):
    return forward_steps(model, ids, sites, pausing=True, **named)


def driven(steps, in_pause=lambda: None):
    """The result, and the steps; `in_pause` is called in every pause."""
    made = []
    while True:
        try:
            made.append(next(steps))
        except StopIteration as finished:
            return finished.value, made
        in_pause()


def same(found, wanted):
    return list(found.arrays) == list(wanted.arrays) and all(
        np.array_equal(found.arrays[site], wanted.arrays[site], equal_nan=True) for site in wanted.arrays
    )


def workers():
    return [work for work in under_way() if work.name == "a pass of mi_widgets"]


def double(activation, _first):
    return activation * 2


class TestItsResult:
    def test_is_that_of_a_pass_at_once(self, each_model):
        before, seen = state_of(each_model), []
        named = dict(
            layers={"attn.hook_pattern": (1,), "attn.hook_attn_scores": None},
            writes=[Write("blocks.0.hook_resid_post", double), Write("blocks.1.attn.hook_z", double)],
        )
        named["readers"] = {"hook_resid_pre": lambda layer, activation: seen.append((layer, activation.sum().item()))}
        wanted = forward(each_model, IDS, EVERY, **named)
        alone, seen[:] = list(seen), []
        found, _ = driven(pausing(each_model, **named))
        assert same(found, wanted) and found.layers == wanted.layers and found.rows == wanted.rows
        assert seen == alone
        assert state_of(each_model) == before and workers() == []

    def test_comes_after_a_step_before_every_block_and_while_it_is_free(self, each_model):
        _, steps = driven(pausing(each_model))
        blocks = each_model.cfg.n_layers
        assert [step.done for step in steps[:blocks]] == list(range(blocks))
        assert {(step.done, step.total) for step in steps[blocks:]} == {(blocks, blocks + 1)}

    def test_is_refused_as_at_once(self, small):
        with pytest.raises(ModelError, match="has no attn"):
            driven(pausing(small, sites=("attn.hook_nothing",)))
        assert workers() == []

    def test_says_how_long_the_pass_worked_without_its_pauses(self, small, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(lockstep.time, "perf_counter", lambda: now[0])

        def pass_time(seconds):
            now[0] += seconds

        readers = {"hook_resid_post": lambda _layer, _activation: pass_time(3.0)}
        found, _ = driven(pausing(small, readers=readers), lambda: pass_time(100.0))
        assert 6.0 <= found.seconds < 6.0 + 100.0 * 4 and found.seconds % 100 == 6.0
        assert forward(small, IDS, SITES, readers=readers).seconds == 6.0

    def test_is_computed_as_the_caller_does(self, small):
        said, variable = [], contextvars.ContextVar("said", default="nothing")

        def read(_layer, _activation):
            said.append((variable.get(), torch.is_grad_enabled(), torch.get_num_threads(), threading.get_ident()))

        variable.set("something")
        driven(pausing(small, readers={"hook_resid_post": read}))
        assert {(*those[:3],) for those in said} == {("something", False, torch.get_num_threads())}
        assert threading.get_ident() not in {those[3] for those in said}

    def test_is_made_at_once_where_torch_computes_otherwise_on_this_thread(self, small):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wanted = forward(small, IDS, SITES)
            found, steps = driven(pausing(small, sites=SITES))
        assert same(found, wanted) and steps == []

    def test_is_made_at_once_inside_another_pass(self, small):
        with lock_of(small):
            _, steps = driven(pausing(small))
        assert steps == []


class TestInAPause:
    def test_the_user_runs_the_same_model_exactly(self, each_model):
        tokens = torch.tensor(OTHERS)[None]
        hooks = [
            (f"blocks.{layer}.{name}", lambda activation, hook: activation + 0.5)
            for layer in range(each_model.cfg.n_layers)
            for name in ("hook_in", "attn.hook_pattern", "hook_resid_post")
        ] + [("unembed.hook_in", lambda activation, hook: activation * 3)]

        def by_hand():
            with torch.no_grad():
                _, cache = each_model.run_with_cache(tokens)
                return [each_model(tokens), each_model.run_with_hooks(tokens, fwd_hooks=hooks), *cache.values()]

        wanted, alone, different = forward(each_model, IDS, EVERY), by_hand(), []

        def compare():
            different.extend(
                number
                for number, (got, own) in enumerate(zip(by_hand(), alone, strict=True))
                if not torch.equal(got.nan_to_num(), own.nan_to_num())
            )

        before = state_of(each_model)
        found, steps = driven(pausing(each_model), compare)
        assert len(steps) > each_model.cfg.n_layers
        assert different == []
        assert same(found, wanted)
        assert state_of(each_model) == before

    def test_hooks_that_the_user_puts_there_and_takes_away_see_nothing_of_the_pass(self, small):
        wanted, seen = forward(small, IDS, EVERY), []
        steps = pausing(small)

        def put_and_take():
            for point in small.hook_dict.values():
                point.add_hook(lambda activation, hook: seen.append(hook.name))
            small.reset_hooks()

        found, _ = driven(steps, put_and_take)
        assert same(found, wanted) and seen == []

    def test_another_pass_of_ours_is_exact_and_takes_no_hook_of_this_one_away(self, each_model):
        wanted, other = forward(each_model, IDS, EVERY), forward(each_model, OTHERS, EVERY)
        others = []
        found, _ = driven(pausing(each_model), lambda: others.append(forward(each_model, OTHERS, EVERY)))
        assert same(found, wanted)
        assert others and all(same(one, other) for one in others)

    def test_two_paused_passes_take_turns(self, each_model):
        write = [Write("blocks.0.hook_resid_post", double)]
        before = state_of(each_model)
        wanted = forward(each_model, IDS, EVERY), forward(each_model, OTHERS, EVERY, writes=write)
        first, second, found = pausing(each_model), pausing(each_model, OTHERS, writes=write), []
        next(first)
        while len(found) < 2:
            for steps in (second, first):
                try:
                    next(steps)
                except StopIteration as finished:
                    if finished.value is not None:
                        found.append(finished.value)
        by_length = sorted(found, key=lambda one: one.arrays["output.entropy"].size)
        assert same(by_length[0], wanted[0]) and same(by_length[1], wanted[1])
        assert state_of(each_model) == before

    def test_what_the_user_sees_of_the_model_is_as_before(self, small):
        small.train()
        small.blocks[0].eval()
        known, flags = fingerprint(small), state_of(small)["training"]
        seen, taken = [], []

        def take():
            taken.append(lock_of(small).acquire(timeout=5))
            lock_of(small).release()

        def look():
            seen.append((fingerprint(small), state_of(small)["training"]))
            other = threading.Thread(target=take)
            other.start()
            other.join()

        found, _ = driven(pausing(small), look)
        assert seen and all(one == (known, flags) for one in seen)
        assert taken and all(taken)
        assert found.was_training and state_of(small)["training"] == flags

    def test_training_mode_is_the_users_to_set(self, tiny_model):
        model = tiny_model("gpt2")  # with dropout
        wanted = forward(model, IDS, EVERY)
        found, _ = driven(pausing(model), lambda: model.train())
        assert same(found, wanted) and not found.was_training
        assert all(module.training for module in model.original_model.modules())

    def test_a_copy_of_the_model_has_no_part_in_the_pass(self, small):
        steps = pausing(small)
        next(steps)
        next(steps)
        twin = copy.deepcopy(small)
        found, _ = driven(steps)
        wanted = forward(small, IDS, EVERY)
        for _ in range(5):  # on threads that may have the number of the first
            assert same(driven(pausing(twin, OTHERS))[0], forward(small, OTHERS, EVERY))
        assert same(found, wanted)


class TestEnded:
    def test_at_any_pause_it_leaves_nothing(self, each_model):
        each_model.train()
        each_model.blocks[0].eval()
        before = state_of(each_model)
        _, steps = driven(pausing(each_model))
        for count in range(len(steps) + 1):
            ended = pausing(each_model)
            for _ in range(count):
                next(ended, None)  # how often it is found free is a matter of time
            ended.close()
            assert state_of(each_model) == before, count
            assert workers() == [], count
        each_model.eval()

    def test_as_rubbish_it_leaves_nothing(self, small):
        before, steps = state_of(small), pausing(small)
        next(steps)
        assert state_of(small) != before
        del steps
        gc.collect()
        assert state_of(small) == before and workers() == []

    def test_by_an_error_of_a_hook_it_raises_that_with_its_own_traceback(self, small):
        def hook_of_the_users(activation, hook):
            raise ValueError("stop")

        for name in (
            "hook_embed",
            "blocks.0.hook_in",
            "blocks.1.hook_resid_post",
            "unembed.hook_in",
            "unembed.hook_out",
        ):
            small.add_hook(name, hook_of_the_users)
            before = state_of(small)
            with pytest.raises(ValueError, match="stop") as raised:
                driven(pausing(small))
            assert "hook_of_the_users" in "".join(traceback.format_tb(raised.value.__traceback__))
            assert state_of(small) == before and workers() == []
            small.reset_hooks()

    @pytest.mark.parametrize("by", ["raising", "signal"])
    def test_by_an_interrupt_in_any_block_it_leaves_nothing(self, small, by):
        def interrupt(activation, hook):
            if by == "raising":
                raise KeyboardInterrupt
            _thread.interrupt_main()

        small.train()
        for name in (
            "hook_embed",
            "blocks.0.hook_in",
            "blocks.1.hook_in",
            "blocks.1.hook_resid_post",
            "unembed.hook_out",
        ):
            small.add_hook(name, interrupt)
            before = state_of(small)
            with pytest.raises(KeyboardInterrupt):
                driven(pausing(small))
            assert state_of(small) == before and workers() == [], name
            small.reset_hooks()

    def test_by_an_interrupt_at_any_line_it_leaves_nothing(self, small):
        before = state_of(small)
        with Interrupted() as counted:
            driven(pausing(small))
        assert counted.lines > 50
        for at in range(1, counted.lines + 1, max(1, counted.lines // 80)):
            with suppress(KeyboardInterrupt), Interrupted(at):
                driven(pausing(small))
            for work in workers():  # interrupted as it started, it ends without having touched the model
                work.join(5)
            assert state_of(small) == before, at

    def test_by_a_second_interrupt_while_it_ends_it_leaves_nothing(self, small):
        class WhileItEnds(Interrupted):
            def _called(self, frame, event, argument):
                return self._line if frame.f_code.co_name in {"_end", "_may_be_left"} else None

        small.add_hook("blocks.1.hook_in", lambda activation, hook: _thread.interrupt_main())
        before = state_of(small)
        for at in range(1, 12):
            with pytest.raises(KeyboardInterrupt), WhileItEnds(at):
                driven(pausing(small))
            assert state_of(small) == before and workers() == [], at

    # Python drops an interrupt that comes while it forgets a thread, and says so.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_by_real_interrupts_at_random_moments_it_leaves_nothing(self, small):
        small.train()
        before, draw, heard = state_of(small), np.random.default_rng(0), 0
        known = signal.signal(signal.SIGALRM, signal.default_int_handler)
        for _ in range(60):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, float(draw.uniform(1e-4, 0.02)))
                    driven(pausing(small))
                finally:  # it may come here too, as the alarm is called off
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                heard += 1
            assert state_of(small) == before
            for work in workers():  # interrupted as it started, it ends without having touched the model
                work.join(5)
        signal.signal(signal.SIGALRM, known)
        assert heard > 5


class TestInTheProductWithTheUnembedding:
    @pytest.fixture
    def gate(self, small):
        gate = Gate(small)
        yield gate
        gate.remove()

    def until_there(self, steps, gate):
        while not gate.reached.is_set():
            next(steps)

    def test_every_step_ends_and_the_user_runs_the_model(self, small, gate):
        tokens = torch.tensor(OTHERS)[None]
        wanted, known, own = forward(small, IDS, EVERY), fingerprint(small), small(tokens)
        steps = pausing(small)
        self.until_there(steps, gate)
        for _ in range(3):
            assert next(steps).done == small.cfg.n_layers
            assert torch.equal(small(tokens), own)
            assert torch.equal(
                small.run_with_hooks(tokens, fwd_hooks=[("unembed.hook_out", lambda logits, hook: logits * 2)]), own * 2
            )
            assert same(forward(small, IDS, EVERY), wanted)
            assert fingerprint(small) == known
        gate.opened.set()
        assert same(driven(steps)[0], wanted)

    def test_what_is_read_by_then_is_handed_out_without_outputs(self, small, gate):
        wanted, steps = forward(small, IDS, EVERY), pausing(small)
        while (part := next(steps).partial) is None:
            assert not gate.opened.is_set()
        assert gate.reached.wait(20) and not gate.opened.is_set()
        assert list(part.arrays) == list(SITES) and (part.layers, part.rows) == (wanted.layers, wanted.rows)
        for site in SITES:
            assert np.array_equal(part.arrays[site], wanted.arrays[site], equal_nan=True), site
        gate.opened.set()
        found, later = driven(steps)
        assert same(found, wanted)
        assert [step.partial for step in later] == [None] * len(later)

    def test_what_was_read_of_a_disturbed_pass_is_not_handed_out_or_taken_back(self, small, gate):
        gate.opened.set()
        for before in range(small.cfg.n_layers + 1):
            small.reset_hooks(including_permanent=True)
            steps = pausing(small)
            for _ in range(before):
                next(steps)
            small.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value * 2)
            _, later = driven(steps)
            assert [list(step.partial.arrays) for step in later if step.partial is not None] == (
                [[]] if before else [list(SITES)]
            )

    def test_a_hook_put_there_meanwhile_is_not_called_before_the_next_step(self, small, gate):
        steps, seen = pausing(small), []
        self.until_there(steps, gate)
        (work,) = workers()
        pace = work.at_exit.__self__
        small.add_hook("unembed.hook_out", lambda logits, hook: seen.append(1))
        gate.opened.set()
        while pace.state == FREE:
            pace.turn.wait()
        assert seen == [] and pace.state != DONE
        small.reset_hooks()
        driven(steps)
        assert seen == []

    def test_ended_without_a_loop_it_is_waited_for(self, small, gate):
        before, steps = state_of(small), pausing(small)
        self.until_there(steps, gate)
        threading.Timer(0.1, gate.opened.set).start()
        steps.close()
        assert state_of(small) == before and workers() == []

    def test_ended_in_a_loop_it_holds_nobody_and_ends_by_itself(self, small, gate, in_loop):
        wanted, before, steps = forward(small, OTHERS, EVERY), state_of(small), pausing(small)

        async def main():
            self.until_there(steps, gate)
            steps.close()
            assert len(workers()) == 1
            return forward(small, OTHERS, EVERY)

        assert same(in_loop(main), wanted)
        gate.opened.set()
        for work in workers():
            work.join(20)
        assert state_of(small) == before and workers() == []

    def test_an_error_there_leaves_nothing(self, small):
        def fail(_residual):
            raise MemoryError

        product, before = small.unembed.original_component, state_of(small)
        product.forward = fail
        with pytest.raises(MemoryError):
            driven(pausing(small))
        del product.forward
        assert state_of(small) == before and workers() == []


class TestThreads:
    def test_a_pass_of_another_thread_holds_no_step_up(self, small):
        wanted = forward(small, IDS, EVERY)
        held, release = threading.Event(), threading.Event()

        def hold():
            with lock_of(small):
                held.set()
                assert release.wait(20)

        steps = pausing(small)
        next(steps)
        other = threading.Thread(target=hold)
        other.start()
        assert held.wait(20)
        assert [next(steps).done for _ in range(3)] == [0, 0, 0]
        release.set()
        other.join()
        assert same(driven(steps)[0], wanted)

    def test_that_drive_passes_of_their_own_get_their_own_numbers(self, small):
        wanted = {ids.size: forward(small, ids, EVERY) for ids in (IDS, OTHERS)}
        different, finished, switch = [], [], sys.getswitchinterval()

        def work(ids):
            for number in range(40):
                steps = pausing(small, ids)
                if number % 3 == 0:
                    next(steps)
                    next(steps)
                    steps.close()
                elif not same(driven(steps)[0], wanted[ids.size]):
                    different.append(ids.size)
            finished.append(ids.size)

        before = state_of(small)
        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=work, args=(ids,)) for ids in (IDS, OTHERS, IDS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(switch)
        assert different == [] and len(finished) == 3
        assert state_of(small) == before and workers() == []


def test_gradients_on_their_way_back_pause_at_every_block(small):
    tokens, found = torch.tensor(IDS)[None], []
    embedding = small.original_model.get_input_embeddings().original_component.weight

    def of_the_embedding():
        return torch.autograd.grad(small(tokens).square().sum(), embedding)[0]

    def whole(pace):
        with pace.holding(small):
            pace.attend(small, [], lambda: False)
            try:
                found.append(of_the_embedding())
            finally:
                pace.settle()

    alone, before = of_the_embedding(), state_of(small)
    _, steps = driven(in_lockstep(small, whole), lambda: found.append(of_the_embedding()))
    assert len(found) > 4 and all(torch.equal(one, alone) for one in found)
    assert [step.done for step in steps if step.total == 5][-2:] == [2, 3]  # five: two blocks, there and back
    assert state_of(small) == before


def test_python_ends_while_a_pass_computes(tiny_folder):
    code = f"""
import numpy as np, torch
from mi_widgets.models import load_model
from mi_widgets.compute.forward import forward_steps
model = load_model({str(tiny_folder("llama"))!r})
product = model.unembed.original_component
multiply, square = product.forward, torch.rand(400, 400)
product.forward = lambda residual: [multiply(residual) for _ in range(100) if square.matmul(square) is not None][-1]
steps = forward_steps(model, np.arange(3, 9), ("output.entropy",), pausing=True)
print([next(steps).done for _ in range(3)])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "[0, 1, 2]"), ended.stderr


def test_a_pass_whose_own_hooks_are_taken_off_in_a_pause_is_made_again(small):
    writes = [Write("blocks.1.hook_resid_post", lambda activation, _first: activation * 0)]
    wanted = forward(small, IDS, EVERY, writes=writes)
    steps = pausing(small, writes=writes)
    next(steps)
    small.reset_hooks(including_permanent=True)
    assert same(driven(steps)[0], wanted)


def test_a_hook_that_hangs_on_the_model_only_between_two_pauses_leaves_no_trace(small):
    wanted, before = forward(small, IDS, EVERY), state_of(small)
    steps = pausing(small)
    next(steps)
    small.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value * 0)
    next(steps)
    small.reset_hooks()
    assert same(driven(steps)[0], wanted)
    assert state_of(small) == before


def test_hooks_that_come_and_go_within_a_pause_do_not_make_it_again(small):
    plain = small.forward
    passes = []

    def counted(*given, **named):
        passes.append(given)
        return plain(*given, **named)

    small.forward = counted
    try:
        tokens = torch.tensor(OTHERS)[None]
        driven(pausing(small), lambda: small.run_with_hooks(tokens, fwd_hooks=[("blocks.0.hook_resid_pre", looks_on)]))
        ours = [given for given in passes if given[0].shape[1] == len(IDS)]
        assert len(ours) == 1
    finally:
        del small.forward


def looks_on(_value, hook):
    return None
