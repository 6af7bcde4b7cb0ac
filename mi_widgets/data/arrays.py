"""Arrays as records hold them: numpy, of one type, and closed to writing, so that no view can spoil another's.

What a record keeps is its own copy, an array that is read-only already, or one too large to copy, and it shows no more
of it than a read-only view. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from mi_widgets.data.integers import integer
from mi_widgets.errors import DataError

#: Bytes of the largest array that is copied so that nobody can change it: some 20 ms. Beyond, memory is dearer.
MOST_COPIED = 64_000_000


def read_only(array: np.ndarray) -> np.ndarray:
    """`array` closed to writing: itself if it is closed already, else a view of the same memory.

    Whoever holds `array` itself can still write to it; what is made from the view cannot.
    """
    if not array.flags.writeable:
        return array
    closed = array.view()
    closed.flags.writeable = False
    return closed


def as_float32(values: Any, own: bool = False) -> np.ndarray:
    """numpy float32 from numpy, torch (any device and dtype) or nested lists of them, without importing torch.

    Args:
        values: numbers; the masked cells of a masked array become NaN.
        own: the result is read-only and nobody else's: a copy, unless it was made here or `values` is read-only. Only
            what is too large for that (`MOST_COPIED`) stays the memory of whoever gave it.

    Raises:
        DataError: not numbers, or ragged.
    """
    array = _numbers(values)
    try:
        if array.dtype.kind not in "fiub":
            raise TypeError(str(array.dtype))
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused where that is wrong
            made = array.astype(np.float32, copy=False)
    except (TypeError, ValueError) as reason:
        raise _no_numbers(reason) from None
    if not own:
        return made
    theirs = made is array and made.flags.writeable and not isinstance(values, (list, tuple))
    if theirs and made.nbytes <= MOST_COPIED:
        made = made.copy()
    return read_only(made)


def as_integers(name: str, values: Any, dtype: Any = np.int64) -> np.ndarray:
    """Read-only whole numbers of `dtype`, any shape; a copy unless `values` is read-only and of that type.

    Args:
        name: of the array, for the message.
        values: whole numbers of any type; nested lists too. Masked cells and NaN become -1, which stands for "none".
        dtype: numpy's.

    Raises:
        DataError: other than whole numbers, or too large for `dtype`.
    """
    array = _numbers(values)
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), -1, array)
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))
    if array.size and not whole:
        raise DataError(f"{name} holds other than whole numbers ({array.dtype}).", "Give ints.")
    limits = np.iinfo(dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise DataError(f"{name} holds numbers beyond {limits.min} to {limits.max}.", "Give smaller ones.")
    return read_only(array.astype(dtype, copy=array.flags.writeable))


class Names(dict[int, str]):
    """Display strings by token id; cannot be changed, and travels (pickle, copy) as a dict does."""

    def __init__(self, names: Mapping[Any, str] | Iterable[tuple[Any, str]]) -> None:
        try:
            given = dict(names)
        except (TypeError, ValueError):
            raise DataError(f"names={names!r} is no dict.", "Give the display string of each token id.") from None
        # There may be thousands, mostly plain ints.
        super().__init__(
            {token if type(token) is int else integer("names", token): str(string) for token, string in given.items()}
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def _refuse(self, *_given: Any, **_named: Any) -> NoReturn:
        raise TypeError("names of a result cannot be changed; make a dict of them: dict(result.names).")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore[reportAssignmentType]


def _numbers(values: Any) -> np.ndarray:
    """`values` as one numpy array of whatever type it has, masked cells NaN."""
    try:
        if hasattr(values, "detach"):
            return _of_tensor(values)
        if isinstance(values, np.ma.MaskedArray):
            return np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan)
        if isinstance(values, (list, tuple)) and _holds_arrays(values):
            values = [_numbers(entry) for entry in values]
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as reason:
        raise _no_numbers(reason) from None


def _holds_arrays(values: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds, at any depth, what numpy cannot stack by itself without losing something."""
    return any(
        _holds_arrays(entry)
        if isinstance(entry, (list, tuple))
        else hasattr(entry, "detach") or isinstance(entry, np.ma.MaskedArray)
        for entry in values
    )


def _of_tensor(tensor: Any) -> np.ndarray:
    """A torch tensor as numpy; bfloat16 and the like, which numpy lacks, as float32."""
    if tensor.is_complex():
        raise TypeError(str(tensor.dtype))
    plain = tensor.detach()
    plain = plain.float() if plain.is_floating_point() and str(plain.dtype) != "torch.float64" else plain
    array = plain.cpu().numpy()
    # Memory that is the user's is theirs to write; what was converted is ours.
    return array if plain.data_ptr() == tensor.data_ptr() else read_only(array)


def _no_numbers(reason: Exception) -> DataError:
    return DataError(f"cannot read the values as numbers ({reason}).", "Give one numeric array.")
