"""SQL of the vector indexes: one partial HNSW index for each model, on each table with vectors.

Building is done outside of any transaction (`CONCURRENTLY`), so that readers and writers go on; a
build that was killed leaves an invalid index under its own name, which the next one removes.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from aegis.db import fetch_optional, fetch_value

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
    "unhurried",
    "unlock_builds",
]

Table = Literal["episodic_memory", "semantic_memory", "store_vectors"]
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
    conn: Connection, table: Table, name: str, space: Space, *, m: int, ef_construction: int
) -> None:
    """Build the index of a model, beside all that goes on; `conn` is in autocommit mode."""
    statement = sql.SQL(
        """
        CREATE INDEX CONCURRENTLY {name}
            ON {table} USING hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops)
            WITH (m = {m}, ef_construction = {ef_construction})
            WHERE embedding_model = {model}
        """
    ).format(
        name=sql.Identifier(name),
        table=sql.Identifier(table),
        dimensions=sql.Literal(space.dimensions),
        m=sql.Literal(m),
        ef_construction=sql.Literal(ef_construction),
        model=sql.Literal(space.model),
    )
    async with unhurried(conn):
        await conn.execute(statement)


@asynccontextmanager
async def unhurried(conn: Connection) -> AsyncGenerator[None]:
    """Let statements take as long as they take, and leave a processor to those who ask and write.

    PostgreSQL builds with three processes, on two processors as on fifty: beside such a build
    single writes took half as long again as beside one with one process.
    """
    await conn.execute("SET statement_timeout = 0")
    await conn.execute("SET lock_timeout = 0")
    workers = _workers(conn.info.host)
    if workers is not None:
        await conn.execute(
            """
            SELECT set_config(
                'max_parallel_maintenance_workers',
                least(current_setting('max_parallel_maintenance_workers')::int, %(workers)s)::text,
                false
            )
            """,
            {"workers": workers},
        )
    try:
        yield
    finally:
        if not conn.closed:
            await conn.execute("RESET statement_timeout")
            await conn.execute("RESET lock_timeout")
            await conn.execute("RESET max_parallel_maintenance_workers")


def _workers(host: str) -> int | None:
    """Return how many processes may help a build; None for a server on another machine."""
    if not host.startswith("/") and host not in ("127.0.0.1", "::1", "localhost"):
        return None
    return max(0, (os.cpu_count() or 1) - 2)


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
