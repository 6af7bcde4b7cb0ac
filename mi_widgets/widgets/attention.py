"""The attention explorer: every head's pattern on one prompt, live, compared, exported.

A shell: the numbers come from `compute.attention`, the bytes from `wire.attention`, the page view is
`js/src/widgets/attention/`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import traitlets

from mi_widgets.data import AttentionComparison, AttentionPatterns, Selection, Tokens, patterns_from_arrays
from mi_widgets.data.attention import WEIGHTINGS, prompt_scores
from mi_widgets.errors import DataError
from mi_widgets.session import Answered, Need, Progress, Session
from mi_widgets.session.prompts import from_wire, plain, to_wire
from mi_widgets.version import __version__
from mi_widgets.widgets.view import STATIC, RequestError, View, status_value
from mi_widgets.wire import attention as wire
from mi_widgets.wire.blocks import Block, pack

CHOICES: dict[str, tuple[Any, ...]] = {
    "weighting": WEIGHTINGS,
    "scale": ("linear", "sqrt", "log"),
    "palette": ("blue", "amber", "grey"),
    "shared_range": (True, False),
    "show": ("A", "B", "difference"),
    "descending": (True, False),
    "direction": ("reads", "read_by"),
    "panel": ("both", "matrix", "text"),
}
DEFAULTS: dict[str, Any] = {
    "weighting": "pattern",
    "scale": "sqrt",
    "palette": "blue",
    "shared_range": True,
    "show": "A",
    "sort": None,
    "descending": True,
    "filter": None,
    "filter_min": 0.0,
    "direction": "reads",
    "panel": "both",
}
#: Head scores are measured before the first picture if that takes less than this, else after it.
QUICK_SECONDS = 0.5
PROMPT_BASIS = "Measured on this prompt."


def _prompt_to_wire(prompt: Any, _view: Any) -> Any:
    return to_wire(prompt)


def _prompt_from_wire(value: Any, _view: Any) -> Any:
    return from_wire(value)


def _options_from_wire(value: Any, view: Any) -> dict[str, Any]:
    """What the page chose; what is unknown or wrong is passed over: nothing may raise in a page's update."""
    chosen = dict(view.options)
    for name, option in value.items() if isinstance(value, dict) else ():
        try:
            chosen = checked_options(chosen, {name: option})
        except DataError:
            continue
    return chosen


