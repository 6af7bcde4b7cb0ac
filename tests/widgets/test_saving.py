"""What a view saves is written whole or not at all, whatever the suffix: the old file survives every failure."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from made_patterns import softmax

import mi_widgets as mw
from mi_widgets.data import load, save
from mi_widgets.errors import ExportError

#: Suffix, the function that writes such a file, and which of its arguments names the file.
WRITERS = {
    ".csv": (pd.DataFrame, "to_csv", 1),
    ".parquet": (pd.DataFrame, "to_parquet", 1),
    ".npz": (np, "savez_compressed", 0),
    ".html": (Path, "write_text", 0),
    ".svg": (Path, "write_bytes", 0),
    ".png": (Path, "write_bytes", 0),
    ".pdf": (Path, "write_bytes", 0),
}
ERRORS = {
    "full disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "error of the writer": ValueError("of the writer"),
    "Ctrl-C": KeyboardInterrupt(),
}


@pytest.fixture
def view():
    return mw.Attention.from_data(softmax(), list("abcde"))


def fail_midway(monkeypatch, suffix, error):
    """Let the writer of `suffix` write a few bytes to where it was sent, and then fail."""
    home, name, place = WRITERS[suffix]
    real = open

    def fails(*given, **_named):
        target = given[place]
        if hasattr(target, "write"):
            target.write(b"half")
        else:
            with real(target, "wb") as file:
                file.write(b"half")
        raise error

    monkeypatch.setattr(home, name, fails)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("suffix", WRITERS)
def test_an_error_midway_leaves_the_old_file_and_nothing_beside_it(view, tmp_path, monkeypatch, suffix, error):
    path = tmp_path / f"result{suffix}"
    path.write_bytes(b"the old file")
    fail_midway(monkeypatch, suffix, error)
    expected = ExportError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as raised:
        view.save(path)
    monkeypatch.undo()
    if expected is ExportError:
        assert str(path) in raised.value.message and "Free some space" in raised.value.hint
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_disk_that_takes_no_more_is_our_error_with_the_path(view, tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    path.write_bytes(b"the old file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(ExportError, match="too large") as raised:
            view.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in raised.value.message
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_that_is_written_takes_the_old_ones_place(view, tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    path.write_bytes(b"the old file")
    assert view.save(path) == path
    assert b"the old file" not in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_several_views_on_a_page_and_a_result_by_itself_are_as_safe(view, tmp_path, monkeypatch):
    page, result = tmp_path / "page.html", tmp_path / "result.npz"
    for path in (page, result):
        path.write_bytes(b"the old file")
    fail_midway(monkeypatch, ".html", ERRORS["full disk"])
    with pytest.raises(ExportError, match=r"page\.html"):
        mw.save_html(page, view, view)
    fail_midway(monkeypatch, ".npz", ERRORS["full disk"])
    with pytest.raises(ExportError, match=r"result\.npz"):
        save(view.data, result)
    monkeypatch.undo()
    assert page.read_bytes() == result.read_bytes() == b"the old file"
    assert sorted(tmp_path.iterdir()) == [page, result]
    assert np.array_equal(load(save(view.data, result)).base, view.data.base)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("place", ["no/such/folder/result", "a folder"])
def test_where_no_file_can_stand_is_refused_with_the_path(view, tmp_path, suffix, place):
    (tmp_path / f"a folder{suffix}").mkdir()
    with pytest.raises(ExportError, match=r"does not exist|is a directory"):
        view.save(tmp_path / f"{place}{suffix}")


class Titled(mw.Attention):
    """A view whose figure the user goes on with."""

    def figure(self, **options):
        return super().figure(**options).update_layout(title="mine")


def test_a_figure_that_a_subclass_changes_is_plotlys_to_draw(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(go.Figure, "to_image", lambda figure, *_: drawn.append(figure.layout.title.text) or b"drawn")
    view = Titled.from_data(softmax(), list("abcde"))
    assert view.save(tmp_path / "a.pdf").read_bytes() == b"drawn"
    assert drawn == ["mine"]
    assert mw.Attention.from_data(softmax(), list("abcde")).save(tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")
    assert drawn == ["mine"]
