"""The logit lens: what the model would say if it stopped at each layer, live, compared, exported.

A shell: the numbers come from `compute.logit_lens`, the bytes from `wire.lens_picture`, the page view is
`js/src/widgets/logit_lens/`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import traitlets

from mi_widgets.data import LogitLens as Lens
from mi_widgets.data import LogitLensComparison
from mi_widgets.data.integers import integers
from mi_widgets.data.interventions import Run
from mi_widgets.described.logit_lens import LOGIT_LENS as OPTIONS
from mi_widgets.errors import AnswerError, DataError
from mi_widgets.session import Answered, Need, Progress
from mi_widgets.widgets.compared import ComparedView
from mi_widgets.widgets.live import refused_token
from mi_widgets.widgets.partial import PartialView
from mi_widgets.widgets.recipe import Name
from mi_widgets.widgets.view import page_source
from mi_widgets.wire.lens_picture import LensPicture

#: Positions from which on a table is drawn two columns wide.
WIDE = 8
#: While a pass ends, no more than this part of the reading is done for a first picture.
BEGINNING = 8
#: Likeliest tokens of each cell.
TOP_K = 10


class LogitLens(PartialView[Lens], ComparedView[Lens, LogitLensComparison]):
    """Top tokens of every layer at every position, read by a lens.

    Args:
        source: a `Session`, or a TransformerBridge together with `prompt`.
        prompt: text, token ids or chat messages; not with a session, which has its own.
        compare: a second prompt of the same forms; A, B and KL(A‖B) on aligned positions are shown.
        tuned: a `compute.TunedLens` fitted for the model (`compute.train_tuned_lens`); that of the demo model is
            found by itself.
        jacobian: a fitted `transformer_lens.tools.analysis.JacobianLens`.
        prepend_bos: for a model and a text prompt; None means what `model.to_tokens(prompt)` does.
        height: on the page, in pixels.
        options: how it is shown; listed below.

    Raises:
        ModelError, DataError: a wrong model, option or lens. A prompt that cannot be run is no error here: the view
            says what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "logit_lens"
    OPTIONS = OPTIONS
    RECORD, COMPARISON, PICTURE = Lens, LogitLensComparison, LensPicture
    _esm, _css = page_source("logit_lens")

    refused = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        source: Any = None,
        prompt: Any = None,
        *,
        compare: Any = None,
        tuned: Any = None,
        jacobian: Any = None,
        prepend_bos: bool | None = None,
        height: int = OPTIONS.height,
        **options: Any,
    ) -> None:
        self._lenses: dict[str, Any] = {"logit": "logit"}
        #: What stood on the page before a part was drawn of passes that were not over.
        self._stood: Any = None
        #: What the reader looks at of the reading that `_sighted` tells apart from others.
        self._sight: Any = None
        self._sighted: tuple[Any, ...] = ()
        self._given_tuned = tuned is not None
        session, chosen = self._opened(source, prompt, prepend_bos, options, compare)
        if session is not None:
            self._lenses |= _fitted(session.model, tuned, jacobian)
        elif tuned is not None or jacobian is not None:
            raise DataError("a result that is there already cannot be read anew.", "Give a session.")
        if chosen["versus"] is not None and "show" not in options:
            chosen["show"] = "difference"
        super().__init__(session, height=height, options=chosen, compare=compare)
        self._begin()

    @classmethod
    def from_data(cls, lens: Lens | LogitLensComparison, **view: Any) -> LogitLens:
        """The view of a result that is there already, without a model and without torch.

        Args:
            lens: as `compute.logit_lens` returns it, or `mw.data.load`.
            view: height and options.

        Raises:
            DataError: something else.
        """
        if not isinstance(lens, (Lens, LogitLensComparison)):
            raise DataError(f"{type(lens).__name__} is no lens.", "Give what compute.logit_lens returns.")
        return cls(lens, **view)

    # --- results -------------------------------------------------------------------------------------

    def figure(self, **options: Any) -> Any:
        """The picture on screen as a plotly Figure.

        Args:
            options: see `figures.logit_lens_figure`; `kind="curves"` draws the pinned tokens over layers. A table of
                more than eight positions is two columns wide (174 mm) unless `width_mm` says otherwise: in one column
                its tokens could not be read.
        """
        from mi_widgets.figures import logit_lens_figure

        self._current()
        shown: dict[str, Any] = {name: self.options[name] for name in ("color", "target", "palette")}
        if options.get("kind") == "curves":
            shown = {"chart": self.options["chart"], "position": self._focused()}
        elif len(self._data.positions) > WIDE:
            shown["width_mm"] = 174
        return logit_lens_figure(self._shown(), **{**shown, **options})

    def _recipe_words(self) -> dict[str, Any]:
        words = super()._recipe_words()
        if self.refused is not None and "targets" in words:
            words["targets"] = [target for target in words["targets"] if str(target) != self.refused["text"]]
        fitted = [name for name in ("tuned", "jacobian") if name in (words.get("lens"), words.get("versus"))]
        missing = [name for name in fitted if not (name == "tuned" and not self._given_tuned)]
        return {**{name: Name(name, "the lens you fitted") for name in missing}, **words}

    def _said_by(self, data: Lens) -> dict[str, Any]:
        return {"lens": data.lens, "stream": data.streams[0]}

    def _alone(self) -> LensPicture:
        return LensPicture(self._data, self._comparison, streams=[self._data.streams[0]], live=False)

    def _offline(self, picture: LensPicture) -> dict[str, Any]:
        return {"picture": picture.parcel(whole=True, live=False), "refused": None}

    # --- computing -----------------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.lens_rows import CHECKS, lens_readers, lens_rows, lens_sites

        asked = {name: self.options[name] for name in OPTIONS.computed}
        sites = lens_sites(asked["stream"])
        lenses = [self._lenses[name] for name in (asked["lens"], asked["versus"]) if name is not None]
        lens_rows(self._live.model, asked["stream"], None, lenses)  # says why, before anything is run
        own, stream = self._live.model, asked["stream"]
        begins = tuple(site for site in sites if site not in CHECKS)

        def need(name: str, run: Run, called: str) -> Need:
            if run.model is not own:
                if asked["lens"] != "logit":
                    raise DataError(
                        f"the {asked['lens']} lens was fitted for one of these models only.",
                        'Compare them by lens="logit".',
                    )
                lens_rows(run.model, stream, None, lenses)
            return Need(name, run, sites, partial(lens_readers, run.model, stream), called=called, begins=begins)

        return self._needs(need, **asked)

    def _drawing(
        self, progress: Progress, answers: dict[str, Answered], subject: dict[str, Any]
    ) -> Generator[Any, None, LensPicture]:
        self._stood = None
        steps = self._reading(progress, answers, subject)
        data = yield from self._with_progress(steps, progress.run, "reading the layers")
        return self._pictured(progress, data)

    def _reading(
        self, progress: Progress, answers: dict[str, Answered], subject: dict[str, Any]
    ) -> Generator[Any, None, Lens | LogitLensComparison]:
        targets, subject["refused"] = self._targets(answers["A"], subject["targets"])
        steps = self._readings(subject, answers, targets)
        return self._as_known(steps, progress.run, lambda data, _step: self._pictured(progress, data), subject)

    def session_begins(self, progress: Progress, answers: dict[str, Answered]) -> Generator[Any, None, None]:
        """See `session.protocol.BeginningView`. The check of the last row is made when the model's output is there."""
        if not all(np.isfinite(answer.activations.arrays["hook_resid_post"][-1]).all() for answer in answers.values()):
            return  # where that began is found out once
        self._stood = self._stood or (self._on_page, self.picture, self.refused)
        with contextlib.closing(self._reading(progress, answers, dict(self._next_subject))) as steps:
            for step in steps:
                yield step
                if step is not None and (step.partial or step.done * BEGINNING > step.total):
                    return

    def session_takes_back(self) -> None:
        """See `session.protocol.BeginningView`."""
        if self._stood is not None:
            with self.hold_sync():
                (self._on_page, self.picture, self.refused), self._stood = self._stood, None

    def _becomes(self, picture: LensPicture, subject: dict[str, Any]) -> None:  # noqa: ARG002
        self.refused = subject["refused"]

    def _how_far(self, picture: LensPicture, done: int, total: int) -> str:
        count = picture.columns[1]
        return f"reading {count * done // max(1, total)} of {count} positions"

    def _stopped(self, picture: LensPicture) -> str:
        read, count = picture.columns
        return f"Stopped: {read} of {count} positions are read."

    def _pictured(self, progress: Progress, data: Lens | LogitLensComparison) -> LensPicture:
        from mi_widgets.compute.lens_rows import available_streams
        from mi_widgets.models import in_half_precision

        a, both = (data.a, data) if isinstance(data, LogitLensComparison) else (data, None)
        return LensPicture(
            a,
            both,
            run=progress.run,
            lenses=tuple(self._lenses),
            streams=available_streams(self._live.model),
            n_layers=self._live.info.n_layers,
            d_vocab=self._live.info.d_vocab,
            half=in_half_precision(self._live.model),
            notes=progress.notes,
        )

    def _asked_for(self, picture: LensPicture, request: dict[str, Any]) -> bytes | None:
        if request.get("want") != "rows":
            return None
        return picture.rows([int(row) for row in request.get("rows") or []], request.get("sides") or ["A"])

    def _order(self, order: dict[str, Any]) -> None:
        if order.get("order") != "look":
            return super()._order(order)
        # What is read by now, or of another picture, needs no looking for.
        if self._on_page is not None and self._on_page.partial and self._sight is not None:
            looked = integers("positions", order.get("positions") or ())
            side = "B" if order.get("side") == "B" else "A"
            found = self._on_page.between(looked[0], looked[-1], side) if looked else None
            if found is not None:
                self._sight.first, self._sight.last = found
        return None

    def _readings(
        self, subject: dict[str, Any], answers: dict[str, Answered], targets: list[int]
    ) -> Generator[Any, None, Lens | LogitLensComparison]:
        """Read what is wanted, side A or the comparison; of side A `subject` says what it is read from. Of an unchanged
        reading only new pinned tokens."""
        from mi_widgets.compute.lens_order import Sight
        from mi_widgets.compute.logit_lens import Side, comparison_steps, lens_steps, target_steps

        model, first = self._live.model, answers["A"]
        layers = None if subject["stride"] == 1 else _chosen_layers(self._live.info.n_layers, subject["stride"])
        places = {
            name: _chosen_positions(len(answer.tokens), subject["first"], subject["last"])
            for name, answer in answers.items()
        }
        axis = tuple(answer.tokens.ids.tobytes() for answer in answers.values()), subject["first"], subject["last"]
        if self._sight is None or self._sighted != axis:  # a pin or another lens moves nothing: the reader stays
            self._sight, self._sighted = Sight(), axis
        lens, stream = self._lenses[subject["lens"]], subject["stream"]
        if "B" in answers or subject["versus"] is not None:
            second = answers.get("B", first)
            other = lens if "B" in answers else self._lenses[subject["versus"]]
            a = Side(first.tokens, first.activations, lens, places["A"])
            b = Side(second.tokens, second.activations, other, places.get("B", places["A"]), second.run.model)
            return (yield from comparison_steps(model, a, b, stream, TOP_K, targets, layers, self._sight))
        activations, before = first.activations, self._subject.get("read_from")
        source, *how = (activations.arrays["hook_resid_post"], stream, subject["lens"], layers, places["A"])
        subject["read_from"] = (source, how)
        if before is not None and before[0] is source and before[1] == how:
            return (yield from target_steps(model, activations, self._data, targets, lens))
        how = (stream, lens, TOP_K, targets, layers, places["A"], self._sight)
        return (yield from lens_steps(model, first.tokens, activations, *how))

    def _targets(self, found: Answered, targets: Sequence[str | int]) -> tuple[list[int], Any]:
        """Ids of the pinned tokens, and the last that is no single token after this prompt, which is left out."""
        from mi_widgets.compute.answers import resolve

        ids, refused = [], None
        for target in targets:
            try:
                ids.append(resolve(self._live.model, found.tokens, target, role="pinned token"))
            except AnswerError as error:
                refused = refused_token("target", error)
        return list(dict.fromkeys(ids)), refused

    def _focused(self) -> int:
        """The position in the curves: the selected one where it is shown, else the last."""
        chosen = self.selection.position
        return chosen if chosen is not None and chosen in self._data.positions else self._data.positions[-1]

    def _draw_still(self) -> Any:
        from mi_widgets.figures.logit_lens import lens_still

        shown = self._shown()
        color, target = str(self.options["color"]), int(self.options["target"])
        if color.startswith("target") and target >= len(self._on_page.data.target_ids):
            color = "probability"  # the coloured token is not pinned any more
        return lens_still(shown, color, target, str(self.options["palette"]))

    # --- edits ---------------------------------------------------------------------------------------

    @property
    def session_besides(self) -> bool:
        """See `session.SessionView`. Two lenses are a comparison of the view's own."""
        return super().session_besides and self.options["versus"] is None

    def changed_options(self, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """`current` with `changes`; DataError for an unknown name or value, or a lens that was not given."""
        options = super().changed_options(current, changes)
        for name in ("lens", "versus"):
            lens = options[name]
            if self.session is not None and lens is not None and lens not in self._lenses:
                raise DataError(
                    f"{name}={lens!r}, but no such lens is given.",
                    "Train one with compute.train_tuned_lens and give it as tuned=."
                    if lens == "tuned"
                    else "Fit one with transformer_lens.tools.analysis.JacobianLens and give it as jacobian=.",
                )
        return options

    def _options_edited(self, change: Any) -> None:
        versus, before = change["new"]["versus"], change["old"].get("versus")
        if versus != before and self.session is not None:
            self._second_edited(self._second)
        if versus != before and self._second is None and None in (versus, before):
            # A first second lens is there to be compared with; without one, only A is left to show.
            self.options = {"show": "A" if versus is None else "difference"}
        super()._options_edited(change)


def _fitted(model: Any, tuned: Any, jacobian: Any) -> dict[str, Any]:
    """The fitted lenses by name, checked to fit the model; the demo model brings its own tuned lens."""
    from mi_widgets.compute.lens_rows import lens_name, lens_rows
    from mi_widgets.compute.tuned_lens import shipped_lens

    given = {"tuned": tuned if tuned is not None else shipped_lens(model), "jacobian": jacobian}
    found = {}
    for name, lens in given.items():
        if lens is None:
            continue
        if lens_name(lens) != name:
            raise DataError(f"{name}={lens!r} is a {lens_name(lens)} lens.", f"Give it as {lens_name(lens)}=….")
        lens_rows(model, "resid_post", None, [lens])  # raises for a lens of another model
        found[name] = lens
    return found


def _chosen_layers(n_layers: int, stride: int) -> tuple[int, ...]:
    """Every `stride`-th layer, counted back from the last."""
    return tuple(sorted(range(n_layers - 1, -1, -stride)))


def _chosen_positions(count: int, first: int | None, last: int | None) -> tuple[int, ...] | None:
    """Positions from `first` to `last`, both shown, as far as the prompt has them; None for all of them."""
    if first is None and last is None:
        return None
    start = 0 if first is None else max(0, first if first >= 0 else count + first)
    end = count - 1 if last is None else min(count - 1, last if last >= 0 else count + last)
    # A range that an edit has left empty shows the last position, not nothing.
    return tuple(range(min(start, count - 1), max(min(start, count - 1), end) + 1))
