"""What is looked at is a run: interventions and second runs in a session, and what one edit costs the other views."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch
import traitlets
from fake_view import FakeView

import mi_widgets as mw
from mi_widgets.errors import DataError, InterventionError, MiWidgetsError, ModelError, StaleWarning
from mi_widgets.session import Need, Session
from mi_widgets.session.passes import Ran

PATTERN, STREAM, Z = "attn.hook_pattern", "hook_resid_post", "attn.hook_z"


class RunView(FakeView):
    """A view that compares the session's run with another."""

    def __init__(self, session, run=None, sites=(STREAM,), layers=None):
        self.run = run
        super().__init__(session, sites, layers=layers)

    def session_needs(self):
        runs = {"A": self.session.filled()} | ({} if self.run is None else {"B": self.session.filled(self.run)})
        return [Need(name, run, self.sites, layers=self.layers) for name, run in runs.items()]

    def array(self, side="A", site=STREAM):
        return self.drawn[side].activations.arrays[site]


def by_hand(model, prompt, head=None, layer=1, width=None):
    """The residual stream after each block, one head's z zeroed by TransformerLens's own hooks."""

    def zero(value, hook):
        value[:, :, head] = 0
        return value

    hooks = [] if head is None else [(f"blocks.{layer}.{Z}", zero)]
    kept = {}
    hooks += [
        (f"blocks.{block}.{STREAM}", lambda value, hook, block=block: kept.__setitem__(block, value[0].clone()))
        for block in range(model.cfg.n_layers)
    ]
    with torch.no_grad():
        model.run_with_hooks(model.to_tokens(prompt), fwd_hooks=hooks)
    return torch.stack([kept[block] for block in range(model.cfg.n_layers)]).numpy()


