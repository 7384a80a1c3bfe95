"""Facts learn: they merge, end, are read as of a day, and every step can be undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import NewFact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.db import Database
    from aegis.memory import Fact, Memory

pytestmark = pytest.mark.servers("18", "16")

_2020, _2022, _2024 = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2022, 2024))


async def rows(db: Database) -> list[Any]:
    """Return the whole of both tables: what undoing must bring back."""
    async with db.transaction() as conn:
        facts = await conn.execute("SELECT to_jsonb(f)::text FROM semantic_memory f ORDER BY id")
        found = await facts.fetchall()
        said = await conn.execute("SELECT to_jsonb(s)::text FROM fact_sources s ORDER BY id")
        return [*found, *await said.fetchall()]


async def test_repeat_is_merged_and_its_source_kept(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    first = await facts.record("Alice", "Lives in Paris.", source="chat", confidence=0.5)
    again = await facts.record(" alice", "lives in  PARIS", source="wiki", confidence=0.5)
    assert (again.id, again.content, again.confidence) == (first.id, "Lives in Paris.", 0.75)
    assert [(s.source, s.content, s.confidence) for s in await facts.sources(first.id)] == [
        ("chat", "Lives in Paris.", 0.5),
        ("wiki", "lives in  PARIS", 0.5),
    ]
    once_more = await facts.record("Alice", "Lives in Paris.", source="Chat", confidence=0.5)
    assert once_more.confidence == 0.75


async def test_source_id_of_a_merged_fact_is_taken_once(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    first = await facts.record("a", "is red", source_id="one")
    for _ in range(2):
        assert (await facts.record("a", "is red", source_id="two")).id == first.id
    assert [s.source_id for s in await facts.sources(first.id)] == ["one", "two"]


async def test_near_repeat_is_merged_by_its_vector(memory: Memory) -> None:
    first = await memory.facts.record("team", "The weekly meeting takes place on Monday morning.")
    again = await memory.facts.record("team", "The weekly meeting takes place on Monday mornings.")
    other = await memory.facts.record("team", "The weekly meeting takes place on Friday morning.")
    assert again.id == first.id != other.id
    assert (await memory.facts.get(first.id)).superseded_by == other.id


async def test_contradicted_fact_ends_and_is_not_lost(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    paris = await facts.record("Alice", "lives in Paris", valid_from=_2020)
    cat = await facts.record("Alice", "owns a cat")
    berlin = await facts.record("ALICE", "lives in Berlin", valid_from=_2024)
    assert [f.id for f in await facts.list()] == [berlin.id, cat.id]
    assert [f.id for f in await facts.list(valid_at=_2022, concept="Alice")] == [paris.id, cat.id]
    ended = await facts.get(paris.id)
    assert (ended.valid_to, ended.superseded_by) == (_2024, berlin.id)
    found = await facts.recall("lives", valid_at=_2024 - timedelta(microseconds=1))
    assert {hit.fact.id for hit in found} == {paris.id, cat.id}
    assert {hit.fact.id for hit in await facts.recall("lives")} == {berlin.id, cat.id}


async def test_namespaces_do_not_contradict_one_another(plain_memory: Memory) -> None:
    one = await plain_memory.facts.record("Alice", "lives in Paris")
    other = await plain_memory.facts.record("Alice", "lives in Paris", namespace="other")
    await plain_memory.facts.record("Alice", "lives in Berlin", namespace="other")
    assert one.id != other.id
    assert [f.id for f in await plain_memory.facts.list()] == [one.id]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_stored_timeline_does_not_depend_on_the_order(
    plain_memory: Memory, order: tuple[int, ...]
) -> None:
    stretches = [("Paris", _2020), ("Berlin", _2022), ("Paris", _2024)]
    for n in order:
        city, since = stretches[n]
        await plain_memory.facts.record("Alice", f"lives in {city}", valid_from=since)
    for (city, since), until in zip(stretches, (_2022, _2024, None), strict=True):
        (fact,) = await plain_memory.facts.list(valid_at=since)
        assert (fact.content, fact.valid_from, fact.valid_to) == (f"lives in {city}", since, until)


async def test_caller_may_keep_both_or_refuse(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    paris = await facts.record("Alice", "lives in Paris")
    with pytest.raises(Conflict, match=f"contradicts fact {paris.id}") as refused:
        await facts.record("Alice", "lives in Berlin", on_conflict="refuse")
    assert refused.value.code == "fact_contradicts"
    berlin = await facts.record("Alice", "lives in Berlin", on_conflict="keep_both")
    assert [f.id for f in await facts.list()] == [berlin.id, paris.id]
    with pytest.raises(InvalidInput, match="on_conflict is 'guess'"):
        await facts.record("Alice", "is tall", on_conflict="guess")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no time zone"):
        await facts.record("Alice", "is tall", valid_from=datetime(2020, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidInput, match="no time zone"):
        await facts.list(as_of=datetime(2020, 1, 1))  # noqa: DTZ001


async def test_as_of_tells_what_was_believed(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    red = await facts.record("hull", "is red")
    gone = await facts.record("mast", "is of wood")
    blue = await facts.update(red.id, content="is blue")
    await facts.delete(gone.id)
    await facts.undo(gone.id)
    await facts.record("hull", "is blue", source="log")
    steps = list(reversed(await facts.history(gone.id)))
    assert [s.action for s in steps] == ["created", "deleted", "restored"]

    async def believed(at: datetime) -> set[str]:
        return {f.content for f in await facts.list(as_of=at)}

    just = timedelta(microseconds=1)
    assert await believed(red.created_at - just) == set()
    assert await believed(gone.created_at) == {"is red", "is of wood"}
    assert await believed(steps[1].at) == {"is blue"}
    assert await believed(steps[2].at) == {"is blue", "is of wood"}
    (hit,) = await facts.recall("red", k=1, as_of=gone.created_at)
    assert (hit.fact.content, hit.word_rank > 0) == ("is red", True)
    assert blue.content == "is blue"


async def merge(memory: Memory, fact: Fact) -> None:
    await memory.facts.record(fact.concept, fact.content, source="another", confidence=0.3)


async def merge_a_third(memory: Memory, fact: Fact) -> None:
    await memory.facts.record(fact.concept, fact.content, source="third", source_id="third")


async def supersede(memory: Memory, fact: Fact) -> None:
    await memory.facts.record("Alice", "lives in Berlin", on_conflict="supersede")


async def update(memory: Memory, fact: Fact) -> None:
    await memory.facts.update(fact.id, concept="Bob", content="is well", metadata={}, tags=["x"])


async def delete(memory: Memory, fact: Fact) -> None:
    await memory.facts.delete(fact.id)


@pytest.mark.parametrize("step", [merge_a_third, supersede, update, delete])
async def test_undo_brings_back_exactly_what_was_there(
    db: Database, memory: Memory, step: Callable[[Memory, Fact], Awaitable[None]]
) -> None:
    fact = await memory.facts.record(
        "Alice",
        "lives in Paris",
        confidence=0.1,
        metadata={"deep": {"a": [1, None, 0.1]}},
        tags=["t"],
        source="chat",
        source_id="k",
    )
    await merge(memory, fact)
    before = await rows(db)
    await step(memory, fact)
    assert await rows(db) != before
    restored = await memory.facts.undo(fact.id, actor="me")
    after = await rows(db)
    assert [row for row in after if row in before] == before
    assert restored == await memory.facts.get(fact.id)
    last = (await memory.facts.history(fact.id))[0]
    assert (last.action, last.actor) == ("restored", "me")


async def test_undoing_the_first_merge_leaves_one_source(
    db: Database, plain_memory: Memory
) -> None:
    fact = await plain_memory.facts.record("a", "is red", confidence=0.1)
    before = await rows(db)
    await merge(plain_memory, fact)
    assert len(await rows(db)) == 3
    await plain_memory.facts.undo(fact.id)
    assert await rows(db) == before


async def test_undo_twice_or_out_of_order_is_a_conflict(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    fact = await facts.record("a", "is red")
    await facts.update(fact.id, content="is blue")
    await facts.update(fact.id, content="is green")
    green, blue, created = await facts.history(fact.id)
    with pytest.raises(Conflict, match=f"undo step {green.id} first"):
        await facts.undo(fact.id, step=blue.id)
    assert (await facts.undo(fact.id, step=green.id)).content == "is blue"
    with pytest.raises(Conflict, match="undone already"):
        await facts.undo(fact.id, step=green.id)
    assert (await facts.undo(fact.id)).content == "is red"
    with pytest.raises(Conflict, match="no step left"):
        await facts.undo(fact.id)
    with pytest.raises(Conflict, match="cannot be undone"):
        await facts.undo(fact.id, step=created.id)
    with pytest.raises(NotFound, match="no step 99999"):
        await facts.undo(fact.id, step=99_999)
    with pytest.raises(NotFound):
        await facts.undo(fact.id, namespace="other")
    with pytest.raises(NotFound):
        await facts.history(fact.id, namespace="other")


async def test_deleted_fact_whose_key_is_taken_stays_deleted(plain_memory: Memory) -> None:
    fact = await plain_memory.facts.record("a", "is red", source_id="k")
    await plain_memory.facts.delete(fact.id)
    await plain_memory.facts.record("b", "is tall", source_id="k")
    with pytest.raises(Conflict, match="source_id"):
        await plain_memory.facts.undo(fact.id)
    assert [s.action for s in await plain_memory.facts.history(fact.id)] == ["deleted", "created"]


async def test_two_writers_of_one_fact_make_one_with_two_sources(
    db: Database, plain_memory: Memory
) -> None:
    async def write(source: str) -> None:
        await plain_memory.facts.record("Alice", "lives in Paris", source=source, confidence=0.5)

    for _ in range(5):
        async with anyio.create_task_group() as group:
            for n in range(4):
                group.start_soon(write, str(n))
        (fact,) = await plain_memory.facts.list()
        assert sorted(s.source or "" for s in await plain_memory.facts.sources(fact.id)) == [
            "0", "1", "2", "3",
        ]  # fmt: skip
        assert fact.confidence == pytest.approx(1 - 0.5**4)
        await plain_memory.facts.delete(fact.id)
    assert len(await rows(db)) == 0


async def test_two_undos_at_once_take_back_one_step(plain_memory: Memory) -> None:
    fact = await plain_memory.facts.record("a", "is red")
    await plain_memory.facts.update(fact.id, content="is blue")
    step = (await plain_memory.facts.history(fact.id))[0].id
    refused: list[str] = []

    async def undo() -> None:
        try:
            await plain_memory.facts.undo(fact.id, step=step)
        except Conflict as error:
            refused.append(error.code)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(undo)
    assert refused == ["undone", "undone"]
    assert (await plain_memory.facts.get(fact.id)).content == "is red"


async def test_import_stores_facts_as_they_are(plain_memory: Memory) -> None:
    for _ in range(2):
        await plain_memory.facts.record_as_given(NewFact(concept="a", content="is red"))
    kept = await plain_memory.facts.list()
    assert len(kept) == 2
    assert await plain_memory.facts.history(kept[0].id) == []
    assert len(await plain_memory.facts.sources(kept[0].id)) == 1


async def test_fact_whose_concept_and_content_are_hostile_is_learnt(memory: Memory) -> None:
    for content in ("'; DROP TABLE x --", "\\", "%(x)s", "🤖" * 600, "(((", "١٢٣"):
        first = await memory.facts.record("a\\'%s", content)
        assert (await memory.facts.record("A\\'%S ", content)).id == first.id
