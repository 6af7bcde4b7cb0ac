"""A corpus is read from lists, Parquet files and `datasets` objects, and known again by what it holds."""

import datasets
import numpy as np
import pandas as pd
import pytest

from mi_widgets.compute.corpus import Corpus, Identity
from mi_widgets.errors import DataError

TEXTS = ["one", "two", "", "three ⟨é⟩"]


def identity(texts, column=None):
    *_, last = Corpus(texts, column).identity()
    return last


def test_the_same_texts_are_the_same_corpus_wherever_they_are(tmp_path):
    table = pd.DataFrame({"number": range(4), "text": TEXTS})
    table.to_parquet(tmp_path / "texts.parquet", row_group_size=3)
    dataset = datasets.Dataset.from_pandas(table)
    for texts in (tuple(TEXTS), np.array(TEXTS), table["text"], tmp_path / "texts.parquet", str(tmp_path / "texts.parquet"),
                  dataset, dataset.to_iterable_dataset(), dataset.select_columns(["text"])):  # fmt: skip
        assert list(Corpus(texts)) == TEXTS
        assert identity(texts) == identity(TEXTS)


def test_other_texts_or_another_order_are_another_corpus():
    known = {identity(texts).fingerprint for texts in (TEXTS, TEXTS[:3], TEXTS[::-1], ["onetwo", "", "three ⟨é⟩"], [])}
    assert len(known) == 5


def test_the_identity_of_two_corpora_one_after_the_other_follows_from_theirs():
    for cut in range(5):
        assert identity(TEXTS[:cut]).then(identity(TEXTS[cut:])) == identity(TEXTS)
    assert Identity().then(identity(TEXTS)) == identity(TEXTS)


def test_ids_and_messages_are_prompts_too():
    assert identity([[1, 2], [3]]) == identity([np.array([1, 2]), (3,)])
    assert identity([[1, 2]]) != identity([[12]])
    assert identity([[{"role": "user", "content": "Hi"}]]).n_texts == 1


def test_a_column_is_chosen_or_named(tmp_path):
    pd.DataFrame({"story": TEXTS}).to_parquet(tmp_path / "one.parquet")
    assert list(Corpus(tmp_path / "one.parquet")) == TEXTS
    pd.DataFrame({"story": TEXTS, "title": TEXTS}).to_parquet(tmp_path / "two.parquet")
    assert list(Corpus(tmp_path / "two.parquet", "title")) == TEXTS
    with pytest.raises(DataError, match=r"two\.parquet has no column 'text'\. .*story, title"):
        Corpus(tmp_path / "two.parquet")
    with pytest.raises(DataError, match="have no columns"):
        Corpus(TEXTS, "title")


def test_what_is_no_corpus_is_refused_with_what_to_give(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    split = datasets.Dataset.from_dict({"text": TEXTS})
    for texts, said in (
        ("one text", "one string"),
        ((text for text in TEXTS), "read once only"),
        ({"text": TEXTS}, "one column"),
        (pd.DataFrame({"text": TEXTS}), "one column"),
        (7, "Give a list of texts"),
        (datasets.DatasetDict({"train": split, "test": split}), r"splits train, test.*texts\['train'\]"),
        (tmp_path / "absent.parquet", "there is no file"),
        (tmp_path / "broken.parquet", "no Parquet file"),
    ):
        with pytest.raises(DataError, match=said):
            Corpus(texts)
