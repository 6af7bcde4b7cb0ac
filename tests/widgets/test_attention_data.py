"""The attention explorer's data: what comes in from anywhere, and what leaves as tables, files, pages and recipes."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pytest
import torch
from made_patterns import softmax

import mi_widgets as mw
from mi_widgets.data import load
from mi_widgets.errors import DataError, ModelError
from mi_widgets.wire.blocks import unpack


class TestFromData:
    """Arrays that the user already has."""

    @pytest.mark.parametrize("axes", [2, 3, 4])
    @pytest.mark.parametrize("kind", ["numpy", "torch", "bfloat16", "lists"])
    def test_every_form(self, axes, kind):
        array = softmax()[(0,) * (4 - axes)]
        given = {
            "numpy": array,
            "torch": torch.from_numpy(array),
            "bfloat16": torch.from_numpy(array).bfloat16(),
            "lists": array.tolist(),
        }[kind]
        view = mw.Attention.from_data(given, list("abcde"))
        assert view.data.shape == (1,) * (4 - axes) + array.shape
        assert np.abs(view.data.values.reshape(array.shape) - array).max() < (5e-3 if kind == "bfloat16" else 1e-7)
        assert unpack(view.picture)[0]["live"] is False

    def test_bidirectional_and_nan(self):
        array = softmax(causal=False)
        array[0, 0, 1, 4] = np.nan
        view = mw.Attention.from_data(array)
        assert not view.data.causal
        _, found, _ = unpack(view.focus)
        assert np.isnan(found["head/A/0.0"][1, 4])

    @pytest.mark.parametrize(
        ("given", "options", "says"),
        [
            (softmax()[..., :4], {}, "query axis"),
            (np.stack([softmax()] * 2, 1), {}, "batch axis"),
            (softmax(), {"tokens": list("ab")}, "position axis"),
            ("patterns", {}, "numbers"),
            (np.full((2, 2), np.inf), {}, "infinite"),
        ],
    )
    def test_wrong_shapes_name_the_axis(self, given, options, says):
        with pytest.raises(DataError, match=says):
            mw.Attention.from_data(given, **options)

    def test_a_result_knows_its_own_tokens(self, data_view):
        assert mw.Attention.from_data(data_view.data).data is data_view.data
        with pytest.raises(DataError, match="tokens"):
            mw.Attention.from_data(data_view.data, list("abcde"))

    def test_from_a_transformer_lens_cache(self, tiny_model):
        model = tiny_model("mistral")
        ids = model.to_tokens("w3 w4 w5 w6 w7 w8 w9")
        _, cache = model.run_with_cache(ids, names_filter=lambda name: name.endswith("attn.hook_pattern"))
        view = mw.Attention.from_cache(cache, ids)
        want = mw.compute.attention_patterns(model, ids)
        assert np.allclose(view.data.values, want.values, atol=1e-6)
        assert view.data.tokens.strings == want.tokens.strings
        assert view.data.windows == (5, 5)
        assert view.data.kv_heads == 2
        assert mw.Attention.from_cache(dict(cache.items())).data.shape == want.shape

    def test_a_cache_without_patterns_says_how_to_make_one(self, model):
        _, cache = model.run_with_cache("w3", names_filter=lambda name: name.endswith("hook_z"))
        with pytest.raises(DataError, match="names_filter"):
            mw.Attention.from_cache(cache)
        _, cache = model.run_with_cache(
            torch.tensor([[3, 4], [5, 6]]), names_filter=lambda name: name.endswith("attn.hook_pattern")
        )
        with pytest.raises(DataError, match="2 prompts"):
            mw.Attention.from_cache(cache)

    @pytest.mark.parametrize("source", [None, "gpt2", 3])
    def test_no_source_is_a_clear_error_and_leaves_nothing_behind(self, source):
        with pytest.raises((DataError, ModelError)):
            mw.Attention(source)
        with pytest.raises((DataError, ModelError)):
            mw.Attention(source, "prompt")
        gc.collect()  # a half-made view is closed on collection; an error there fails the test (pyproject)

    def test_a_session_with_a_prompt_is_refused(self, model):
        with pytest.raises(DataError, match="its own prompt"):
            mw.Attention(mw.Session(model, "w3"), "w4")


class TestScores:
    """The table by which the wall is sorted."""

    def test_the_models_scores_and_the_users_columns(self, model):
        mine = pd.DataFrame({"layer": [0, 1], "head": [2, 3], "probe": [0.5, 0.25], "induction": [9.0, 9.0]})
        view = mw.Attention(mw.Session(model, "w3 w4"), scores=mine, sort="probe")
        table = view.head_scores.set_index(["layer", "head"])
        assert table.loc[(0, 2), "probe"] == 0.5
        assert table["induction"].max() == 9  # the user's column wins, and is called the user's
        described = {column["name"]: column["description"] for column in unpack(view.picture)[0]["scores"]}
        assert "random sequences" in described["previous_token"]
        assert described["induction"] == described["probe"] == "A column of the table given."

    @pytest.mark.parametrize(
        "wrong",
        [
            {"layer": [0]},
            pd.DataFrame({"layer": [0], "x": [1]}),
            pd.DataFrame({"layer": [0, 0], "head": [1, 1], "x": [1, 2]}),
            pd.DataFrame({"layer": ["0"], "head": ["1"], "x": [1]}),
        ],
        ids=["dict", "no head", "twice", "text"],
    )
    def test_tables_that_cannot_sort_heads_are_refused(self, wrong):
        with pytest.raises(DataError, match="scores"):
            mw.Attention.from_data(softmax(), scores=wrong)


class TestLeaving:
    """Results as files, tables and code."""

    def test_tables_and_arrays_read_back(self, data_view, tmp_path):
        table = data_view.to_pandas()
        for path in (data_view.save(tmp_path / "x.csv"), data_view.save(tmp_path / "x.parquet")):
            again = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
            assert np.allclose(again["value"], table["value"])
            assert again["query_token"].tolist() == table["query_token"].tolist()
        assert np.array_equal(load(data_view.save(tmp_path / "x.npz")).base, data_view.data.base)

    def test_hostile_tokens_leave_whole(self, tmp_path):
        tokens = ["\ud800", "</script>", 'a,"b"\n', "🙂", "\x00"]
        view = mw.Attention.from_data(softmax(), tokens)
        for name in ("x.csv", "x.parquet", "x.npz"):
            assert view.save(tmp_path / name).stat().st_size > 0
        assert set(pd.read_parquet(tmp_path / "x.parquet")["query_token"]) == set(view.data.tokens.strings)

    def test_an_unknown_suffix_lists_the_known_ones(self, data_view, tmp_path):
        with pytest.raises(DataError, match=r"\.npz"):
            data_view.save(tmp_path / "x.docx")
        with pytest.raises(DataError, match="width_mm"):
            data_view.save(tmp_path / "x.csv", width_mm=83)

    @pytest.mark.parametrize("compare", [None, "w3 w5"])
    def test_a_recipe_makes_the_same_picture_again(self, compare, model):
        view = mw.Attention(
            mw.Session(model, "w3 w4 w5", prepend_bos=True),
            compare=compare,
            layers=[1],
            weighting="value",
            palette="amber",
        )
        view.selection = mw.Selection(layer=1, head=2, heads=((1, 3),))
        code = view.recipe()
        names = {}
        exec(code.rsplit("view.save", 1)[0], names)
        again = names["view"]
        assert np.array_equal(again.to_pandas()["value"], view.to_pandas()["value"])
        assert again.options == view.options
        assert again.selection == view.selection
        assert "transformer-lens" in code.splitlines()[0]

    def test_a_recipe_names_the_table_of_scores_that_it_cannot_make(self, model):
        scores = pd.DataFrame({"layer": [0], "head": [1], "mine": [2.0]})
        code = mw.Attention(mw.Session(model, "w3 w4"), scores=scores, sort="mine").recipe()
        assert "\n# scores: a DataFrame of your own, with columns layer and head\n" in code
        names = {"scores": scores}
        exec(code.rsplit("view.save", 1)[0], names)
        assert "mine" in names["view"].head_scores

    def test_a_recipe_of_data_reads_the_saved_file(self, data_view, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data_view.options = {"palette": "grey"}
        data_view.save("attention.npz")
        names = {}
        exec(data_view.recipe().rsplit("view.save", 1)[0], names)
        assert np.array_equal(names["view"].data.base, data_view.data.base)
        assert names["view"].options == data_view.options

    def test_frozen_state_keeps_the_heads_asked_for(self, view):
        state = view.frozen_state(heads=[(1, 2)])
        assert set(unpack(state["store"])[1]) == {"head/A/0.0", "head/A/1.2"}
        assert unpack(state["picture"])[0]["live"] is False
        assert state["status"]["state"] == "frozen"
        assert len(unpack(view.frozen_state()["store"])[1]) == 8
        for wrong in ("some", [(9, 9)]):
            with pytest.raises(DataError):
                view.frozen_state(heads=wrong)

    def test_one_offline_page(self, data_view, tmp_path, capsys):
        html = data_view.to_html(tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == html
        assert "page.html" in capsys.readouterr().out
        for needle in ("http://", "https://"):
            assert f'src="{needle}' not in html
        assert mw.save_html(tmp_path / "two.html", data_view, data_view).exists()

    def test_repr_is_stable(self, view, data_view):
        assert repr(data_view) == "<Attention: from data>"
        assert repr(view) == repr(view)
        assert "0x" not in repr(view)
