"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from mi_widgets.data.files import replacing, writable_path
from mi_widgets.errors import DataError, ExportError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path, error):
    """What a writer does that fails midway."""
    with replacing(path) as beside:
        beside.write_text("half of the n")
        raise error


def refusal(number):
    return OSError(number, os.strerror(number))


def test_the_new_file_takes_the_old_ones_place_only_at_the_end(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with replacing(path) as beside:
        assert beside.parent == path.parent and beside.suffix == ".csv" and beside.name != path.name
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["result.csv"]


@pytest.mark.parametrize("error", [ValueError("of the writer"), KeyboardInterrupt(), SystemExit(1)])
def test_after_an_error_midway_the_old_file_stands_and_nothing_is_left_beside_it(tmp_path, error):
    path = tmp_path / "result.npz"
    path.write_bytes(b"old")
    with pytest.raises(type(error)) as raised:
        write_half(path, error)
    assert raised.value is error
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["result.npz"]


def test_after_an_error_there_is_no_file_where_there_was_none(tmp_path):
    with pytest.raises(ValueError, match="of the writer"):
        write_half(tmp_path / "new.csv", ValueError("of the writer"))
    assert not names_in(tmp_path)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "another folder"),
    ],
)
def test_a_refusal_of_the_system_says_the_path_and_what_to_do(tmp_path, number, advice):
    path = tmp_path / "result.npz"
    path.write_bytes(b"old")
    with pytest.raises(ExportError) as raised:
        write_half(path, refusal(number))
    assert str(path) in raised.value.message and "the old file stands" in raised.value.message
    assert advice in raised.value.hint
    assert path.read_bytes() == b"old" and names_in(tmp_path) == ["result.npz"]


def test_a_refusal_is_seen_behind_the_error_of_a_writer_that_closes_its_file(tmp_path):
    closing = ValueError("cannot close the archive")
    closing.__context__ = refusal(errno.ENOSPC)
    with pytest.raises(ExportError, match="no space left"):
        write_half(tmp_path / "result.npz", closing)


def test_a_refusal_from_before_the_writing_is_not_taken_for_one_of_the_disk(tmp_path):
    with pytest.raises(ValueError, match="of the writer"):
        try:
            raise refusal(errno.ENOSPC)
        except OSError:
            write_half(tmp_path / "result.npz", ValueError("of the writer"))


def test_a_full_disk_that_is_only_heard_of_at_the_flush_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.csv"
    path.write_text("old")

    def full(_number):
        raise refusal(errno.ENOSPC)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="no space left"), replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "old" and names_in(tmp_path) == ["result.csv"]


def test_a_disk_that_cannot_flush_is_written_to_all_the_same(tmp_path, monkeypatch):
    def unable(_number):
        raise refusal(errno.EINVAL)

    monkeypatch.setattr(os, "fsync", unable)
    with replacing(tmp_path / "result.csv") as beside:
        beside.write_text("new")
    assert (tmp_path / "result.csv").read_text() == "new"


def test_permissions_are_the_old_files_or_those_of_any_new_file(tmp_path):
    old, new, ordinary = tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "ordinary.csv"
    old.write_text("old")
    old.chmod(0o640)
    ordinary.write_text("ordinary")
    for path in (old, new):
        with replacing(path) as beside:
            beside.unlink()  # as a writer would that makes its file itself
            beside.write_text("written")
            beside.chmod(0o600)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.csv", tmp_path / "link.csv"
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as beside:
        assert beside.parent == real.parent
        beside.write_text("new")
    assert link.is_symlink() and real.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/result.csv", "does not exist"),
        ("file/result.csv", "does not exist"),
        ("folder", "is a directory"),
        ("n" * 300 + ".csv", "name too long"),
        ("with\0null.csv", "cannot name a file"),
        ("half\ud800.csv", "cannot name a file"),
        ("pipe", "no plain file"),
    ],
)
def test_where_no_file_can_stand_is_said_before_the_work(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ExportError, match=said):
        writable_path(tmp_path / name)
    with pytest.raises(ExportError, match=said), replacing(str(tmp_path / name)):
        raise AssertionError("the work was begun")
    assert names_in(tmp_path) == ["file", "folder", "pipe"]


def test_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".csv")
    with replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new"


def test_a_protected_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "result.csv"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser, as whom tests may run, may write anywhere
    with pytest.raises(ExportError, match="write-protected"), replacing(path):
        raise AssertionError("the work was begun")
    assert path.read_text() == "old" and names_in(tmp_path) == ["result.csv"]


def test_a_protected_folder_is_refused(tmp_path, monkeypatch):
    def protected(*_):
        raise refusal(errno.EACCES)

    monkeypatch.setattr(os, "open", protected)
    with pytest.raises(ExportError, match="permission denied"), replacing(tmp_path / "result.csv"):
        raise AssertionError("the work was begun")


@pytest.mark.parametrize("strange", [None, 5, b"bytes.csv"])
def test_what_is_no_path_is_refused(strange):
    with pytest.raises(DataError, match="is no path"):
        writable_path(strange)