class TestInterventions:
    """`session.interventions`: every view shows the changed run."""

    def test_every_view_shows_the_changed_run_after_one_pass(self, model):
        session = Session(model, "w3 w4 w5")
        views = [RunView(session), RunView(session)]
        passes = session.passes
        session.interventions = [mw.Ablate(layer=1, head=2)]
        session.wait()
        assert session.passes == passes + 1
        expected = by_hand(model, "w3 w4 w5", head=2)
        for view in views:
            assert np.allclose(view.array(), expected, atol=1e-5)
            assert view.drawn["A"].activations.interventions == (mw.Ablate(layer=1, head=2),)
            assert view.log[-1][0] == "draws"

    def test_taken_away_the_untouched_run_is_found_again(self, model):
        session = Session(model, "w3 w4 w5")
        view = RunView(session)
        before = view.array()
        session.interventions = mw.Ablate(layer=1, head=2)
        assert session.interventions == (mw.Ablate(layer=1, head=2),)
        session.interventions = []
        assert session.passes == 2
        assert view.array() is before
        assert np.array_equal(before, by_hand(model, "w3 w4 w5"))

    def test_may_be_given_as_the_session_is_made(self, model):
        session = Session(model, "w3 w4", interventions=[mw.Ablate(layer=0, head=1)])
        assert np.allclose(RunView(session).array(), by_hand(model, "w3 w4", head=1, layer=0), atol=1e-5)

    @pytest.mark.parametrize(
        "wrong",
        ["ablate", [3], mw.Ablate(layer=9, head=0), [mw.Ablate(layer=0, head=99)],
         mw.Intervention("blocks.0.attn.hook_zz", print), mw.Run()],
        ids=repr,
    )  # fmt: skip
    def test_wrong_ones_are_refused_at_once_and_the_old_ones_stay(self, wrong, model):
        session = Session(model, "w3", interventions=[mw.Ablate(layer=0, head=1)])
        view = RunView(session)
        before, log = session.interventions, list(view.log)
        with pytest.raises(traitlets.TraitError) as refusal:
            session.interventions = wrong
        assert isinstance(refusal.value, MiWidgetsError)
        assert refusal.value.hint
        assert session.interventions == before
        assert view.log == log

    def test_views_are_told(self, model):
        session = Session(model, "w3")
        view = RunView(session)
        session.interventions = [mw.Ablate(layer=0, head=1)]
        assert ("changed", "interventions") in view.log

    def test_what_they_rest_on_are_passes_of_the_session(self, model):
        session = Session(model, "w3 w4")
        view = RunView(session)
        reference = ["w5 w6", "w7 w8"]
        session.interventions = [mw.Ablate(layer=1, head=0, by="mean", reference=reference)]
        assert session.passes == 4  # the prompt, two of the reference, the changed
        assert any("mean over 2" in note for note in view.notes)
        session.prompt = "w9 w10"
        assert session.passes == 5  # the reference is known

    def test_another_layer_of_the_same_source_needs_no_pass_for_it(self, model, monkeypatch):
        session = Session(model, "w3 w4")
        view = RunView(session)
        for passes, layer in ((3, 0), (4, 1)):  # the source and the changed run, then that alone
            session.interventions = [mw.Patch("resid_pre", layer=layer, position=1, source="w5 w6")]
            assert session.passes == passes
        alone = RunView(Session(model, "w3 w4", interventions=session.interventions))
        assert np.array_equal(view.array(), alone.array())
        monkeypatch.setattr("mi_widgets.session.passes.SOURCE_BYTES", 0)
        session.refresh()
        session.interventions = [mw.Patch("resid_pre", layer=0, position=1, source="w5 w6")]
        assert session.passes == 8  # of a large one the layer alone is kept

    def test_refresh_makes_what_they_rest_on_anew(self, model):
        session = Session(model, "w3 w4", interventions=[mw.Ablate(layer=1, head=0, by="mean")])
        view = RunView(session)
        model.original_model.model.layers[0].mlp.down_proj.weight.data.mul_(2)  # unseen
        session.refresh()
        again = RunView(Session(model, "w3 w4", interventions=session.interventions))
        assert np.array_equal(view.array(), again.array())

    def test_what_is_said_of_them_is_said_of_a_cached_picture_too(self, model):
        session = Session(model, "w3 w4")
        view = RunView(session)
        session.interventions = [mw.Ablate(layer=1, head=0, by="mean")]
        said = view.notes
        session.compute([view])
        assert said
        assert view.notes == said

    def test_stop_comes_between_the_passes_they_rest_on(self, in_loop, model):
        async def main():
            session = Session(model, "w3 w4")
            view = RunView(session)
            session.wait()
            lengths = []

            def stop(value, hook):
                lengths.append(value.shape[1])
                session.stop()

            model.add_hook("blocks.1.hook_resid_pre", stop)
            session.interventions = [mw.Ablate(layer=1, head=0, by="mean", reference=["w5 w6 w7", "w7 w8 w8 w9"])]
            while session.runner.busy:
                await asyncio.sleep(0)
            assert view.log[-1] == ("stops",)
            assert 5 not in lengths  # the second of the reference was not run

        in_loop(main)

    def test_the_users_own_exception_is_raised_and_the_model_is_clean(self, model):
        session = Session(model, "w3 w4")
        view = RunView(session)
        hooks = {name: len(point.fwd_hooks) for name, point in model.hook_dict.items()}
        called = []

        def mine(activation, hook):
            called.append(hook.name)
            raise ZeroDivisionError("mine")

        session.interventions = [mw.Intervention(f"blocks.1.{Z}", mine)]
        with pytest.raises(InterventionError, match=r"mine.*ZeroDivisionError"):
            session.wait()
        assert len(called) == 1  # for whichever views: once
        assert view.log[-1] == ("fails", "InterventionError")
        assert {name: len(point.fwd_hooks) for name, point in model.hook_dict.items()} == hooks
        session.interventions = []
        session.wait()

    def test_the_users_own_exception_leaves_views_of_other_runs(self, in_loop, model):
        async def main():
            session = Session(model, "w3 w4")

            def mine(activation, hook):
                raise ZeroDivisionError("mine")

            session.interventions = [mw.Intervention(f"blocks.1.{Z}", mine)]
            bad, good = RunView(session), RunView(session)
            good.session_needs = lambda: [Need("A", session.filled(mw.Run(interventions=[])), (STREAM,))]
            with pytest.raises(InterventionError):
                session.wait()
            assert bad.log[-1] == ("fails", "InterventionError")
            assert good.log[-1][0] == "draws"

        in_loop(main)


