"""Writing a file whole or not at all: beside the old one first, then in its place in one step.

Whatever goes wrong on the way (an error of the writer, a full disk, Ctrl-C), the old file stands as it was and nothing
of ours stays beside it. Knows nothing of what is written; every file that this package writes for the user goes
through here.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mi_widgets.errors import DataError, ExportError, MiWidgetsError

#: What to do, by what the system says.
HINTS = {
    errno.ENOSPC: "Free some space, or choose another disk.",
    errno.EDQUOT: "Free some of your quota, or choose another disk.",
    errno.EFBIG: "Choose another disk: this one holds no file of that size.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.EACCES: "You may not write there: choose another folder, or change the permissions.",
    errno.EPERM: "You may not write there: choose another folder, or change the permissions.",
    errno.EISDIR: "Give the name of a file in that folder.",
    errno.ENOENT: "Make the folder first.",
    errno.ENOTDIR: "Make the folder first.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}
#: File systems that cannot flush say one of these; they are written to all the same.
NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new file for `path`: write to the path that this yields, which takes the place of `path` at the end.

    The yielded path lies in the same folder, has an unpredictable name with the same suffix, and exists, empty; a
    writer may open it or write over it. At the end it is flushed to the disk and moved to `path` in one step. A link
    is followed; the new file gets the old one's permissions, or those of any new file.

    Args:
        path: of the file to make or to replace.

    Raises:
        DataError: `path` is no path.
        ExportError: what the system refuses (no folder, no space, a folder of that name, no permission …), also
            where the writer ran into it; the message has the path, the hint says what to do.
    """
    named = writable_path(path)
    earlier = sys.exc_info()[1]
    temporary: Path | None = None
    try:
        target = Path(os.path.realpath(named))
        temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask: any new file's
        mode = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        yield temporary
        _flush(temporary)
        with suppress(OSError):  # some shared disks know no permissions
            temporary.chmod(mode)
        temporary.replace(target)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        refusal = _refusal_of(error, earlier)
        if refusal is None:
            raise
        raise _unwritable(named, refusal) from error


def writable_path(path: str | Path) -> Path:
    """`path` as a Path where a file could stand, so that long work before the writing is not in vain.

    Raises:
        DataError: it is no path.
        ExportError: its folder does not exist, it is a folder itself, or the file there is protected.
    """
    try:
        named = Path(path)
        if not named.parent.is_dir():
            raise ExportError(f"the folder {named.parent} does not exist.", "Make it first.")
        try:
            kind = named.stat().st_mode
        except FileNotFoundError:
            return named
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise ExportError(f"{named} is no plain file.", "Give another name.")
        if not os.access(named, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is write-protected")
    except TypeError:
        raise DataError(f"{path!r} is no path.", "Give the file's name as text.") from None
    except OSError as refusal:
        raise _unwritable(path, refusal) from refusal
    except ValueError as reason:  # a null character, or half a surrogate pair
        raise ExportError(f"{path!r} cannot name a file ({reason}).", "Give another name.") from None
    return named


def _flush(path: Path) -> None:
    """Have the system write `path` to the disk, so that a full disk is heard of before the old file is gone."""
    with path.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as refusal:
            if refusal.errno not in NO_FLUSH:
                raise


def _refusal_of(error: BaseException, earlier: BaseException | None) -> OSError | None:
    """The system's refusal behind `error`: a writer closes its file on the way out and may raise another over it.
    What was being handled before the writing began (`earlier`) is not its doing."""
    found: BaseException | None = error
    while isinstance(found, Exception) and found is not earlier:  # Ctrl-C is passed on as it is
        if isinstance(found, OSError):
            return found
        if isinstance(found, MiWidgetsError):
            return None
        found = found.__cause__ or found.__context__
    return None


def _unwritable(path: str | Path, refusal: OSError) -> ExportError:
    said = refusal.strerror or str(refusal) or type(refusal).__name__
    with suppress(OSError):
        said += "; the old file stands" if Path(path).is_file() else ""
    hint = HINTS.get(refusal.errno or 0, "Choose another folder, or look at the disk.")
    return ExportError(f"cannot write {path}: {said[0].lower()}{said[1:]}.", hint)
