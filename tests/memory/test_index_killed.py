"""A build of an index that is killed in its middle leaves one that serves nothing, for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.db import Database, fetch_value, migrate
from aegis.errors import AegisError
from aegis.memory.indexing import index_name, rebuild
from aegis.memory.store.search import Space
from tests.db.rows import MODERN_ROWS, execute, value
from tests.ops.health.looking import look, objects

if TYPE_CHECKING:
    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

_INVALID = "SELECT coalesce(string_agg(indexrelid::regclass::text, ' '), '') FROM pg_index WHERE NOT indisvalid"  # noqa: E501
_SPACE = Space(model="all-MiniLM-L6-v2-onnx-int8", dimensions=384)


async def test_it_is_seen_removed_and_built_by_the_next_one(
    db: Database, dsn: str, settings: Settings
) -> None:
    execute(dsn, MODERN_ROWS)
    # A writer that has not ended keeps the build waiting, right in its middle.
    writer = await psycopg.AsyncConnection.connect(dsn)
    await writer.execute("INSERT INTO episodic_memory (event_type, summary) VALUES ('note', 'w')")
    async with await Database.open(dsn, settings, min_size=1) as doomed:
        building = asyncio.ensure_future(rebuild(doomed, _SPACE, m=8, ef_construction=32))
        async with asyncio.timeout(60):
            while not value(dsn, _INVALID):
                await asyncio.sleep(0.02)
        half = value(dsn, _INVALID)
        execute(
            dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()",
        )
        with pytest.raises(AegisError):
            await building
    await writer.rollback()
    await writer.close()
    assert value(dsn, _INVALID) == half
    found = await look(db, settings, "invalid-indexes")
    assert objects(found) == [half]
    # Searches never used it, and the schema says what is amiss rather than pass it over.
    await rebuild(db, _SPACE, m=8, ef_construction=32)
    assert value(dsn, _INVALID) == ""
    assert (await look(db, settings, "invalid-indexes")).state == "ok"
    async with db.transaction() as conn:
        name = index_name("episodic_memory", str(_SPACE.model))
        definition = await fetch_value(
            conn, "SELECT pg_get_indexdef(to_regclass(%(n)s))", {"n": name}
        )
    assert "m='8'" in definition
    assert migrate.check(dsn) == []