class TestSecondRun:
    """A run beside the session's: what it leaves out follows the session."""

    def test_the_untouched_one_beside_the_changed_one(self, model):
        session = Session(model, "w3 w4", interventions=[mw.Ablate(layer=1, head=0)])
        view = RunView(session, mw.Run(interventions=[]))
        assert np.allclose(view.array("A"), by_hand(model, "w3 w4", head=0), atol=1e-5)
        assert np.array_equal(view.array("B"), by_hand(model, "w3 w4"))
        session.prompt = "w5 w6"
        assert np.array_equal(view.array("B"), by_hand(model, "w5 w6"))
        assert view.drawn["B"].run.interventions == ()

    def test_a_prompt_has_the_sessions_interventions(self, model):
        session = Session(model, "w3 w4", interventions=[mw.Ablate(layer=1, head=0)])
        view = RunView(session, "w5 w6")
        assert np.allclose(view.array("B"), by_hand(model, "w5 w6", head=0), atol=1e-5)
        session.interventions = []
        assert np.array_equal(view.array("B"), by_hand(model, "w5 w6"))

    def test_two_equal_runs_are_one_pass(self, model):
        session = Session(model, "w3 w4")
        RunView(session, mw.Run(interventions=[]))
        assert session.passes == 1

    def test_another_model_is_run_as_itself(self, model, tiny_model):
        other = tiny_model("llama")
        with torch.no_grad():
            other.original_model.model.layers[0].mlp.down_proj.weight.mul_(0.5)
        session = Session(model, "w3 w4")
        view = RunView(session, mw.Run(model=other))
        assert session.passes == 2
        assert np.array_equal(view.array("A"), by_hand(model, "w3 w4"))
        assert np.array_equal(view.array("B"), by_hand(other, "w3 w4"))
        assert view.drawn["B"].run.model is other
        session.compute([view])
        assert session.passes == 2  # both are known
        with torch.no_grad():
            other.original_model.model.layers[0].mlp.down_proj.weight.mul_(0.5)
        session.compute([view])
        assert session.passes == 3  # the other has changed
        assert np.array_equal(view.array("B"), by_hand(other, "w3 w4"))

    def test_one_of_another_shape_is_refused_at_once(self, model, tiny_model):
        session = Session(model, "w3 w4")
        with pytest.raises(ModelError, match="cannot be compared"):
            mw.Attention(session, compare=mw.Run(model=mw.load_demo()))
        with pytest.raises(ModelError):
            session.compared(mw.Run(model="gpt2"))
        with pytest.raises(DataError):
            session.compared(mw.Run(interventions=[mw.Ablate(layer=7, head=0)]))


class TestApart:
    """Sessions on one model do not mix."""

    def test_two_sessions_on_one_model_with_different_interventions(self, model):
        sessions = [Session(model, "w3 w4", interventions=[mw.Ablate(layer=1, head=head)]) for head in (0, 2)]
        views = [RunView(session) for session in sessions]
        for session in sessions:
            session.prompt = "w5 w6 w7"
        for view, head in zip(views, (0, 2), strict=True):
            assert np.allclose(view.array(), by_hand(model, "w5 w6 w7", head=head), atol=1e-5)

    def test_also_where_their_passes_pause_for_each_other(self, in_loop, model, monkeypatch):
        monkeypatch.setattr("mi_widgets.session.passes.LARGE_SECONDS", -1.0)

        async def main():
            sessions = [Session(model, "w3 w4", interventions=[mw.Ablate(layer=1, head=head)]) for head in (0, 2)]
            sessions.append(Session(model, "w3 w4"))
            views = [RunView(session) for session in sessions]
            order = []
            for session in sessions:
                step = session.runner._step
                monkeypatch.setattr(
                    session.runner, "_step",
                    lambda job, interruptible, step=step, session=session: order.append(sessions.index(session))
                    or step(job, interruptible),
                )  # fmt: skip
                monkeypatch.setattr("mi_widgets.session.runner.SLICE_SECONDS", -1.0)  # yields after every step
            while any(session.runner.busy for session in sessions):
                await asyncio.sleep(0)
            assert order != sorted(order)  # they took turns
            for view, head in zip(views, (0, 2, None), strict=True):
                assert np.allclose(view.array(), by_hand(model, "w3 w4", head=head), atol=1e-5)
            assert [session.passes for session in sessions] == [1, 1, 1]
            for session, view in zip(sessions, views, strict=True):
                session.compute([view])
                session.wait()
            assert [session.passes for session in sessions] == [1, 1, 1]  # nobody's hooks were taken for a change

        monkeypatch.setattr(
            "mi_widgets.session.runner.Job.rank", property(lambda job: (not job.cancelled, job.priority, 0, job.number))
        )
        in_loop(main)


