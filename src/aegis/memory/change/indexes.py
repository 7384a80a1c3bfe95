"""The indexes that a switch needs beforehand, so that no search has to read every vector after it.

Of the vectors beside the rows, where all of the model that becomes active are at that moment. The
index of episodes that carry it is built once they have moved: that takes a fraction of the time
that putting them into it one by one does. Facts are few, and go into theirs as they move.
"""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aegis.errors import Conflict
from aegis.memory import indexing
from aegis.memory.embedding.minilm import MODEL as MINILM
from aegis.memory.store import indexing as store
from aegis.memory.store import spares
from aegis.memory.store.space import Space

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Connection, Database

__all__ = [
    "build_index_of_rows",
    "build_indexes",
    "drop_index_of_rows",
    "drop_indexes_beside",
    "drop_indexes_of",
    "spare_index_name",
]


def spare_index_name(model: str) -> str:
    """Return the name of the index of a model's vectors beside the episodes."""
    return f"idx_episodic_embedding_spare_{hashlib.sha256(model.encode()).hexdigest()[:12]}"


async def build_indexes(db: Database, model: str, dimensions: int, *, of_rows: bool = True) -> None:
    """Build those indexes of a model that are not there; readers and writers go on.

    `of_rows`: also that of the episodes that carry the model.

    Vectors that no index takes (above 4,000 dimensions, or pgvector before 0.7) are searched
    exactly.

    Raises:
        Conflict: another build is under way.
    """
    if dimensions > indexing.MOST_DIMENSIONS:
        return
    space, name = Space(model=model, dimensions=dimensions), spare_index_name(model)
    tables: list[store.Table] = [t for t in store.TABLES if of_rows or t != "episodic_memory"]
    async with _building(db) as conn:
        if conn is None:
            return
        for table in tables:
            await _build(conn, table, space)
        beside = await store.find_index(conn, name)
        if beside is None or not beside.valid:
            await store.drop_index(conn, name)
            await store.build_index(conn, "episodic_vectors", name, space)


async def build_index_of_rows(db: Database, model: str, dimensions: int) -> None:
    """Build the index of the episodes that carry the model, where it is not there.

    Raises:
        Conflict: another build is under way.
    """
    if dimensions > indexing.MOST_DIMENSIONS:
        return
    async with _building(db) as conn:
        if conn is not None:
            await _build(conn, "episodic_memory", Space(model=model, dimensions=dimensions))


async def drop_index_of_rows(db: Database, model: str) -> None:
    """Remove the index of the episodes that carry the model, while they are found beside them."""
    async with db.owner("Building an index") as conn:
        if await spares.has_halfvec(conn):
            await store.drop_index(conn, indexing.index_name("episodic_memory", model))


@asynccontextmanager
async def _building(db: Database) -> AsyncGenerator[Connection | None]:
    """Lend a connection that has the lock of builds; None where there is no index to build."""
    async with db.owner("Building an index") as conn:
        if not await spares.has_halfvec(conn):
            yield None
            return
        if not await store.lock_builds(conn):
            raise Conflict("Another build of vector indexes is under way; wait for its end.")
        try:
            yield conn
        finally:
            if not conn.closed:
                await store.unlock_builds(conn)


async def _build(conn: Connection, table: store.Table, space: Space) -> None:
    assert space.model is not None
    name = indexing.index_name(table, space.model)
    found = await store.find_index(conn, name)
    if found is None or not found.valid:
        await store.drop_index(conn, name)
        await store.build_index(conn, table, name, space)


async def drop_indexes_beside(db: Database, model: str) -> None:
    """Remove the index of a model's vectors beside the rows: they have all moved in."""
    async with db.owner("Building an index") as conn:
        await store.drop_index(conn, spare_index_name(model))


async def drop_indexes_of(db: Database, model: str) -> None:
    """Remove the indexes of a model that is no longer used; the schema's own stay."""
    async with db.owner("Building an index") as conn:
        await store.drop_index(conn, spare_index_name(model))
        if model != MINILM:
            for table in store.TABLES:
                await store.drop_index(conn, indexing.index_name(table, model))
