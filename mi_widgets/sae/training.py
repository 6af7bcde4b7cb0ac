"""Trains a sparse autoencoder or transcoder on the user's model and texts.

The model is run through `compute.forward`, read and never written; what it leaves at one or two hooks is streamed
through a shuffle buffer of bounded size to a learner. A training is a generator of steps: it can be watched, stopped
with what it has, and gone on with from its folder. What comes out is an ordinary coder in SAELens's format.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mi_widgets.compute.signature import signature
from mi_widgets.compute.step import Step, Steps, run, saying
from mi_widgets.compute.undisturbed import learning
from mi_widgets.data.integers import integer
from mi_widgets.errors import DataError, ModelError
from mi_widgets.models import Prompt, describe
from mi_widgets.sae import training_checkpoint
from mi_widgets.sae.architectures import from_weights
from mi_widgets.sae.coder import SparseCoder
from mi_widgets.sae.loading import load
from mi_widgets.sae.saving import save
from mi_widgets.sae.training_checkpoint import Checkpoint
from mi_widgets.sae.training_curve import curve_figure, live_curve
from mi_widgets.sae.training_learner import Learner
from mi_widgets.sae.training_options import Options
from mi_widgets.sae.training_stream import FromTexts, Given, Place, Stream

#: What the curve holds of each step; "variance_unexplained" is of the batch that is learned from next.
COLUMNS = ("loss", "variance_unexplained", "l0", "dead", "learning_rate")


def train(
    model: Any,
    texts: Iterable[Prompt],
    *,
    hook: str,
    d_sae: int,
    k: int | None = None,
    architecture: str = "topk",
    hook_out: str | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    **options: Any,
) -> SparseCoder:
    """A sparse coder of `model`, learned on what it computes over `texts`.

    Ctrl-C ends the training early and returns the coder as it is, with a warning; the model is as it was. With a
    `folder`, the coder is written there in SAELens's format, and the training beside it (`training.safetensors`): the
    same call goes on where that one ended, with the very batches it would have seen.

    Args:
        model: a TransformerBridge; it is not changed.
        texts: text, token ids or chat messages, or a Parquet file or `datasets` object, as `sae.index` takes them; long
            ones are cut into pieces. They are read as often as needed, once where their activations fit the buffer.
        hook: in full, such as `"blocks.3.hook_resid_post"`: what the coder reads.
        d_sae: how many features.
        k: features active at a position, on average. Needed for all but `"standard"`.
        architecture: `"topk"`: the k largest (Gao 2024); `"batchtopk"`: k for each position on average of a batch
            (Bussmann 2024), which becomes a JumpReLU with one threshold; `"jumprelu"`: a threshold for each feature,
            learned towards an L0 of k (Rajamanoharan 2024, Conerly 2025); `"standard"`: ReLU, its activity priced.
        hook_out: what is to be explained, of a transcoder; None: `hook` itself. SAELens has no TopK transcoder: one
            trained with `"topk"` has a threshold too.
        folder: where coder and training are written, every `save_every` steps and at the end; made if need be.
        progress: show a bar, and in a notebook the curve as it grows.
        options: all that `train_steps` takes beside.

    Returns:
        SparseCoder; `.history` is a DataFrame with a row for each step: `loss`, `variance_unexplained`, `l0`, `dead`
        (features that have not fired for `dead_after` steps), `learning_rate`.

    Raises:
        PromptError: text that cannot be tokenized.
        ModelError: activations that are not finite numbers, or a training that comes to none.
        DataError: a hook that the model does not have, no texts, an option that trains nothing, or a folder that holds
            another training.
    """
    steps = train_steps(
        model, texts, hook=hook, d_sae=d_sae, k=k, architecture=architecture, hook_out=hook_out, folder=folder,
        **options,
    )  # fmt: skip
    return _to_the_end(steps, progress)


def train_on(
    x: Any,
    *,
    d_sae: int,
    k: int | None = None,
    y: Any = None,
    architecture: str = "topk",
    progress: bool = False,
    **options: Any,
) -> SparseCoder:
    """A sparse coder of activations that are there already.

    Args:
        x: `[position, d_in]`, tensor or array.
        d_sae: how many features.
        k: as for `train`.
        y: `[position, d_out]`, what is to be explained, of a transcoder.
        architecture: as for `train`.
        progress: as for `train`.
        options: as for `train_steps`.

    Raises:
        DataError: activations that are empty, of other shapes or not finite; or as `train`.
    """
    found = [_matrix(name, one) for name, one in (("x", x), ("y", x if y is None else y))]
    if len(found[0]) != len(found[1]):
        raise DataError(f"x has {len(found[0]):,} positions and y {len(found[1]):,}.", "Give as many of both.")
    given, wanted = _split(options)
    chosen = Options.checked(d_sae, k, architecture, y is not None, **wanted)
    inner = _training(chosen, lambda place: Given(found[0], found[1], chosen.seed, place), {}, **given)
    return _to_the_end(learning(inner), progress)


def train_steps(
    model: Any,
    texts: Iterable[Prompt],
    *,
    hook: str,
    d_sae: int,
    k: int | None = None,
    architecture: str = "topk",
    hook_out: str | None = None,
    folder: str | Path | None = None,
    prepend_bos: bool | None = None,
    **options: Any,
) -> Steps[SparseCoder]:
    """`train` as steps, one for each batch and one for each pass of the model; `partial` is the `Training` so far,
    whose `coder()` is what stopping would leave.

    Args:
        model: as for `train`, as all that is not named here.
        texts: see there.
        hook: see there.
        d_sae: see there.
        k: see there.
        architecture: see there.
        hook_out: see there.
        folder: see there.
        prepend_bos: None means what `model.to_tokens(text)` does.
        options: `steps` (2400) of `batch_size` (2048) positions each; `learning_rate` (3e-3 for 1,536 features, less
            for more) which rises over `warm_up` (100) steps and falls in the last quarter; `l1_coefficient` (1.5) of a
            standard coder, in units in which a typical input has length √d_in; `dead_after` (200): a feature that has
            not fired in so many steps is revived; `seed` (0); `length` (512): tokens of a piece of text at most;
            `skip_first` (True): position 0 of each piece is left out, whose activations are many times larger;
            `buffer_bytes` (1e9): activations kept in memory at most; `device`: where the coder learns, the model's if
            None; `save_every` (500) steps, with a folder; `name`: of the coder, for headers.
    """
    given, wanted = _split({"skip_first": True, **options})
    chosen = Options.checked(d_sae, k, architecture, hook_out is not None, **wanted)
    if given.get("device") is None:
        given["device"] = next(iter(model.parameters())).device
    about = {"model": describe(model).label, "weights": asdict(signature(model)), "hook": hook, "hook_out": hook_out}

    def stream(place: Place) -> Stream:
        return FromTexts(model, texts, hook, hook_out or hook, chosen, prepend_bos, place)

    return (yield from learning(_training(chosen, stream, about, folder=folder, prepend_bos=prepend_bos, **given)))


class Training:
    """A training under way.

    Attributes:
        options: what is trained.
        done: steps made.
        rows: of the curve, a number of each of `COLUMNS`.
    """

    def __init__(self, options: Options, about: dict[str, Any], metadata: dict[str, Any], name: str) -> None:
        self.options, self.about, self._metadata, self._name = options, about, metadata, name
        self.done = 0
        self.rows: list[tuple[float, ...]] = []
        self.learner: Learner | None = None

    @property
    def history(self) -> pd.DataFrame:
        """The curve so far: a row for each step, indexed from 1."""
        found = pd.DataFrame(self.rows, columns=list(COLUMNS), index=pd.RangeIndex(1, len(self.rows) + 1, name="step"))
        return found.astype({"dead": int})

    def figure(self) -> Any:
        """The curve so far, a small plotly figure."""
        return curve_figure(self.history, self.options.steps)

    def coder(self) -> SparseCoder:
        """The coder as it is now, in SAELens's terms, where it learns."""
        if self.learner is None:
            raise DataError("nothing has been learned yet.", "Make a step first.")
        options = self.options
        trained = {
            "steps": self.done,
            "positions": self.done * options.batch_size,
            "stopped": self.done < options.steps,
        }
        kept = ("architecture", "k", "l1_coefficient", "learning_rate", "batch_size", "warm_up", "dead_after", "seed")
        metadata = self._metadata | {
            "training_architecture": options.architecture,
            "training": trained | {name: value for name, value in options.to_dict().items() if name in kept},
        }
        settings: dict[str, Any] = {"apply_b_dec_to_input": not options.transcodes}
        if str(metadata.get("hook_name")).endswith("hook_z") and not options.transcodes:
            settings["reshape_activations"] = "hook_z"
        if options.saved_as == "topk":
            settings["k"] = options.k
        coder = from_weights(options.saved_as, self.learner.weights(), settings, metadata, self._name)
        coder = coder.to(self.learner.device)
        coder.history = self.history
        return coder

    def checkpoint(self, place: Place) -> Checkpoint:
        """All that it takes to go on."""
        assert self.learner is not None
        curve = torch.tensor(self.rows, dtype=torch.float64).reshape(len(self.rows), len(COLUMNS))
        return Checkpoint(self.about, self.done, place.to_dict(), self.learner.state(), curve)


