"""What one fact means for another, and that the order of arrival does not matter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.belief import (
    MAX_STATEMENT,
    MOST_COMBINED,
    Belief,
    Said,
    combine,
    confidence_after,
    holds_at,
    place,
    relation,
)

_DAY = datetime(2026, 1, 1, tzinfo=UTC)
texts = st.text(st.sampled_from("Paris not 5432 likes-Tea.3,é\n"), min_size=1, max_size=40)
sources = st.builds(
    Said,
    source=st.sampled_from([None, "wiki", "Wiki ", "chat", "log"]),
    content=st.just("x"),
    confidence=st.floats(0, 1),
)


@pytest.mark.parametrize(
    ("one", "other", "cosine", "expected"),
    [
        ("Lives in Paris.", "lives  in\nparis", None, "repeats"),
        ("owns two cats named Miso", "has two cats named Miso", 0.98, "repeats"),
        # As alike as the pair above, and yet not the same.
        ("listens on port 5432", "listens on port 5433", 0.99, "contradicts"),
        ("is allergic to nuts", "is not allergic to nuts", 0.98, "contradicts"),
        ("the limit is -5", "the limit is 5", 0.99, "contradicts"),
        ("lives in Paris", "lives in Berlin", 0.99, "contradicts"),
        ("lives in Paris", "lives in Berlin", None, "contradicts"),
        ("likes tea", "doesn't like tea", None, "contradicts"),
        ("owns two cats", "owns three cats", None, "contradicts"),
        # A subject has many things to be said about.
        ("lives in Paris", "works at Acme", 0.5, "unrelated"),
        ("likes green tea", "likes black tea", 0.95, "unrelated"),
        ("owns two cats", "owns three dogs", None, "unrelated"),
        ("is a friend of Bob", "is a friend of Carol", 0.9, "unrelated"),
        # One says more than the other.
        ("runs in Frankfurt", "runs in Frankfurt since 2020", 0.95, "unrelated"),
        ("1", "2", None, "unrelated"),
        ("...", "!", None, "unrelated"),
        ("lives in Paris", "lives in Berlin", float("nan"), "contradicts"),
    ],
)
def test_relation_of_two_contents(
    one: str, other: str, cosine: float | None, expected: str
) -> None:
    assert relation("Alice", one, other, similarity=cosine) == expected


def test_words_of_the_concept_say_nothing_about_the_attribute() -> None:
    assert relation("billing service", "Billing service is red", "Billing service got big") == (
        "unrelated"
    )


def test_a_long_text_is_repeated_only_by_itself() -> None:
    long = "word " * MAX_STATEMENT
    assert relation("c", long, long.upper()) == "repeats"
    assert relation("c", long, long + "5", similarity=1.0) == "unrelated"


@given(texts, texts, st.one_of(st.none(), st.floats(-1, 1)))
def test_relation_is_symmetric(one: str, other: str, cosine: float | None) -> None:
    assert relation("tea", one, other, similarity=cosine) == relation(
        "tea", other, one, similarity=cosine
    )


def arrive(days: list[int | None], recorded: list[int]) -> set[tuple[object, ...]]:
    """Let facts that all contradict one another arrive; return (name, from, to, next) of each.

    A fact is named by when it was recorded, which is part of it and not of the order.
    """
    known: dict[int, Belief] = {}
    following: dict[int, int | None] = {}
    for day, at in zip(days, recorded, strict=True):
        start = None if day is None else _DAY + timedelta(days=day)
        placed = place(start, _DAY + timedelta(days=at), list(known.values()))
        known[at] = Belief(
            id=at,
            content=str(at),
            valid_from=placed.valid_from,
            valid_to=placed.valid_to,
            recorded_at=_DAY + timedelta(days=at),
        )
        following[at] = placed.superseded_by
        for shift in placed.shifts:
            old = known[shift.id]
            known[shift.id] = Belief(
                id=old.id,
                content=old.content,
                valid_from=shift.valid_from,
                valid_to=shift.valid_to,
                recorded_at=old.recorded_at,
            )
            if shift.superseded:
                following[shift.id] = at
    return {(b.id, b.valid_from, b.valid_to, following[b.id]) for b in known.values()}


@given(st.lists(st.integers(-900, 900), unique=True, min_size=1, max_size=8), st.randoms())
def test_timeline_is_the_same_whichever_order_facts_arrive_in(days: list[int], rng: object) -> None:
    facts = [(day, 1000 + n) for n, day in enumerate(days)]
    expected = arrive([d for d, _ in facts], [r for _, r in facts])
    rng.shuffle(facts)  # type: ignore[attr-defined]
    assert arrive([d for d, _ in facts], [r for _, r in facts]) == expected


@given(
    st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=1, max_size=8),
    st.integers(-12, 12),
)
def test_at_most_one_of_contradicting_facts_holds(days: list[int | None], moment: int) -> None:
    recorded = [100 + n for n in range(len(days))]
    beliefs = [
        Belief(id=i, content="", valid_from=f, valid_to=t, recorded_at=_DAY)  # type: ignore[arg-type]
        for i, f, t, _ in arrive(days, recorded)
    ]
    for at in (moment, moment + 101):
        assert sum(holds_at(b, _DAY + timedelta(days=at)) for b in beliefs) <= 1
    assert sum(b.valid_to is None for b in beliefs) == 1


def test_an_older_fact_that_arrives_late_slots_in_before() -> None:
    timeline = arrive([10, 0, 5], [20, 21, 22])
    ordered = sorted(timeline, key=lambda row: str(row[1]))
    assert [row[0] for row in ordered] == [21, 22, 20]
    assert all(one[2] == two[1] and one[3] == two[0] for one, two in pairwise(ordered))


def test_a_fact_without_a_beginning_counts_from_when_it_was_recorded() -> None:
    # What is known to be true in 2020 does not end what was heard today.
    assert arrive([None, -5], [0, 1]) == {
        (0, _DAY, None, None),
        (1, _DAY - timedelta(days=5), _DAY, 0),
    }


@given(st.lists(sources, max_size=6), st.randoms())
def test_confidence_grows_with_sources_in_any_order(said: list[Said], rng: object) -> None:
    together = combine(said)
    shuffled = list(said)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert combine(shuffled) == together
    assert all(together >= one.confidence for one in said)
    assert (together == 1.0) == any(one.confidence == 1.0 for one in said)
    assert combine([*said, *said]) == together


def test_independent_sources_add_up_and_stay_below_certainty() -> None:
    def said(source: str, confidence: float) -> Said:
        return Said(source=source, content="x", confidence=confidence)

    assert combine([said("a", 0.5), said("b", 0.5)]) == pytest.approx(0.75)
    assert combine([said("a", 0.5), said("A ", 0.5)]) == 0.5
    assert combine([said(str(n), 0.9) for n in range(9)]) == MOST_COMBINED
    assert combine([]) == 0.0


def test_confidence_that_somebody_corrected_stays_the_base() -> None:
    first = Said(source="a", content="x", confidence=0.9)
    again = Said(source="a", content="x", confidence=0.95)
    other = Said(source="b", content="x", confidence=0.5)
    assert confidence_after(0.2, [first], again) == 0.2
    assert confidence_after(0.2, [first], other) == pytest.approx(0.6)
    assert confidence_after(0.9, [first], again) == 0.95
