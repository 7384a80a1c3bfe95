"""What other tables hold of a memory goes with it, and comes back with it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.memory import Memory, NewEpisode
from tests.memory.change.conftest import WordEmbedder, client
from tests.memory.retention.conftest import age, everything
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")

#: What a memory has beside it; recalls and the queue count on.
TABLES = (
    "episodic_memory",
    "semantic_memory",
    "fact_history",
    "fact_sources",
    "graph_relations",
    "graph_entities",
    "graph_merges",
    "episodic_vectors",
    "semantic_vectors",
    "decision_episodes",
    "graphiti_failures",
)


async def state(db: Database) -> dict[str, object]:
    return {table: await everything(db, table) for table in TABLES}


async def old(db: Database, memory: Memory, *texts: str) -> list[int]:
    found = await memory.record_many(
        [NewEpisode(event_type="note", summary=text, importance="low") for text in texts]
    )
    await age(db, found.ids, 1_000)
    await rows(db, "UPDATE episodic_memory SET expires_at = NULL")
    return list(found.ids)


async def expire(db: Database, memory: Memory, *ids: int) -> int:
    """Archive these memories alone and return the archive's number."""
    await rows(
        db,
        "UPDATE episodic_memory SET expires_at = now() - interval '1 day' WHERE id = ANY(%s)",
        list(ids),
    )
    report = await memory.retention.sweep()
    assert report.archived == len(ids)
    return report.archives[0].id


@pytest.fixture
async def memory(db: Database) -> Memory:
    memory = Memory(db, None, namespace="default")
    await memory.retention.set_policy("1000d", action="archive")
    return memory


async def test_graph_around_a_memory_comes_back_as_it_was(db: Database, memory: Memory) -> None:
    one, two, three = await old(db, memory, "one", "two", "three by ann@example.com")
    await memory.graph.build()
    await memory.graph.relate(one, two, "caused", weight=0.25)
    await memory.graph.relate(three, one)
    ended = await memory.graph.relate(two, three, "blocks")
    await memory.graph.unrelate(two, three, "blocks")
    assert ended.valid_to is None
    for name in ("Ann", "Annie", "Bob"):
        await memory.graph.relate(one, f"person:{name}", "mentions")
    merge = await memory.graph.merge_entities("person:Ann", "person:Annie")
    await rows(db, "UPDATE episodic_memory SET related_memories = related_memories || 9999")
    before = await state(db)
    (archive,) = (await memory.retention.run()).archives
    assert archive.rows == 3
    assert await everything(db, "graph_entities") == []
    back = await memory.archives.restore(archive.id)
    assert (back.restored, back.left_out) == (3, 0)
    assert await state(db) == before
    await memory.graph.build()
    assert await state(db) == before
    # What stands in the merge's record is true again.
    await memory.graph.undo_merge(merge.id)
    assert {e.name for e in await memory.graph.entities(of=one)} == {"Ann", "Annie", "Bob"}


async def test_relation_comes_back_with_whichever_end_is_restored_last(
    db: Database, memory: Memory
) -> None:
    one, two, three = await old(db, memory, "one", "two", "three")
    await memory.graph.relate(one, two, "caused", weight=0.5)
    await memory.graph.relate(three, two)
    before = await state(db)
    first = await expire(db, memory, one)
    second = await expire(db, memory, two)
    third = await expire(db, memory, three)
    back = await memory.archives.restore(first)
    assert (back.restored, back.left_out) == (1, 1)
    assert await everything(db, "graph_relations") == []
    assert (await memory.archives.restore(second)).left_out == 1
    assert len(await everything(db, "graph_relations")) == 1
    assert (await memory.archives.restore(third)).left_out == 0
    assert await state(db) == before


async def test_part_of_an_archive_comes_back_and_then_the_rest(
    db: Database, memory: Memory
) -> None:
    one, two = await old(db, memory, "one", "two")
    await memory.graph.relate(one, two, "caused")
    before = await state(db)
    (archive,) = (await memory.retention.run()).archives
    assert (await memory.archives.restore(archive.id, ids=[two])).left_out == 1
    assert (await memory.archives.restore(archive.id)).restored == 1
    assert await state(db) == before


async def test_relation_leads_to_the_entity_of_the_name_now(db: Database, memory: Memory) -> None:
    (one,) = await old(db, memory, "one")
    await memory.graph.relate(one, "person:Ann", "mentions")
    archive = await expire(db, memory, one)
    new = await memory.record("note", "a new page")
    await memory.graph.relate(new.id, "person:Ann", "mentions")
    await memory.graph.relate(new.id, "person:Anna", "mentions")
    await memory.graph.merge_entities("person:Anna", "person:Ann")
    assert (await memory.archives.restore(archive)).left_out == 0
    assert [(e.name, e.mentions) for e in await memory.graph.entities(of=one)] == [("Anna", 2)]


