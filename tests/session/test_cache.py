"""Activations are kept under a bound, and never outlive what they were computed from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_view import FakeView

from mi_widgets.errors import MiWidgetsError
from mi_widgets.session import Session
from mi_widgets.session.cache import ActivationCache


class TestCache:
    """Activations are kept under a bound, and never outlive what they were computed from."""

    def test_returning_to_a_prompt_costs_no_pass(self, model):
        session = Session(model, "w3")
        view = FakeView(session)
        first = view.drawn["A"].activations.arrays["attn.hook_pattern"]
        session.prompt = "w4"
        session.prompt = "w3"
        assert session.passes == 2
        assert view.drawn["A"].activations.arrays["attn.hook_pattern"] is first

    def test_only_missing_sites_are_run(self, model):
        session = Session(model, "w3")
        FakeView(session)
        both = FakeView(session, ("attn.hook_pattern", "attn.hook_v"))
        assert session.passes == 2
        assert set(both.drawn["A"].activations.arrays) == {"attn.hook_pattern", "attn.hook_v"}

    @pytest.mark.parametrize("change", ["weights", "hook", "swapped hook"])
    def test_a_changed_model_is_run_again(self, change, model):
        if change == "swapped hook":
            model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value + 1)
        session = Session(model, "w3 w4 w5")
        view = FakeView(session)
        before = view.drawn["A"].activations.arrays["attn.hook_pattern"].copy()
        if change == "weights":
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(0.5)
        else:
            model.reset_hooks()
            model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value.flip(-1))
        session.compute([view])
        assert session.passes == 2
        assert not np.allclose(view.drawn["A"].activations.arrays["attn.hook_pattern"], before)

    def test_refresh_forgets(self, model):
        session = Session(model, "w3")
        view = FakeView(session)
        session.refresh()
        assert session.passes == 2
        assert view.log[-1][0] == "draws"

    def test_the_bound_is_seen_and_set(self, model):
        session = Session(model, "w3", cache_limit=10_000_000)
        FakeView(session)
        used = session.cache_bytes
        assert used > 0
        for number in range(4, 12):
            session.prompt = f"w{number}"
        assert session.cache_bytes == 9 * used
        session.cache_limit = 3 * used
        assert session.cache_bytes == 3 * used
        with pytest.raises(MiWidgetsError, match="negative"):
            session.cache_limit = -1

    def test_least_recently_used_goes_first(self):
        cache = ActivationCache(200)
        arrays = {name: np.zeros(100, np.uint8) for name in "abc"}
        cache.put("a", arrays["a"])
        cache.put("b", arrays["b"])
        assert cache.get("a") is arrays["a"]
        cache.put("c", arrays["c"])
        assert cache.get("b") is None
        assert cache.get("a") is arrays["a"]
        assert cache.nbytes == 200

    def test_the_newest_is_kept_even_alone_over_the_bound(self):
        cache = ActivationCache(0)
        cache.put("a", np.zeros(10))
        cache.put("b", np.zeros(10))
        assert cache.get("a") is None
        assert cache.get("b") is not None

    def test_one_position_is_taken_from_the_whole_site(self, model):
        session = Session(model, "w3 w4 w5")
        whole = FakeView(session)
        single = FakeView(session, ("attn.hook_pattern@2",))
        assert session.passes == 1
        expected = whole.drawn["A"].activations.arrays["attn.hook_pattern"][:, :, 2]
        assert np.array_equal(single.drawn["A"].activations.arrays["attn.hook_pattern@2"], expected)
