"""An index of features is made once, whole or not at all, gone on with, reused, merged from shards, and asked."""

import json
import resource
import shutil
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from random_coder import D_SAE, brute_force, coder, corpus

from mi_widgets import compute, sae
from mi_widgets.compute import coded_corpus
from mi_widgets.errors import DataError, ExportError
from mi_widgets.sae import indexing
from mi_widgets.sae.index_files import read_table, write_state

#: Of float64, so that they hang on the order in their last bits.
SUMS = {"sum", "sum_of_squares"}


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    from mi_widgets.models import load_model

    return load_model(tiny_folder("llama"))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    small(monkeypatch)


def small(patch):
    """Many batches and blocks in a small corpus."""
    patch.setattr(coded_corpus, "BLOCK_TOKENS", 200)
    patch.setitem(coded_corpus.BATCH_TOKENS, "cpu", 128)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Made in one go; not to be written to."""
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        return sae.index(tiny, coder(), corpus(), tmp_path_factory.mktemp("whole"))


def same(one, other, sums=0.0):
    """Assert that two indices hold the same."""
    for name in ("features", "examples", "together", "vocabulary"):
        mine, theirs = (read_table(index.folder, index.manifest, name) for index in (one, other))
        assert mine.keys() == theirs.keys()
        for column, values in mine.items():
            if column in SUMS and sums:
                np.testing.assert_allclose(values, theirs[column], rtol=sums, err_msg=column)
            else:
                np.testing.assert_equal(values, theirs[column], err_msg=f"{name}.{column}")
    for name in ("counted", "corpus", "coder", "reading", "keeping"):
        mine, theirs = one.manifest[name], other.manifest[name]
        assert {k: v for k, v in mine.items() if k != "name"} == {k: v for k, v in theirs.items() if k != "name"}


def stopped(steps, after):
    """Take so many steps, and close them."""
    for _, _step in zip(range(after), steps, strict=False):
        pass
    steps.close()


# --- what it holds ---------------------------------------------------------------------------------------


def test_features_equal_a_pass_by_brute_force(tiny, whole):
    acts, _ = brute_force(tiny, coder(), corpus())
    table = whole.features
    active = acts != 0
    assert table["feature"].tolist() == list(range(D_SAE))
    assert table["n_active"].tolist() == active.sum(0).tolist()
    assert whole.n_tokens == len(acts) and whole.n_texts == 40
    np.testing.assert_allclose(table["density"], active.mean(0))
    np.testing.assert_allclose(table["sum"], acts.sum(0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(table["sum_of_squares"], (acts.astype(np.float64) ** 2).sum(0), rtol=1e-5)
    often = active.sum(0) > 0
    np.testing.assert_allclose(table["max_activation"][often], acts.max(0)[often], rtol=1e-5)
    np.testing.assert_allclose(table["mean_activation"][often], (acts.sum(0)[often] / active.sum(0)[often]), rtol=1e-5)
    assert table[["max_activation", "mean_activation"]][~often].isna().all().all()


def test_its_dashboards_are_those_made_without_an_index(tiny, whole):
    for one in compute.feature_dashboard(tiny, coder(), corpus(), [0, 3, 7]):
        kept = whole.dashboard(one.feature)
        for name in ("examples", "histogram", "intervals", "logits", "neighbours", "correlated", "neurons"):
            pd.testing.assert_frame_equal(getattr(kept, name), getattr(one, name))
        np.testing.assert_array_equal(kept.window_activations, one.window_activations)
        assert (kept.notes, kept.names, kept.n_together) == (one.notes, one.names, one.n_together)


def test_a_feature_is_opened_in_less_than_a_third_of_a_second(whole):
    index = sae.Index(whole.folder)
    start = time.process_time()
    index.dashboard(5)
    assert time.process_time() - start < 0.3


def test_a_feature_that_is_not_there_is_refused(whole):
    with pytest.raises(DataError, match="feature 24 does not exist"):
        whole.dashboard(24)


# --- where it is, and when it is made --------------------------------------------------------------------


def test_it_stands_beside_the_coder_and_is_reused_for_the_same_texts_alone(tiny, tmp_path, monkeypatch):
    sae_folder = tmp_path / "coder"
    mine = coder()
    mine.folder = sae_folder
    first = sae.index(tiny, mine, corpus(8))
    assert first.folder == sae_folder / "index-1"
    other = sae.index(tiny, mine, corpus(9))
    assert other.folder == sae_folder / "index-2"
    monkeypatch.setattr(indexing, "statistics_of", None)  # no pass is made
    assert sae.index(tiny, mine, corpus(8)).folder == first.folder
    assert sae.index(tiny, mine, corpus(9)).folder == other.folder


def test_a_coder_without_a_folder_has_one_as_long_as_the_index_lives(tiny):
    index = sae.index(tiny, coder(), corpus(3))
    folder = index.folder
    assert (folder / "manifest.json").is_file()
    del index
    assert not folder.exists()


def test_texts_are_the_same_in_a_list_a_parquet_file_and_a_dataset(stories, tmp_path):
    import datasets

    texts = ["One day, a girl", "Once upon a time", "", "The dog ran. " * 20]
    mine = coder(d_in=64)
    index = sae.index(stories, mine, texts, tmp_path / "index")
    assert index.n_texts == 4
    table = pd.DataFrame({"number": range(4), "text": texts})
    table.to_parquet(tmp_path / "texts.parquet")
    for others in (str(tmp_path / "texts.parquet"), tmp_path / "texts.parquet", datasets.Dataset.from_pandas(table),
                   datasets.Dataset.from_pandas(table).to_iterable_dataset(), table["text"]):  # fmt: skip
        again = sae.index(stories, mine, others, tmp_path / "index")
        assert again.manifest == index.manifest
    with pytest.raises(DataError, match=r"texts\.parquet has no column 'story'"):
        sae.index(stories, mine, tmp_path / "texts.parquet", tmp_path / "index", column="story")


def test_a_folder_with_another_index_is_left_as_it_is(tiny, whole):
    with pytest.raises(DataError, match=r"other texts \(40 texts, 5 texts\)|other texts \(5 texts, 40 texts\)"):
        sae.index(tiny, coder(), corpus(5), whole.folder)
    with pytest.raises(DataError, match="other coders"):
        sae.index(tiny, coder(seed=1), corpus(), whole.folder)
    with pytest.raises(DataError, match=r"other length \(10, 64\)"):
        sae.index(tiny, coder(), corpus(), whole.folder, length=10)
    assert sae.index(tiny, coder(), corpus(), whole.folder).manifest == whole.manifest


def test_other_weights_are_another_model(tiny_model, whole):
    model = tiny_model("llama")
    model.W_E.data.mul_(1.5)
    with pytest.raises(DataError, match="other models"):
        sae.index(model, coder(), corpus(), whole.folder)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "no texts"),
        ("one text", "one string"),
        ((text for text in ["a"]), "read once only"),
        ([[5], []], "no token that"),
    ],
)
def test_texts_that_cannot_be_indexed_are_refused(tiny, tmp_path, texts, said):
    with pytest.raises(DataError, match=said):
        sae.index(tiny, coder(), texts, tmp_path / "index")


# --- interrupted, refused, damaged -----------------------------------------------------------------------


@pytest.mark.parametrize("after", [2, 6, 12])
def test_gone_on_with_after_an_interruption_it_equals_one_made_in_one_go(tiny, whole, tmp_path, after):
    stopped(sae.index_steps(tiny, coder(), corpus(), tmp_path), after)
    with pytest.raises(DataError, match="unfinished"):
        sae.Index(tmp_path)
    same(sae.index(tiny, coder(), corpus(), tmp_path), whole)


def test_interrupted_at_every_batch_it_goes_on_and_equals_one_made_in_one_go(tiny, whole, tmp_path, monkeypatch):
    read = []

    def interrupted(*given):
        read.append(None)
        if len(read) % 9 == 0:
            raise KeyboardInterrupt
        return was(*given)

    was = coded_corpus._read
    monkeypatch.setattr(coded_corpus, "_read", interrupted)
    index = None
    for _ in range(30):
        try:
            index = sae.index(tiny, coder(), corpus(), tmp_path)
            break
        except KeyboardInterrupt:
            continue
    same(index, whole)
    assert len(read) > 12


def test_a_crash_loses_what_came_since_the_last_state_on_disk(tiny, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(indexing, "SAVE_SHARE", 0.0)
    steps = sae.index_steps(tiny, coder(), corpus(), tmp_path / "running")
    states = set()
    for _ in range(12):
        next(steps)
        manifest = json.loads(text) if (text := _text(tmp_path / "running" / "manifest.json")) else None
        if manifest and manifest["place"]["read"] not in states:
            states.add(manifest["place"]["read"])
            shutil.copytree(tmp_path / "running", tmp_path / f"crashed-{manifest['place']['read']}")
    assert len(states) > 2
    for read in states:
        same(sae.index(tiny, coder(), corpus(), tmp_path / f"crashed-{read}"), whole)
    steps.close()


def _text(path):
    return path.read_text() if path.exists() else ""


def test_a_full_disk_loses_nothing(tiny, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(indexing, "SAVE_SHARE", 0.0)
    steps = sae.index_steps(tiny, coder(), corpus(), tmp_path)
    for _ in range(8):
        next(steps)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(ExportError, match="cannot write"):
            compute.run(steps)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    same(sae.index(tiny, coder(), corpus(), tmp_path), whole)


@pytest.mark.parametrize("line", range(0, 100, 5))
def test_ctrl_c_at_any_line_of_the_writing_leaves_an_index_that_can_be_gone_on_with(tiny, whole, tmp_path, line):
    """In its own folder beside the finished one, whose tables are written once more."""
    shutil.copytree(whole.folder, tmp_path / "index")
    reached = []

    def traced(frame, event, argument):
        if not frame.f_code.co_filename.endswith("index_files.py"):
            return None
        if event == "line":
            reached.append(frame.f_lineno)
            if len(reached) == line + 1:
                raise KeyboardInterrupt
        return traced

    features = read_table(whole.folder, whole.manifest, "features")
    rest = {name: value for name, value in whole.manifest.items() if name not in {"tables", "kind", "schema"}}
    sys.settrace(traced)
    try:
        write_state(tmp_path / "index", {"features": features}, rest)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    same(sae.Index(tmp_path / "index"), whole)
    sae.Index(tmp_path / "index").dashboard(1)


def test_a_folder_that_cannot_be_written_to_is_heard_of_before_the_pass(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(indexing, "statistics_of", None)
    with pytest.raises(ExportError, match="cannot make the folder"):
        sae.index(tiny, coder(), corpus(), tmp_path / "file" / "index")


@pytest.mark.parametrize("name", ["features", "examples", "together", "vocabulary"])
@pytest.mark.parametrize("how", ["cut", "gone", "changed"])
def test_a_damaged_table_is_named(whole, tmp_path, name, how):
    folder = tmp_path / "index"
    shutil.copytree(whole.folder, folder)
    path = folder / whole.manifest["tables"][name]["file"]
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if how == "cut" else b"PAR1" + bytes(len(content) - 8) + b"PAR1")
    with pytest.raises(DataError, match=r"damaged.*Delete that folder"):
        sae.merge([folder], tmp_path / "merged")

    def look():
        index = sae.Index(folder)
        return index.sql("select * from together") if name == "together" else index.dashboard(0)

    with pytest.raises(DataError, match=r"damaged.*Delete that folder"):
        look()


def test_a_damaged_manifest_is_named(whole, tmp_path):
    folder = tmp_path / "index"
    shutil.copytree(whole.folder, folder)
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:200])
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        sae.Index(folder)


# --- shards ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(17,), (1, 39), (10, 20, 30)])
def test_shards_made_apart_merge_into_the_index_of_one_pass(tiny, whole, tmp_path, cuts):
    texts = corpus()
    bounds = [0, *cuts, len(texts)]
    folders = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        folders.append(tmp_path / f"shard-{number}")
        sae.index(tiny, coder(), texts[start:stop], folders[-1])
    merged = sae.merge(folders, tmp_path / "merged")
    same(merged, whole, sums=1e-14)
    assert sae.index(tiny, coder(), texts, merged.folder).manifest == merged.manifest
    assert sae.merge(folders, tmp_path / "merged").manifest == merged.manifest


SHARD = """
import sys, torch
torch.set_num_threads(1)
from mi_widgets import sae
from mi_widgets.models import load_model
model, coder, texts, folder = sys.argv[1:]
sae.index(load_model(model), sae.load(coder), texts, folder, column="ids")
"""


def test_two_processes_make_a_shard_each(tiny_folder, tmp_path, monkeypatch):
    from mi_widgets.models import load_model

    monkeypatch.undo()  # batches as the other processes make them
    model, texts = tiny_folder("llama"), corpus()
    sae.save(coder(), tmp_path / "coder")
    making = []
    for number, part in enumerate((texts[:23], texts[23:])):
        pd.DataFrame({"ids": part}).to_parquet(tmp_path / f"{number}.parquet")
        given = [model, tmp_path / "coder", tmp_path / f"{number}.parquet", tmp_path / f"shard-{number}"]
        making.append(subprocess.Popen([sys.executable, "-c", SHARD, *map(str, given)]))
    once = sae.index(load_model(model), sae.load(tmp_path / "coder"), texts, tmp_path / "once")
    assert [process.wait(120) for process in making] == [0, 0]
    same(sae.merge([tmp_path / "shard-0", tmp_path / "shard-1"], tmp_path / "merged"), once, sums=1e-14)


def test_merging_needs_one_coder_one_model_and_each_text_once(tiny, whole, tmp_path):
    other = sae.index(tiny, coder(seed=1), corpus(3), tmp_path / "other")
    shorter = sae.index(tiny, coder(), corpus(3), tmp_path / "shorter", length=9)
    for parts, said in (([], "no indices"), ([whole, other], "other coders"), ([whole, shorter], r"other length \(64, 9\)"),
                        ([whole, whole.folder], "merged twice")):  # fmt: skip
        with pytest.raises(DataError, match=said):
            sae.merge(parts, tmp_path / "merged")
    with pytest.raises(DataError, match="holds an index of other texts"):
        sae.merge([sae.index(tiny, coder(), corpus(4), tmp_path / "four")], whole.folder)


# --- questions -------------------------------------------------------------------------------------------


def test_features_are_found_by_what_they_are_active_on_and_write(whole):
    first = whole.dashboard(6)
    own = [int(first.window_ids[row, 5]) for row in range(20)]
    token = max(set(own), key=own.count)
    found = whole.search(first.name_of(token))
    assert found.set_index("feature").loc[6, "matches"] == own.count(token)
    assert found["matches"].is_monotonic_decreasing
    written = whole.search(promotes=first.name_of(int(first.promoted[0])))
    assert written.set_index("feature").loc[6, "effect"] == pytest.approx(first.promoted_by[0])


def test_labels_are_kept_with_the_index_and_searched(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "index")
    index = sae.Index(tmp_path / "index")
    index.label(4, "names of girls", rating=3)
    index.label(4, rating=5)
    again = sae.Index(tmp_path / "index")
    assert again.features.loc[4, ["label", "rating"]].tolist() == ["names of girls", 5.0]
    assert again.search(label="Girls")["feature"].tolist() == [4]
    assert again.dashboard(4).label == "names of girls"
    assert again.search(label="boys").empty


def test_queries_in_sql_reach_every_table(whole):
    assert whole.sql("select count(*) as n from features")["n"].tolist() == [D_SAE]
    most = whole.sql("select max(density) as d from shown")["d"][0]
    assert most == whole.features["density"].max()
    assert whole.search(where=f"density >= {most}")["feature"].tolist() == [int(whole.features["density"].idxmax())]
    pairs = whole.sql("select * from together where feature = other and feature = 2")
    assert pairs["positions"].tolist() == [int(whole.features.loc[2, "n_active"])]
    with pytest.raises(DataError, match="cannot be answered"):
        whole.sql("select nothing from nowhere")


def test_names_with_letters_of_patterns_are_plain_names(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "a[1]*?'b")
    assert sae.Index(tmp_path / "a[1]*?'b").dashboard(1).n_active == whole.dashboard(1).n_active