async def test_relation_to_what_was_deleted_is_left_out_for_good(
    db: Database, memory: Memory
) -> None:
    one, two = await old(db, memory, "one", "two")
    await memory.graph.relate(one, two, "caused")
    archive = await expire(db, memory, one)
    await memory.delete(two)
    back = await memory.archives.restore(archive)
    assert (back.restored, back.left_out, back.archive.state) == (1, 1, "restored")
    assert await everything(db, "graph_relations") == []


async def test_facts_come_back_with_history_relations_and_spare_vectors(db: Database) -> None:
    both = client(db, WordEmbedder("old-model", 8), WordEmbedder("new-model", 16))
    page = await both.record("note", "a page about tea", importance="low")
    fact = await both.facts.record("Ann", "drinks tea", source="letter", source_id="l:1")
    await both.facts.update(fact.id, content="drinks coffee")
    await both.graph.relate(page.id, f"fact:{fact.id}", "supports")
    await both.graph.build()
    await both.models.begin()
    await both.models.fill()
    before = await state(db)
    await rows(db, "UPDATE semantic_memory SET expires_at = now() - interval '1 day'")
    await rows(db, "UPDATE episodic_memory SET expires_at = now() - interval '1 day'")
    object.__setattr__(db.settings, "forget_expired", "archive")
    report = await both.retention.sweep()
    assert report.archived == 2
    assert await everything(db, "semantic_vectors") == []
    for archive in report.archives:
        await both.archives.restore(archive.id)
    assert await state(db) == before


async def test_spare_vector_of_a_model_that_was_retired_stays_away(db: Database) -> None:
    old_model, new_model = WordEmbedder("old-model", 8), WordEmbedder("new-model", 16)
    both = client(db, old_model, new_model)
    await both.retention.set_policy("1000d", action="archive")
    (one,) = await old(db, both, "the harbour freezes in winter")
    await both.record("note", "something else")
    await both.models.begin()
    await both.models.fill()
    archive = await expire(db, both, one)
    await both.models.switch()
    await both.models.work()
    await both.models.finish()
    await both.archives.restore(archive)
    assert await everything(db, "episodic_vectors") == []
    carried = await rows(db, "SELECT embedding_model FROM episodic_memory WHERE id = %s", one)
    assert carried == [(None,)]
    await both.backfill()
    hits = await both.recall("harbour winter", mode="vector", k=1)
    assert [hit.episode.id for hit in hits] == [one]


async def test_quarantine_keeps_what_goes_with_a_row(db: Database) -> None:
    both = client(db, WordEmbedder("old-model", 8), WordEmbedder("new-model", 16))
    said = "The staging cluster was moved to the new rack over the weekend."
    twice = [NewEpisode(event_type="note", summary=said)] * 3
    ids = (await both.record_many(twice)).ids
    other = await both.record("note", "another thing altogether")
    await both.graph.relate(ids[1], ids[2], "caused", weight=0.5)
    await both.graph.relate(ids[1], other.id)
    await both.graph.relate(ids[2], "person:Ann", "mentions")
    await both.models.begin()
    await both.models.fill()
    before = await state(db)
    assert (await both.audit.repair("duplicates_exact", dry_run=False)).rows == 2
    assert await everything(db, "graph_entities") == []
    entries = await both.audit.quarantined()
    # One after the other: the relation between both waits for the second one.
    await both.audit.restore([entries[0].id])
    assert len(await everything(db, "graph_relations")) == 1
    await both.audit.restore([entries[1].id])
    assert await state(db) == before


async def test_quarantine_of_before_comes_back_with_its_links(db: Database, memory: Memory) -> None:
    said = "The staging cluster was moved to the new rack over the weekend."
    ids = (await memory.record_many([NewEpisode(event_type="note", summary=said)] * 2)).ids
    await memory.decisions.record(
        "Where?", alternatives=["here"], chosen_option="here", reasoning="near", episodes=[ids[1]]
    )
    before = await state(db)
    await memory.audit.repair("duplicates_exact", dry_run=False)
    await rows(db, "UPDATE memory_quarantine SET links = links -> 'decision_episodes'")
    await memory.audit.restore(kind="duplicates_exact")
    assert await state(db) == before
