"""The arithmetic of recall, for any candidates."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.candidates import Candidates
from aegis.memory.models import IMPORTANCE
from aegis.memory.ranking import (
    FEATURES,
    Question,
    Ranked,
    Weights,
    idf_of_counts,
    load_weights,
    rank,
    score_features,
)

WORDS = ("garden", "invoice", "lisbon")
NOW_S = 1_800_000_000.0
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class One:
    """One candidate; the fields are the columns of `Candidates`."""

    ids: int
    counts: tuple[float, ...] = (1.0, 0.0, 0.0)
    terms: int = 15
    similarities: float | None = 0.4
    times: float | None = NOW_S - 1000 * DAY_S
    importances: str = "medium"
    eligible: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """Candidates with distinct ids, runs over them, and a question."""

    rows: list[One]
    runs: list[list[int]]
    question: Question

    def rank(self, limit: int = 100) -> list[Ranked]:
        weights = load_weights()
        return rank(columns(self.rows, self.runs), self.question, weights, now_s=NOW_S, limit=limit)


def columns(rows: list[One], runs: list[list[int]]) -> Candidates:
    named = {f.name: [getattr(row, f.name) for row in rows] for f in fields(One)}
    return Candidates(**named, runs=runs)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    ids = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=12, unique=True))
    rows = [
        One(
            ids=i,
            counts=draw(st.tuples(*[st.sampled_from([0.0, 1.0, 1.25])] * 3)),
            terms=draw(st.integers(0, 300)),
            similarities=draw(st.none() | st.floats(-1, 1)),
            times=draw(st.none() | st.floats(NOW_S - 1e10, NOW_S + 1e5)),
            importances=draw(st.sampled_from(IMPORTANCE)),
            eligible=draw(st.booleans()),
        )
        for i in ids
    ]
    cut = draw(st.integers(0, len(ids)))
    runs = [run for run in (ids[:cut], ids[cut:]) if run]
    idf = draw(st.lists(st.floats(0, 12), min_size=3, max_size=3))
    return World(rows, runs, Question(words=WORDS, idf=idf, mean_terms=draw(st.floats(1, 500))))


@given(worlds())
def test_parts_of_a_result_sum_to_its_score(world: World) -> None:
    for result in world.rank():
        assert math.isfinite(result.score)
        assert result.score == pytest.approx(math.fsum(p.score for p in result.explain()))


@given(worlds(), st.integers(0, 2**32))
def test_ranking_does_not_depend_on_the_order_of_the_candidates(world: World, seed: int) -> None:
    shuffled = random.Random(seed).sample(world.rows, len(world.rows))
    straight = world.rank()
    again = World(shuffled, world.runs, world.question).rank()
    assert [r.id for r in straight] == [r.id for r in again]
    assert [r.explain() for r in straight] == [r.explain() for r in again]


@given(worlds(), st.integers(1, 20))
def test_only_eligible_candidates_come_back_and_at_most_the_limit(world: World, limit: int) -> None:
    eligible = {row.ids for row in world.rows if row.eligible}
    found = [r.id for r in world.rank(limit)]
    assert len(found) == min(limit, len(eligible)) == len(set(found))
    assert set(found) <= eligible


@given(worlds())
def test_scores_never_rise_down_the_list(world: World) -> None:
    scores = [r.score for r in world.rank()]
    assert all(a >= b for a, b in pairwise(scores))


@given(worlds())
def test_no_two_results_share_a_rank_within_an_arm(world: World) -> None:
    for arm in ("words", "vector"):
        parts = [part for r in world.rank() for part in r.explain() if part.arm == arm]
        # A part that adds nothing is left out, so that a rank may be missing.
        ranks = {part.rank for part in parts if part.rank is not None}
        assert len(ranks) == sum(part.rank is not None for part in parts)
        assert ranks <= set(range(1, len(world.rows) + 1))


def _first(*rows: One, runs: list[list[int]] | None = None) -> int:
    question = Question(words=WORDS, idf=[3.0, 3.0, 3.0], mean_terms=15.0)
    return World(list(rows), runs or [], question).rank(1)[0].id


@pytest.mark.parametrize(
    "better",
    [
        One(ids=1, times=NOW_S),
        One(ids=1, importances="critical"),
        One(ids=1, similarities=0.6),
        One(ids=1, counts=(1.0, 1.0, 0.0)),
    ],
)
def test_of_two_equals_the_one_with_more_in_its_favour_comes_first(better: One) -> None:
    assert _first(One(ids=2), better) == 1


def test_freshness_does_not_beat_a_clearly_better_answer() -> None:
    better = One(ids=1, counts=(1.0, 1.0, 1.0), similarities=0.7)
    assert _first(One(ids=2, times=NOW_S, importances="critical"), better) == 1


def test_a_memory_next_to_one_that_says_the_words_gains_from_it() -> None:
    silent = One(ids=1, counts=(0.0, 0.0, 0.0))
    told = One(ids=3, eligible=False)
    assert _first(replace(silent, ids=2), silent, told, runs=[[3, 1]]) == 1


def test_equal_scores_put_the_newest_id_first() -> None:
    assert _first(One(ids=1), One(ids=2)) == 2


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
    question = Question(words=WORDS, idf=[1, 1, 1], mean_terms=9)
    rows = score_features(columns([One(ids=1)], []), question)
    assert [len(row) for row in rows] == [len(FEATURES)]