def _training(
    options: Options,
    open_stream: Any,
    about: dict[str, Any],
    *,
    folder: str | Path | None = None,
    prepend_bos: bool | None = None,
    device: Any = None,
    save_every: int = 500,
    name: str = "",
) -> Steps[SparseCoder]:
    every = integer("save_every", save_every)
    if every < 1:
        raise DataError(f"save_every={every}.", "Give 1 or more steps.")
    metadata: dict[str, Any] = {"seqpos_slice": [1, None] if options.skip_first else [None]}
    if about:
        metadata |= {"model_name": about["model"], "hook_name": about["hook"], "context_size": options.length}
        metadata |= {"prepend_bos": prepend_bos is not False}
        metadata |= {"hook_name_out": about["hook_out"]} if about["hook_out"] else {}
    training = Training(options, about | options.to_dict(), metadata, name)
    where = None if folder is None else Path(folder)
    found = None
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
        found = training_checkpoint.read(where)
    if found is not None and where is not None:
        training_checkpoint.check_same(found, training.about, where)
        training.done, training.rows = found.done, [tuple(row) for row in found.curve.tolist()]
        if found.done >= options.steps:
            coder = load(where, name=name)
            coder.history = training.history
            return coder
    stream = open_stream(Place(**found.place) if found is not None else Place())
    saved = -1 if found is None else found.done

    def keep() -> None:
        nonlocal saved
        if where is not None and training.learner is not None and saved != training.done:
            save(training.coder(), where)
            training.checkpoint(stream.place).write(where)
            saved = training.done

    try:
        yield Step(training.done, options.steps)
        for batch in stream.batches(options.batch_size):
            if training.learner is None and batch is not None:
                x, y = stream.sample()
                training.learner = Learner(options, x, y, device or "cpu")
                if found is not None:
                    training.learner.restore(found.state)
            if training.done >= options.steps:
                break
            if batch is not None and training.learner is not None:
                made = training.learner.step(training.done, *batch)
                if not math.isfinite(made["loss"]):
                    raise ModelError(
                        f"the training comes to no numbers at step {training.done + 1}.",
                        "Give a smaller learning_rate.",
                    )
                training.rows.append(tuple(made[column] for column in COLUMNS))
                training.done += 1
                if training.done % every == 0:
                    keep()
            yield Step(training.done, options.steps, training if training.done else None)
    except (GeneratorExit, KeyboardInterrupt):  # stopped: what there is stays
        keep()
        raise
    keep()
    return training.coder()