class Attention(View):
    """Attention of every head on one prompt.

    Args:
        source: a `Session`, or a TransformerBridge together with `prompt`.
        prompt: text, token ids or chat messages; not with a session, which has its own.
        compare: a second prompt of the same forms; A, B and A − B on aligned tokens are shown.
        scores: a table with columns `layer`, `head` and numeric columns to sort and filter the heads by. The model's
            own head scores (`compute.head_scores`) are there always.
        layers: only these layers; all if None.
        height: on the page, in pixels.
        options: how it is shown: `weighting` ("pattern", "scores", "value", "output"), `scale` ("linear", "sqrt",
            "log"), `palette` ("blue", "amber", "grey"), `shared_range`, `show` ("A", "B", "difference"), `sort` and
            `filter` (names of score columns or None), `descending`, `filter_min`, `direction` ("reads", "read_by"),
            `panel` ("both", "matrix", "text").

    Raises:
        ModelError, DataError: a wrong model, option or layer. A prompt that cannot be run is no error here: the
            view says what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "attention"
    _esm = STATIC / "attention.js"
    _css = STATIC / "attention.css"

    prompt = traitlets.Any(None, allow_none=True).tag(
        sync=True, to_json=_prompt_to_wire, from_json=_prompt_from_wire, echo_update=False
    )
    compare = traitlets.Any(None, allow_none=True).tag(
        sync=True, to_json=_prompt_to_wire, from_json=_prompt_from_wire, echo_update=False
    )
    history = traitlets.List().tag(sync=True)
    options = traitlets.Dict().tag(sync=True, from_json=_options_from_wire, echo_update=False)

    def __init__(
        self,
        source: Any = None,
        prompt: Any = None,
        *,
        compare: Any = None,
        scores: pd.DataFrame | None = None,
        layers: Iterable[int] | None = None,
        height: int = 620,
        **options: Any,
    ) -> None:
        chosen = checked_options(DEFAULTS, options)
        session, self._data, self._comparison = _source(source, prompt)
        if self._data is not None and chosen["weighting"] != self._data.weighting:
            if "weighting" in options:
                raise DataError(
                    f"weighting={chosen['weighting']!r}, but the patterns given hold {self._data.weighting!r}."
                )
            chosen["weighting"] = self._data.weighting
        if (compare is not None and session is not None) or self._comparison is not None:
            chosen["show"] = options.get("show", "difference")
        self._scores = checked_scores(scores)
        self._layers = None if layers is None else tuple(layers)
        self._started = time.perf_counter()
        self._sent: dict[str, Any] = {}
        #: What the picture on screen, and the one being made, are of: weighting, prompt, compare.
        self._drawn: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        if session is not None:
            from mi_widgets.compute.attention import check_layers

            self._layers = check_layers(session.model, layers)
        super().__init__(
            session,
            height=height,
            options=chosen,
            prompt=session.prompt if session is not None else None,
            compare=plain(compare) if session is not None else None,
            history=[to_wire(value) for value in session.history] if session is not None else [],
        )
        self._info = None if session is None else session.info
        self.observe(self._prompt_edited, "prompt")
        self.observe(self._compare_edited, "compare")
        self.observe(self._options_edited, "options")
        if session is not None:
            session.join(self)
        elif self._data is not None:
            self._draw(0, [], _data_scores(self._data, self._scores))

    # --- from what the user already has --------------------------------------------------------------

    @classmethod
    def from_data(
        cls,
        patterns: Any,
        tokens: Tokens | Sequence[Any] | None = None,
        *,
        compare: Any = None,
        compare_tokens: Tokens | Sequence[Any] | None = None,
        layers: Sequence[int] | None = None,
        causal: bool | None = None,
        windows: Sequence[int | None] | int | None = None,
        kv_heads: int | None = None,
        weighting: str = "pattern",
        **view: Any,
    ) -> Attention:
        """The view of patterns from anywhere, without a model and without torch.

        Args:
            patterns: `[layer, head, query, key]` (numpy, torch or nested lists; fewer axes for one layer or head),
                or an `AttentionPatterns` or `AttentionComparison` as `mw.data.load` returns them.
            tokens: one string or id per position.
            compare: a second set of patterns for A, B and A − B.
            compare_tokens: its tokens, if they differ.
            layers: layer numbers of the layer axis.
            causal: no reads of later positions; found from the numbers if None.
            windows: sliding window, for all layers or one per layer.
            kv_heads: key-value heads that the query heads share.
            weighting: what the numbers are.
            view: arguments of `Attention`: scores, height and options.

        Raises:
            DataError: wrong shapes; the message names the axis.
        """
        how = {"layers": layers, "causal": causal, "windows": windows, "kv_heads": kv_heads, "weighting": weighting}
        if isinstance(patterns, (AttentionPatterns, AttentionComparison)):
            first: Any = patterns
            given = {**how, "tokens": tokens, "weighting": None}
            said = [name for name, value in given.items() if value is not None]
            if said:
                raise DataError(f"{', '.join(said)}: a result of mi_widgets knows its own.", "Leave it out.")
            if isinstance(first, AttentionComparison) and compare is not None:
                raise DataError("this result is a comparison already.", "Leave compare= out.")
        else:
            first = patterns_from_arrays(patterns, tokens, **how)  # type: ignore[arg-type]
        if compare is not None and isinstance(first, AttentionPatterns):
            second = compare
            if not isinstance(second, AttentionPatterns):
                names = tokens if compare_tokens is None else compare_tokens
                second = patterns_from_arrays(compare, names, **how)  # type: ignore[arg-type]
            first = AttentionComparison(first, second)
        return cls(first, **view)

    @classmethod
    def from_cache(cls, cache: Any, tokens: Any = None, **view: Any) -> Attention:
        """The view of a TransformerLens cache that holds `hook_pattern`.

        Args:
            cache: an `ActivationCache` (or a dict of activations) of one prompt.
            tokens: strings or ids, or None: ids are then looked for nowhere and positions are numbered.
            view: arguments of `from_data` and `Attention`.

        Raises:
            DataError: no patterns in the cache.
        """
        keys = set(cache.keys())
        layers = sorted(
            {int(key.split(".")[1]) for key in keys if key.startswith("blocks.") and key.endswith("attn.hook_pattern")}
        )
        if not layers:
            raise DataError(
                "the cache holds no attention patterns.",
                'Make it with names_filter=lambda name: name.endswith("attn.hook_pattern").',
            )
        arrays = [cache[f"blocks.{layer}.attn.hook_pattern"] for layer in layers]
        arrays = [array[0] if array.ndim == 4 and array.shape[0] == 1 else array for array in arrays]
        if arrays[0].ndim == 4:
            raise DataError(f"the cache holds {arrays[0].shape[0]} prompts.", "Show one at a time: cache one prompt.")
        model = getattr(cache, "model", None)
        if model is not None:
            from mi_widgets.models import describe, token_strings

            info = describe(model)
            view.setdefault("kv_heads", info.kv_heads)
            view.setdefault("windows", tuple(info.windows[layer] for layer in layers))
            ids = getattr(tokens, "tolist", lambda: tokens)()
            if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], list):
                ids = ids[0]
            if isinstance(ids, list) and ids and isinstance(ids[0], int):
                tokens = Tokens(np.array(ids), tuple(token_strings(getattr(model, "tokenizer", None), ids)))
        return cls.from_data(arrays, tokens, layers=layers, **view)

    # --- results -------------------------------------------------------------------------------------

    @property
    def data(self) -> AttentionPatterns:
        """The patterns of the first prompt; pending work is done first. Raises the error if there are none yet."""
        self._flush()
        assert self._data is not None
        return self._data

    @property
    def comparison(self) -> AttentionComparison | None:
        """Both prompts' patterns and their difference, or None without a second prompt."""
        self._flush()
        return self._comparison

    @property
    def head_scores(self) -> pd.DataFrame | None:
        """The table by which the wall can be sorted: layer, head, score columns."""
        self._flush()
        return self._sent.get("scores")

    def to_pandas(self, **options: Any) -> pd.DataFrame:
        """Long form, one row per cell that the mask allows: of the comparison if there is one, else of the patterns.

        Args:
            options: `layers=`, `heads=` and, for one prompt, `masked=`.
        """
        return self._result().to_pandas(**options)

    def figure(self, **options: Any) -> Any:
        """The picture on screen as a plotly Figure: the selected head, or the whole wall with `kind="wall"`.

        Args:
            options: see `figures.attention_figure`; what is not given is as on screen.
        """
        from mi_widgets.figures import attention_figure

        self._flush()
        layer, head = self._focused()[0]
        shown: dict[str, Any] = {"layer": layer, "head": head}
        shown |= {name: self.options[name] for name in ("scale", "palette")}
        if "heads" in options or options.get("kind") == "wall":
            del shown["layer"], shown["head"]
        return attention_figure(self._shown(), **{**shown, **options})

    def recipe(self) -> str:
        """Python that makes this picture again: versions, model, prompt, options, selection."""
        if self.session is not None:
            self._flush()
        # Of the picture that is there: a prompt or weighting that failed since has none.
        options = self.options if self._data is None else {**self.options, "weighting": self._data.weighting}
        changed = {name: value for name, value in options.items() if value != DEFAULTS[name]}
        if self._comparison is not None:
            changed["show"] = options["show"]
        if self.session is None:
            changed.pop("weighting", None)  # the file says it
        words = "".join(f", {name}={value!r}" for name, value in changed.items())
        lines = [f"# {_versions(self.session is not None)}", "import mi_widgets as mw", ""]
        if self.session is None:
            lines += [
                '# first: view.save("attention.npz")',
                f'view = mw.Attention.from_data(mw.data.load("attention.npz"){words})',
            ]
        else:
            name = self.session.info.name
            loader = "mw.load_demo()" if name == "mi_widgets demo" else f"mw.load_model({name!r})"
            bos = "" if self.session.prepend_bos is None else f", prepend_bos={self.session.prepend_bos}"
            beyond = ", beyond_context=True" if self.session.beyond_context else ""
            compare = self._drawn["compare"]
            second = "" if compare is None else f", compare={compare!r}"
            if self._scores is not None:
                lines.insert(2, "# scores: a DataFrame of your own, with columns layer and head")
                second += ", scores=scores"
            layers = "" if self._layers is None else f", layers={list(self._layers)}"
            lines += [
                f"model = {loader}",
                f"session = mw.Session(model, {self._drawn['prompt']!r}{bos}{beyond})",
                f"view = mw.Attention(session{second}{layers}{words})",
            ]
        if self.selection != Selection():
            chosen = {name: value for name, value in self.selection.to_dict().items() if value not in (None, [])}
            if "heads" in chosen:
                chosen["heads"] = tuple(tuple(pair) for pair in chosen["heads"])
            fields = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
            lines.append(f"view.selection = mw.Selection({fields})")
        return "\n".join([*lines, 'view.save("attention.pdf", width_mm=83)', ""])

    def frozen_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, heads: str | Iterable[tuple[int, int]] = "all"
    ) -> dict[str, Any]:
        """The state for an offline page, with the full patterns of the heads kept.

        Args:
            heads: `"all"`, `"shown"` (those on screen), or `(layer, head)` pairs. Heads left out keep their
                thumbnail.
        """
        self._flush()
        patterns, comparison = self.data, self._comparison
        if heads == "all":
            kept = [(layer, head) for layer in patterns.layers for head in range(patterns.n_heads)]
        elif heads == "shown":
            kept = self._focused()
        elif isinstance(heads, str):
            raise DataError(f"heads={heads!r} is unknown.", 'Give "all", "shown" or (layer, head) pairs.')
        else:
            kept = list(dict.fromkeys([*self._focused(), *((int(layer), int(head)) for layer, head in heads)]))
            for layer, head in kept:
                patterns.head(layer, head)  # raises for one that does not exist
        sides = {"A": patterns} | ({"B": comparison.b} if comparison is not None else {})
        blocks = [
            wire.head_block(side_patterns, side, layer, head, exact=False)
            for side, side_patterns in sides.items()
            for layer, head in kept
        ]
        atlases = self._atlases() if comparison is not None else [self._atlas()]
        manifest = {**self._manifest([], self._sent.get("scores")), "live": False}
        return {
            "session_id": self.session_id,
            "prompt": to_wire(self._drawn.get("prompt")),
            "compare": to_wire(self._drawn.get("compare")),
            "history": [],
            "selection": {**self.selection.to_dict(), "stamp": self._stamp},
            "options": {**self.options, "weighting": patterns.weighting},
            "status": status_value("frozen", manifest["run"]),
            "picture": pack(atlases, manifest),
            "focus": b"",
            "store": pack(blocks),
            "height": self.height,
        }

    # --- computing -----------------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.attention import SITES, readers_for

        assert self.session is not None
        weighting = self.options["weighting"]
        prompts = {"A": self.session.prompt} | ({} if self.compare is None else {"B": self.compare})
        self._asked = {"weighting": weighting, "prompt": prompts["A"], "compare": prompts.get("B")}
        return [
            Need(name, prompt, SITES[weighting], lambda: readers_for(weighting), self._layers)
            for name, prompt in prompts.items()
        ]

    def session_waits(self, progress: Progress) -> None:
        """See `session.SessionView`."""
        if progress.total == 0:
            self._started = time.perf_counter()
        super().session_waits(progress)

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """See `session.SessionView`."""
        from mi_widgets.compute.attention import assemble

        assert self.session is not None
        asked = self._asked  # the options may have changed since; then a newer run is on its way
        sides = {
            name: assemble(self.session.model, answer.tokens, answer.activations, asked["weighting"])
            for name, answer in answers.items()
        }
        later = not self.session.has_head_scores and self.session.scores_seconds() > QUICK_SECONDS
        scores = None if later else (yield from self.session.head_scores())
        self._data = sides["A"]
        self._comparison = AttentionComparison(sides["A"], sides["B"]) if "B" in sides else None
        self._drawn = asked
        self.last_error = None
        self._draw(progress.run, progress.notes, self._all_scores(scores))
        if later:
            scores = yield from self.session.head_scores()
            self._draw(progress.run, progress.notes, self._all_scores(scores))

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        super().session_changed(name)
        if name == "prompt" and self.session is not None:
            with self.hold_sync():
                self.prompt = self.session.prompt
                self.history = [to_wire(value) for value in self.session.history]

    def _all_scores(self, measured: pd.DataFrame | None) -> pd.DataFrame | None:
        if measured is None:
            return _data_scores(self._data, self._scores) if self._data is not None else self._scores
        return joined(measured, self._scores)

    def _draw(self, run: int, notes: list[str], scores: pd.DataFrame | None) -> None:
        """Everything the picture needs, in one message."""
        self._sent = {"run": run, "scores": scores, "notes": notes, "show": self._side()}
        manifest = self._manifest(notes, scores)
        picture = pack([self._sent["atlas"]], manifest)
        focus = pack(self._focus_blocks(self._focused()))
        elapsed = 1000 * (time.perf_counter() - self._started)
        with self.hold_sync():
            self.picture = picture
            self.focus = focus
            self.status = status_value("idle", run, elapsed_ms=round(elapsed, 1))

    def _manifest(self, notes: list[str], scores: pd.DataFrame | None) -> Any:
        assert self._data is not None
        difference_high = None
        if self._comparison is not None:
            difference_high = self._atlas("difference").high
        self._sent["atlas"] = self._atlas()
        return wire.manifest(
            self._data,
            run=self._sent["run"],
            comparison=self._comparison,
            scores=scores,
            notes=notes or self._sent["notes"],
            live=self.session is not None,
            difference_high=difference_high,
        )

    def _side(self) -> str:
        return self.options["show"] if self._comparison is not None else "A"

    def _atlas(self, show: str | None = None) -> Block:
        assert self._data is not None
        show = show or self._side()
        if show == "difference":
            if "difference" not in self._sent:
                assert self._comparison is not None
                self._sent["difference"] = wire.difference_atlas(self._comparison)[0]
            return self._sent["difference"]
        side = self._data if show == "A" or self._comparison is None else self._comparison.b
        return wire.atlas_block(side, show)  # type: ignore[arg-type]

    def _atlases(self) -> list[Block]:
        return [self._atlas(show) for show in ("A", "B", "difference")]

    def _focused(self) -> list[tuple[int, int]]:
        """Heads on screen: the selected one (or the first), then those laid over each other."""
        assert self._data is not None
        layers, count = self._data.layers, self._data.n_heads

        def exists(layer: int | None, head: int | None) -> bool:
            return layer in layers and head is not None and head < count

        chosen = self.selection
        first = (chosen.layer, chosen.head) if exists(chosen.layer, chosen.head) else (layers[0], 0)
        return list(dict.fromkeys([first, *(pair for pair in chosen.heads if exists(*pair))]))  # type: ignore[arg-type]

    def _focus_blocks(self, heads: Iterable[tuple[int, int]], sides: Sequence[str] = ("A", "B")) -> list[Block]:
        held = {"A": self._data} | ({"B": self._comparison.b} if self._comparison is not None else {})
        blocks = []
        for side in sides:
            patterns = held.get(side)
            if patterns is not None:
                blocks += [wire.head_block(patterns, side, layer, head) for layer, head in heads]
        return blocks

    def _result(self) -> AttentionPatterns | AttentionComparison:
        self._flush()
        return self._comparison or self.data

    def _settle(self) -> None:
        if self._data is None or "run" not in self._sent:
            return
        focus = pack(self._focus_blocks(self._focused()))
        with self.hold_sync():
            if focus != self.focus:
                self.focus = focus
            if self._side() != self._sent["show"]:
                self._sent["show"] = self._side()
                manifest = self._manifest(self._sent["notes"], self._sent["scores"])
                self.picture = pack([self._sent["atlas"]], manifest)

    def _answer(self, request: dict[str, Any]) -> bytes:
        if self._data is None:
            raise RequestError("stale", "There is no picture yet.")
        if request.get("run") != self._sent["run"]:
            raise RequestError("stale", "A newer picture has been computed.")
        if request.get("want") == "heads":
            try:
                heads = [(int(layer), int(head)) for layer, head in request.get("heads", [])]
                return pack(self._focus_blocks(heads, request.get("sides") or ["A"]))
            except DataError as reason:
                raise RequestError("unknown", reason.message, reason.hint) from reason
        if request.get("want") == "atlas":
            if request.get("show") not in CHOICES["show"]:
                raise RequestError("unknown", f"There is no thumbnail of {request.get('show')!r}.")
            if self._comparison is None and request.get("show") != "A":
                raise RequestError("unknown", "There is no second prompt to compare with.", "Add one with “compare”.")
            return pack([self._atlas(request.get("show"))])
        raise RequestError("unknown", f"The attention view has no {request.get('want')!r}.")

    def _flush(self) -> None:
        if self.session is not None:
            self.session.runner.flush()
        if self._data is None:
            raise self.last_error or DataError("nothing has been computed yet.", "Call view.wait().")

    def _shown(self) -> AttentionPatterns | AttentionComparison:
        if self._comparison is None or self._side() == "A":
            return self.data
        return self._comparison.b if self._side() == "B" else self._comparison

    def _still(self) -> str:
        from mi_widgets.figures import preview_svg

        try:
            self._flush()
        except Exception:
            return ""  # the live view shows the error; a still picture of nothing helps nobody
        self._settle()
        layer, head = self._focused()[0]
        return preview_svg(
            self._shown(), layer=layer, head=head, scale=self.options["scale"], palette=self.options["palette"]
        )

    # --- edits ---------------------------------------------------------------------------------------

    @traitlets.validate("prompt", "compare")
    def _plain_prompts(self, proposal: Any) -> Any:
        return plain(proposal["value"])

    @traitlets.validate("options")
    def _whole_options(self, proposal: Any) -> dict[str, Any]:
        current = self._trait_values.get("options") or DEFAULTS
        return checked_options(current, dict(proposal["value"]))

    def _prompt_edited(self, change: Any) -> None:
        if self.session is not None and change["new"] != self.session.prompt:
            self.session.prompt = change["new"]

    def _compare_edited(self, change: Any) -> None:
        if self.session is None:
            return
        # A first second prompt is there to be compared with; without one, only A is left to show.
        if change["new"] is None:
            self.options = {"show": "A"}  # the comparison itself stays until its successor is drawn
        elif change["old"] is None and self.options["show"] == "A":
            self.options = {"show": "difference"}
        self.session.compute([self])

    def _options_edited(self, change: Any) -> None:
        if self.session is not None and change["new"]["weighting"] != change["old"].get("weighting"):
            self.session.compute([self])
        elif self.session is None and self._data is not None and change["new"]["weighting"] != self._data.weighting:
            self.options = {"weighting": self._data.weighting}
        self._settle_soon()


