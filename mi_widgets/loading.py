"""Loading a model from a name or a folder, and what is known against its weights from there on.

A checkpoint that lacks a weight is filled by Hugging Face with random numbers and says so in a log that nobody reads;
here it is an error, or, where the user insists, a note that stays with the model. Knows nothing of what a model
computes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from mi_widgets.errors import ModelError, choose

DEMO_FOLDER = Path(__file__).parent / "demo" / "weights"
DEMO_NAME = "mi_widgets demo"
#: What to do about a checkpoint that does not fit its model.
INCOMPLETE = ("refuse", "allow")
#: Weights named in a message; the others are counted.
NAMED = 3
#: Tables that old checkpoints hold and no computation reads: rotary frequencies, positions, causal masks.
TABLES = re.compile(r"(^|[._])(inv_freq|position_ids|masked_bias)$|(^|\.)(attn|attention|self_attn)\.bias$")

_notes: WeakKeyDictionary[Any, tuple[str, ...]] = WeakKeyDictionary()


def load_model(name_or_folder: str | Path, *, incomplete: str = "refuse", **options: Any) -> Any:
    """A TransformerBridge with raw weights: its logits are Hugging Face's.

    Args:
        name_or_folder: a Hugging Face name such as `"gpt2"`, or a local folder with config and weights.
        incomplete: `"refuse"` a checkpoint that lacks weights of the model, holds others where it computes, or some of
            another shape; `"allow"` loads it all the same, with random numbers for what is missing, and
            `load_notes(model)`, every view and `selfcheck` say so from then on.
        options: passed on to `TransformerBridge.boot_transformers` (device, dtype, hf_model, tokenizer, …).

    Raises:
        ModelError: the folder does not exist or holds no model, the name cannot be fetched, or the checkpoint does not
            fit the model; the message names the weights.
    """
    from transformer_lens.model_bridge import TransformerBridge

    if incomplete not in INCOMPLETE:
        raise ModelError(f"incomplete={incomplete!r} is unknown.", choose(incomplete, INCOMPLETE))
    name, looks_local = _place(name_or_folder)
    loader = _Loader(incomplete == "allow", options.pop("model_class", None))
    try:
        # A local folder loads in seconds; a download keeps its progress bars.
        with _quiet_boot() if looks_local else contextlib.nullcontext():
            model = TransformerBridge.boot_transformers(name, model_class=loader, **options)
    except ModelError:
        raise
    except Exception as reason:
        first = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
        hint = (
            "See TransformerBridge.boot_transformers for what it can load."
            if looks_local
            else "Check the name and the network, or give a local folder."
        )
        raise ModelError(f"Cannot load {name}: {first.rstrip('.')}.", hint) from reason
    _notes[model] = loader.notes
    return model


def load_demo() -> Any:
    """The embedded model: a small GPT-2 trained for this package, on the CPU, with no network.

    Its tasks, accuracies and known heads stand in `mi_widgets/demo/MODEL_CARD.md`; prompts come from
    `mi_widgets.demo.prompts(task)`, pairs for patching from `mi_widgets.demo.pairs(task)`.
    """
    model = load_model(DEMO_FOLDER, device="cpu")
    model.cfg.model_name = DEMO_NAME
    return model


def load_notes(model: Any) -> tuple[str, ...]:
    """What must be said wherever numbers of this model are shown: weights that are not those of its checkpoint.

    Empty for a model that was loaded whole, and for one that `load_model` did not load.
    """
    try:
        return _notes.get(model, ())
    except TypeError:  # nothing that could be loaded: it has no weak references, or no hash
        return ()


def _place(name_or_folder: Any) -> tuple[str, bool]:
    """What to ask Hugging Face for, and whether it is a folder here."""
    asked = name_or_folder
    if not isinstance(asked, (str, os.PathLike)) or isinstance(os.fspath(asked), bytes):
        raise ModelError(
            f"{asked!r} of type {type(asked).__name__} names no model.", 'Give a name such as "gpt2", or a folder.'
        )
    name = os.fspath(asked)
    if not name.strip() or "\0" in name or any(0xD800 <= ord(character) <= 0xDFFF for character in name):
        raise ModelError(f"{name!r} names no model.", 'Give a name such as "gpt2", or a folder.')
    try:
        folder = Path(name).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError) as reason:  # a name longer than any, the home of nobody
        raise ModelError(f"{name[:80]!r} names no model ({reason}).", "Give a shorter name, or a folder.") from None
    if not (isinstance(asked, os.PathLike) or name.startswith((".", "/", "~")) or is_folder or is_file):
        return name, False
    if is_file:
        raise ModelError(f"{folder} is a file.", "Give the folder that holds it, with config.json and weights.")
    if not is_folder:
        raise ModelError(f"There is no folder {folder}.", "Give a folder with config.json and weights.")
    if not (folder / "config.json").exists():
        raise ModelError(f"{folder} holds no config.json.", "Give a Hugging Face model folder.")
    return str(folder), True


def hugging_face_class(config: Any) -> Any:
    """The Hugging Face class that TransformerLens loads a model of this configuration with."""
    from transformer_lens.model_bridge.sources.transformers import (
        determine_architecture_from_hf_config,
        get_hf_model_class_for_architecture,
    )
    from transformers import AutoModelForCausalLM

    try:
        return get_hf_model_class_for_architecture(determine_architecture_from_hf_config(config))
    except ValueError:  # an adapter has put the text part of a configuration in the place of the whole
        return AutoModelForCausalLM


def hugging_face_model(name_or_folder: str | Path, dtype: Any) -> Any:
    """The same model as Hugging Face runs it, on the CPU in evaluation mode, with its plain attention: what a model
    of `load_model` is checked against."""
    from transformers import AutoConfig

    name, looks_local = _place(name_or_folder)
    with _quiet_boot() if looks_local else contextlib.nullcontext():
        loader = hugging_face_class(AutoConfig.from_pretrained(name))
        return loader.from_pretrained(name, attn_implementation="eager", dtype=dtype).eval()


class _Loader:
    """Stands where TransformerLens wants a Hugging Face class: loads with the right one, once, and hears Hugging
    Face's own report of which weights were there.

    Args:
        allow: take a checkpoint that does not fit, and note it.
        model_class: the user's own choice of a class.
    """

    def __init__(self, allow: bool, model_class: Any = None) -> None:
        self._allow, self._class = allow, model_class
        self.notes: tuple[str, ...] = ()

    def from_pretrained(self, name: str, **options: Any) -> Any:
        """The model, from its checkpoint."""
        from transformers import PreTrainedModel

        chosen = self._class or hugging_face_class(options.get("config"))
        if isinstance(chosen, type) and issubclass(chosen, PreTrainedModel):
            options.pop("code_revision", None)  # only the Auto classes know it
        try:
            # Weights of another shape are told with all the rest, instead of by the first alone.
            loaded = chosen.from_pretrained(name, output_loading_info=True, ignore_mismatched_sizes=True, **options)
        except RuntimeError as reason:
            if not (names := _unconverted(reason)):
                raise
            raise ModelError(
                f"The checkpoint {name} does not fit its model: what these are made from is not all there, or of "
                f"unequal shapes ({_some(names)}).",
                "Get the whole checkpoint.",
            ) from reason
        model, report = loaded if isinstance(loaded, tuple) else (loaded, {})
        faults = _faults(model, report)
        if faults and not self._allow:
            raise ModelError(
                f"The checkpoint {name} does not fit its model: {'; '.join(faults)}.",
                'Get the whole checkpoint, or load it all the same with load_model(…, incomplete="allow"): '
                "every view will say so.",
            )
        self.notes = tuple(f"Not the checkpoint's own model: {fault}." for fault in faults)
        return model

    def from_config(self, config: Any, **options: Any) -> Any:
        """The model with random weights, where the user asks for no others (`load_weights=False`)."""
        self.notes = ("All weights are random: no checkpoint was loaded.",)
        return (self._class or hugging_face_class(config)).from_config(config, **options)


def _faults(model: Any, report: dict[str, Any]) -> list[str]:
    """What of Hugging Face's loading report changes what the model computes, in words.

    Heads that this kind of model does not have (a pooler, a classifier) change nothing, nor do tables that the code
    makes itself.
    """
    missing = sorted(name for name in report.get("missing_keys", ()) if not TABLES.search(name))
    shaped = sorted(report.get("mismatched_keys", ()))
    unread = sorted(
        name for name in report.get("unexpected_keys", ()) if not TABLES.search(name) and _belongs(model, name)
    )
    found = (
        (missing, "missing and filled with random numbers"),
        ([f"{name} {list(given)} for {list(own)}" for name, given, own in shaped], "of another shape and random"),
        (unread, "unknown to the model and left out"),
    )
    return [
        f"{len(names):,} weight{' is' if len(names) == 1 else 's are'} {what} ({_some(names)})"
        for names, what in found
        if names
    ]


def _unconverted(error: RuntimeError) -> list[str]:
    """Weights that Hugging Face could not put together from the checkpoint's (the experts of a layer, one tensor in
    the model), which its error leaves to a log: they stand in the report that it was made from."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if found := getattr(frame.f_locals.get("loading_info"), "conversion_errors", None):
            return sorted(found)
    return []


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def _belongs(model: Any, name: str) -> bool:
    """Whether a weight that the model did not take stands where it computes: in its blocks, or on a module it has.

    Else it is of another head, which this kind of model does not have.
    """
    parts, module, in_blocks = name.split("."), model, False
    base = getattr(model, getattr(model, "base_model_prefix", ""), None)
    if parts[0] not in dict(model.named_children()) and base is not None:
        module = base  # of a checkpoint saved without its head, whose names lack the prefix
    for depth, part in enumerate(parts):
        child = dict(module.named_children()).get(part)
        if child is None:
            return in_blocks or depth == len(parts) - 1
        in_blocks |= part.isdigit() or next(iter(dict(child.named_children())), "") == "0"
        module = child
    return True


@contextlib.contextmanager
def _quiet_boot() -> Iterator[None]:
    """Boot without progress bars of sub-second steps and advisory warnings on the notebook."""
    from transformers.utils import logging as hf_logging

    bar = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    level = logging.getLogger("transformers").level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("transformers").setLevel(level)
        if bar:
            hf_logging.enable_progress_bar()
