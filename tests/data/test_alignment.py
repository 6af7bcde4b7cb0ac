"""Two prompts of unequal length: as many equal tokens as possible pair up, and substitutes stand beside each other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mi_widgets.data import Tokens, align


def tokens(strings):
    return Tokens(np.full(len(strings), -1), tuple(strings))


def words(text):
    return tokens(text.split())


def columns(a, b):
    """The alignment as text: `word`, `left→right`, or with ∅ where one side has none."""
    said = []
    for in_a, in_b in align(a, b).pairs:
        left = "∅" if in_a is None else a.strings[in_a]
        right = "∅" if in_b is None else b.strings[in_b]
        said.append(left if left == right else f"{left}→{right}")
    return said


def counts(a, b):
    """Equal pairs, and all pairs, of the alignment."""
    pairs = [pair for pair in align(a, b).pairs if None not in pair]
    return sum(a.strings[in_a] == b.strings[in_b] for in_a, in_b in pairs), len(pairs)


def best(a, b):
    """The same by plain recursion over every alignment: as many equal pairs as possible, then as many pairs."""
    known = {}

    def most(in_a, in_b):
        if in_a == len(a) or in_b == len(b):
            return (0, 0)
        if (in_a, in_b) not in known:
            equal, paired = most(in_a + 1, in_b + 1)
            here = (equal + (a[in_a] == b[in_b]), paired + 1)
            known[in_a, in_b] = max(here, most(in_a + 1, in_b), most(in_a, in_b + 1))
        return known[in_a, in_b]

    return most(0, 0)


def test_swapped_names_and_an_inserted_word():
    a = words("<bos> When Mary and John went to the store , John gave a drink to")
    b = words("<bos> When John and Mary just went to the store , Mary gave a drink to")
    assert columns(a, b) == (
        [
            "<bos>",
            "When",
            "Mary→John",
            "and",
            "John→Mary",
            "∅→just",
            "went",
            "to",
            "the",
            "store",
            ",",
            "John→Mary",
            "gave",
            "a",
            "drink",
            "to",
        ]
    )
    assert columns(b, a) == (
        [
            "<bos>",
            "When",
            "John→Mary",
            "and",
            "Mary→John",
            "just→∅",
            "went",
            "to",
            "the",
            "store",
            ",",
            "Mary→John",
            "gave",
            "a",
            "drink",
            "to",
        ]
    )


@pytest.mark.parametrize(
    ("a", "b", "want"),
    [
        ("<s> the old cat sat", "<s> the cat sat", "<s> the old→∅ cat sat"),
        ("the cat sat", "the very old cat sat", "the ∅→very ∅→old cat sat"),
        ("p q r", "x y", "p→x q→y r→∅"),
        ("x y", "p q r", "x→p y→q ∅→r"),
        ("a p q r z", "a x y z", "a p→x q→y r→∅ z"),
        ("the the the", "the", "the the→∅ the→∅"),
        ("a b a b", "a b", "a b a→∅ b→∅"),
        ("no no yes", "no yes", "no no→∅ yes"),
        ("one", "two three", "one→two ∅→three"),
    ],
)
def test_what_stands_beside_what(a, b, want):
    assert columns(words(a), words(b)) == want.split()


def test_equal_lengths_pair_by_position_whatever_they_hold():
    assert align(words("a b c"), words("b c a")).pairs == ((0, 0), (1, 1), (2, 2))


def test_an_empty_prompt_pairs_with_nothing():
    assert align(tokens([]), words("a b")).pairs == ((None, 0), (None, 1))
    assert align(words("a b"), tokens([])).pairs == ((0, None), (1, None))


def test_ids_count_as_well_as_strings():
    a = Tokens(np.array([1, 2, 3]), ("x", "x", "x"))
    b = Tokens(np.array([1, 3]), ("x", "x"))
    assert align(a, b).pairs == ((0, 0), (1, None), (2, 1))


@pytest.mark.parametrize("seed", range(20))
def test_no_alignment_has_more_equal_tokens_or_more_pairs(seed):
    draw = np.random.default_rng(seed)
    for size in (2, 3, 6):
        a, b = (["abcdef"[letter] for letter in draw.integers(0, size, draw.integers(0, 12))] for _ in "ab")
        if len(a) == len(b):
            continue
        assert counts(tokens(a), tokens(b)) == best(a, b)


def test_every_short_pair_of_prompts_is_aligned_at_its_best():
    short = [list(letters) for count in range(4) for letters in product("ab", repeat=count)]
    for a, b in product(short, short):
        if len(a) != len(b):
            assert counts(tokens(a), tokens(b)) == best(a, b), (a, b)


@pytest.mark.parametrize("sizes", [(300, 297), (40, 300), (1, 50)])
def test_every_position_stands_once_and_in_order(sizes):
    draw = np.random.default_rng(1)
    a, b = (tokens([f"w{letter}" for letter in draw.integers(0, 9, size)]) for size in sizes)
    pairs = align(a, b).pairs
    for side, size in enumerate(sizes):
        assert [pair[side] for pair in pairs if pair[side] is not None] == list(range(size))
    assert (None, None) not in pairs


def test_what_is_too_long_to_compare_pairs_from_the_start(monkeypatch):
    from mi_widgets.data import alignment

    monkeypatch.setattr(alignment, "MOST_CELLS", 5)
    assert columns(words("s a b c e"), words("s c x e")) == ["s", "a→c", "b→x", "c→∅", "e"]
