"""The attention explorer: every head's pattern on one prompt, live, compared, exported.

A shell: the numbers come from `compute.attention`, the bytes from `wire.attention`, the page view is
`js/src/widgets/attention/`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, ClassVar

import pandas as pd

from mi_widgets.data import AttentionComparison, AttentionPatterns, Tokens, patterns_from_arrays
from mi_widgets.data.integers import word
from mi_widgets.data.scores import checked_scores, joined, scores_of_prompt, unknown_columns
from mi_widgets.described.attention import ATTENTION as OPTIONS
from mi_widgets.errors import DataError
from mi_widgets.session import Answered, Need, Progress, aside
from mi_widgets.session.aside import at_once
from mi_widgets.session.runner import LAST, Job
from mi_widgets.widgets.attention_page import frozen_parcels, heads_kept
from mi_widgets.widgets.compared import ComparedView
from mi_widgets.widgets.recipe import Name
from mi_widgets.widgets.view import page_source, status_value
from mi_widgets.wire.attention_picture import AttentionPicture
from mi_widgets.wire.blocks import pack

#: Head scores are measured before the first picture if that takes less than this, else after it.
QUICK_SECONDS = 0.5


class Attention(ComparedView[AttentionPatterns, AttentionComparison]):
    """Attention of every head on one prompt.

    Args:
        source: a `Session`, or a TransformerBridge together with `prompt`.
        prompt: text, token ids or chat messages; not with a session, which has its own.
        compare: a second prompt of the same forms; A, B and A − B on aligned tokens are shown.
        scores: a table with columns `layer`, `head` and numeric columns to sort and filter the heads by. The model's
            own head scores (`compute.head_scores`) are there always.
        layers: only these layers; all if None.
        prepend_bos: for a model and a text prompt; None means what `model.to_tokens(prompt)` does.
        height: on the page, in pixels.
        options: how it is shown; listed below.

    Raises:
        ModelError, DataError: a wrong model, option or layer. A prompt that cannot be run is no error here: the
            view says what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "attention"
    OPTIONS = OPTIONS
    RECORD, COMPARISON, PICTURE = AttentionPatterns, AttentionComparison, AttentionPicture
    PAGE_OPTIONS = ("heads",)
    DRAWN_BY = "head scores with seed 0"
    _esm, _css = page_source("attention")

    def __init__(
        self,
        source: Any = None,
        prompt: Any = None,
        *,
        compare: Any = None,
        scores: pd.DataFrame | None = None,
        layers: Iterable[int] | None = None,
        prepend_bos: bool | None = None,
        height: int = OPTIONS.height,
        **options: Any,
    ) -> None:
        session, chosen = self._opened(source, prompt, prepend_bos, options, compare)
        if session is None and layers is not None:
            raise DataError("layers= belongs to the data here.", "Give it to Attention.from_data or from_cache.")
        weighting = options.get("weighting", chosen["weighting"])
        if weighting != chosen["weighting"]:
            raise DataError(f"weighting={weighting!r}, but the patterns given hold {chosen['weighting']!r}.")
        self._scores = checked_scores(scores)
        self._layers: tuple[int, ...] | None = None
        if session is not None:
            from mi_widgets.compute.attention import check_layers

            self._layers = check_layers(session.model, layers)
        super().__init__(session, height=height, options=chosen, compare=compare)
        self._begin()

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
        given = {**how, "tokens": tokens, "weighting": None}

        def made(numbers: Any, second: bool) -> AttentionPatterns:
            names = compare_tokens if second and compare_tokens is not None else tokens
            return patterns_from_arrays(numbers, names, **how)  # type: ignore[arg-type]

        known = [name for name, value in given.items() if value is not None]
        return cls._of_results(patterns, compare, made, known, **view)

    @classmethod
    def from_cache(
        cls, cache: Any, tokens: Any = None, *, layers: Iterable[int] | None = None, **view: Any
    ) -> Attention:
        """The view of a TransformerLens cache that holds `hook_pattern`.

        Args:
            cache: an `ActivationCache` (or a dict of activations) of one prompt.
            tokens: strings or ids `[position]` or `[1, position]`; positions are numbered if None.
            layers: only these of the layers in the cache.
            view: arguments of `Attention`: scores, height and options.

        Raises:
            DataError: no patterns in the cache.
        """
        from mi_widgets.compute.attention import patterns_from_cache

        return cls(patterns_from_cache(cache, tokens, layers), **view)

    # --- results -------------------------------------------------------------------------------------

    @property
    def head_scores(self) -> pd.DataFrame | None:
        """The table by which the wall can be sorted: layer, head, score columns."""
        self._flush(priority=None)
        return None if self._picture is None else self._picture.score_table

    def figure(self, **options: Any) -> Any:
        """The picture on screen as a plotly Figure: the selected head, or the whole wall with `kind="wall"`.

        Args:
            options: see `figures.attention_figure`; what is not given is as on screen.
        """
        from mi_widgets.figures import attention_figure
        from mi_widgets.figures.attention import KINDS

        self._current()
        layer, head = self._focused()[0]
        shown: dict[str, Any] = {"layer": layer, "head": head}
        shown |= {name: self.options[name] for name in ("scale", "palette", "shared_range")}
        wall = word("kind", options.get("kind", "matrix"), KINDS) == "wall"
        if wall and self.options["sort"] is not None and self.head_scores is not None:
            sort = {"sort": self.options["sort"], "descending": self.options["descending"]}
            shown |= sort if self.options["sort"] in self.head_scores else {}
            shown["scores"] = self.head_scores
        if self._comparison is not None and self.options["show"] != "difference" and self.options["shared_range"]:
            # A and B share one range, as on the screen.
            manifest = self._picture.manifest()
            if manifest["low"] < manifest["high"]:
                shown["zrange"] = (manifest["low"], manifest["high"])
        # On the wall the head that is locked is outlined; several heads stand for themselves.
        if "heads" in options or (wall and self.selection.layer is None):
            del shown["layer"], shown["head"]
        return attention_figure(self._shown(), **{**shown, **options})

    def _recipe_words(self) -> dict[str, Any]:
        words = super()._recipe_words()
        if self.session is None:
            return words
        scores = Name("scores", "a DataFrame of your own, with columns layer and head")
        own = {} if self._scores is None else {"scores": scores}
        return {**own, **({} if self._layers is None else {"layers": list(self._layers)}), **words}

    def _offline(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, picture: AttentionPicture, *, heads: str | Iterable[tuple[int, int]] = "all"
    ) -> dict[str, Any]:
        """With the full patterns of `heads`: `"all"`, `"shown"` (those on screen), or `(layer, head)` pairs. Heads left
        out keep their thumbnail."""
        parcels = frozen_parcels(picture, heads_kept(picture.data, heads, self._focused()))
        return {**parcels, "options": {**self.options, "weighting": picture.data.weighting}}

    # --- computing -----------------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.attention import SITES, readers_for

        weighting = self.options["weighting"]
        return self._needs(
            lambda name, run, called: Need(
                name, run, SITES[weighting], lambda: readers_for(weighting), self._layers, called
            ),
            weighting=weighting,
        )

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """See `session.SessionView`."""
        yield from super().session_draws(progress, answers)
        if not self._live.head_scores.measured:
            self._live.head_scores.measure(self)

    def _drawing(
        self, progress: Progress, answers: dict[str, Answered], subject: dict[str, Any]
    ) -> Generator[Any, None, AttentionPicture]:
        sides, large = {}, progress.large
        for name, found in answers.items():
            sides[name] = yield from self._assembled(found, subject["weighting"], large)
        comparison = None
        if "B" in sides:
            comparison = yield from aside(lambda: AttentionComparison(sides["A"], sides["B"]), large)
        scores = self._live.head_scores
        if scores.seconds() <= QUICK_SECONDS:
            yield from scores.steps()
        return (yield from aside(self._picture_of(sides["A"], comparison, progress.run, progress.notes), large))

    def scores_wait(self, done: int, total: int, seconds: float | None) -> None:
        """See `session.head_scores.ScoresListener`. The picture stands meanwhile."""
        about = "measuring head scores" + ("" if seconds is None else f", about {max(seconds, 1):.0f} s left")
        if self._picture is not None and self.status["run"] == self._picture.run:
            self._say_progress(self._picture.run, done, total, about)

    def scores_end(self, stopped: bool) -> None:
        """See `session.head_scores.ScoresListener`."""
        if self._picture is None or self.session is None:
            return
        if not stopped and self._large:
            slot = ("scores in the picture", id(self))
            self.session.runner.submit(Job(slot, self._with_scores(), failed=self._complain, priority=LAST))
        elif not stopped:
            at_once(self._with_scores())
        elif self.status["run"] == self._picture.run:
            message = "Stopped: the heads have no scores of the model."
            self.status = status_value("idle", self._picture.run, message=message)

    def _with_scores(self) -> Generator[Any, None, None]:
        """Draw again what is on screen, now with the head scores."""
        before = self._picture
        make = self._picture_of(before.data, before.comparison, before.run, before.notes)
        picture = yield from aside(make, self._large)
        parcels = yield from aside(self._parcels(picture), self._large)
        status = self.status
        if self._picture is before:  # else a newer one has them
            with self.hold_sync():
                self._on_page = self._picture = picture
                self._put(picture.run, *parcels, self._elapsed_ms)
                if status["run"] != picture.run:  # a prompt that failed since: what is said of it stays
                    self.status = status

    def _shape(self) -> tuple[int, int] | None:
        held = None if self.session is not None else self._data
        return super()._shape() if held is None else (max(held.layers) + 1, held.n_heads)

    def _assembled(self, found: Answered, weighting: str, large: bool) -> Generator[Any, None, AttentionPatterns]:
        """The patterns in an answer; views of one weighting share them, with what is derived from them."""
        from mi_widgets.compute.attention import assemble

        def make() -> AttentionPatterns:
            return assemble(found.run.model, found.tokens, found.activations, weighting)

        return (yield from found.once_aside(("attention", weighting), make, large))

    def _alone(self) -> AttentionPicture:
        return self._picture_of(self._data, self._comparison)()

    def _picture_of(
        self, data: AttentionPatterns, comparison: AttentionComparison | None, run: int = 0, notes: Sequence[str] = ()
    ) -> Callable[[], AttentionPicture]:
        """What makes the picture, with the head scores that are known by now."""
        measured, why = (None, "") if self.session is None else self.session.head_scores.known()
        options, given, live = self.options, self._scores, self.session is not None

        def make() -> AttentionPicture:
            scores = scores_of_prompt(data, given) if measured is None else joined(measured, given)
            picture = AttentionPicture(data, comparison, run=run, scores=scores, notes=notes, live=live)
            unknown = unknown_columns(picture.score_table, options["sort"], options["filter"])
            picture.more_notes = [*([f"No head scores of the model: {why}"] if why else []), *unknown]
            return picture

        return make

    def _parcels(self, picture: AttentionPicture) -> Callable[[], tuple[bytes, bytes]]:
        """The side on screen, and the heads on screen."""
        show, focused = picture.side(self.options["show"]), self._focused(picture.data)
        picture.saved = show
        return lambda: (picture.parcel(show), picture.kept(focused))

    def _focused(self, data: AttentionPatterns | None = None) -> list[tuple[int, int]]:
        """Heads on screen: the selected one (or the first), then those laid over each other; of those in `data`."""
        data = self._data if data is None else data
        assert data is not None
        layers, count = data.layers, data.n_heads

        def exists(layer: int | None, head: int | None) -> bool:
            return layer in layers and head is not None and head < count

        chosen = self.selection
        first = (chosen.layer if chosen.layer in layers else layers[0], 0)
        if exists(chosen.layer, chosen.head):
            first = (chosen.layer, chosen.head)
        return list(dict.fromkeys([first, *(pair for pair in chosen.heads if exists(*pair))]))  # type: ignore[arg-type]

    def _settling(self, large: bool) -> Generator[Any, None, None]:
        picture = self._picture
        if picture is None:
            return
        focused, show = self._focused(), picture.side(self.options["show"])
        again = show != picture.saved

        def make() -> tuple[bytes, bytes]:
            return picture.kept(focused), picture.parcel(show) if again else b""

        focus, parcel = yield from aside(make, large)
        if self._picture is not picture:
            return
        with self.hold_sync():
            if focus != self.focus:
                self.focus = focus
            if again:
                picture.saved, self.picture = show, parcel

    def _asked_for(self, picture: AttentionPicture, request: dict[str, Any]) -> bytes | None:
        if request.get("want") == "heads":
            heads = [(int(layer), int(head)) for layer, head in request.get("heads", [])]
            return pack(picture.heads(heads, request.get("sides") or ["A"]))
        if request.get("want") == "atlas":
            show = word("show", request.get("show"), OPTIONS.values("show"))
            if show != picture.side(show):
                raise DataError("There is no second prompt to compare with.", "Add one with “compare”.")
            return pack([picture.atlas(show)])
        return None

    def _draw_still(self) -> Any:
        from mi_widgets.figures.attention import attention_still

        scale, palette = self.options["scale"], self.options["palette"]
        return attention_still(self._shown(), *self._focused()[0], scale, palette)

    # --- edits ---------------------------------------------------------------------------------------

    def _said_by(self, data: AttentionPatterns) -> dict[str, Any]:
        return {"weighting": data.weighting}

    def _options_edited(self, change: Any) -> None:
        super()._options_edited(change)
        if self.session is None and change["new"]["weighting"] != self._data.weighting:
            self.options = self._said_by(self._data)
