"""Filters and namespaces: what does not belong never comes back, what does is never starved."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import Database, execute, fetch_value
from aegis.errors import Unavailable
from aegis.memory import Memory
from aegis.memory.models import NewEpisode
from tests.memory.conftest import LARGE, START

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Importance

pytestmark = pytest.mark.servers("18", "16")


def _vector(seed: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(0, 1) for _ in range(384)]


async def test_namespaces_never_meet(db: Database) -> None:
    one, two = Memory(db, None, namespace="one"), Memory(db, None, namespace="two")
    await one.record("note", "the secret of one")
    await two.record("note", "the secret of two")
    for mode in ("hybrid", "text", "time"):
        hits = await one.recall("secret", k=10, mode=mode)
        assert [hit.episode.summary for hit in hits] == ["the secret of one"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"session_id": "a"}, {"a0", "a1"}),
        ({"since": START + timedelta(days=2)}, {"b0", "b1"}),
        ({"until": START + timedelta(days=1)}, {"a0"}),
        ({"event_types": ["error"]}, {"a1", "b1"}),
        ({"tags": ["red", "big"]}, {"b1"}),
        ({"min_importance": "high"}, {"b0", "b1"}),
        ({"session_id": "a", "event_types": ["error"]}, {"a1"}),
        ({"session_id": "nobody"}, set()),
    ],
)
async def test_each_filter_holds_in_every_mode(
    memory: Memory, filters: dict[str, Any], expected: set[str]
) -> None:
    rows: tuple[tuple[str, str, int, str, list[str], Importance], ...] = (
        ("a0", "a", 0, "note", [], "low"),
        ("a1", "a", 1, "error", ["red"], "medium"),
        ("b0", "b", 2, "note", ["big"], "high"),
        ("b1", "b", 3, "error", ["red", "big"], "critical"),
    )
    await memory.record_many(
        NewEpisode(
            event_type=event_type,
            summary=f"{name} the same thing",
            source_id=name,
            session_id=session,
            timestamp=START + timedelta(days=day),
            tags=tags,
            importance=importance,
        )
        for name, session, day, event_type, tags, importance in rows
    )
    for mode in ("hybrid", "vector", "text", "time"):
        hits = await memory.recall("same thing", k=10, mode=mode, **filters)
        assert {hit.episode.source_id for hit in hits} == expected, mode


async def test_a_large_namespace_is_searched_by_index_and_answers_as_well(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    hits = await memory.recall("rare4711", vector=_vector(1), k=10)
    assert hits[0].episode.summary.endswith("rare4711")
    assert len(hits) == 10
    async with large_db.transaction() as conn:
        sampled = await fetch_value(conn, "SELECT episodes FROM memory_namespaces")
        share = await fetch_value(conn, "SELECT share FROM memory_terms WHERE term = 'common'")
    assert (sampled, share) == (LARGE, 1.0)

    episode = await memory.record("note", "fresh unheardof thing")
    assert (await memory.recall("unheardof", k=1))[0].episode.id == episode.id
    # Words that are everywhere find something too.
    assert len(await memory.recall("common", k=10, mode="text")) == 10

    shared = 0
    for row_id in range(100, 2100, 100):
        async with large_db.transaction() as conn:
            text = await fetch_value(
                conn,
                "SELECT embedding::text FROM episodic_memory WHERE id = %(id)s",
                {"id": row_id},
            )
            vector = [
                x + noise / 50 for x, noise in zip(json.loads(text), _vector(row_id), strict=True)
            ]
            cursor = await conn.execute(
                "SELECT id, 1 - (embedding <=> %(vector)s::vector) FROM episodic_memory "
                "ORDER BY embedding <=> %(vector)s::vector LIMIT 10",
                {"vector": str(vector)},
            )
            exact = {row[0]: row[1] for row in await cursor.fetchall()}
        near = await memory.recall(mode="vector", vector=vector, k=10)
        shared += len(exact.keys() & {hit.episode.id for hit in near})
        for hit in near:
            # The graph has vectors of half the digits; what is told has all of them.
            assert hit.score == pytest.approx(exact.get(hit.episode.id, hit.score), abs=1e-6)
    assert shared / 200 >= 0.97


async def test_the_first_question_of_a_connection_uses_the_graph_like_every_later_one(
    large_db: Database, embedder: Embedder, settings: Settings
) -> None:
    async with large_db.transaction() as conn:
        dsn = conn.info.dsn
    await Memory(large_db, embedder, namespace="default").recall("word3", vector=_vector(1))
    one = replace(settings, pool_min_size=1, pool_max_size=1)
    async with await Database.open(dsn, one) as db:
        before = await _graph_searches(db)
        memory = Memory(db, embedder, namespace="default")
        for number in range(3):
            await memory.recall("word3", vector=_vector(number))
            assert await _graph_searches(db) == before + number + 1


async def test_a_question_is_not_planned_anew_each_time(
    large_db: Database, embedder: Embedder, settings: Settings
) -> None:
    async with large_db.transaction() as conn:
        dsn = conn.info.dsn
    one = replace(settings, pool_min_size=1, pool_max_size=1)
    async with await Database.open(dsn, one) as db:
        memory = Memory(db, embedder, namespace="default")
        for number in range(20):
            await memory.recall(f"common word{number % 7}", vector=_vector(number))
        async with db.transaction() as conn:
            cursor = await conn.execute(
                "SELECT generic_plans, custom_plans FROM pg_prepared_statements "
                "WHERE statement LIKE '%episodic_memory%'",
                prepare=False,
            )
            plans = await cursor.fetchall()
    # The question, its words, the nearest, what they are, the rows; PostgreSQL tries five plans.
    assert len(plans) == 5
    assert [custom for _, custom in plans] == [5] * 5
    assert all(generic >= 5 for generic, _ in plans)


async def _graph_searches(db: Database) -> int:
    async with db.transaction() as conn:
        await execute(conn, "SELECT pg_stat_force_next_flush()")
    async with db.transaction() as conn:
        return await fetch_value(
            conn,
            "SELECT idx_scan FROM pg_stat_user_indexes "
            "WHERE indexrelname = 'idx_episodic_embedding_minilm'",
        )


@pytest.mark.parametrize(
    ("filters", "present"),
    [
        ({"tags": ["marked"]}, 12),
        ({"event_types": ["milestone"]}, 12),
        ({"min_importance": "critical"}, 12),
        ({"session_id": "s100"}, 12),
        ({"since": START + timedelta(minutes=LARGE - 11)}, 12),
    ],
)
async def test_a_narrow_filter_over_a_large_namespace_still_fills_k(
    large_db: Database, embedder: Embedder, filters: dict[str, Any], present: int
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    for mode in ("hybrid", "vector", "text"):
        hits = await memory.recall("common word3", vector=_vector(1), k=10, mode=mode, **filters)
        assert len(hits) == 10, mode
        most = await memory.recall("common word3", vector=_vector(1), k=50, mode=mode, **filters)
        assert len(most) == present, mode


async def test_a_small_namespace_beside_a_large_one_is_searched_whole(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="small")
    for mode in ("hybrid", "vector", "text"):
        hits = await memory.recall("common word3", vector=_vector(2), k=40, mode=mode)
        assert len(hits) == 40, mode
        assert {hit.episode.namespace for hit in hits} == {"small"}


async def test_a_read_only_server_still_recalls(large_db: Database) -> None:
    async with large_db.connection() as conn:
        name = await fetch_value(conn, "SELECT current_database()")
        await execute(conn, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')  # pyright: ignore
        await execute(conn, "SET default_transaction_read_only = on")
    memory = Memory(large_db, None, namespace="default")
    assert (await memory.recall("rare77", k=1))[0].episode.summary.endswith("rare77")


async def test_a_connection_that_dies_in_a_recall_is_unavailable_and_the_next_works(
    db: Database, dsn: str
) -> None:
    memory = Memory(db, None, namespace="default")
    await memory.record("note", "the walrus")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:  # noqa: SIM117
        async with other.transaction():
            # Recall waits for the lock, in the middle of its work.
            await other.execute("LOCK TABLE memory_terms IN ACCESS EXCLUSIVE MODE")
            recall = asyncio.create_task(memory.recall("walrus", k=1))
            async with (
                await psycopg.AsyncConnection.connect(dsn, autocommit=True) as third,
                asyncio.timeout(20),
            ):
                killed = False
                while not killed:
                    cursor = await third.execute(
                        """
                        SELECT pg_terminate_backend(pid)
                        FROM pg_stat_activity
                        WHERE wait_event_type = 'Lock'
                          AND datname = current_database()
                        """
                    )
                    killed = bool(await cursor.fetchall())
            with pytest.raises(Unavailable):
                await recall
    assert (await memory.recall("walrus", k=1))[0].episode.summary == "the walrus"
