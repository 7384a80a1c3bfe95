"""What has expired and waits for the sweep is told by nobody, and not worked on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aegis.errors import NotFound
from aegis.memory import Memory, NewEpisode, NewFact
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")


async def let_expire(db: Database, table: str, *ids: int) -> None:
    await rows(
        db,
        f"UPDATE {table} SET expires_at = now() - interval '1 s' WHERE id = ANY(%s)",
        list(ids),
    )


async def test_graph_neither_shows_nor_passes_what_expired(
    db: Database, plain_memory: Memory
) -> None:
    graph = plain_memory.graph
    one, two, three = [(await plain_memory.record("note", text)).id for text in ("a", "b", "c")]
    fact = (await plain_memory.facts.record("Ann", "drinks tea")).id
    await graph.relate(one, two)
    await graph.relate(two, three)
    await graph.relate(one, f"fact:{fact}")
    await graph.relate(f"fact:{fact}", three, "supports")
    assert len((await graph.path(one, three)).relations) == 2
    await let_expire(db, "episodic_memory", two)
    found = await graph.neighbours(one, depth=3)
    assert {(n.kind, n.id) for n in found.nodes} == {
        ("episode", one), ("fact", fact), ("episode", three),
    }  # fmt: skip
    way = await graph.path(one, three)
    assert [str(r.target_kind) for r in way.relations] == ["fact", "episode"]
    await let_expire(db, "semantic_memory", fact)
    assert [n.id for n in (await graph.neighbours(one, depth=3)).nodes] == [one]
    assert not (await graph.path(one, three)).relations
    for gone in (two, f"fact:{fact}"):
        with pytest.raises(NotFound):
            await graph.neighbours(gone)


async def test_what_an_expired_memory_says_of_entities_is_not_told(
    db: Database, plain_memory: Memory
) -> None:
    said = await plain_memory.record("note", "Ann knows Bob")
    page = await plain_memory.record("note", "a page")
    for name in ("Ann", "Bob"):
        await plain_memory.graph.relate(page.id, f"person:{name}", "mentions")
    await plain_memory.graph.relate("person:Ann", "person:Bob", "knows")
    await rows(db, "UPDATE graph_relations SET said_in_episode = %s WHERE type = 'knows'", said.id)
    ann = "person:Ann"
    assert len((await plain_memory.graph.neighbours(ann, types=["knows"])).nodes) == 2
    await let_expire(db, "episodic_memory", said.id)
    assert len((await plain_memory.graph.neighbours(ann, types=["knows"])).nodes) == 1


async def test_nothing_is_drafted_of_what_expired(db: Database, plain_memory: Memory) -> None:
    first = datetime(2026, 1, 5, 9, tzinfo=UTC)
    ids = (
        await plain_memory.record_many(
            [
                NewEpisode(
                    event_type="error",
                    summary=f"The disk of db1 filled up during the nightly {what}.",
                    timestamp=first + timedelta(days=day),
                    session_id=f"s{day}",
                )
                for day, what in enumerate(("backup", "backup again", "backup run"))
            ]
        )
    ).ids
    assert (await plain_memory.consolidation.run(dry_run=True)).drafts
    await let_expire(db, "episodic_memory", *ids)
    done = await plain_memory.consolidation.run()
    assert (done.episodes, done.proposed) == (0, [])


async def test_nothing_is_judged_of_what_expired(db: Database, plain_memory: Memory) -> None:
    said = "The staging cluster was moved to the new rack over the weekend."
    ids = (await plain_memory.record_many([NewEpisode(event_type="note", summary=said)] * 2)).ids
    facts = [
        (await plain_memory.facts.record_as_given(NewFact(concept="Ann", content=text))).id
        for text in ("lives in Rome", "lives in Paris")
    ]
    before = {f.id for f in (await plain_memory.audit.run()).findings}
    assert {"duplicates_exact", "contradictions"} <= before
    await let_expire(db, "episodic_memory", ids[1])
    await let_expire(db, "semantic_memory", facts[0])
    after = {f.id for f in (await plain_memory.audit.run()).findings}
    assert not {"duplicates_exact", "contradictions"} & after
    assert (await plain_memory.audit.repair("duplicates_exact")).rows == 0
