"""Whatever is said of facts, in whatever order: the past stays as it was, and nothing is lost."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis.db import fetch_value
from aegis.errors import Conflict
from aegis.memory import Memory
from aegis.memory.belief import normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.db import Database
    from aegis.memory import Fact

YEARS = range(2015, 2023)
SAID = ("lives in Rome", "lives in Paris", "lives in Oslo", "owns a cat")
SOURCES = (None, "chat", "mail")
slow = settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: What somebody says, since when it is so, and what becomes of some fact after it.
STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(["Ann", " ann", "Bob"]),
        st.sampled_from([*SAID, "Lives in  rome."]),
        st.sampled_from([None, *YEARS]),
        st.sampled_from(SOURCES),
        st.sampled_from([None, 0.25, 0.5, 1.0]),
    ),
    max_size=8,
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "say", "update", "end", "delete", "undo"]),
        st.integers(0, 20),
    ),
    max_size=12,
)


@pytest.fixture
def fresh(db: Database) -> Callable[[], Memory]:
    """Memories of namespaces that no example has had yet."""
    numbers = itertools.count()
    return lambda: Memory(db, None, namespace=f"n{next(numbers)}")


def january(year: int | None) -> datetime | None:
    return None if year is None else datetime(year, 1, 1, tzinfo=UTC)


async def say(memory: Memory, statement: tuple[Any, ...]) -> Fact:
    concept, said, year, source, confidence = statement
    return await memory.facts.record(
        concept, said, source=source, valid_from=january(year), confidence=confidence
    )


async def clock(memory: Memory) -> datetime:
    async with memory.database.transaction() as conn:
        return await fetch_value(conn, "SELECT clock_timestamp()")


def by_id(facts: list[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: fact.id)


@slow
@given(statements=STATEMENTS.filter(bool), steps=STEPS)
@example(
    statements=[("Ann", SAID[0], None, None, None), ("Ann", SAID[1], 2016, "chat", 0.5)],
    steps=[("say", 0), ("say", 1), ("delete", 0), ("undo", 0), ("update", 0), ("undo", 0)],
)
async def test_what_was_believed_at_a_moment_is_the_same_whenever_it_is_asked(
    fresh: Callable[[], Memory],
    statements: list[tuple[Any, ...]],
    steps: list[tuple[str, int]],
) -> None:
    memory = fresh()
    facts = memory.facts
    known: list[int] = []
    seen: list[tuple[datetime, list[Fact]]] = []
    for action, number in [("say", 0), *steps]:
        row = known[number % len(known)] if known else 0
        try:
            if action == "say":
                known.append((await say(memory, statements[number % len(statements)])).id)
            elif row not in [fact.id for fact in await facts.list(limit=100)]:
                if action == "undo":
                    await facts.undo(row)
            elif action == "update":
                await facts.update(row, tags=[str(number)], metadata={"n": number})
            elif action == "end":
                await facts.update(row, expires_at=datetime(2999, 1, 1, number, tzinfo=UTC))
            elif action == "delete":
                await facts.delete(row)
            else:
                await facts.undo(row)
        except Conflict:
            pass  # There is nothing left to undo.
        now = by_id(await facts.list(limit=100))
        seen.append((await clock(memory), now))
        for moment, believed in seen:
            assert by_id(await facts.list(as_of=moment, limit=100)) == believed
            hits = await facts.recall("lives owns", k=100, as_of=moment)
            assert by_id([hit.fact for hit in hits]) == believed


@slow
@given(statements=STATEMENTS)
async def test_nothing_that_was_said_is_lost(
    fresh: Callable[[], Memory], statements: list[tuple[Any, ...]]
) -> None:
    memory = fresh()
    for statement in statements:
        await say(memory, statement)
    async with memory.database.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT f.id, f.concept, f.superseded_by
            FROM semantic_memory f
            WHERE f.namespace = %s
            """,
            [memory.namespace],
        )
        rows = await cursor.fetchall()
    said = {
        (normalised(concept), normalised(source.content), source.source)
        for row_id, concept, _ in rows
        for source in await memory.facts.sources(row_id)
    }
    # A repeat that names neither source nor confidence is what was recalled: its words are there.
    words = {(concept, content) for concept, content, _ in said}
    for concept, content, _, source, confidence in statements:
        assert (normalised(concept), normalised(content)) in words
        if source is not None or confidence is not None:
            assert (normalised(concept), normalised(content), source) in said
    # Whoever was superseded leads to what holds.
    following = {row_id: after for row_id, _, after in rows}
    for start in following:
        row, steps = start, 0
        while following[row] is not None:
            row, steps = following[row], steps + 1
            assert steps <= len(rows)
        fact = await memory.facts.get(row)
        assert fact.valid_to is None


@slow
@given(
    cities=st.dictionaries(
        st.sampled_from(YEARS), st.sampled_from(SAID[:3]), min_size=1, max_size=5
    ),
    cats=st.dictionaries(st.sampled_from(YEARS), st.just(SAID[3]), max_size=2),
    told=st.lists(st.tuples(st.sampled_from(["chat", "mail"]), st.sampled_from([0.25, 0.5, 0.75]))),
    seed=st.integers(0, 99),
)
async def test_the_order_in_which_facts_arrive_makes_no_difference(
    fresh: Callable[[], Memory],
    cities: dict[int, str],
    cats: dict[int, str],
    told: list[tuple[str, float]],
    seed: int,
) -> None:
    statements = [
        ("Ann", said, year, source, confidence)
        for year, said in [*cities.items(), *cats.items()]
        for source, confidence in [("log", 0.5), *told][: 1 + year % 3]
    ]

    async def told_in(order: list[Any]) -> list[Any]:
        memory = fresh()
        for statement in order:
            await say(memory, statement)
        return [await stands(memory, year) for year in YEARS]

    shuffled = Random(seed).sample(statements, len(statements))
    assert await told_in(shuffled) == await told_in(statements)


async def stands(memory: Memory, year: int) -> list[Any]:
    """Return what holds in a year, with all that does not depend on when it was heard."""
    return sorted(
        [
            (
                fact.content,
                fact.valid_from,
                str(fact.valid_to),
                round(fact.confidence, 9),
                sorted(
                    {(s.source or "", s.confidence) for s in await memory.facts.sources(fact.id)}
                ),
            )
            for fact in await memory.facts.list(valid_at=january(year), limit=100)
        ],
        key=repr,
    )


async def test_what_was_recalled_and_is_written_back_makes_no_fact_surer(
    fresh: Callable[[], Memory],
) -> None:
    memory = fresh()
    learnt = await memory.facts.record("Ann", "lives in Rome", source="chat", confidence=0.5)
    guessed = await memory.facts.record("Bob", "lives in Oslo", confidence=0.25)
    for _ in range(50):
        for hit in await memory.facts.recall("who lives in Rome or Oslo"):
            again = await memory.facts.record(hit.fact.concept, hit.fact.content)
            assert again == hit.fact
    assert by_id(await memory.facts.list()) == by_id([learnt, guessed])
    for fact in (learnt, guessed):
        assert [step.action for step in await memory.facts.history(fact.id)] == ["created"]
        assert len(await memory.facts.sources(fact.id)) == 1
    # Somebody who says where it is from, or how sure it is, does make it surer.
    assert (await memory.facts.record("Ann", "lives in Rome", source="mail")).confidence == 1.0
    assert (await memory.facts.record("Bob", "lives in Oslo", confidence=0.5)).confidence == 0.5
