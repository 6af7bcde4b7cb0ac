"""Prompts that nobody should give, drawn at random: odd text, odd ids, odd nests of both, odd chats, no prompts at all."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import pathlib
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch


class Unreadable:
    """An object that refuses to be looked at."""

    def tolist(self) -> Any:
        raise RuntimeError("not today")

    def __iter__(self) -> Any:
        raise RuntimeError("never")

    def __len__(self) -> int:
        return 10**12


class ItsOwnList(list[Any]):
    """A list whose list is itself."""

    def tolist(self) -> Any:
        return self


ODD_CHARACTERS = "\ud800\udfff\udc80\0\ufeff\u202e\U0010ffff\ufffe\uffff\u0301\u200d\U0001f468\n\t▁ é日🙂<bos>"


def text(draw: random.Random) -> str:
    kinds: list[Callable[[], str]] = [
        lambda: "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randrange(40))),
        lambda: "".join(draw.choice(ODD_CHARACTERS) for _ in range(draw.randrange(30))),
        lambda: (
            draw.choice(["a", "🙂", "\0", " ", "w5 ", "日本", "\n", "▁"]) * draw.choice([1, 63, 64, 65, 1000, 100_000])
        ),
        lambda: draw.choice(["", "   ", "<bos>", "<s>", "</s>", "<|endoftext|>", "<unk>", "w3"]),
        lambda: draw.randbytes(30).decode("utf-8", "surrogateescape"),
        lambda: np.str_("w5 w6"),
        lambda: " ".join(f"w{draw.randrange(140)}" for _ in range(draw.randrange(80))),
    ]
    return draw.choice(kinds)()


def single(draw: random.Random) -> Any:
    """One value of any type."""
    return draw.choice(
        [
            0, 1, 5, -1, 127, 128, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**5000, True, False, None, 1.0, 1.5,
            float("nan"), float("inf"), "5", "x", "", b"5", np.int8(5), np.uint64(2**64 - 1), np.float32(3),
            np.float64("nan"), np.bool_(True), np.datetime64("2020"), torch.tensor(5), torch.tensor(5.0),
            torch.tensor(True), decimal.Decimal(5), fractions.Fraction(5, 1), 1j, object(), [], [3], {}, {3}, (), ...,
            int, datetime.date(2020, 1, 1), pd.NA, pd.NaT, pd.Timestamp("2020"), np.ma.masked,
        ]
    )  # fmt: skip


def nested(draw: random.Random, depth: int = 0) -> Any:
    if depth > 3 or draw.random() < 0.4:
        return single(draw)
    return draw.choice([list, tuple])(nested(draw, depth + 1) for _ in range(draw.randrange(4)))


def ids(draw: random.Random) -> list[int]:
    return [draw.randrange(3, 128) for _ in range(draw.randrange(12))]


def array(draw: random.Random) -> Any:
    some = np.array(ids(draw) or [3])
    types_of = [np.int8, np.uint8, np.uint64, np.float16, np.float64, bool, complex, object, str, "S3", "M8[s]"]
    kinds: list[Callable[[], Any]] = [
        lambda: some.astype(draw.choice(types_of)),
        lambda: draw.choice([some[None], some[None, None], some[:, None], np.array(5), np.zeros((2, 3), int)]),
        lambda: draw.choice([np.zeros(0, int), np.zeros((1, 0)), np.array("w5"), np.array(None), np.array([None, 3])]),
        lambda: np.ma.array(some, mask=[draw.random() < 0.3 for _ in some]),
        lambda: draw.choice([np.ma.masked_all(3, int), np.ma.array(some), np.array([[3], [4, 5]], dtype=object)]),
        lambda: draw.choice([memoryview(b"abc"), bytearray(b"w5"), np.array([{"role": "user"}], dtype=object)]),
        lambda: torch.tensor(some).to(
            draw.choice([torch.long, torch.uint8, torch.float32, torch.bfloat16, torch.bool])
        ),
        lambda: draw.choice(
            [torch.tensor(some)[None], torch.tensor(some, device="meta"), torch.tensor(some).to_sparse()]
        ),
        lambda: draw.choice([torch.nn.Parameter(torch.ones(3)), torch.zeros(0, dtype=torch.long), torch.tensor(5)]),
        lambda: draw.choice([pd.Series(some), pd.Series(some, dtype="Int64"), pd.Series([3, None], dtype="Int64")]),
        lambda: draw.choice([pd.Series(["w5"]), pd.DataFrame({"a": some}), pd.Index(some), pd.Categorical(["a"])]),
        lambda: draw.choice([pd.Series([3, np.nan]), pd.DataFrame(), pd.Series([[3, 4], [5]])]),
    ]
    return draw.choice(kinds)()


def chat(draw: random.Random) -> Any:
    def value() -> Any:
        parts = [[{"type": "text", "text": "w3"}], [{"type": "text", "text": None}], ["x"], [], {}]
        return draw.choice(
            ["user", "assistant", "tool", "w5", text(draw), None, 5, float("nan"), b"x", object(), *parts]
        )

    def message() -> Any:
        likely = {"role": 0.9, "content": 0.9, "name": 0.1, "tool_calls": 0.1, 5: 0.1, None: 0.1}
        made = {name: value() for name, share in likely.items() if draw.random() < share}
        return draw.choice([made, made, made, collections.OrderedDict(made), single(draw)])

    return draw.choice([list, tuple])(message() for _ in range(draw.randrange(1, 4)))


def container(draw: random.Random) -> Any:
    """What holds ids, or itself, in an unusual way."""
    in_itself: list[Any] = []
    in_itself.append(in_itself)
    own = ItsOwnList([1])
    own.append(own)
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    return draw.choice(
        [
            in_itself, own, deep, (token for token in [3, 4]), range(3, 9), range(0), {3, 4}, frozenset([3]), {3: 4},
            {"role": "user", "content": "w3"}, b"w5", iter([3]), collections.deque([3, 4]),
            collections.UserList([3, 4]), collections.UserString("w5"), types.SimpleNamespace(a=1), pathlib.Path("w5"),
            Unreadable(), len, type, [[[]]], [[]], [()], [None], [[3, 4]], ((3, 4),), [[3, 4], [5, 6]], [[3], [4, 5]],
            [[["w5"]]], ["w5"], [("w5",)], ["w5", 3], zip([3], [4], strict=True), {3: 0}.keys(), [torch.tensor(3)],
            [torch.tensor([3, 4])], [np.array([3, 4])], [np.int64(3), 4], [3, [4]], [[3, 4], None], [10**400],
            [True, 3], [np.bool_(False), 3], [[True, 3]],
        ]
    )  # fmt: skip


def prompt(draw: random.Random) -> Any:
    """A prompt of any kind."""
    return draw.choice([text, single, ids, nested, array, chat, container])(draw)
