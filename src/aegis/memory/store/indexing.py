"""SQL of the vector indexes: one partial HNSW index for each model, on each table with vectors.

Building is done outside of any transaction (`CONCURRENTLY`), so that readers and writers go on; a
build that was killed leaves an invalid index under its own name, which the next one removes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from psycopg import sql

from aegis.db import fetch_optional, fetch_value
from aegis.db.vector_indexes import LINKS, Graph, room_for_build

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Connection
    from aegis.memory.store.search_sql import Space

__all__ = [
    "TABLES",
    "Build",
    "build_index",
    "drop_index",
    "find_index",
    "lock_builds",
    "read_progress",
    "swap_index",
    "unlock_builds",
]

Table = Literal["episodic_memory", "semantic_memory", "store_vectors"]
#: Also that of the vectors beside the rows.
AnyTable: TypeAlias = Table | Literal["episodic_vectors"]
TABLES: tuple[Table, ...] = ("episodic_memory", "semantic_memory", "store_vectors")

#: Key of the advisory lock of builds: "hnsw" in ASCII.
_LOCK = 0x686E7377


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build under way, as the server tells it."""

    #: Such as `building index: loading tuples`.
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    valid: bool
    definition: str
    bytes: int


async def lock_builds(conn: Connection) -> bool:
    """Take the lock of builds for the session; return False where another build has it."""
    return await fetch_value(conn, "SELECT pg_try_advisory_lock(%(key)s)", {"key": _LOCK})


async def unlock_builds(conn: Connection) -> None:
    """Give the lock of builds back: the connection goes back to a pool, and would keep it."""
    await fetch_value(conn, "SELECT pg_advisory_unlock(%(key)s)", {"key": _LOCK})


async def find_index(conn: Connection, name: str) -> _Index | None:
    """Return an index by its name, None where there is none."""
    return await fetch_optional(
        conn,
        _Index,
        """
        SELECT x.indisvalid AS valid,
               pg_get_indexdef(x.indexrelid) AS definition,
               pg_relation_size(x.indexrelid) AS bytes
        FROM pg_index x
        WHERE x.indexrelid = to_regclass(quote_ident(%(name)s))
        """,
        {"name": name},
    )


async def build_index(
    conn: Connection,
    table: AnyTable,
    name: str,
    space: Space,
    *,
    m: int = LINKS,
    ef_construction: int = 64,
) -> None:
    """Build the index of a model beside all that goes on; `conn` is in autocommit mode."""
    column = sql.Identifier("model" if table == "episodic_vectors" else "embedding_model")
    statement = sql.SQL(
        """
        CREATE INDEX CONCURRENTLY {name}
            ON {table} USING hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops)
            WITH (m = {m}, ef_construction = {ef_construction})
            WHERE {column} = {model}
        """
    ).format(
        name=sql.Identifier(name),
        table=sql.Identifier(table),
        column=column,
        dimensions=sql.Literal(space.dimensions),
        m=sql.Literal(m),
        ef_construction=sql.Literal(ef_construction),
        model=sql.Literal(space.model),
    )
    counted = sql.SQL("SELECT count(*) FROM {table} WHERE {column} = {model}").format(
        table=sql.Identifier(table), column=column, model=sql.Literal(space.model)
    )
    async with _unhurried(conn):
        vectors = await fetch_value(conn, counted)
        graph = Graph(vectors=vectors, dimensions=space.dimensions, m=m)
        async with room_for_build(conn, graph):
            await conn.execute(statement)


@asynccontextmanager
async def _unhurried(conn: Connection) -> AsyncGenerator[None]:
    """Let statements take as long as they take."""
    await conn.execute("SET statement_timeout = 0")
    await conn.execute("SET lock_timeout = 0")
    try:
        yield
    finally:
        if not conn.closed:
            await conn.execute("RESET statement_timeout")
            await conn.execute("RESET lock_timeout")


async def drop_index(conn: Connection, name: str) -> None:
    """Remove an index beside all that goes on; `conn` is in autocommit mode."""
    await conn.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))


async def swap_index(conn: Connection, name: str, built: str) -> None:
    """Put the index `built` in the place of `name`; stops readers for a moment."""
    await conn.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name)))
    await conn.execute(
        sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(built), sql.Identifier(name))
    )


async def read_progress(conn: Connection, pid: int) -> Build | None:
    """Return how far the build of the server process `pid` is; None where it builds nothing."""
    return await fetch_optional(
        conn,
        Build,
        """
        SELECT p.phase,
               CASE WHEN p.tuples_total > 0 THEN p.tuples_done ELSE p.blocks_done END AS done,
               CASE WHEN p.tuples_total > 0 THEN p.tuples_total ELSE p.blocks_total END AS total
        FROM pg_stat_progress_create_index p
        WHERE p.pid = %(pid)s
        """,
        {"pid": pid},
    )
