"""What every result has from its fields: checks, and a file. Each behaviour on a small kind of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest

from mi_widgets.data import load, save
from mi_widgets.data.comparison import Comparison
from mi_widgets.data.record import KINDS, Record, count_from_0, floats, one_of, whole_numbers
from mi_widgets.data.tokens import Tokens
from mi_widgets.errors import DataError


@dataclass(frozen=True, eq=False)
class Effect(Record):
    tokens: Tokens
    values: Annotated[np.ndarray, floats("layer", "position")]
    ranks: Annotated[np.ndarray, whole_numbers("layer", "position")]
    by: Annotated[str, one_of("metric", ("logit", "probability"))] = "logit"
    layers: tuple[int | None, ...] = ()
    n_prompts: Annotated[int, count_from_0] = 0
    best: float | None = None
    since: str | None = None

    LATER = ("since",)

    def _sizes(self):
        return {"position": len(self.tokens)}


@dataclass(frozen=True, eq=False)
class Effects(Comparison):
    a: Effect
    b: Effect


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Both can be saved, only here."""
    for kind in (Effect, Effects):
        monkeypatch.setitem(KINDS, kind.__name__, kind)


def values(**changes):
    tokens = Tokens.of(["a", "b", "c"], 3)
    return {"tokens": tokens, "values": np.zeros((2, 3)), "ranks": np.zeros((2, 3), int), **changes}


def test_fields_are_held_as_their_types_say():
    effect = Effect(**values(layers=[np.int64(1), None], best=np.float32(0.5), n_prompts=np.uint8(3)))
    assert (effect.values.dtype, effect.ranks.dtype) == (np.float32, np.int32)
    assert not effect.values.flags.writeable
    assert (effect.layers, effect.best, effect.n_prompts) == ((1, None), 0.5, 3)
    assert type(effect.n_prompts) is int


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"values": np.zeros((2, 4))}, r"values has shape \[2, 4\]; it must be \[layer, position = 3\]"),
        ({"ranks": np.zeros((3, 3), int)}, r"ranks .* \[layer = 2, position = 3\] as values has"),
        ({"values": np.zeros(3)}, r"values has shape \[3\]"),
        ({"by": "rank"}, "unknown metric 'rank'"),
        ({"n_prompts": -1}, "n_prompts is -1"),
        ({"best": "0.5"}, "best='0.5' is no number"),
        ({"tokens": ["a", "b", "c"]}, "Tokens record"),
    ],
)
def test_what_does_not_fit_is_named(changes, says):
    with pytest.raises(DataError, match=says):
        Effect(**values(**changes))


def test_a_new_kind_comes_back_from_its_file_as_it_was(tmp_path):
    effect = Effect(**values(layers=(2, None), values=np.arange(6).reshape(2, 3), best=1.5))
    again = load(save(effect, tmp_path / "effect.npz"))
    assert type(again) is Effect
    assert again.header() == effect.header()
    assert np.array_equal(again.values, effect.values)


def test_a_comparison_of_them_too(tmp_path):
    sides = [Effect(**values(tokens=Tokens.of(list(text), 3))) for text in ("abc", "abd")]
    again = load(save(Effects(*sides), tmp_path / "effects.npz"))
    assert again.tokens.strings == ("a", "b", "c→d")
    assert again.arrays().keys() == {"a.values", "a.ranks", "b.values", "b.ranks"}


def test_what_came_later_is_left_out_of_files_where_it_is_none():
    assert "since" not in Effect(**values()).header()
    assert Effect(**values(since="now")).header()["since"] == "now"
    assert Effect(**values()).header()["best"] is None
