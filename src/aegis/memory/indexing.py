"""Building the vector indexes anew, while everything goes on.

The built-in model's index comes with the schema. Another model has none until it is built here, and
a large namespace of its memories is scanned meanwhile. A new index is built under a name of its own
and takes the old one's place in one short transaction: whatever is killed, one of them answers.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db.opening import server_pid
from aegis.errors import Conflict, InvalidInput
from aegis.memory.embedding.minilm import MODEL as MINILM
from aegis.memory.store import indexing as store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.store.search_sql import Space

__all__ = ["MOST_DIMENSIONS", "Rebuilt", "index_name", "rebuild"]

#: https://github.com/pgvector/pgvector#hnsw: `halfvec` up to 4,000 dimensions, m from 2 to 100,
#: ef_construction from 4 to 1,000 and at least twice m.
MOST_DIMENSIONS = 4_000
#: Seconds between looks at how far the build is.
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """An index that was built."""

    table: str
    name: str
    m: int
    ef_construction: int
    bytes: int


def index_name(table: str, model: str) -> str:
    """Return the name of a model's index on a table."""
    short = table.partition("_")[0]
    if model == MINILM:
        return f"idx_{short}_embedding_minilm"
    return f"idx_{short}_embedding_m_{hashlib.sha256(model.encode()).hexdigest()[:12]}"


async def rebuild(
    db: Database,
    space: Space,
    *,
    m: int,
    ef_construction: int,
    on_progress: Callable[[int, int], object] | None = None,
) -> Sequence[Rebuilt]:
    """Build the indexes of a model anew and return them; readers and writers go on.

    Raises:
        InvalidInput: a value that pgvector does not take, or vectors without a model.
        Conflict: another build is under way.
        Unavailable: the swap found no quiet moment within the lock time-out; what was built stays,
            and the next call finishes it.
    """
    _check(space, m, ef_construction)
    done: list[Rebuilt] = []
    async with db.owner("Building an index") as conn:
        if not await store.lock_builds(conn):
            raise Conflict("Another build of vector indexes is under way; wait for its end.")
        try:
            for table in store.TABLES:
                done.append(await _rebuild(db, conn, table, space, m, ef_construction, on_progress))
        finally:
            if not conn.closed:
                await store.unlock_builds(conn)
    return done


async def _rebuild(
    db: Database,
    conn: Connection,
    table: store.Table,
    space: Space,
    m: int,
    ef_construction: int,
    on_progress: Callable[[int, int], object] | None,
) -> Rebuilt:
    assert space.model is not None
    name = index_name(table, space.model)
    built = f"{name}_new"
    left = await store.find_index(conn, built)
    if left is None or not left.valid or not _same(left.definition, m, ef_construction):
        await store.drop_index(conn, built)
        watching = asyncio.create_task(_watch(db, await server_pid(conn), on_progress))
        try:
            await store.build_index(conn, table, built, space, m=m, ef_construction=ef_construction)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    async with db.owner("Building an index") as swapping, swapping.transaction():
        await store.swap_index(swapping, name, built)
    found = await store.find_index(conn, name)
    assert found is not None
    return Rebuilt(table=table, name=name, m=m, ef_construction=ef_construction, bytes=found.bytes)


async def _watch(db: Database, pid: int, on_progress: Callable[[int, int], object] | None) -> None:
    while on_progress is not None:
        async with db.transaction() as conn:
            build = await store.read_progress(conn, pid)
        if build is not None and build.total:
            on_progress(build.done, build.total)
        await asyncio.sleep(_LOOK_S)


def _same(definition: str, m: int, ef_construction: int) -> bool:
    return f"WITH (m='{m}', ef_construction='{ef_construction}')" in definition


def _check(space: Space, m: int, ef_construction: int) -> None:
    if space.model is None:
        raise InvalidInput(
            "Vectors without a model have the index of the schema; there is no other."
        )
    if space.dimensions > MOST_DIMENSIONS:
        raise InvalidInput(
            f"{space.model} has {space.dimensions} dimensions; an index takes "
            f"{MOST_DIMENSIONS} at most, so that these vectors are searched exactly."
        )
    if not 2 <= m <= 100:
        raise InvalidInput(f"m is {m}; use 2 to 100.")
    if not 4 <= ef_construction <= 1000 or ef_construction < 2 * m:
        raise InvalidInput(
            f"ef_construction is {ef_construction}; use 4 to 1000, and at least twice m ({2 * m})."
        )
