"""What every view is: a thin anywidget shell with a picture, a status, a selection and answers to requests.

No maths here: data comes from `compute`, bytes from `wire`, figures from `figures`, pages from `export`. A view
joins a session, or stands alone over plain data (then torch is never imported).
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from mi_widgets.data import Selection
from mi_widgets.data import save as save_data
from mi_widgets.data.files import replacing, writable_path
from mi_widgets.errors import DataError, ExportError, MiWidgetsError
from mi_widgets.session import Answered, Need, Progress, Session, explain
from mi_widgets.session.aside import aside, at_once, in_turns
from mi_widgets.session.traits import SelectionTrait, WholeNumber, refusing
from mi_widgets.widgets.offline import STATIC, built, page_of
from mi_widgets.wire.messages import Answer, AnswerError, SelectionValue, StatusValue

#: A render that does not answer a roll call within this long has left, and how often there is one.
ANSWER_SECONDS, ROLL_SECONDS = 10.0, 10.0
#: After this long without a new selection, the saved state catches up with the screen.
SETTLE_SECONDS = 1.5
#: Suffixes `save` knows, and who writes them.
TABLES = {".csv", ".parquet"}
FIGURES = {".pdf", ".svg", ".png"}


class RequestError(MiWidgetsError):
    """A request of the page that has no data; `code` as in `wire.messages.AnswerError`."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


def page_source(name: str) -> tuple[Any, Any]:
    """Code and style of a view's page side, for `_esm` and `_css`.

    As text: anywidget watches files, with callbacks that keep every view ever made. Who works on the page side asks
    for that by anywidget's own `ANYWIDGET_HMR=1`: then views follow the files.
    """
    files = STATIC / f"{name}.js", STATIC / f"{name}.css"
    if os.environ.get("ANYWIDGET_HMR") == "1":
        return files
    return built(files[0].name), built(files[1].name)


def _selection_to_wire(selection: Selection, view: View) -> SelectionValue:
    return {**selection.to_dict(), "stamp": view._stamp}  # type: ignore[typeddict-item,return-value]


def _selection_from_wire(value: dict[str, Any], view: View) -> Selection:
    try:
        stamp = int(value.get("stamp") or 0)
        selection = Selection.from_dict(value)
        if (shape := view._shape()) is not None:
            selection.within(*shape)
    except (AttributeError, TypeError, ValueError, IndexError):  # DataError is a ValueError
        return view.selection
    if stamp < view.newest_stamp:  # Python or another view has chosen since; the page hears of it
        return view.selection
    view._stamp = stamp
    return selection


