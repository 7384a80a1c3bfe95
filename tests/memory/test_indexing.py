"""Building vector indexes anew, on real servers, while people write."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import Database, fetch_value, migrate, vector_indexes
from aegis.db.vector_indexes import Graph, room_for_build
from aegis.errors import Conflict, InvalidInput
from aegis.memory import Memory
from aegis.memory.indexing import index_name, rebuild
from aegis.memory.store.search import Space
from tests.serving import aegis, answer

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")


async def _definition(db: Database, name: str) -> str:
    async with db.transaction() as conn:
        return await fetch_value(
            conn, "SELECT pg_get_indexdef(to_regclass(%(name)s))", {"name": name}
        )


async def test_writers_and_readers_go_on_while_an_index_is_built(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    seen: list[tuple[int, int]] = []
    building = asyncio.create_task(
        memory.vectors.reindex(
            m=24, ef_construction=100, on_progress=lambda d, of: seen.append((d, of))
        )
    )
    written = 0
    while not building.done():
        written += 1
        episode = await memory.record("note", f"written meanwhile, number{written}")
        found = await memory.recall(f"number{written}", k=1)
        assert found[0].episode.id == episode.id
    built = await building
    assert written > 2
    assert all(0 <= done <= of for done, of in seen)
    assert [index.name for index in built] == [
        "idx_episodic_embedding_minilm",
        "idx_semantic_embedding_minilm",
        "idx_store_embedding_minilm",
    ]
    assert "WITH (m='24', ef_construction='100')" in await _definition(large_db, built[0].name)
    # What was written while it was built is in it.
    near = await memory.recall(f"written meanwhile, number{written}", k=5, mode="vector")
    assert any("meanwhile" in hit.episode.summary for hit in near)


@pytest.mark.parametrize(("processors", "expected"), [(2, "0"), (3, "1"), (64, "2")])
async def test_a_build_leaves_a_processor_to_those_who_ask_and_write(
    db: Database, monkeypatch: pytest.MonkeyPatch, processors: int, expected: str
) -> None:
    monkeypatch.setattr(vector_indexes.os, "cpu_count", lambda: processors)
    setting = "SELECT current_setting('max_parallel_maintenance_workers')"
    small = Graph(vectors=1_000, dimensions=8, m=16)
    async with db.connection() as conn:
        async with room_for_build(conn, small):
            assert await fetch_value(conn, setting) == expected
        assert await fetch_value(conn, setting) == "2"
        # They would share the graph; where a container gives them no room for that, nobody helps.
        monkeypatch.setattr(vector_indexes.os, "statvfs", _no_room)
        async with room_for_build(conn, small):
            assert await fetch_value(conn, setting) == "0"


def _no_room(_path: str) -> Any:
    return SimpleNamespace(f_bavail=1, f_frsize=4096)


async def test_a_build_may_take_the_memory_that_its_graph_needs(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = "SELECT pg_size_bytes(current_setting('maintenance_work_mem'))"
    monkeypatch.setattr(vector_indexes, "memory_bytes", lambda: 8 << 30)
    async with db.connection() as conn:
        before = await fetch_value(conn, setting)

        async def within(vectors: int) -> int:
            graph = Graph(vectors=vectors, dimensions=384, m=16)
            async with room_for_build(conn, graph):
                return await fetch_value(conn, setting)

        assert await within(1_000) == before
        assert 1_000_000 * (768 + 512) < await within(1_000_000) < 2 << 30
        assert await within(100_000_000) == 2 << 30
        assert await fetch_value(conn, setting) == before


async def test_what_a_killed_build_left_is_removed_and_a_finished_one_is_used(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    async with large_db.connection() as conn:
        await conn.execute("CREATE INDEX idx_episodic_embedding_minilm_new ON episodic_memory (id)")
    await memory.vectors.reindex()
    assert "hnsw" in await _definition(large_db, "idx_episodic_embedding_minilm")
    assert await _definition(large_db, "idx_episodic_embedding_minilm_new") is None


async def test_another_model_gets_an_index_of_its_own_and_the_schema_stays_clean(
    db: Database, dsn: str
) -> None:
    space = Space(model="text-embedding-9", dimensions=8)
    built = await rebuild(db, space, m=8, ef_construction=32)
    name = index_name("episodic_memory", "text-embedding-9")
    assert built[0].name == name
    definition = await _definition(db, name)
    assert "halfvec(8)" in definition
    assert "text-embedding-9" in definition
    assert migrate.check(dsn) == []


async def test_two_builds_at_once_are_refused(db: Database, dsn: str, embedder: Embedder) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", [0x686E7377])
        with pytest.raises(Conflict, match="under way"):
            await Memory(db, embedder, namespace="default").vectors.reindex()
        await other.execute("SELECT pg_advisory_unlock(%s)", [0x686E7377])
    await Memory(db, embedder, namespace="default").vectors.reindex()


@pytest.mark.parametrize(
    ("space", "m", "ef_construction", "said"),
    [
        (Space(model=None, dimensions=8), 16, 64, "without a model"),
        (Space(model="m", dimensions=5000), 16, 64, "5000 dimensions"),
        (Space(model="m", dimensions=8), 1, 64, "m is 1"),
        (Space(model="m", dimensions=8), 40, 64, "twice m"),
    ],
)
async def test_what_pgvector_does_not_take_is_refused_before_anything_is_built(
    db: Database, space: Space, m: int, ef_construction: int, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        await rebuild(db, space, m=m, ef_construction=ef_construction)


def test_the_command_names_what_it_built(tmp_path: Path, dsn: str) -> None:
    shown = aegis(tmp_path, "memory", "reindex", database_url=dsn)
    assert shown.returncode == 0, shown.stderr
    assert "idx_episodic_embedding_minilm on episodic_memory" in shown.stdout
    found = answer(aegis(tmp_path, "memory", "reindex", "--json", "--m", "8", database_url=dsn))
    assert isinstance(found, dict)
    assert [index["m"] for index in found["indexes"]] == [8, 8, 8]
    # How densely it is linked is the operator's choice, no drift of the schema.
    assert migrate.check(dsn) == []
