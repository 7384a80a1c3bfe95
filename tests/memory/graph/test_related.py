"""`related_memories` and the graph say the same, whoever writes which; nothing deleted dangles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import NewEpisode

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")


async def add(conn: Connection, related: list[int] | None = None, namespace: str = "n") -> int:
    """Write an episode as the seed's own SQL does."""
    cursor = await conn.execute(
        """
        INSERT INTO episodic_memory (event_type, summary, related_memories, namespace)
        VALUES ('note', 'text', %s, %s)
        RETURNING id
        """,
        [related, namespace],
    )
    return (await cursor.fetchone() or (0,))[0]


async def array(conn: Connection, episode: int) -> list[int] | None:
    cursor = await conn.execute(
        "SELECT related_memories FROM episodic_memory WHERE id = %s", [episode]
    )
    return (await cursor.fetchone() or (None,))[0]


async def relations(conn: Connection, where: str = "valid_to IS NULL") -> list[tuple[Any, ...]]:
    cursor = await conn.execute(
        f"SELECT type, source / 4, target / 4 FROM graph_relations WHERE {where} ORDER BY id"  # pyright: ignore
    )
    return list(await cursor.fetchall())


async def test_an_array_becomes_relations_and_follows_its_changes(conn: Connection) -> None:
    a, b, c = [await add(conn) for _ in range(3)]
    d = await add(conn, [a, b, b])
    assert await relations(conn) == [("related", d, a), ("related", d, b)]
    await conn.execute(
        "UPDATE episodic_memory SET related_memories = %s WHERE id = %s", [[b, c], d]
    )
    assert sorted(await relations(conn)) == [("related", d, b), ("related", d, c)]
    assert await relations(conn, "valid_to IS NOT NULL") == [("related", d, a)]
    await conn.execute("UPDATE episodic_memory SET related_memories = NULL WHERE id = %s", [d])
    assert await relations(conn) == []
    await conn.execute(
        "UPDATE episodic_memory SET related_memories = array_append(NULL, %s) WHERE id = %s",
        [a, d],
    )
    assert await relations(conn) == [("related", d, a)]


async def test_a_relation_of_any_type_appears_in_the_array_once(conn: Connection) -> None:
    a, b = await add(conn), await add(conn)
    for kind in ("caused", "explains"):
        await conn.execute(
            """
            INSERT INTO graph_relations (namespace, type, from_episode, to_episode, found_by)
            VALUES ('n', %s, %s, %s, 'hand')
            """,
            [kind, a, b],
        )
    assert (await array(conn, a), await array(conn, b)) == ([b], None)
    assert await relations(conn) == [("caused", a, b), ("explains", a, b)]
    await conn.execute("UPDATE graph_relations SET valid_to = now() WHERE type = 'caused'")
    assert await array(conn, a) == [b]
    await conn.execute("UPDATE graph_relations SET valid_to = now() WHERE type = 'explains'")
    assert await array(conn, a) == []
    await conn.execute("UPDATE graph_relations SET valid_to = NULL WHERE type = 'caused'")
    assert await array(conn, a) == [b]
    await conn.execute("DELETE FROM graph_relations WHERE type = 'caused'")
    assert await array(conn, a) == []


async def test_deleting_an_episode_leaves_its_id_nowhere(conn: Connection) -> None:
    a, b = await add(conn), await add(conn)
    c = await add(conn, [a, b])
    await conn.execute("UPDATE episodic_memory SET related_memories = %s WHERE id = %s", [[c], a])
    await conn.execute("DELETE FROM episodic_memory WHERE id = %s", [a])
    assert await array(conn, c) == [b]
    assert await relations(conn, "TRUE") == [("related", c, b)]
    await conn.execute("DELETE FROM episodic_memory")
    assert await relations(conn, "TRUE") == []


async def test_what_is_no_episode_of_the_namespace_stays_as_it_was_written(
    conn: Connection,
) -> None:
    other = await add(conn, namespace="m")
    a = await add(conn, [other, 2_000_000_000])
    assert await array(conn, a) == [other, 2_000_000_000]
    assert await relations(conn) == []


async def test_an_episode_that_comes_later_is_linked_when_the_graph_is_built(
    plain_memory: Memory,
) -> None:
    one = await plain_memory.record("note", "first")
    async with plain_memory.database.transaction() as conn:
        await conn.execute(
            "UPDATE episodic_memory SET related_memories = ARRAY[%s::int]", [one.id + 1]
        )
    two = await plain_memory.record("note", "second")
    assert (await plain_memory.graph.build()).related == 1
    found = await plain_memory.graph.neighbours(two.id)
    assert [n.id for n in found.nodes] == [two.id, one.id]
    await plain_memory.delete(two.id)
    assert (await plain_memory.get(one.id)).related_memories == []


async def test_bulk_writes_its_relations_too(plain_memory: Memory) -> None:
    await plain_memory.record_many(
        [
            NewEpisode(event_type="n", summary="a", source_id="a", related_sources=["b"]),
            NewEpisode(event_type="n", summary="b", source_id="b"),
        ]
    )
    first, second = sorted(await plain_memory.list(), key=lambda e: e.id)
    assert first.related_memories == [second.id]
    found = await plain_memory.graph.neighbours(second.id)
    assert [(n.id, n.depth) for n in found.nodes] == [(second.id, 0), (first.id, 1)]


async def test_deleting_a_fact_takes_its_relations(plain_memory: Memory) -> None:
    fact = await plain_memory.facts.record("c", "some content")
    one = await plain_memory.record("note", "text")
    await plain_memory.graph.relate(one.id, f"fact:{fact.id}", "supports")
    await plain_memory.facts.delete(fact.id)
    async with plain_memory.database.transaction() as conn:
        assert await relations(conn, "TRUE") == []


async def test_late_commit_is_not_skipped(plain_memory: Memory) -> None:
    db = plain_memory.database
    async with db.transaction() as conn:
        # Its number is taken first and committed last.
        await add(conn, namespace="default")
        await conn.execute("UPDATE episodic_memory SET summary = 'see LATE-1'")
        await plain_memory.record("note", "see SOON-2")
        await plain_memory.graph.build()
        assert [e.name for e in await plain_memory.graph.entities()] == ["SOON-2"]
    await plain_memory.graph.build()
    assert {e.name for e in await plain_memory.graph.entities()} == {"SOON-2", "LATE-1"}


async def test_text_that_changes_while_it_is_read_is_left_to_its_next_note(
    plain_memory: Memory,
) -> None:
    from aegis.memory.store import graph_queue

    one = await plain_memory.record("note", "see OLD-1")
    async with plain_memory.database.transaction() as conn:
        (waiting,) = await graph_queue.list_waiting(conn, stage="rules", after=0, limit=10)
    await plain_memory.update(one.id, summary="see NEW-1")
    async with plain_memory.database.transaction() as conn:
        held = await graph_queue.hold_texts(conn, [waiting.node], [waiting.text])
    assert held == set()
    await plain_memory.graph.build()
    assert [e.name for e in await plain_memory.graph.entities()] == ["NEW-1"]