class View(anywidget.AnyWidget):
    """Base of all views.

    Attributes:
        selection: what the user points at, a `Selection`; linked over the session.
        status: plain dict with state ("idle", "computing", "error"), run, message, hint, elapsed_ms.
        height: total height on the page, in pixels.
        last_error: the exception of the last failed computation, or None.
    """

    kind: ClassVar[str] = ""
    # Here, so that a view whose construction failed can be closed (ipywidgets closes it on collection).
    session: Session | None = None
    _settle_timer: asyncio.TimerHandle | None = None
    _stamp = 0
    _own_layout: Any = None
    #: No page shows the view any more; a view that was never shown (a script's) is not hidden.
    session_hidden = False
    #: See `session.SessionView`.
    session_besides = False
    #: Work on what the picture is made of may take longer than the loop should be held.
    _large = False
    _called = float("-inf")

    session_id = traitlets.Unicode().tag(sync=True)
    selection: Any = SelectionTrait().tag(
        sync=True, from_page=True, to_json=_selection_to_wire, from_json=_selection_from_wire
    )
    status = traitlets.Dict().tag(sync=True)
    picture = traitlets.Bytes(b"").tag(sync=True)
    # A name of the page's contract; ipywidgets has a method `focus()` of no use to a view.
    focus: Any = traitlets.Bytes(b"").tag(sync=True)  # pyright: ignore[reportIncompatibleMethodOverride]
    store = traitlets.Bytes(b"").tag(sync=True)
    height = WholeNumber(620, min=240, max=4000).tag(sync=True, from_page=True)

    #: Options of `frozen_state`: those of an offline page of this view.
    PAGE_OPTIONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, session: Session | None, **traits: Any) -> None:
        self.session = session
        self.last_error: Exception | None = None
        self._requests: dict[int, dict[str, Any]] = {}
        #: When each render that stands on a page was last heard, by its name.
        self._renders: dict[str, float] = {}
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        selection = session.selection if session is not None else Selection()
        super().__init__(
            session_id=session.id if session is not None else "",
            selection=selection,
            status=status_value("idle", 0),
            **traits,
        )
        self._stamp = self.newest_stamp
        self._own_layout = self.layout
        if not self.session_id:
            self.session_id = self.model_id or ""
        self.on_msg(self._receive)
        self.observe(self._selected, "selection")

    def __repr__(self) -> str:
        about = self.session.info.label if self.session is not None else "from data"
        return f"<{type(self).__name__}: {about}{'' if self.comm is not None else ', closed'}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and beside it a picture for viewers that run no JavaScript (GitHub, nbviewer)."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        try:
            picture = self._still("png")
        except Exception as reason:  # a still picture must never cost the live one
            warnings.warn(f"no still picture for viewers without JavaScript: {reason}", stacklevel=2)
            picture = b""
        if picture:
            data["image/png"] = base64.b64encode(picture).decode()  # type: ignore[arg-type]
        return data, metadata

    # --- what each view defines ----------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The frozen result of the picture."""
        raise TypeError(f"{type(self).__name__} defines no data")

    def figure(self, **options: Any) -> Any:  # noqa: ARG002
        """The same picture as a plotly Figure."""
        raise TypeError(f"{type(self).__name__} defines no figure")

    def recipe(self) -> str:
        """Python that makes this picture again."""
        raise TypeError(f"{type(self).__name__} defines no recipe")

    def frozen_state(self, **options: Any) -> dict[str, Any]:  # noqa: ARG002
        """The synchronised state as an offline page needs it: JSON values and bytes by trait name. Takes what
        `PAGE_OPTIONS` names."""
        raise TypeError(f"{type(self).__name__} defines no frozen state")

    def _answer(self, request: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The parcel a request of the page asks for, or RequestError."""
        raise RequestError("unknown", f"{type(self).__name__} has nothing to answer.")

    def _order(self, order: dict[str, Any]) -> None:
        """Do once what the page orders (a `wire.messages.Order`)."""
        raise RequestError("unknown", f"{type(self).__name__} does not know the order {order.get('order')!r}.")

    def _result(self) -> Any:
        """All that the picture shows, as `save` writes it to `.npz`."""
        return self.data

    def _settling(self, large: bool) -> Generator[Any, None, None]:  # noqa: ARG002
        """Let the saved state catch up with what is on screen, `aside` where that is `large`."""
        yield from ()

    def _settle(self) -> None:
        """The same, now."""
        at_once(self._settling(large=False))

    def _still(self, form: str) -> str | bytes:  # noqa: ARG002
        """The picture drawn without a browser, `form` "png" (bytes) or "svg" (text); empty if there is none."""
        return ""

    # --- what every view has -------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> None:
        """Return when this view is current; see `Session.wait`."""
        if self.session is not None:
            self.session.catch_up(self)
            self.session.runner.flush(timeout)
        if self.last_error is not None:
            raise self.last_error

    def stop(self) -> None:
        """Stop what is being computed; the last picture stays."""
        if self.session is not None:
            self.session.stop()

    def to_pandas(self, **options: Any) -> Any:
        """The picture's numbers in long form, one row per cell; options are those of `data.to_pandas`."""
        return self._result().to_pandas(**options)

    def save(self, path: str | Path, width_mm: float | None = None, **options: Any) -> Path:
        """Write the picture or its numbers, by suffix.

        Args:
            path: `.pdf`, `.svg`, `.png` (a figure), `.html` (an offline interactive page), `.csv`, `.parquet`
                (the table of `to_pandas`) or `.npz` (the result itself; `mw.data.load` reads it).
            width_mm: width of a figure; 83 is one column of most journals.
            options: passed on to `figure`, `to_html` or `to_pandas`.

        Raises:
            DataError: another suffix.
            ExportError: parquet without pyarrow, or a file that cannot be written; what stood there before stands as it
                was.
        """
        path = writable_path(path)
        suffix = path.suffix.lower()
        if suffix in FIGURES:
            from mi_widgets.figures import save_figure
            from mi_widgets.figures.sheet import on_paper

            sizes = {} if width_mm is None else {"width_mm": width_mm}
            # A figure() of the user's own may go on with what plotly made.
            ours = type(self).figure.__module__.startswith("mi_widgets.")
            with on_paper() if ours else nullcontext():
                figure = self.figure(**sizes, **options)
            return Path(save_figure(figure, path, **sizes))
        if width_mm is not None:
            raise DataError(f"width_mm is for figures, not for {suffix}.", f"Use one of {', '.join(sorted(FIGURES))}.")
        if suffix == ".html":
            self.to_html(path, **options)
        elif suffix in TABLES:
            _write_table(self.to_pandas(**options), path)
        elif suffix == ".npz":
            save_data(self._result(), path)
        else:
            known = ", ".join(sorted({*FIGURES, *TABLES, ".html", ".npz"}))
            raise DataError(f"cannot write {suffix or path.name!r}.", f"Use a path that ends in one of {known}.")
        return path

    def to_html(self, path: str | Path | None = None, *, title: str | None = None, **options: Any) -> str:
        """One offline file that stays interactive; see `save_html`.

        Args:
            path: where to write it (its size is printed); only returned if None.
            title: of the page.
            options: those of the view, e.g. `heads=` of attention.

        Returns:
            The HTML text.
        """
        return page_of([self], path, title=title, columns=1, **options)

    def close(self) -> None:
        """Leave the session and the page."""
        if self.session is not None:
            self.session.leave(self)
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        super().close()
        if self._own_layout is not None:
            self._own_layout.close()  # ipywidgets makes one for each view, and keeps it

    # --- the session's side --------------------------------------------------------------------------

    def session_needs(self) -> Sequence[Need]:
        """See `session.SessionView`."""
        return ()

    def session_draws(
        self,
        progress: Progress,  # noqa: ARG002
        answers: dict[str, Answered],  # noqa: ARG002
    ) -> Generator[Any, None, None]:
        """See `session.SessionView`."""
        yield from ()

    def session_waits(self, progress: Progress) -> None:
        """See `session.SessionView`."""
        self.last_error = None
        if self._renders and time.monotonic() - self._called > ROLL_SECONDS:
            self._call_roll()
        self.status = status_value(
            "computing", progress.run, done=progress.done, total=progress.total, estimate=progress.estimate
        )

    def session_fails(self, run: int, error: Exception) -> None:
        """See `session.SessionView`."""
        self.last_error = error
        message, hint = explain(error)
        self.status = status_value("error", run, message=message, hint=hint)

    def session_stops(self, run: int, error: Exception) -> None:
        """See `session.SessionView`."""
        self.last_error = error
        self.status = status_value("idle", run, message="Stopped. The picture is of the last finished run.")

    def session_changed(self, name: str) -> None:
        """See `session.SessionView`."""
        if name == "selection" and self.session is not None and self.selection != self.session.selection:
            known = any(view.selection == self.session.selection for view in self._linked())
            # A selection that no view has yet was set on the session in Python: newer than all.
            self._stamp = self.newest_stamp + (not known)
            self.selection = self.session.selection

    def _linked(self) -> list[View]:
        views = self.session._views if self.session is not None else ()
        return [self, *(view for view in views if isinstance(view, View) and view is not self)]

    @property
    def newest_stamp(self) -> int:
        """The newest stamp among linked views."""
        return max(view._stamp for view in self._linked())

    def _shape(self) -> tuple[int, int] | None:
        """Layers and heads that can be selected; None for any."""
        return None if self.session is None else (self.session.info.n_layers, self.session.info.n_heads)

    @traitlets.validate("selection")
    @refusing
    def _stamp_selection(self, proposal: Any) -> Selection:
        shape = self._shape()
        if shape is not None:
            proposal["value"].within(*shape)
        # A selection set in Python is newer than any the page has sent; one from the page brings its own stamp.
        from_page = "selection" in self._property_lock
        fresh = proposal["value"] != self._trait_values.get("selection")
        if fresh and not from_page and (self.session is None or self.session.selection != proposal["value"]):
            self._stamp = self.newest_stamp + 1
        return proposal["value"]

    def _selected(self, change: Any) -> None:
        if self.session is not None and self.session.selection != change["new"]:
            self.session.selection = change["new"]
        self._settle_soon()

    def _settle_soon(self) -> None:
        """Without a loop there is no later: the state is brought up to date where it is read."""
        if self._loop is None or self._loop.is_closed() or not self._loop.is_running():
            return

        def start() -> None:
            if self._settle_timer is not None:
                self._settle_timer.cancel()
            assert self._loop is not None
            if self.comm is not None:  # else closed in the meantime
                self._settle_timer = self._loop.call_later(
                    SETTLE_SECONDS, lambda: in_turns(self._settling(self._large), self._large)
                )

        self._loop.call_soon_threadsafe(start)

    # --- the page's side -----------------------------------------------------------------------------

    def set_state(self, sync_data: Any) -> None:
        """What a page has set (ipywidgets calls this), each value by itself: of a wrong one nothing is kept, the view
        says so, and the page gets back what stands. What is the kernel's to say is passed over."""
        own = sync_data if isinstance(sync_data, dict) else {}
        taken, error = {}, None
        for name in [name for name in own if name in self.keys and self.trait_metadata(name, "from_page")]:
            try:
                with self._lock_property(**{name: own[name]}):
                    from_json = self.trait_metadata(name, "from_json", self._trait_from_json)
                    self.traits()[name]._validate(self, from_json(own[name], self))
                taken[name] = own[name]
            except Exception as reason:  # whatever a page sends, nothing may raise in its message
                error = reason
                self.send_state(name)
        if taken:
            super().set_state(taken)
        if error is not None:
            self._complain(error)

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        number = content.get("req", -1) if kind in {"cancel", "request"} else -1
        if kind == "stop":
            self.stop()
        elif kind == "order":
            self._obey(content)
        elif kind in {"shown", "hidden"}:
            self._heard(str(content.get("render")), stands=kind == "shown")
        elif not isinstance(number, int):
            return  # an answer could not say what it answers
        elif kind == "cancel":
            self._requests.pop(number, None)
        elif kind == "request":
            self._requests[number] = content
            if self._loop is not None and self._loop.is_running() and not self._loop.is_closed():
                # One turn of the loop, so that a cancel that is queued behind the request is heard first.
                self._loop.call_soon_threadsafe(self._reply, number)
            else:
                self._reply(number)

    def _heard(self, render: str, stands: bool) -> None:
        """A render stands on a page, or has left it."""
        known = self._renders.pop(render, None) is not None
        if stands:
            self._renders[render] = time.monotonic()
            if not known and len(self._renders) > 1:
                self._call_roll()  # the page may have been reloaded: what stood on it cannot say that it has left
        self._count()

    def _call_roll(self) -> None:
        """Ask every render whether it still stands; who does not answer has left."""
        if self._loop is None or self._loop.is_closed() or not self._loop.is_running():
            return
        self._called = called = time.monotonic()
        self.send({"kind": "roll_call"})

        def count() -> None:
            self._renders = {render: heard for render, heard in self._renders.items() if heard >= called}
            self._count()

        self._loop.call_soon_threadsafe(self._loop.call_later, ANSWER_SECONDS, count)

    def _count(self) -> None:
        self.session_hidden = not self._renders
        if self._renders and self.session is not None:
            self.session.catch_up(self)

    def _obey(self, order: dict[str, Any]) -> None:
        try:
            self._order(order)
        except Exception as error:  # nothing may raise in a message of the page; the view shows it
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Show an error that leaves the picture as current as it was."""
        message, hint = explain(error)
        # The same refusal twice would be no change, and the page would wait for an answer.
        self.status = status_value("idle", int(self.status["run"]))
        self.status = status_value("error", int(self.status["run"]), message=message, hint=hint)

    def _reply(self, number: int) -> None:
        request = self._requests.pop(number, None)
        if request is not None:
            in_turns(self._replying(number, request), self._large)

    def _replying(self, number: int, request: dict[str, Any]) -> Generator[Any, None, None]:
        """Every request is answered, with data or with an error that says what to do."""
        error: AnswerError | None = None
        parcel = b""
        try:
            if request.get("want") != "ping":
                parcel = yield from aside(lambda: self._answer(request), self._large)
        except RequestError as reason:
            error = {"code": reason.code, "message": reason.message, "hint": reason.hint}  # type: ignore[typeddict-item]
        except Exception as reason:  # must never be left unanswered
            message, hint = explain(reason)
            error = {"code": "failed", "message": message, "hint": hint}
        as_text = request.get("encoding") == "base64"
        answer: Answer = {
            "kind": "answer",
            "req": number,
            "ok": error is None,
            "nbytes": len(parcel),
            "base64": base64.b64encode(parcel).decode() if as_text and parcel else None,
            "error": error,
        }
        self.send(answer, buffers=[parcel] if parcel and not as_text else None)


def status_value(state: str, run: int, **values: Any) -> StatusValue:
    """A whole status: `values` over empty ones."""
    empty = {"message": "", "hint": "", "done": 0, "total": 0, "estimate": "", "elapsed_ms": 0.0}
    return {"state": state, "run": run, **empty, **values}  # type: ignore[typeddict-item,return-value]


def _write_table(table: Any, path: Path) -> None:
    try:
        with replacing(path) as beside:
            if path.suffix.lower() == ".csv":
                table.to_csv(beside, index=False, encoding="utf-8")
            else:
                table.to_parquet(beside, index=False)
    except ImportError as reason:
        raise ExportError("parquet files need pyarrow.", 'Install it: pip install "mi_widgets[parquet]"') from reason
