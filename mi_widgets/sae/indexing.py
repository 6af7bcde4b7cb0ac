"""Makes the index of a sparse coder's features over a corpus: one pass, kept as Parquet, resumed, reused, merged.

Exact are counts, extremes, histograms, examples and pairs: they are the same whether the pass was made in one go,
interrupted, or in shards. Sums are of float64 and the same up to its rounding. Shards are corpora of their own: give
each machine its part of the texts, its own folder and the same options, then `merge` the folders in the order of the
texts. With Ray:

    @ray.remote
    def shard(number):
        model, coder = mw.load_model("gpt2"), sae.load("my-coder")
        sae.index(model, coder, f"texts-{number}.parquet", folder=f"shared/index-{number}")
    ray.get([shard.remote(number) for number in range(8)])
    index = sae.merge([f"shared/index-{number}" for number in range(8)], "shared/index")

and with Dask: `client.gather(client.map(shard, range(8)))`, without the decorator. A machine that fails is started
again with the same arguments and goes on where it was.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mi_widgets.compute.coactivation import PAIR_BITS, Together
from mi_widgets.compute.coded_corpus import BEGINNING, Place, Reading
from mi_widgets.compute.corpus import Corpus, Identity
from mi_widgets.compute.feature_dashboard import check_counted
from mi_widgets.compute.feature_effects import effects_steps
from mi_widgets.compute.feature_statistics import FeatureStatistics, statistics_of
from mi_widgets.compute.feature_tables import (
    OF_WEIGHTS,
    Columns,
    about,
    count_columns,
    counts_of,
    example_columns,
    kept_of,
    pair_columns,
    weight_columns,
)
from mi_widgets.compute.kept_examples import Keeping
from mi_widgets.compute.signature import WeightSignature, signature
from mi_widgets.compute.step import Step, Steps, as_one, run_at_once, steps_of
from mi_widgets.errors import DataError, ExportError
from mi_widgets.models import describe, has_tokenizer, token_strings
from mi_widgets.sae.feature_index import Index
from mi_widgets.sae.index_files import Derived, damaged, make_folder, read_manifest, read_table, write_state

#: Seconds between two states on disk at least, and how many times as long as one takes to write.
SAVE_EVERY, SAVE_SHARE = 20.0, 20.0
#: Keys of one level.
PAIRS = 1 << PAIR_BITS
#: Texts between two steps while the corpus is looked through.
LOOKED_AT = 1000


@run_at_once("index")
def index(
    model: Any,
    coder: Any,
    texts: Any,
    folder: str | Path | None = None,
    *,
    column: str | None = None,
    prepend_bos: bool | None = None,
    length: int | None = None,
    top: int = 20,
    per_interval: int = 5,
    context: int = 5,
    progress: bool = False,  # noqa: ARG001
) -> Steps[Index]:
    """What all features of a sparse coder mean, over a corpus: one pass, kept on disk.

    Where an index of the same model, coder, texts and options is in the folder it is opened; one that was interrupted
    is gone on with. Every text is run by itself, from its beginning as far as `length`. Position 0 does not count where
    the coder was trained without it (`coder.skips_first`), nor do positions whose numbers are not finite; `Index.notes`
    says so. Memory and disk do not grow with the corpus, but for what pairs of features need, up to a bound. The corpus
    is read twice: once to know it again.

    Ctrl-C, a crash or a full disk loses what came since the last state on disk: 20 seconds, or one block of 32,768
    tokens where that takes longer; of Ctrl-C only a part of such a block.

    As steps (`index_steps`): one for each batch of texts, by texts read. Closing them keeps what there is.

    Args:
        model: a TransformerBridge.
        coder: a sparse coder at one of its hooks.
        texts: a list of texts, ids or chat messages; the path of a Parquet file; a `datasets` object.
        folder: where to keep it. None: `index-1`, `index-2` … in the coder's own folder; of a coder without one in a
            folder that goes when the index goes.
        column: of a Parquet file or `datasets` object; `"text"`, or the only one, where None.
        prepend_bos: None means what `model.to_tokens(text)` does.
        length: tokens of a text that are read at most; what the model reads (and 2,048) where None.
        top: how many of the largest activations of each feature become examples.
        per_interval: how many examples of each interval of activation, drawn by chance, always the same.
        context: tokens kept on either side of an example.
        progress: show a bar, by texts.

    Returns:
        The index, opened.

    Raises:
        DataError: a coder that does not fit the model (the message names both), texts without any token that counts, or
            whose numbers are all not finite; a folder that holds another index, or a damaged one.
        ExportError: the folder cannot be written to. What stood there stands.
        PromptError: a text that cannot be tokenized; the message has its number.
    """
    reading, keeping = Reading.checked(model, coder, length, prepend_bos), Keeping.checked(top, per_interval, context)
    corpus, identity = Corpus(texts, column), Identity()
    for identity in corpus.identity():
        if identity.n_texts % LOOKED_AT == 0:
            yield Step(0, corpus.n_texts or identity.n_texts)
    if not identity.n_texts:
        raise DataError("there are no texts.", "Give a corpus of at least one.")
    made = _Making.of(model, coder, corpus, identity, reading, keeping)
    place = made.placed(folder, coder.folder)
    if place.complete:
        return place.opened()
    found, at = place.state()
    if found is None:  # heard of before the work: a folder that cannot be written to
        place.save(made, FeatureStatistics.none(made.d_sae, keeping), BEGINNING)
    saved, unsaved, wait = time.monotonic(), False, SAVE_EVERY
    try:
        for reached, so_far in statistics_of(model, coder, corpus, reading, keeping, at, found):
            if so_far is not None:
                found, at, unsaved = so_far, reached, True
                if time.monotonic() - saved > wait:
                    began = time.monotonic()
                    place.save(made, found, at)
                    saved, unsaved = time.monotonic(), False
                    wait = max(SAVE_EVERY, SAVE_SHARE * (saved - began))
            yield Step(reached.read, identity.n_texts)
        assert found is not None
        check_counted(found, corpus.name)
        effects = yield from as_one(effects_steps(model, coder), Step(identity.n_texts, identity.n_texts))
        tokenizer = model.tokenizer if has_tokenizer(model) else None
        strings = token_strings(tokenizer, list(range(int(model.cfg.d_vocab))))
        place.finish(made, found.settled(), weight_columns(effects), effects.notes, strings)
    except BaseException:
        if unsaved and found is not None:
            with suppress(ExportError):
                place.save(made, found, at)
        raise
    return place.opened()


index_steps = steps_of(index)


def merge(indices: Iterable[Index | str | Path], folder: str | Path) -> Index:
    """Indices of the parts of a corpus as one index of it all, as one pass over it would make it: sums up to the
    rounding of float64, all else exactly. Neither model nor coder is needed.

    Args:
        indices: opened, or their folders, in the order of the texts: texts of the second are numbered on from those of
            the first.
        folder: where to keep it; another than theirs. One that holds this very index is opened.

    Raises:
        DataError: none at all, one that is unfinished or damaged, the same texts twice, or indices of several models,
            coders or options (the message names both sides); a folder that holds another index.
        ExportError: the folder cannot be written to.
    """
    parts = [one if isinstance(one, Index) else Index(one) for one in indices]
    if not parts:
        raise DataError("there are no indices to merge.", "Give a list of them.")
    every = [_Making.from_manifest(part.manifest) for part in parts]
    for part, one in zip(parts[1:], every[1:], strict=True):
        if differing := every[0].differing(one, corpus=False):
            raise DataError(
                f"the indices in {parts[0].folder} and {part.folder} are of other {differing}.",
                "Merge indices of one model, coder and options.",
            )
    corpora = [one.corpus for one in every]
    if twice := [part for number, part in enumerate(parts) if corpora[number] in corpora[:number]]:
        raise DataError(f"the texts of {twice[0].folder} are merged twice.", "Give each part once.")
    whole = _Making(**{**vars(every[0]), "corpus": corpora[0], "corpus_name": ""})
    for one in corpora[1:]:
        whole.corpus = whole.corpus.then(one)
    whole.corpus_name = " + ".join(dict.fromkeys(part.about.corpus for part in parts))
    place = whole.placed(folder, None)
    if place.complete:
        return place.opened()
    found: FeatureStatistics | None = None
    for part in parts:
        mine, _ = _Place(part.folder, part.manifest).state()
        assert mine is not None
        found = mine if found is None else found.then(mine)
    assert found is not None
    first = read_table(parts[0].folder, parts[0].manifest, "features", list(OF_WEIGHTS))
    strings = read_table(parts[0].folder, parts[0].manifest, "vocabulary")["string"]
    place.finish(whole, found.settled(), first, parts[0].about.of_weights, strings)
    return place.opened()


@dataclass(eq=False)
class _Making:
    """What an index is of: everything that its numbers follow from.

    Attributes:
        coder: name, fingerprint and hook of the coder.
        model: the model's name.
        weights: of the model.
        corpus: which texts.
        corpus_name: a few words for them.
        reading: how they are read.
        keeping: how many examples are kept.
        d_sae: features.
    """

    coder: dict[str, Any]
    model: str
    weights: WeightSignature
    corpus: Identity
    corpus_name: str
    reading: Reading
    keeping: Keeping
    d_sae: int

    @classmethod
    def of(
        cls, model: Any, coder: Any, corpus: Corpus, identity: Identity, reading: Reading, keeping: Keeping
    ) -> _Making:
        said = {"name": str(coder.name), "fingerprint": str(coder.fingerprint), "hook_in": str(coder.hook_in)}
        label, weights = describe(model).label, signature(model)
        return cls(said, label, weights, identity, corpus.name, reading, keeping, int(coder.d_sae))

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> _Making:
        corpus, weights = manifest["corpus"], manifest["weights"]
        return cls(
            dict(manifest["coder"]),
            manifest["model"],
            WeightSignature(weights["dtype"], {name: tuple(each) for name, each in weights["numbers"].items()}),
            Identity(corpus["n_texts"], int(corpus["fingerprint"], 16)),
            corpus["name"],
            Reading(**manifest["reading"]),
            Keeping(**manifest["keeping"]),
            int(manifest["d_sae"]),
        )

    def said(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "coder": self.coder,
            "model": self.model,
            "corpus": {
                "name": self.corpus_name,
                "n_texts": self.corpus.n_texts,
                "fingerprint": self.corpus.fingerprint,
            },
            "reading": asdict(self.reading),
            "keeping": asdict(self.keeping),
            "d_sae": self.d_sae,
            "weights": {"dtype": self.weights.dtype, "numbers": self.weights.numbers},
        }

    def differing(self, other: _Making, corpus: bool = True) -> str:
        """In which things they differ, in words; "" for the same."""
        options = [
            f"{name} ({mine!r}, {theirs!r})"
            for held, others in ((self.reading, other.reading), (self.keeping, other.keeping))
            for (name, mine), theirs in zip(asdict(held).items(), asdict(others).values(), strict=True)
            if mine != theirs
        ]
        found = []
        if self.coder["fingerprint"] != other.coder["fingerprint"]:
            found.append(f"coders ({self.coder['name']}, {other.coder['name']})")
        if self.weights.differing(other.weights):
            found.append(f"models ({self.model}, {other.model})")
        if corpus and self.corpus != other.corpus:
            found.append(f"texts ({self.corpus_name}, {other.corpus_name})")
        return ", ".join(found + options)

    def placed(self, folder: str | Path | None, beside: Path | None) -> _Place:
        """Where this index is, or is to be.

        Raises:
            DataError: the folder holds another index.
        """
        if folder is None and beside is None:
            place = _Place(Path(tempfile.mkdtemp(prefix="mi_widgets-index-")), None)
            weakref.finalize(place, shutil.rmtree, place.folder, ignore_errors=True)
            return place
        if folder is not None:
            manifest = read_manifest(Path(folder))
            if manifest is not None and (differing := self.differing(_Making.from_manifest(manifest))):
                raise DataError(f"{folder} holds an index of other {differing}.", "Choose another folder.")
            return _Place(Path(folder), manifest)
        assert beside is not None
        for number in range(1, 10_000):
            own = beside / f"index-{number}"
            manifest = read_manifest(own)
            if manifest is None or not self.differing(_Making.from_manifest(manifest)):
                return _Place(own, manifest)
        raise DataError(f"{beside} holds too many indices.", "Give folder=….")


@dataclass(eq=False)
class _Place:
    """A folder, and what is in it of the index that is to be there."""

    folder: Path
    manifest: dict[str, Any] | None

    @property
    def complete(self) -> bool:
        return self.manifest is not None and bool(self.manifest["complete"])

    def opened(self) -> Index:
        made = Index(self.folder)
        made.place = self  # a temporary folder goes with it
        return made

    def state(self) -> tuple[FeatureStatistics | None, Place]:
        """The statistics that the folder holds, and how far they go; None for none.

        Raises:
            DataError: they are damaged.
        """
        if self.manifest is None:
            return None, BEGINNING
        features, examples, pairs = (
            read_table(self.folder, self.manifest, name) for name in ("features", "examples", "together")
        )
        try:
            counted, keeping = self.manifest["counted"], Keeping(**self.manifest["keeping"])
            d_sae = int(self.manifest["d_sae"])
            counts = counts_of(features)
            together = Together(
                d_sae,
                int(counted["together_least"]),
                (pairs["level"].astype(np.int64) << PAIR_BITS)
                + pairs["feature"].astype(np.int64) * d_sae
                + pairs["other"],
                pairs["positions"],
                np.array(counted["together_positions"], np.int64),
                np.array(counted["together_work"], np.int64),
                int(counted["crowded"]),
            )
            kept = kept_of(examples, counts.exponent, keeping)
            numbers = {name: int(counted[name]) for name in ("n_texts", "n_tokens", "n_cut", "n_not_finite")}
            where = Place(int(self.manifest["place"]["read"]), tuple(map(int, self.manifest["place"]["waiting"])))
        except (KeyError, TypeError, ValueError, IndexError) as reason:
            raise damaged(self.folder, f"{type(reason).__name__} {reason}") from None
        return FeatureStatistics(counts, kept, together, **numbers), where

    def save(self, made: _Making, found: FeatureStatistics, reached: Place) -> None:
        """Keep an unfinished index."""
        found = found.settled()
        self._write(made, found, reached, count_columns(found.counts), {}, {"complete": False})

    def finish(
        self, made: _Making, found: FeatureStatistics, weights: Columns, of_weights: tuple[str, ...], strings: list[str]
    ) -> None:
        """Keep the whole index."""
        features = count_columns(found.counts) | weights | pair_columns(found.together)
        vocabulary = {"token": np.arange(len(strings), dtype=np.int32), "string": strings}
        common = about(
            found, made.coder["name"], made.coder["hook_in"], made.model, made.corpus_name, made.reading, of_weights
        )
        said = {"complete": True, "about": asdict(common)}
        self._write(made, found, Place(made.corpus.n_texts), features, {"vocabulary": vocabulary}, said)

    def _write(
        self,
        made: _Making,
        found: FeatureStatistics,
        reached: Place,
        features: Columns,
        more: Mapping[str, Columns],
        said: Mapping[str, Any],
    ) -> None:
        together = found.together
        tables = {
            "features": features,
            "examples": example_columns(found.kept.examples, found.counts.exponent, made.keeping),
            "together": {
                "level": Derived(together.key, lambda key: (key >> PAIR_BITS).astype(np.int8)),
                "feature": Derived(together.key, lambda key: (key % PAIRS // together.d_sae).astype(np.int32)),
                "other": Derived(together.key, lambda key: (key % PAIRS % together.d_sae).astype(np.int32)),
                "positions": together.count,
            },
            **more,
        }
        counted = {name: getattr(found, name) for name in ("n_texts", "n_tokens", "n_cut", "n_not_finite")}
        counted |= {
            "together_least": together.least,
            "together_positions": together.positions.tolist(),
            "together_work": together.work.tolist(),
            "crowded": together.crowded,
        }
        place = {"read": reached.read, "waiting": list(reached.waiting)}
        make_folder(self.folder)
        self.manifest = write_state(self.folder, tables, {**made.said(), **said, "place": place, "counted": counted})
