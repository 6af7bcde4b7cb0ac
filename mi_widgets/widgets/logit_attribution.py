"""Logit attribution: which parts of the model write the logit difference of two tokens at one position, live.

A shell: the numbers come from `compute.logit_attribution`, the bytes from `wire.attribution_picture`, the page view is
`js/src/widgets/logit_attribution/`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from mi_widgets.data import LogitAttribution as Attribution
from mi_widgets.data import LogitAttributionComparison, Tokens, align
from mi_widgets.data.coder_interventions import checked_coder
from mi_widgets.data.integers import word
from mi_widgets.data.interventions import Run
from mi_widgets.described.logit_attribution import LOGIT_ATTRIBUTION as OPTIONS
from mi_widgets.errors import DataError, PromptError, UnreadError
from mi_widgets.session import Answered, Need, Progress, aside
from mi_widgets.widgets.asking import CANDIDATES, AskingView
from mi_widgets.widgets.compared import ComparedView
from mi_widgets.widgets.view import page_source
from mi_widgets.wire.attribution_picture import AttributionPicture


class LogitAttribution(AskingView[Attribution], ComparedView[Attribution, LogitAttributionComparison]):
    """The logit difference of an answer and a foil at one position, split over the model's parts.

    Args:
        source: a `Session`, or a TransformerBridge together with `prompt`.
        prompt: text, token ids or chat messages; not with a session, which has its own.
        compare: a second prompt of the same forms; A, B and A − B are shown, of one answer and foil. What is left to
            the model to choose is A's choice.
        answer: the token asked for: text of one token, or its id; the session's if None, and if that is None the
            model's own first choice.
        foil: the token it is compared with, likewise; the model's second choice where neither is given.
        prepend_bos: for a model and a text prompt; None means what `model.to_tokens(prompt)` does.
        coder: a sparse coder of one layer (`mw.sae.load`), for `by="feature"`.
        height: on the page, in pixels.
        options: how it is shown; listed below.

    Raises:
        ModelError, DataError: a wrong model, option or coder. A prompt that cannot be run, or an answer that is no
            single token, is no error here: the view says what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "logit_attribution"
    OPTIONS = OPTIONS
    RECORD, COMPARISON, PICTURE = Attribution, LogitAttributionComparison, AttributionPicture
    _esm, _css = page_source("logit_attribution")

    def __init__(
        self,
        source: Any = None,
        prompt: Any = None,
        *,
        compare: Any = None,
        answer: Any = None,
        foil: Any = None,
        prepend_bos: bool | None = None,
        coder: Any = None,
        height: int = OPTIONS.height,
        **options: Any,
    ) -> None:
        self._coder = None if coder is None else checked_coder(coder)
        session, chosen = self._opened(source, prompt, prepend_bos, options, compare)
        self._with_heads = True
        if session is None:
            answer, foil = self._data.answer_string, self._data.foil_string
        elif self._coder is not None:
            self._coder.fits(session.model)
        super().__init__(session, height=height, options=chosen, compare=compare, answer=answer, foil=foil)
        self._begin()

    @classmethod
    def from_data(cls, attribution: Attribution | LogitAttributionComparison, **view: Any) -> LogitAttribution:
        """The view of an attribution that is there already, without a model and without torch.

        Args:
            attribution: as `compute.logit_attribution` returns it, a comparison of two, or `mw.data.load`.
            view: height and options.

        Raises:
            DataError: something else.
        """
        if not isinstance(attribution, (Attribution, LogitAttributionComparison)):
            raise DataError(
                f"{type(attribution).__name__} is no attribution.", "Give what compute.logit_attribution returns."
            )
        return cls(attribution, **view)

    @property
    def coder(self) -> Any:
        """The coder by whose features `by="feature"` splits, or None."""
        return self._coder

    # --- results -------------------------------------------------------------------------------------

    def figure(self, **options: Any) -> Any:
        """The picture on screen as a plotly Figure.

        Args:
            options: see `figures.logit_attribution_figure`; `kind="map"` and `kind="sources"` show the heads.
        """
        from mi_widgets.figures import logit_attribution_figure
        from mi_widgets.figures.logit_attribution import KINDS

        self._current()
        kind = options["kind"] = word("kind", options.get("kind", self.options["chart"]), KINDS)
        if kind == "sources" and self.selection.layer is not None and self.selection.head is not None:
            options = {"layer": self.selection.layer, "head": self.selection.head, **options}
        if kind in {"waterfall", "bars"}:
            options = {"sort": self.options["sort"], **options}
        return logit_attribution_figure(self._shown(), **options)

    def _recipe_words(self) -> dict[str, Any]:
        asked = {name: self._subject.get(name) for name in ("answer", "foil")}
        asked = {name: token for name, token in asked.items() if token is not None}
        if self.session is not None and not asked and self._data.interventions:
            # The model's own choice may be that of another run.
            asked = {"answer": self._data.answer, "foil": self._data.foil}
        coder = {} if self.session is None or self._coder is None else {"coder": self._coder}
        return {**asked, **coder, **super()._recipe_words()}

    def changed_options(self, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """See `LiveView`; a split by feature needs a coder."""
        chosen = super().changed_options(current, changes)
        if chosen["by"] == "feature" and self._coder is None and self.session is not None:
            raise DataError("there is no coder whose features it could be split by.", "Give coder=mw.sae.load(…).")
        return chosen

    def _said_by(self, data: Attribution) -> dict[str, Any]:
        return {"by": data.by}

    # --- computing -----------------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.logit_attribution import attribution_sites
        from mi_widgets.compute.output import OUTPUT_SITES

        session = self.session
        assert session is not None
        chosen = {name: self.options[name] for name in OPTIONS.computed}
        prompts: list[Tokens] = []

        def need(name: str, run: Run, called: str) -> Need:
            try:
                prompts.append(session.tokenize(run.prompt, run.model))
            except PromptError:
                return Need(name, run, (), called=called)  # its pass says why
            asked = chosen["by"], _positions(chosen["position"], prompts)[0][-1], len(prompts[-1])
            sites = attribution_sites(run.model, *asked, self._with_heads, run.interventions or (), self._coder)
            return Need(name, run, tuple(dict.fromkeys([*sites, *OUTPUT_SITES])), called=called)

        return self._needs(need, answer=self.answer, foil=self.foil, **chosen)

    def session_fails(self, run: int, error: Exception) -> None:
        """See `session.SessionView`."""
        if isinstance(error, UnreadError) and self._with_heads and self.options["by"] != "head":
            # The heads cannot be told apart, all else can.
            self._with_heads = False
            self._compute()
            return
        super().session_fails(run, error)

    def _drawing(
        self, progress: Progress, answers: dict[str, Answered], subject: dict[str, Any]
    ) -> Generator[Any, None, AttributionPicture]:
        from mi_widgets.compute.logit_attribution import attribute
        from mi_widgets.compute.next_tokens import likeliest
        from mi_widgets.models import in_half_precision

        found, by, top = answers["A"], subject["by"], subject["top"]
        model, tokens, activations = found.run.model, found.tokens, found.activations
        positions, note = _positions(subject["position"], [one.tokens for one in answers.values()])
        candidates = yield from aside(
            lambda: likeliest(model, tokens, activations, positions[0], CANDIDATES), progress.large
        )
        answer, foil, automatic = self._tokens(subject, found, positions[0], candidates)
        sides = []
        for one, position in zip(answers.values(), positions, strict=True):
            yield None
            given = one.run.model, one.tokens, one.activations, answer, foil, position, by, top, self._coder
            sides.append((yield from aside(partial(attribute, *given), progress.large)))

        def make() -> AttributionPicture:
            return AttributionPicture(
                sides[0],
                LogitAttributionComparison(*sides) if "B" in answers else None,
                run=progress.run,
                candidates=candidates,
                automatic=automatic,
                coder=self._coder is not None,
                half=in_half_precision(model),
                notes=[*progress.notes, *note],
            )

        return (yield from aside(make, progress.large))

    def _tokens(
        self, subject: dict[str, Any], found: Answered, position: int, candidates: list[tuple[int, str, float]]
    ) -> tuple[int, int | None, bool]:
        answer, foil, automatic = super()._tokens(subject, found, position, candidates)
        if automatic and self._asks_the_same(found, position):
            answer, foil = self._data.answer, self._data.foil
        return answer, foil, automatic

    def _asks_the_same(self, found: Answered, position: int) -> bool:
        """Whether the picture that stands asks by itself about this very position, in a run with other interventions:
        two runs can be compared only by one question."""
        before = self._data
        return (
            before is not None
            and self._picture is not None
            and self._picture.automatic
            and before.position == position
            and np.array_equal(before.tokens.ids, found.tokens.ids)
            and before.interventions != found.activations.interventions
        )

    def _draw_still(self) -> Any:
        from mi_widgets.figures.logit_attribution import attribution_still

        return attribution_still(self._shown())


def _positions(asked: int | None, prompts: Sequence[Tokens]) -> tuple[list[int], list[str]]:
    """The position meant in prompt A, and in B the one that answers to it; and what to say where it is not there any
    more.

    Raises:
        DataError: no position of B answers to it.
    """
    lasts = [len(tokens) - 1 for tokens in prompts]
    last = lasts[0]
    position = last if asked is None else asked if asked >= 0 else last + 1 + asked
    there = 0 <= position <= last
    note = [] if there else [f"The prompt has no position {asked}; this is its last, {last}."]
    if position == last or not there:
        return lasts, note
    if len(prompts) == 1:
        return [position], note
    partner = dict(align(*prompts).pairs).get(position)
    if partner is None:
        raise DataError(f"position {position} of A has no partner in B.", "Choose another position, e.g. the last.")
    return [position, partner], note
