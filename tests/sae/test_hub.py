"""Coders of the hub: read from what was fetched before, and fetched alone; nothing here reaches the network."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

from mi_widgets import sae
from mi_widgets.errors import DataError
from mi_widgets.sae import hub


@pytest.fixture
def cache(tmp_path, monkeypatch, shared):
    """A cache of the hub in which `me/coders` was fetched before."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    root = tmp_path / "models--me--coders"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    shutil.copytree(shared / "saes" / "formats" / "topk", root / "snapshots" / commit / "layer_3" / "width_40")
    scope = tmp_path / "models--google--gemma-scope-2b-pt-res"
    (scope / "refs").mkdir(parents=True)
    (scope / "refs" / "main").write_text(commit)
    shutil.copytree(shared / "saes" / "gemma" / "gemma-scope-2b-pt-res", scope / "snapshots" / commit)
    return root / "snapshots" / commit


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_what_was_fetched_before_is_read_offline(cache, offline, shared):
    filed = sae.load(shared / "saes" / "formats" / "topk")
    for source, sae_id in (
        ("me/coders", "layer_3/width_40"),
        ("me/coders/layer_3/width_40", None),
        ("me/coders/layer_3", "width_40"),
        ("hf://me/coders/layer_3/width_40?revision=main", None),
    ):
        coder = sae.load(source, sae_id)
        assert coder.fingerprint == filed.fingerprint
        assert coder.name == "coders/layer_3/width_40"


def test_gemma_scope_of_the_hub_knows_its_hook(cache, offline):
    coder = sae.load("google/gemma-scope-2b-pt-res", "layer_3/width_16k/average_l0_71")
    assert coder.hook_in == "blocks.3.hook_resid_post"
    assert coder.name == "gemma-scope-2b-pt-res/layer_3/width_16k/average_l0_71"


def test_folders_of_a_repository_are_listed_offline(cache, offline):
    with pytest.raises(DataError, match=r"holds 1 coders: layer_3/width_40"):
        sae.load("me/coders")
    with pytest.raises(DataError, match=r"me/coders/layer_4 was not fetched while online"):
        sae.load("me/coders", "layer_4")


def test_offline_and_never_fetched_is_said(cache, offline):
    with pytest.raises(DataError, match=r"no folder me/others, and it was not fetched .*offline \(HF_HUB_OFFLINE\)"):
        sae.load("me/others")


def test_half_an_address_is_refused(offline):
    with pytest.raises(DataError, match="hf://me names no repository"):
        sae.load("hf://me")


def test_a_path_that_cannot_be_an_id_is_not_looked_for_on_the_hub(monkeypatch):
    monkeypatch.setattr(hub, "folder", lambda *_: pytest.fail("the hub was asked"))
    for path in ("./nowhere/here", "/nowhere/here", "~/nowhere", "nowhere"):
        with pytest.raises(DataError, match="there is no folder"):
            sae.load(path)


class Api:
    """Answers as the hub does: the entries of one folder, those that are files with a size."""

    entries = ()

    def list_repo_tree(self, repository, path=None, revision=None):
        if isinstance(self.entries, Exception):
            raise self.entries
        return [
            SimpleNamespace(path=entry[:-1]) if entry.endswith("/") else SimpleNamespace(path=entry, size=1)
            for entry in self.entries
        ]


@pytest.fixture
def online(monkeypatch):
    """`online(entries)` is the hub; gives what is then asked of it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    asked = []

    def answer(entries):
        monkeypatch.setattr(Api, "entries", entries)
        return asked

    original = huggingface_hub.snapshot_download

    def fetched(repository, revision=None, allow_patterns=None, local_files_only=False):
        asked.append(allow_patterns)
        return original(repository, revision=revision, allow_patterns=[], local_files_only=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    return answer


def test_only_the_safe_files_of_the_folder_itself_are_fetched(cache, online):
    here = "layer_3/width_40"
    beside = ("cfg.json", "sae_weights.safetensors", "sparsity.safetensors", "examples.safetensors", "ae.pt", "more/")
    asked = online([f"{here}/{name}" for name in beside])
    assert sae.load("me/coders", here).architecture == "topk"
    assert asked == [[f"{here}/cfg.json", f"{here}/sae_weights.safetensors"]]


def test_of_a_set_only_the_layer_asked_for_is_fetched(cache, online, shared):
    commit = cache.name
    root = cache.parents[2] / "models--me--set"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    shutil.copytree(shared / "saes" / "clt" / "transcoder_set-skip", root / "snapshots" / commit)
    asked = online(["config.yaml", *(f"layer_{layer}.safetensors" for layer in range(3)), "features/"])
    assert sae.load("me/set", layer=1).hook_in == "blocks.1.mlp.hook_in"
    assert sae.load("me/set").layers == (0, 1, 2)
    every = ["config.yaml", "layer_0.safetensors", "layer_1.safetensors", "layer_2.safetensors"]
    assert asked == [["config.yaml", "layer_1.safetensors"], every]


def test_folders_of_a_repository_are_listed_and_none_fetched(cache, online):
    asked = online(["README.md", "config.json", "layer_0/", "layer_1/"])
    with pytest.raises(DataError, match=r"me/coders has folders, .*: layer_0, layer_1\. Say which"):
        sae.load("me/coders")
    assert asked == []


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(cache, online):
    asked = online(["cfg.json", "sae.pt"])
    with pytest.raises(DataError, match="me/coders is pickled"):
        sae.load("me/coders")
    assert asked == []


def test_a_hub_out_of_reach_leaves_what_was_fetched_before(cache, online):
    online(ConnectionError("no route"))
    assert sae.load("me/coders", "layer_3/width_40").architecture == "topk"
    with pytest.raises(DataError, match=r"me/others could not be fetched from the hub \(ConnectionError: no route\)"):
        sae.load("me/others")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (EntryNotFoundError, "neither this disk nor the hub has me/others"),
        (GatedRepoError, "me/others is gated on the hub.*Accept its terms"),
        (LocalEntryNotFoundError, "me/others, and it was not fetched from the hub before: the hub cannot be reached"),
    ],
)
def test_what_the_hub_answers_is_said(kind, said, cache, online):
    answer = kind.__new__(kind)
    Exception.__init__(answer, "no")
    online(answer)
    with pytest.raises(DataError, match=said):
        sae.load("me/others")
