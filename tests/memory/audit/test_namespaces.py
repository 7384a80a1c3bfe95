"""What moves into another namespace keeps its past and its decisions, and comes back with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import Memory, NewEpisode
from aegis.memory.store import quarantine, search
from tests.memory.audit.test_audit import run_sql

if TYPE_CHECKING:
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")

KIND = "namespaces_similar"


async def everything(db: Database) -> list[Any]:
    return [
        await run_sql(db, f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")
        for table in (
            *("episodic_memory", "semantic_memory", "fact_history", "fact_sources"),
            *("decision_outcomes", "decision_episodes", "graph_relations", "graph_entities"),
        )
    ]


async def test_facts_and_decisions_keep_their_past_where_they_move_to(db: Database) -> None:
    here, there = Memory(db, None, namespace="default"), Memory(db, None, namespace="Default")
    for n in range(4):
        await here.record("note", f"a note of number {n}")
    paris = await there.facts.record("Ann", "lives in Paris", source="chat", confidence=0.5)
    await there.facts.record("Ann", "lives in Paris", source="mail", confidence=0.5)
    berlin = await there.facts.record("Ann", "lives in Berlin")
    made = await there.decisions.record(
        "Where to meet?", alternatives=["park", "office"], chosen_option="park", reasoning="sun"
    )
    await there.decisions.resolve(made.id, "success", lessons="bring a hat")
    (moment,) = (await run_sql(db, "SELECT clock_timestamp()"))[0]
    await there.facts.update(berlin.id, content="lives in Berlin, Mitte")
    expected = [
        await there.facts.history(paris.id),
        await there.facts.sources(paris.id),
        await there.facts.list(as_of=moment),
        await there.decisions.list(),
    ]
    advised = await there.decisions.advise("Where shall we meet?")
    before = await everything(db)

    assert (await here.audit.repair(KIND, dry_run=False)).rows == 3
    moved = [
        await here.facts.history(paris.id),
        await here.facts.sources(paris.id),
        await here.facts.list(as_of=moment),
        await here.decisions.list(),
    ]
    assert [[plain(row) for row in rows] for rows in moved] == [
        [plain(row) for row in rows] for rows in expected
    ]
    assert (await here.decisions.advise("Where shall we meet?")).options == advised.options != []
    assert await there.facts.list() == await there.decisions.list() == []

    assert await here.audit.restore(kind=KIND) == 3
    assert await everything(db) == before
    await here.audit.repair(KIND, dry_run=False)
    assert (await here.facts.undo(berlin.id)).content == "lives in Berlin"


def plain(row: Any) -> Any:
    """Return a row without where it is."""
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    if isinstance(fields.get("before"), dict):
        fields["before"] = {**fields["before"], "namespace": ""}
    return fields | {"namespace": ""}


async def test_relations_and_mentions_go_along(db: Database) -> None:
    here, there = Memory(db, None, namespace="default"), Memory(db, None, namespace="Default")
    kept = await here.record("note", "Grace Hopper wrote to ops@example.com about the compiler.")
    await here.record_many(
        [NewEpisode(event_type="note", summary=f"a note of number {n}") for n in range(9)]
    )
    one = await there.record("note", "Mail from ops@example.com about the disk of db1.example.com.")
    two = await there.record("note", "The disk was replaced.", related_memories=[one.id])
    await there.graph.relate(two.id, "person:Grace Hopper", "done_by")
    for memory in (here, there):
        await memory.graph.build()

    async def around(memory: Memory, row: int) -> set[tuple[str, str, str]]:
        found = await memory.graph.neighbours(row)
        labels = {(node.kind, node.id): node.label for node in found.nodes}
        return {
            (labels[r.source_kind, r.source_id], r.type, labels[r.target_kind, r.target_id])
            for r in found.relations
        }

    before = [await around(there, row.id) for row in (one, two)]
    entities = {(e.kind, e.name) for e in await there.graph.entities()}
    assert all(before)
    assert (await here.audit.repair(KIND, dry_run=False)).rows == 2
    assert [await around(here, row.id) for row in (one, two)] == before
    assert await there.graph.entities() == []
    found = {(e.kind, e.name): e.mentions for e in await here.graph.entities()}
    assert found.keys() >= entities
    assert found["email", "ops@example.com"] == 2
    assert kept.id

    assert await here.audit.restore(kind=KIND) == 2
    assert [await around(there, row.id) for row in (one, two)] == before
    assert {(e.kind, e.name) for e in await there.graph.entities()} == entities
    left = {(e.kind, e.name): e.mentions for e in await here.graph.entities()}
    assert left["email", "ops@example.com"] == 1


@pytest.mark.parametrize(
    "name", ["read_question", "find_worded", "describe", "list_by_ids", "find_newest"]
)
async def test_a_question_asked_while_rows_move_between_namespaces_is_answered(
    db: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here, there = Memory(db, None, namespace="default"), Memory(db, None, namespace="Default")
    ours = [(await here.record("note", f"tea of number {n}")).id for n in range(4)]
    theirs = [(await there.record("note", f"tea of cup {n}")).id for n in range(3)]
    original = getattr(search, name)

    async def interrupted(*args: Any, **kwargs: Any) -> Any:
        async with db.transaction() as conn:
            await quarantine.move_namespace(
                conn, "episodic_memory", "Default", "default", kind=KIND, limit=1
            )
        return await original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(search, name, interrupted)
        for memory in (here, there, here):
            found = {hit.episode.id for hit in await memory.recall("tea", k=10)}
            # What was there already is never missed, whatever else comes or goes.
            assert found >= (set(ours) if memory is here else set())
            assert found <= {*ours, *theirs}
    while (await here.audit.repair(KIND, dry_run=False)).rows:
        pass
    assert {hit.episode.id for hit in await here.recall("tea", k=10)} == {*ours, *theirs}
    assert await there.recall("tea", k=10) == []