class TestLayers:
    """A pass keeps of each site the layers that some view wants of it."""

    def test_attention_of_one_layer_beside_all_of_the_stream(self, in_loop, model):
        async def main():
            session = Session(model, "w3 w4")
            attention, stream = RunView(session, sites=(PATTERN,), layers=(0,)), RunView(session)
            session.wait()
            assert session.passes == 1
            kept = {key[1]: (rows, array.shape[0]) for (key, rows), array in session._cache._entries.items()}
            assert kept == {PATTERN: ((0,), 1), STREAM: ((0, 1), 2)}
            assert attention.drawn["A"].activations.layers == (0,)
            assert set(attention.drawn["A"].activations.arrays) == {PATTERN}
            assert stream.drawn["A"].activations.layers == (0, 1)

        in_loop(main)

    def test_fewer_layers_are_found_among_more(self, model):
        session = Session(model, "w3 w4")
        every = RunView(session)
        one = RunView(session, layers=(1,))
        assert session.passes == 1
        assert np.array_equal(one.array(), every.array()[1:])

    def test_more_layers_take_the_place_of_fewer(self, model):
        session = Session(model, "w3 w4")
        RunView(session, layers=(1,))
        held = session.cache_bytes
        RunView(session)
        assert session.passes == 2
        assert session.cache_bytes == 2 * held

    def test_layers_may_be_said_by_site(self, model):
        session = Session(model, "w3 w4")
        view = RunView(session, sites={PATTERN: (1,), STREAM: None})
        found = view.drawn["A"].activations
        assert found.rows == {PATTERN: (1,), STREAM: (0, 1)}
        assert found.arrays[PATTERN].shape[0] == 1
        assert np.array_equal(found.arrays[STREAM], by_hand(model, "w3 w4"))

    def test_two_views_that_watch_one_site_in_a_pass_both_see_it(self, in_loop, model):
        seen = []

        def watching(view, name):
            def needs():
                reader = {STREAM: lambda layer, _value: seen.append((name, layer))}
                return [Need("A", view.session.filled(), (STREAM,), lambda: reader)]

            view.session_needs = needs

        async def main():
            session = Session(model, "w3 w4")
            for name in ("first", "second"):
                watching(FakeView(session), name)
            session.wait()

        in_loop(main)
        assert seen == [(name, layer) for layer in range(2) for name in ("first", "second")]


def test_another_model_is_never_taken_for_one_that_is_gone(model):
    class Model:
        pass

    tokens, gone = Session(model, "w3 w4").tokens, Model()
    kept = {Ran(mw.Run(gone, "w3 w4", ()), tokens, "alike").key: "its activations"}
    del gone
    for _ in range(20):
        assert Ran(mw.Run(Model(), "w3 w4", ()), tokens, "alike").key not in kept


def test_a_direction_of_another_width_is_refused_where_it_is_set(model):
    session = mw.Session(model, "w3 w4")
    with pytest.raises(traitlets.TraitError, match="7 numbers"):
        session.interventions = [mw.Add(np.ones(7), layer=1)]
    assert session.interventions == ()


def test_old_numbers_are_announced_every_time(model):
    session = mw.Session(model, "w3 w4")
    view = mw.Prompt(session)
    view.wait()
    session.interventions = [mw.Intervention("blocks.0.hook_resid_pre", lambda value, hook: value[:, :0])]
    for _ in range(3):
        with pytest.warns(StaleWarning, match="not current"):
            _ = view.data
