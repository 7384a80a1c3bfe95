"""The pure part of the check: questions and the verdict."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.change.comparison import clearly_worse, make_question, overlap, space_recall

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@given(st.text(), st.integers(0, 9))
def test_a_question_is_words_of_the_text_in_their_order(text: str, seed: int) -> None:
    question = make_question(text, Random(seed))
    assert question == make_question(text, Random(seed))
    words = iter(text.split())
    if len(text.split()) >= 2 and len(question) < 2_000:
        assert all(word in words for word in question.split())
        assert question


@given(PAIRS)
def test_never_worse_than_itself_nor_both_ways(pairs: list[tuple[bool, bool]]) -> None:
    one, two = [a for a, _ in pairs], [b for _, b in pairs]
    assert not clearly_worse(one, one)
    assert not (clearly_worse(one, two) and clearly_worse(two, one))
    if sum(two) >= sum(one):
        assert not clearly_worse(one, two)


def test_the_sign_test_decides_at_five_per_cent() -> None:
    # 4 of 4 lost: chance 1/16; 5 of 5: 1/32.
    assert not clearly_worse([True] * 4, [False] * 4)
    assert clearly_worse([True] * 5, [False] * 5)
    # 8 lost, 2 won of 100: 56/1024; 9 and 1: 11/1024.
    same = [True] * 90
    assert not clearly_worse([True] * 8 + [False] * 2 + same, [False] * 8 + [True] * 2 + same)
    assert clearly_worse([True] * 9 + [False] + same, [False] * 9 + [True] + same)
    # A sure loss of 2 % is tolerated.
    assert not clearly_worse([True] * 1000, [True] * 980 + [False] * 20)


def test_figures_of_a_space() -> None:
    assert space_recall("m", []).recall is None
    half = space_recall("m", [True, False])
    assert (half.found, half.recall) == (1, 0.5)
    assert half.interval is not None
    assert half.interval.low < 0.5 < half.interval.high
    assert overlap([], []) == 1.0
    assert overlap([1, 2], [2, 3]) == 0.5
