"""The attention explorer: every head's pattern on one prompt, live, compared, exported.

A shell: the numbers come from `compute.attention`, the bytes from `wire.attention`, the page view is
`js/src/widgets/attention/`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
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
from mi_widgets.widgets.attention_answers import answer
from mi_widgets.widgets.attention_page import frozen_parcels, heads_kept
from mi_widgets.widgets.attention_source import resolved
from mi_widgets.widgets.live import ComparedView
from mi_widgets.widgets.recipe import attention_recipe
from mi_widgets.widgets.view import page_source, status_value
from mi_widgets.wire.attention_picture import AttentionPicture

#: Head scores are measured before the first picture if that takes less than this, else after it.
QUICK_SECONDS = 0.5


class Attention(ComparedView):
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
        options: how it is shown: `weighting` ("pattern", "scores", "value", "output"), `scale` ("linear", "sqrt",
            "log"), `palette` ("blue", "amber", "grey"), `shared_range`, `show` ("A", "B", "difference"), `sort` and
            `filter` (names of score columns or None), `descending`, `filter_min`, `direction` ("reads", "read_by"),
            `panel` ("both", "matrix", "text").

    Raises:
        ModelError, DataError: a wrong model, option or layer. A prompt that cannot be run is no error here: the
            view says what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "attention"
    OPTIONS = OPTIONS
    PAGE_OPTIONS = ("heads",)
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
        chosen = OPTIONS.changed({}, options)
        session, self._data, self._comparison = resolved(source, prompt, prepend_bos)
        if session is None and (compare is not None or layers is not None):
            raise DataError(
                "layers= and compare= belong to the data here.", "Give them to Attention.from_data or from_cache."
            )
        if self._data is not None and chosen["weighting"] != self._data.weighting:
            if "weighting" in options:
                raise DataError(
                    f"weighting={chosen['weighting']!r}, but the patterns given hold {self._data.weighting!r}."
                )
            chosen["weighting"] = self._data.weighting
        if (compare is not None and session is not None) or self._comparison is not None:
            chosen["show"] = options.get("show", "difference")
        self._scores = checked_scores(scores)
        self._layers: tuple[int, ...] | None = None
        self._notes: list[str] = []
        self._picture: AttentionPicture | None = None
        self._saved_show = "A"
        if session is not None:
            from mi_widgets.compute.attention import check_layers

            self._layers = check_layers(session.model, layers)
        super().__init__(session, height=height, options=chosen, compare=compare)
        if session is not None:
            session.join(self)
        elif self._data is not None:
            self._show(*at_once(self._drawing(self._data, self._comparison, 0, [])))

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
    def data(self) -> AttentionPatterns:
        """The patterns of the first prompt; pending work is done first.

        After a failed or stopped run they are those of the last good picture, with a warning; `wait()` raises.
        Raises the error if there is no picture yet.
        """
        self._current()
        assert self._data is not None
        return self._data

    @property
    def comparison(self) -> AttentionComparison | None:
        """Both prompts' patterns and their difference, or None without a second prompt."""
        self._current()
        return self._comparison

    @property
    def head_scores(self) -> pd.DataFrame | None:
        """The table by which the wall can be sorted: layer, head, score columns."""
        self._flush(priority=None)
        return None if self._picture is None else self._picture.score_table

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
            assert self._picture is not None  # A and B share one range, as on the screen
            manifest = self._picture.manifest()
            if manifest["low"] < manifest["high"]:
                shown["zrange"] = (manifest["low"], manifest["high"])
        # On the wall the head that is locked is outlined; several heads stand for themselves.
        if "heads" in options or (wall and self.selection.layer is None):
            del shown["layer"], shown["head"]
        return attention_figure(self._shown(), **{**shown, **options})

    def recipe(self) -> str:
        """Python that makes this picture again: versions, model, prompt, options, selection."""
        if self.session is not None:
            self._flush()
        # Of the picture that is there: a prompt or weighting that failed since has none.
        weighting = self.options["weighting"] if self._data is None else self._data.weighting
        return attention_recipe(
            session=self.session,
            options={**self.options, "weighting": weighting},
            drawn=self._drawn,
            compared=self._comparison is not None,
            layers=self._layers,
            scored=self._scores is not None,
            selection=self.selection,
        )

    def frozen_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, heads: str | Iterable[tuple[int, int]] = "all"
    ) -> dict[str, Any]:
        """The state for an offline page, with the full patterns of the heads kept.

        Args:
            heads: `"all"`, `"shown"` (those on screen), or `(layer, head)` pairs. Heads left out keep their
                thumbnail.
        """
        self._flush()
        assert self._picture is not None
        kept = heads_kept(self._picture.patterns, heads, self._focused())
        options = {**self.options, "weighting": self._picture.patterns.weighting}
        return self._frozen(self._picture.run, **frozen_parcels(self._picture, kept), options=options)

    # --- computing -----------------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.attention import SITES, readers_for

        weighting = self.options["weighting"]
        return [
            Need(name, run, SITES[weighting], lambda: readers_for(weighting), self._layers, called)
            for name, (run, called) in self._asking(weighting=weighting).items()
        ]

    def session_draws(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """See `session.SessionView`."""
        assert self.session is not None
        session, asked = self.session, self._asked  # options may have changed since; then a newer run is on its way
        sides, large = {}, progress.large
        for name, found in answers.items():
            sides[name] = yield from self._assembled(found, asked["weighting"], large)
        comparison = None
        if "B" in sides:
            comparison = yield from aside(lambda: AttentionComparison(sides["A"], sides["B"]), large)
        if session.head_scores.seconds() <= QUICK_SECONDS:
            yield from session.head_scores.steps()
        notes = list(progress.notes)
        drawn = yield from self._drawing(sides["A"], comparison, progress.run, notes, large)
        self._data, self._comparison, self._large = sides["A"], comparison, large
        self._drawn, self._notes, self.last_error = asked, notes, None
        self._show(*drawn)
        if not session.head_scores.measured:
            session.head_scores.measure(self)

    def scores_wait(self, done: int, total: int, seconds: float | None) -> None:
        """See `session.head_scores.ScoresListener`. The picture stands meanwhile."""
        about = "measuring head scores" + ("" if seconds is None else f", about {max(seconds, 1):.0f} s left")
        if self._picture is not None and self.status["run"] == self._picture.run:
            self._tell(self._picture.run, done, total, about)

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
        picture = self._picture
        assert picture is not None
        drawn = yield from self._drawing(picture.patterns, picture.comparison, picture.run, self._notes, self._large)
        status = self.status
        if self._picture is picture:  # else a newer one has them
            with self.hold_sync():
                self._show(*drawn, self._elapsed_ms)
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

    def _drawing(
        self,
        data: AttentionPatterns,
        comparison: AttentionComparison | None,
        run: int,
        notes: Sequence[str],
        large: bool = False,
    ) -> Generator[Any, None, tuple[AttentionPicture, str, bytes, bytes]]:
        """The picture, and what of it crosses at once: the side in its parcel, that, and the heads on screen."""
        measured, why = (None, "") if self.session is None else self.session.head_scores.known()
        said = [*notes, *([f"No head scores of the model: {why}"] if why else [])]
        options, given, focused, live = self.options, self._scores, self._focused(data), self.session is not None

        def make() -> tuple[AttentionPicture, str, bytes, bytes]:
            scores = scores_of_prompt(data, given) if measured is None else joined(measured, given)
            picture = AttentionPicture(data, comparison, run=run, scores=scores, notes=said, live=live)
            picture.notes += unknown_columns(picture.score_table, options["sort"], options["filter"])
            show = picture.side(options["show"])
            return picture, show, picture.parcel(show), picture.kept(focused)

        return (yield from aside(make, large))

    def _show(
        self, picture: AttentionPicture, show: str, parcel: bytes, focus: bytes, elapsed_ms: float | None = None
    ) -> None:
        """Everything the picture needs, in one message."""
        self._picture, self._saved_show = picture, show
        self._put(picture.run, parcel, focus, elapsed_ms)

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
        again = show != self._saved_show

        def make() -> tuple[bytes, bytes]:
            return picture.kept(focused), picture.parcel(show) if again else b""

        focus, parcel = yield from aside(make, large)
        if self._picture is not picture:
            return
        with self.hold_sync():
            if focus != self.focus:
                self.focus = focus
            if again:
                self._saved_show, self.picture = show, parcel

    def _answer(self, request: dict[str, Any]) -> bytes:
        return answer(self._picture, request)

    def _shown(self) -> AttentionPatterns | AttentionComparison:
        assert self._picture is not None
        return self._picture.shown(self.options["show"])

    def _draw_still(self) -> Any:
        from mi_widgets.figures.attention import attention_still

        scale, palette = self.options["scale"], self.options["palette"]
        return attention_still(self._shown(), *self._focused()[0], scale, palette)

    # --- edits ---------------------------------------------------------------------------------------

    def _options_edited(self, change: Any) -> None:
        super()._options_edited(change)
        if self.session is None and self._data is not None and change["new"]["weighting"] != self._data.weighting:
            self.options = {"weighting": self._data.weighting}
