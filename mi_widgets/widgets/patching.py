"""Patching: which activations cause the answer, cell by cell; estimated at once, then exact, live.

A shell: the numbers come from `compute.patch_plan`, the bytes from `wire.patching_picture`, the page view is
`js/src/widgets/patching/`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import traitlets

from mi_widgets.data import Pairs, PatchGrid, PathEffects, Run, Tokens
from mi_widgets.data.effects import METRICS
from mi_widgets.data.interventions import SITES
from mi_widgets.data.pairs import exchanged
from mi_widgets.data.patching import PATCH_SITES
from mi_widgets.described.patching import PATCHING as OPTIONS
from mi_widgets.described.patching import TIMES
from mi_widgets.errors import DataError, PromptError
from mi_widgets.session import Answered, Need, Progress, Session, aside
from mi_widgets.session.prompts import plain, to_wire
from mi_widgets.session.runner import BEHIND, Job
from mi_widgets.session.traits import refusing
from mi_widgets.widgets.asking import CANDIDATES, AskingView
from mi_widgets.widgets.live import PROMPT_TRAIT
from mi_widgets.widgets.partial import PartialView
from mi_widgets.widgets.recipe import Name
from mi_widgets.widgets.view import page_source
from mi_widgets.wire.patching_picture import PatchingPicture


class Patching(PartialView[PatchGrid], AskingView[PatchGrid]):
    """What causes the answer: activations of one prompt's run put into another's, or taken out, one cell at a time.

    The whole grid is estimated first; exact values replace the estimates, the largest first. A chosen cell is a run,
    which stands beside the session's own in linked views.

    Args:
        source: a `Session`, or a TransformerBridge together with `prompt`. The session's prompt is the clean one.
        prompt: text, token ids or chat messages; not with a session, which has its own.
        corrupt: the second prompt; the session's if None. Ablation needs none.
        answer: the token asked for: text of one token, or its id; the session's if None, and if that is None the clean
            run's own first choice.
        foil: the token it is compared with, likewise; the clean run's second choice where neither is given.
        pairs: `mw.Pairs` instead of all these: the grid is their mean. Their first pair is shown; an edit of it leaves
            the others.
        prepend_bos: for a model and a text prompt; None means what `model.to_tokens(prompt)` does.
        height: on the page, in pixels.
        options: how it is shown; listed below. `metric` may also be a function of the logits `[run, 1, d_vocab]`.

    Raises:
        ModelError, DataError: a wrong model or option. A prompt that cannot be run, or an answer that is no single
            token, is no error here: the view says what is wrong and `wait()` raises it.
    """

    kind: ClassVar[str] = "patching"
    OPTIONS = OPTIONS
    RECORD, PICTURE = PatchGrid, PatchingPicture
    _esm, _css = page_source("patching")

    compare: Any = traitlets.Any(None, allow_none=True).tag(**PROMPT_TRAIT)
    beside = traitlets.Any(None, allow_none=True).tag(sync=True)  # of views that compare; this one lends
    proposal = traitlets.Unicode("").tag(sync=True)
    path = traitlets.List().tag(sync=True, from_page=True)

    #: What the picture on the page, whole or partial, is of.
    _on_page_subject: dict[str, Any] = {}  # noqa: RUF012
    #: Of which question, sender and path the paths are computed; what was lent to the session's `beside`; and when
    #: exact cells began to be made.
    _walking: tuple[Any, ...] = (None,)
    _lent: Run | None = None
    _began = 0.0

    def __init__(
        self,
        source: Any = None,
        prompt: Any = None,
        *,
        corrupt: Any = None,
        answer: Any = None,
        foil: Any = None,
        pairs: Any = None,
        prepend_bos: bool | None = None,
        height: int = OPTIONS.height,
        **options: Any,
    ) -> None:
        self._function = options["metric"] if callable(options.get("metric")) else None
        if self._function is not None:
            options["metric"] = "own"
        self._pairs: Pairs | None = None
        if pairs is not None:
            if any(given is not None for given in (prompt, corrupt, answer, foil)):
                raise DataError("pairs have prompts and answers of their own.", "Leave the others out.")
            self._pairs = pairs if isinstance(pairs, Pairs) else Pairs(pairs)
            first = self._pairs[0]
            corrupt, answer, foil = first.corrupt, first.answer, first.foil
            if isinstance(source, Session):
                source.prompt, source.answer, source.foil = first.clean, answer, foil
            else:
                prompt = first.clean
        session, chosen = self._opened(source, prompt, prepend_bos, options)
        if session is not None:
            self.changed_options(chosen, {})
            session.corrupt = session.corrupt if corrupt is None else corrupt
            corrupt = session.corrupt
        else:
            known = ((-1,) if ids is None else ids for ids in (self._data.answers, self._data.foils))
            answer, foil = (self._data.names.get(int(ids[0])) for ids in known)
        super().__init__(session, answer=answer, foil=foil, height=height, options=chosen, compare=corrupt)
        self.observe(lambda change: self._session_hears("corrupt", change["new"]), "compare")
        self.observe(self._pointed, ["selection", "path"])
        self._begin()

    @classmethod
    def from_data(cls, grid: PatchGrid, **view: Any) -> Patching:
        """The view of a grid that is there already, without a model and without torch.

        Args:
            grid: as `compute.patch`, `compute.ablate` or `compute.attribution_patch` return it, or `mw.data.load`.
            view: height and options.

        Raises:
            DataError: something else.
        """
        if not isinstance(grid, PatchGrid):
            raise DataError(f"{type(grid).__name__} is no grid of patches.", "Give what compute.patch returns.")
        return cls(grid, **view)

    # --- results -------------------------------------------------------------------------------------

    @property
    def corrupt(self) -> Any:
        """The second prompt, or None; set it to change it. It is the session's."""
        return self.compare

    @corrupt.setter
    def corrupt(self, prompt: Any) -> None:
        self.compare = prompt

    @property
    def pairs(self) -> Pairs | None:
        """The pairs that the grid is the mean of; None where it is of the one pair on screen."""
        session, pairs = self.session, self._pairs
        if session is None or pairs is None:
            return None
        first = pairs[0]
        shown = session.prompt, self.compare, self.answer, self.foil
        return pairs if shown == (plain(first.clean), plain(first.corrupt), first.answer, first.foil) else None

    @property
    def cell(self) -> dict[str, Any] | None:
        """The chosen cell (`PatchGrid.numbers_at`): its place, `value`, `change`, `effect`, `estimate`, and whether it
        is `exact`; None where none is chosen."""
        at = self._chosen()
        return None if at is None else self._on_page.data.numbers_at(**at)

    def run_of(self, cell: Mapping[str, int] | None = None) -> Run:
        """The run that gives a cell's number: of several pairs that of the first.

        Args:
            cell: the model's numbers of its axes, `{"layer": 3, "position": 5}`; what else it holds is passed over.
                None: the chosen cell.

        Returns:
            `mw.Run(prompt=…, interventions=[…])`, for another view's `compare=`, or `session.beside`.

        Raises:
            DataError: a cell that is not there, none at all, or a view of plain data.
        """
        if self.session is None or self._on_page is None:
            raise DataError("there is no run behind a cell of plain data.", "Make the view from a session.")
        data, about = self._on_page.data, self._on_page_subject
        at = self._chosen() if cell is None else {axis: cell[axis] for axis in data.by if axis in cell}
        if at is None:
            raise DataError("no cell is chosen.", "Give its numbers: view.run_of({'layer': 3, 'position': 5}).")
        return data.run(about["prompt"], about["corrupt"], **at)

    @property
    def paths(self) -> PathEffects | None:
        """The effect of the chosen head through each of its receivers, or through those of the last station of `path`;
        None where the chart shows no paths."""
        self._current()
        return self._on_page.paths if self.options["chart"] == "paths" else None

    def figure(self, **options: Any) -> Any:
        """The picture on screen as a plotly Figure.

        Args:
            options: see `figures.patching_figure`; what is not given is as on screen. `kind` is also `"paths"`.
        """
        from mi_widgets.figures import patching_figure

        self._current()
        shown, looks = self._looks(options.pop("kind", None))
        return patching_figure(shown, **{**looks, **options})

    def _looks(self, kind: str | None = None) -> tuple[PatchGrid | PathEffects, dict[str, Any]]:
        """What is on screen, or another `kind` of chart of it, and how, as figures take it."""
        part, kind, shows = self._on_page, kind or self.options["chart"], self.options["shows"]
        if kind == "paths" and part.paths is not None:
            return part.paths, {"shows": shows}
        return part.data, {"shows": shows, "kind": "grid" if kind == "paths" else kind, "outlined": self._chosen()}

    def _recipe_words(self) -> dict[str, Any]:
        about, words = self._subject, super()._recipe_words()
        if self.session is None:
            return words
        asked = {name: about[name] for name in ("corrupt", "answer", "foil") if about[name] is not None}
        if about["pairs"] is not None:
            several = [(pair.clean, pair.corrupt, pair.answer, pair.foil) for pair in about["pairs"]]
            asked = {"pairs": Name(f"mw.Pairs({several!r})")}
        if self._function is not None and words.get("metric") == "own":
            words["metric"] = Name("metric", "your own function of the logits")
        return {**asked, **words}

    def _said_by(self, data: PatchGrid) -> dict[str, Any]:
        said = {"experiment": data.method, "metric": data.metric, "layer": data.layer}
        if data.method == "ablation":
            return {**said, "ablated_by": data.ablated_by}
        return {**said, "site": data.site, "by": TIMES.join(data.by), "direction": data.direction}

    def _offline(self, picture: PatchingPicture) -> dict[str, Any]:
        corrupt = to_wire(self._subject.get("corrupt"))
        return {**super()._offline(picture), "compare": corrupt, "beside": None, "proposal": "", "path": self.path}

    # --- computing -----------------------------------------------------------------------------------

    def _runs(self) -> dict[str, tuple[Run, str]]:
        if self.compare is None:
            return super()._runs()
        return {"A": (self._live.filled(), "Clean prompt"), "B": (self._live.filled(self.compare), "Corrupt prompt")}

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        from mi_widgets.compute.output import LAST_LOGITS, OUTPUT_SITES

        chosen = {name: self.options[name] for name in OPTIONS.computed}
        grids = [TIMES.join(axes) for axes in PATCH_SITES[chosen["site"]]]
        chosen["by"] = chosen["by"] if chosen["by"] in grids else grids[0]
        asked = {"corrupt": self.compare, "answer": self.answer, "foil": self.foil, "pairs": self.pairs}
        runs = self._wanted(**asked, **chosen)
        sites: dict[str, dict[str, Any]] = {"A": dict.fromkeys((*OUTPUT_SITES, LAST_LOGITS)), "B": {}}
        if chosen["experiment"] == "patching" and self.compare is not None and chosen["site"] in self._sites:
            # What is put into the other run is read in the same pass.
            sites["A" if chosen["direction"] == "denoise" else "B"] |= {SITES[chosen["site"]]: None, LAST_LOGITS: None}
        return [Need(name, run, sites[name], called=said) for name, (run, said) in runs.items()]

    @cached_property
    def _sites(self) -> list[str]:
        """Where the model can be patched."""
        from mi_widgets.compute.patch_plan import sites_of

        return sites_of(self._live.model)

    def _drawing(
        self, progress: Progress, answers: dict[str, Answered], subject: dict[str, Any]
    ) -> Generator[Any, None, PatchingPicture]:
        from mi_widgets.compute.answers import token_string
        from mi_widgets.compute.next_tokens import likeliest
        from mi_widgets.compute.patch_checks import check_steps
        from mi_widgets.compute.patch_plan import PatchPlan
        from mi_widgets.models import in_half_precision

        session, found = self._live, answers["A"]
        model, info, last = found.run.model, session.info, len(found.tokens) - 1
        candidates = yield from aside(
            lambda: likeliest(model, found.tokens, found.activations, last, CANDIDATES), progress.large
        )
        answer, foil, automatic = self._tokens(subject, found, last, candidates)
        pairs, patching = subject["pairs"], subject["experiment"] == "patching"
        if patching and "B" not in answers:
            names = [token_string(model, token) for token in (answer, foil) if token is not None]
            raise self._no_corrupt(subject["prompt"], *names)
        asked = (subject["prompt"], subject["corrupt"], answer, foil) if pairs is None else (pairs,)
        how = {"function": self._function, "prepend_bos": session.prepend_bos}
        changes = found.run.interventions or ()

        def made(tokens: Tokens, sites: Any, made_in: Any = changes) -> Generator[Any, None, Any]:
            run = Run(prompt=tokens.ids.tolist(), interventions=made_in)
            return (yield from session.made(run, sites)).activations

        subject["plan"] = plan = PatchPlan(
            model,
            asked,
            {**subject, "by": subject["by"].split(TIMES)},
            **how,
            interventions=changes,
            pass_seconds=session.expected_seconds() or None,
            made=made if pairs is None else None,
        )
        subject["layer"] = plan.layer

        exact, estimate = plan.seconds
        facts = {
            "candidates": [dict(zip(("id", "string", "probability"), one, strict=True)) for one in candidates],
            "automatic": automatic,
            "n_layers": info.n_layers,
            "n_heads": info.n_heads,
            "n_kv_heads": info.kv_heads,
            "causal": info.causal,
            "sites": self._sites,
            "metrics": [name for name in METRICS if name != "own" or self._function is not None],
            "why_estimate": plan.why_estimate,
            "seconds": {"exact": exact, "estimate": estimate},
        }

        def pictured(grid: PatchGrid, **more: Any) -> PatchingPicture:
            more |= {"run": progress.run, "notes": [*progress.notes, *plan.notes], "half": in_half_precision(model)}
            return PatchingPicture(grid, facts=facts, paths=subject.get("paths"), **more)

        parts = plan.steps(), progress.run, lambda known, step: pictured(known, total=step.total)
        grid = yield from self._with_progress(self._as_known(*parts, subject), progress.run, "patching")
        corrupt = subject["corrupt"] if patching else None
        errors = yield from check_steps(model, grid, subject["prompt"], corrupt, **how, made=made)
        return pictured(grid, errors=errors)

    def _no_corrupt(self, prompt: Any, answer: str, foil: str = "") -> PromptError:
        """That there is nothing to patch from, with a prompt to offer: the clean one, answer and foil exchanged."""
        self.proposal = exchanged(prompt, answer, foil)
        example = f"e.g. {self.proposal!r}" if self.proposal else "the clean one with the words changed that matter"
        return PromptError(
            "Patching needs a second, corrupt prompt, to which another answer is right.",
            f'Give one as long as the first: {example}; in Python view.corrupt = "…". Ablation needs none.',
        )

    def _how_far(self, picture: PatchingPicture, done: int, total: int) -> str:  # noqa: ARG002
        from mi_widgets.compute.patch_plan import duration

        if not done:
            self._began = time.perf_counter()
            return f"estimated; 0 of {total:,} cells are exact"
        left = (time.perf_counter() - self._began) / done * (total - done)
        return f"{done:,} of {total:,} cells, about {duration(left)} left"

    def _stopped(self, picture: PatchingPicture) -> str:
        # What is known of the grid is a result of its own.
        rest = "the rest is estimated" if picture.data.estimated_by else "the rest is not known"
        said = f"Stopped at {picture.done:,} of {picture.total:,} cells; {rest}."
        picture.data = replace(picture.data, notes=(*picture.data.notes, said))
        self._data, self._picture, self._subject = picture.data, picture, self._on_page_subject
        self.last_error = None
        return said

    def _becomes(self, picture: PatchingPicture, subject: dict[str, Any]) -> None:
        super()._becomes(picture, subject)
        self.proposal, self._on_page_subject = "", subject
        self._pointed()

    def _draw_still(self) -> Any:
        from mi_widgets.figures.patching import patching_still

        shown, looks = self._looks()
        return patching_still(shown, **looks)

    # --- the chosen cell -----------------------------------------------------------------------------

    def _chosen(self) -> dict[str, int] | None:
        """The model's numbers of the chosen cell of the grid on the page."""
        return None if self._on_page is None else self._on_page.data.chosen(self.selection)

    def _pointed(self, _change: Any = None) -> None:
        self._lend()
        self._follow()

    def _lend(self, release: bool = False) -> None:
        """Let linked views set the chosen cell's run, or the corrupt one, beside their own; take back what was lent
        where none is chosen any more, or to `release` it."""
        session, lent = self.session, None
        if session is None:
            return
        if not release and self.options["beside"] != "nothing" and self._chosen() is not None:
            corrupt = self._on_page_subject["corrupt"]
            patched = self.options["beside"] == "patched" or corrupt is None
            lent = self.run_of() if patched else Run(prompt=corrupt)
        if lent != self._lent:
            before, self._lent = self._lent, lent
            if lent is not None or session.beside == before:
                session.beside = lent

    def _follow(self) -> None:
        """Have the paths that are shown computed, in a job of their own: the grid goes on."""
        session, chosen, part = self.session, self.selection, self._on_page
        if session is None or part is None or self.options["chart"] != "paths" or part.data.method != "patching":
            return
        try:
            first, *rest = self.path or [{"layer": chosen.layer, "head": chosen.head}]
            sender, path = _station(first), [(*_station(step), str(step["entered"])) for step in rest]
        except (KeyError, TypeError, ValueError):
            return  # no head is chosen
        about = self._on_page_subject
        if self._walking[0] is not about or self._walking[1:] != (sender, path):
            self._walking = about, sender, path
            steps = self._walk(*self._walking)
            session.runner.submit(Job(("paths", id(self)), steps, self._complain, self._walk_stopped, priority=BEHIND))

    def _walk_stopped(self, replaced: bool) -> None:
        if not replaced:
            self._walking = (None,)

    def _walk(self, about: dict[str, Any], sender: Any, path: list[Any]) -> Generator[Any, None, None]:
        """The steps of `_follow`."""
        about["paths"] = paths = yield from about["plan"].path_steps(sender, path)
        if self._on_page_subject is about:  # else the question is another by now
            self._on_page.paths = paths
            self.picture = yield from aside(self._on_page.parcel)

    def close(self) -> None:
        """Leave the session and the page."""
        self._lend(release=True)
        if self.session is not None:
            self.session.runner.drop(("paths", id(self)))
        super().close()

    # --- edits ---------------------------------------------------------------------------------------

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        if name in {"prompt", "interventions", "corrupt"}:
            self._lend(release=True)  # it is of what was
        super().session_changed(name)
        if name == "corrupt" and self.session is not None:
            self.compare = self.session.corrupt

    @traitlets.validate("compare")
    @refusing
    def _plain_corrupt(self, proposal: Any) -> Any:
        return plain(proposal["value"]) or None

    def changed_options(self, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """`current` with `changes`; DataError for an unknown name or value, or a function that was not given."""
        options = super().changed_options(current, changes)
        asks = self.session is not None or self._data is None  # else the grid is there already
        if asks and options["metric"] == "own" and self._function is None:
            raise DataError("metric='own', but no function is given.", "Give one: mw.Patching(…, metric=function).")
        return options

    def _options_edited(self, change: Any) -> None:
        super()._options_edited(change)
        if change["new"]["beside"] != change["old"].get("beside"):
            self._lend()
        self._follow()


def _station(step: Mapping[str, Any]) -> tuple[int, int | None]:
    """Layer and head of one step of a path; the head None of an MLP."""
    head = int(step["head"])
    return int(step["layer"]), None if head < 0 else head
