"""The arithmetic of recall, for any candidates."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.models import IMPORTANCE
from aegis.memory.ranking import (
    FEATURES,
    Candidate,
    Question,
    Weights,
    idf_of_counts,
    load_weights,
    rank,
    score_features,
)

WORDS = ("garden", "invoice", "lisbon")

numbers = st.floats(0, 5, allow_nan=False)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Candidate], list[list[int]], Question]:
    """Candidates with distinct ids, runs over them, and a question."""
    ids = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=12, unique=True))
    candidates = [
        Candidate(
            id=i,
            counts=draw(st.lists(st.sampled_from([0.0, 1.0, 1.25]), min_size=3, max_size=3)),
            terms=draw(st.integers(0, 300)),
            similarity=draw(st.none() | st.floats(-1, 1)),
            age_days=draw(st.floats(-1, 1e5) | st.just(math.inf)),
            importance=draw(st.sampled_from(IMPORTANCE)),
            eligible=draw(st.booleans()),
        )
        for i in ids
    ]
    cut = draw(st.integers(0, len(ids)))
    runs = [run for run in (ids[:cut], ids[cut:]) if run]
    idf = draw(st.lists(st.floats(0, 12), min_size=3, max_size=3))
    question = Question(words=WORDS, idf=idf, mean_terms=draw(st.floats(1, 500)))
    return candidates, runs, question


@given(worlds())
def test_parts_of_a_result_sum_to_its_score(
    world: tuple[list[Candidate], list[list[int]], Question],
) -> None:
    for result in rank(*world, load_weights(), limit=100):
        assert math.isfinite(result.score)
        assert result.score == pytest.approx(math.fsum(part.score for part in result.parts))


@given(worlds(), st.integers(0, 2**32))
def test_ranking_does_not_depend_on_the_order_of_the_candidates(
    world: tuple[list[Candidate], list[list[int]], Question], seed: int
) -> None:
    candidates, runs, question = world
    shuffled = random.Random(seed).sample(candidates, len(candidates))
    straight = rank(candidates, runs, question, load_weights(), limit=100)
    again = rank(shuffled, runs, question, load_weights(), limit=100)
    # The mean similarity is a sum of floats, so the last digit may differ, the order not.
    for a, b in zip(straight, again, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-9)


@given(worlds(), st.integers(1, 20))
def test_only_eligible_candidates_come_back_and_at_most_the_limit(
    world: tuple[list[Candidate], list[list[int]], Question], limit: int
) -> None:
    eligible = {c.id for c in world[0] if c.eligible}
    found = [r.id for r in rank(*world, load_weights(), limit=limit)]
    assert len(found) == min(limit, len(eligible)) == len(set(found))
    assert set(found) <= eligible


@given(worlds())
def test_scores_never_rise_down_the_list(
    world: tuple[list[Candidate], list[list[int]], Question],
) -> None:
    scores = [r.score for r in rank(*world, load_weights(), limit=100)]
    assert all(a >= b - 1e-9 for a, b in pairwise(scores))


def _candidate(row_id: int, **changes: object) -> Candidate:
    values: dict[str, object] = {
        "counts": [1.0, 0.0, 0.0],
        "terms": 15,
        "similarity": 0.4,
        "age_days": 1000.0,
        "importance": "medium",
        "eligible": True,
    }
    return Candidate(id=row_id, **{**values, **changes})  # pyright: ignore[reportArgumentType]


def _first(*candidates: Candidate, runs: list[list[int]] | None = None) -> int:
    question = Question(words=WORDS, idf=[3.0, 3.0, 3.0], mean_terms=15.0)
    return rank(candidates, runs or [], question, load_weights(), limit=1)[0].id


@pytest.mark.parametrize(
    "better",
    [
        {"age_days": 0.0},
        {"importance": "critical"},
        {"similarity": 0.6},
        {"counts": [1.0, 1.0, 0.0]},
    ],
)
def test_of_two_equals_the_one_with_more_in_its_favour_comes_first(
    better: dict[str, object],
) -> None:
    assert _first(_candidate(2), _candidate(1, **better)) == 1


def test_freshness_does_not_beat_a_clearly_better_answer() -> None:
    better = _candidate(1, counts=[1.0, 1.0, 1.0], similarity=0.7)
    assert _first(_candidate(2, age_days=0.0, importance="critical"), better) == 1


def test_a_memory_next_to_one_that_says_the_words_gains_from_it() -> None:
    silent = {"counts": [0.0, 0.0, 0.0]}
    told = _candidate(3, eligible=False)
    assert _first(_candidate(2, **silent), _candidate(1, **silent), told, runs=[[3, 1]]) == 1


def test_equal_scores_put_the_newest_id_first() -> None:
    assert _first(_candidate(1), _candidate(2)) == 2


def test_weights_between_the_lengths_lie_between_the_sets() -> None:
    weights = Weights(short=[0.0], long=[1.0], short_terms=20, long_terms=50)
    shares = [weights.at(terms)[0] for terms in (0, 5, 20, 30, 40, 50, 5000)]
    assert shares == sorted(shares)
    assert (shares[0], shares[2], shares[-2], shares[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert 0 < shares[3] < shares[4] < 1


def test_a_rarer_word_tells_more_apart_and_every_word_something() -> None:
    idf = idf_of_counts([0, 1, 10, 100], 100)
    assert idf == sorted(idf, reverse=True)
    assert idf[-1] > 0


def test_there_is_a_weight_for_each_feature() -> None:
    weights = load_weights()
    assert len(weights.short) == len(weights.long) == len(FEATURES)
    rows = score_features([_candidate(1)], [], Question(words=WORDS, idf=[1, 1, 1], mean_terms=9))
    assert [len(row) for row in rows] == [len(FEATURES)]