def _to_the_end(steps: Steps[SparseCoder], progress: bool) -> SparseCoder:
    """The coder; where Ctrl-C comes before it is whole, as it is then."""
    held: list[Training] = []
    show = live_curve() if progress else None

    def seen(step: Step) -> Step:
        if step.partial is not None:
            held[:] = [step.partial]
            if show is not None:
                show(step.partial)
        return step

    try:
        return run(saying(steps, seen), progress, "sparse coder")
    except KeyboardInterrupt:
        if not held:
            raise
        training = held[0]
        warnings.warn(
            f"Stopped after {training.done:,} of {training.options.steps:,} steps: the coder is as it was then.",
            stacklevel=3,
        )
        return training.coder()


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of where and how a training runs, and those of what is trained."""
    places = ("device", "save_every", "name", "folder")
    return (
        {name: value for name, value in options.items() if name in places},
        {name: value for name, value in options.items() if name not in places},
    )


def _matrix(name: str, values: Any) -> torch.Tensor:
    matrix = torch.as_tensor(values).detach().float().cpu()
    if matrix.ndim != 2 or not len(matrix) or matrix.shape[1] < 2:
        raise DataError(f"{name} is of shape {list(matrix.shape)}, not [position, width].", "Give one row a position.")
    if not bool(torch.isfinite(matrix).all()):
        raise DataError(f"{name} holds numbers that are not finite.", "Look for overflow.")
    return matrix
