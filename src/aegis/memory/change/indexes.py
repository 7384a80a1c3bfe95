"""The indexes that a switch needs beforehand, so that no search has to read every vector after it.

Two for the model that becomes active: of the rows that will carry it, empty at first and filled as
they move; and of the vectors beside the rows, where they all are at that moment.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aegis.errors import Conflict
from aegis.memory import indexing
from aegis.memory.embedding.minilm import MODEL as MINILM
from aegis.memory.store import indexing as store
from aegis.memory.store import spares
from aegis.memory.store.space import Space

if TYPE_CHECKING:
    from aegis.db import Database

__all__ = ["build_indexes", "drop_indexes_beside", "drop_indexes_of", "spare_index_name"]


def spare_index_name(model: str) -> str:
    """Return the name of the index of a model's vectors beside the episodes."""
    return f"idx_episodic_embedding_spare_{hashlib.sha256(model.encode()).hexdigest()[:12]}"


async def build_indexes(db: Database, model: str, dimensions: int) -> None:
    """Build those indexes of a model that are not there; readers and writers go on.

    Vectors that no index takes (above 4,000 dimensions, or pgvector before 0.7) are searched
    exactly.

    Raises:
        Conflict: another build is under way.
    """
    if dimensions > indexing.MOST_DIMENSIONS:
        return
    space, name = Space(model=model, dimensions=dimensions), spare_index_name(model)
    async with db.owner() as conn:
        if not await spares.has_halfvec(conn):
            return
        if not await store.lock_builds(conn):
            raise Conflict("Another build of vector indexes is under way; wait for its end.")
        try:
            for table in store.TABLES:
                of_rows = indexing.index_name(table, model)
                found = await store.find_index(conn, of_rows)
                if found is None or not found.valid:
                    await store.drop_index(conn, of_rows)
                    await store.build_index(conn, table, of_rows, space, m=16, ef_construction=64)
            beside = await store.find_index(conn, name)
            if beside is None or not beside.valid:
                await store.drop_index(conn, name)
                await spares.build_spare_index(conn, name, space)
        finally:
            if not conn.closed:
                await store.unlock_builds(conn)


async def drop_indexes_beside(db: Database, model: str) -> None:
    """Remove the index of a model's vectors beside the rows: they have all moved in."""
    async with db.owner() as conn:
        await store.drop_index(conn, spare_index_name(model))


async def drop_indexes_of(db: Database, model: str) -> None:
    """Remove the indexes of a model that is no longer used; the schema's own stay."""
    async with db.owner() as conn:
        await store.drop_index(conn, spare_index_name(model))
        if model != MINILM:
            for table in store.TABLES:
                await store.drop_index(conn, indexing.index_name(table, model))