def _source(source: Any, prompt: Any) -> tuple[Session | None, AttentionPatterns | None, AttentionComparison | None]:
    if isinstance(source, Session):
        if prompt is not None:
            raise DataError("a session has its own prompt.", "Set session.prompt, or give a model and a prompt.")
        return source, None, None
    if isinstance(source, AttentionComparison):
        return None, source.a, source
    if isinstance(source, AttentionPatterns):
        return None, source, None
    if source is None or prompt is None:
        raise DataError(
            "an attention view needs a session, or a model and a prompt.",
            "mw.Attention(session), mw.Attention(model, \"prompt\") or mw.Attention.from_data(patterns, tokens).",
        )
    return Session(source, prompt), None, None


def checked_options(current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`current` with `changes`; DataError for a name or value that is not known."""
    for name, value in changes.items():
        if name not in DEFAULTS:
            raise DataError(f"unknown option {name!r}.", f"Options are {', '.join(DEFAULTS)}.")
        if name in CHOICES and value not in CHOICES[name]:
            raise DataError(f"{name}={value!r} is unknown.", f"Choose one of {', '.join(map(repr, CHOICES[name]))}.")
        if name in {"sort", "filter"} and not (value is None or isinstance(value, str)):
            raise DataError(f"{name}={value!r} is no column name.", "Give a score column's name, or None.")
        if name == "filter_min" and not isinstance(value, (int, float)):
            raise DataError(f"filter_min={value!r} is no number.")
    return {**DEFAULTS, **current, **changes}


def checked_scores(scores: pd.DataFrame | None) -> pd.DataFrame | None:
    """The user's table, if it can sort heads."""
    if scores is None:
        return None
    if not isinstance(scores, pd.DataFrame) or not {"layer", "head"} <= set(scores.columns):
        raise DataError("scores must be a DataFrame with columns layer and head.", "One row per head.")
    if not all(pd.api.types.is_integer_dtype(scores[name]) for name in ("layer", "head")):
        raise DataError("the columns layer and head of scores must be whole numbers.", "One row per head.")
    if scores.duplicated(["layer", "head"]).any():
        raise DataError("scores has several rows for one head.", "Give one row per layer and head.")
    return scores


def joined(measured: pd.DataFrame, given: pd.DataFrame | None) -> pd.DataFrame:
    """The measured columns and the user's beside them; the user's win where names are equal."""
    if given is None:
        return measured
    kept = measured.drop(columns=[name for name in given.columns if name in measured and name not in ("layer", "head")])
    table = kept.merge(given, on=["layer", "head"], how="left")
    table.attrs = {**measured.attrs, "given": [str(name) for name in given.columns]}
    return table


def _data_scores(patterns: AttentionPatterns, given: pd.DataFrame | None) -> pd.DataFrame | None:
    if patterns.weighting == "scores":
        if given is not None:
            given = given.copy(deep=False)
            given.attrs = {"given": [str(name) for name in given.columns]}
        return given
    measured = prompt_scores(patterns)
    measured.attrs["basis"] = PROMPT_BASIS
    return joined(measured, given)


def _versions(with_model: bool) -> str:
    names = ["transformer-lens", "torch", "transformers"] if with_model else []
    found = [f"mi_widgets {__version__}"]
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


