"""What every result is: a frozen record whose fields say by their types what they may hold, and arrays which axes.

Checks, saving and loading follow from the fields. Knows nothing of any particular result.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Annotated, Any, ClassVar, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

import numpy as np

from mi_widgets.data.arrays import Names, as_float32, as_integers, read_only
from mi_widgets.data.integers import integer, number, several, text, truth, word
from mi_widgets.data.interventions import Change, checked_interventions, interventions_from
from mi_widgets.data.tokens import Tokens, checked_tokens
from mi_widgets.errors import DataError

Kind = TypeVar("Kind", bound=type)
#: Every kind of result that can be saved, by its name in files.
KINDS: dict[str, type[Record]] = {}


@dataclass(frozen=True)
class Axes:
    """How a record holds an array, as the mark of an `Annotated` field: read-only, of one type.

    Attributes:
        names: of the axes, in order; axes of one name are of one size.
        own: a copy of what could still be written to; else only a read-only view of it.
        dtype: of whole numbers; None for float32.
    """

    names: tuple[str, ...]
    own: bool = True
    dtype: Any = None

    def __call__(self, name: str, values: Any) -> np.ndarray:
        """`values` so held; DataError for what is no such array."""
        if self.dtype is not None:
            return as_integers(name, values, self.dtype)
        return read_only(as_float32(values, own=self.own))

    def check(self, name: str, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]]) -> None:
        """Note in `sizes` how large these axes are, and whose; DataError for a shape that does not fit them."""
        known = [sizes.get(axis, (None, "")) for axis in self.names]
        fits = len(shape) == len(known) and all(
            size in (None, held) for (size, _), held in zip(known, shape, strict=True)
        )
        if not fits:
            axes = zip(self.names, known, strict=True)
            wanted = ", ".join(axis if size is None else f"{axis} = {size}" for axis, (size, _) in axes)
            others = ", ".join(dict.fromkeys(other for _, other in known if other))
            like = f" as {others} has" if others else ""
            raise DataError(f"{name} has shape {list(shape)}; it must be [{wanted}]{like}.")
        for axis, size in zip(self.names, shape, strict=True):
            sizes.setdefault(axis, (size, name))


def floats(*axes: str, own: bool = True) -> Axes:
    """An array of float32."""
    return Axes(axes, own)


def whole_numbers(*axes: str, dtype: Any = np.int32) -> Axes:
    """An array of whole numbers, -1 for none."""
    return Axes(axes, dtype=dtype)


def one_of(what: str, known: Iterable[str]) -> Callable[[str, Any], str]:
    """The mark of a field that holds one of the words `known`; errors call it `what`."""
    return lambda _name, value: word(what, value, known)


def count_from_0(name: str, value: Any) -> int:
    """The mark of a field that holds a whole number from 0."""
    if (count := integer(name, value)) < 0:
        raise DataError(f"{name} is {count}.", "Give a whole number from 0.")
    return count


@dataclass(frozen=True, eq=False)
class Record:
    """Base of results; a subclass is made by `record`.

    Whatever is given for a field is held as its type says: an `Annotated` one by its mark, a tuple as one, numbers and
    truth values as Python's own, whatever library they came from; None only where the type allows it.
    """

    #: Fields that files leave out where they are None: what came after them.
    LATER: ClassVar[tuple[str, ...]] = ()
    #: What stands in files between the name of a record within this one and that of its array.
    WITHIN: ClassVar[str] = "."

    def __post_init__(self) -> None:
        for name, (_, held, _) in _fields(type(self)).items():
            self._set(name, held(name, getattr(self, name)))
        self._complete()
        sizes = {axis: (size, "") for axis, size in self._sizes().items()}
        for name, (_, _, axes) in _fields(type(self)).items():
            if axes is not None and (array := getattr(self, name)) is not None:
                axes.check(name, array.shape, sizes)
        self._check()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _complete(self) -> None:
        """Put in place what was left out and follows from the rest."""

    def _sizes(self) -> dict[str, int]:
        """Sizes of axes that are known before any array is looked at."""
        return {}

    def _check(self) -> None:
        """Raise DataError for fields that do not go together."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that `save` writes; those of a record within this one by its name and theirs."""
        found: dict[str, np.ndarray] = {}
        for name in _fields(type(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                found[name] = value
            elif isinstance(value, Record):
                found |= {f"{name}{self.WITHIN}{inner}": array for inner, array in value.arrays().items()}
        return found

    def header(self) -> dict[str, Any]:
        """The plain values that `save` writes beside the arrays."""
        values = {name: getattr(self, name) for name, (_, _, axes) in _fields(type(self)).items() if axes is None}
        return {name: _plain(value) for name, value in values.items() if value is not None or name not in self.LATER}

    @classmethod
    def restore(cls, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
        """The record that `header` and `arrays` describe."""
        values, rest = dict(header), dict(arrays)
        for name, (hint, _, _) in _fields(cls).items():
            if isinstance(hint, type) and issubclass(hint, Record):
                start = name + cls.WITHIN
                inner = {array: rest.pop(array) for array in arrays if array.startswith(start)}
                values[name] = hint.restore(
                    header[name], {array.removeprefix(start): one for array, one in inner.items()}
                )
            elif name in header and hint in _READ:
                values[name] = _READ[hint](header[name])
        return cls(**values, **rest)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def record(cls: Kind) -> Kind:
    """Make `cls` a frozen dataclass, and a kind of result that `save` and `load` know."""
    made = dataclass(frozen=True, eq=False)(cls)
    KINDS[made.__name__] = made
    return made


def _plain(value: Any) -> Any:
    """A value of a header, as JSON has it."""
    if isinstance(value, Record):
        return value.header()
    if isinstance(value, (Tokens, Change)):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return {str(token): string for token, string in value.items()} if isinstance(value, Names) else value


#: What stands in a header otherwise than in a record, by type.
_READ: dict[Any, Callable[[Any], Any]] = {
    Tokens: Tokens.from_dict,
    dict[int, str]: lambda names: {int(token): string for token, string in names.items()},
    tuple[Change, ...]: interventions_from,
}
_HELD: dict[Any, Callable[[str, Any], Any]] = {
    int: integer,
    float: partial(number, finite=False),
    str: text,
    bool: truth,
    Tokens: lambda _name, tokens: checked_tokens(tokens),
    dict[int, str]: lambda _name, names: Names(names),
    tuple[Change, ...]: lambda _name, made: checked_interventions(made),
}


@cache
def _fields(cls: type[Record]) -> dict[str, tuple[Any, Callable[[str, Any], Any], Axes | None]]:
    """Of each field that is saved its type, what holds it, and its axes."""
    hints = get_type_hints(cls, include_extras=True)
    kept = {field.name: (hints[field.name], _held(hints[field.name])) for field in fields(cls) if field.repr}
    return {name: (hint, held[0], held[1]) for name, (hint, held) in kept.items()}


def _held(hint: Any) -> tuple[Callable[[str, Any], Any], Axes | None]:
    """What holds a value of type `hint`, and its axes where it is an array."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return inner[1], inner[1] if isinstance(inner[1], Axes) else None
    if origin in (types.UnionType, Union):
        given, axes = _held(next(one for one in inner if one is not types.NoneType))
        return lambda name, value: None if value is None else given(name, value), axes
    if origin is tuple and hint not in _HELD:
        each, _ = _held(inner[0])
        return lambda name, values: tuple(each(name, value) for value in several(name, values)), None
    return _HELD.get(hint, lambda _name, value: value), None
