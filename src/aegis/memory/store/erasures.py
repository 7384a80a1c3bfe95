"""SQL of erasures: their record, the search for a subject, and what is deleted with a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import execute, fetch_value
from aegis.memory.store.erasure_tables import MEMORY_TABLES, OWNERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aegis.db import Connection

__all__ = [
    "checkpoint",
    "clear_statistics",
    "count_held",
    "delete_rows",
    "list_echoes",
    "list_ids",
    "list_tables",
    "page_windows",
    "read_wal",
    "rewrite_table",
    "search_window",
]

#: Blocks that one statement searches: about 60 MB, far from any time-out.
_WINDOW_BLOCKS = 8_000


async def list_tables(conn: Connection) -> dict[str, bool]:
    """Return the tables of the schema that hold rows, and whether each row is of a namespace."""
    cursor = await conn.execute(
        """
        SELECT c.relname::text,
               EXISTS (
                   SELECT
                   FROM pg_attribute a
                   WHERE a.attrelid = c.oid
                     AND a.attname = 'namespace'
                     AND NOT a.attisdropped
               )
        FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace
          AND c.relkind = 'r'
          AND c.relname NOT IN ('alembic_version', 'memory_erasures')
        ORDER BY 1
        """
    )
    return {row[0]: row[1] or row[0] in OWNERS for row in await cursor.fetchall()}


async def page_windows(conn: Connection, table: str) -> list[tuple[str, str]]:
    """Return the stretches of a table that together hold every row that it has now."""
    blocks: Any = await fetch_value(
        conn,
        "SELECT pg_relation_size(%(table)s::regclass) / current_setting('block_size')::int",
        {"table": table},
    )
    return list(_windows(int(blocks)))


def _windows(blocks: int) -> Iterator[tuple[str, str]]:
    for first in range(0, blocks + 1, _WINDOW_BLOCKS):
        yield f"({first},0)", f"({first + _WINDOW_BLOCKS},0)"


async def search_window(
    conn: Connection,
    table: str,
    window: tuple[str, str],
    *,
    patterns: Sequence[str],
    namespace: str | None,
    key: LiteralString | None,
) -> list[tuple[Any, str]]:
    """Return (key, row as JSON) of a stretch's rows that fit one of the patterns."""
    place = sql.SQL("") if namespace is None else _of_namespace(table)
    statement = sql.SQL(
        """
        SELECT {key}, d.document
        FROM {table} t
        CROSS JOIN LATERAL (
            SELECT (to_jsonb(t) - 'embedding' - 'search')::text AS document
            OFFSET 0
        ) AS d
        CROSS JOIN LATERAL (
            -- As Subject reads texts: a wide letter is a letter, and ß is ss.
            SELECT lower(
                       regexp_replace(normalize(d.document, NFKC), '[ßẞ]', 'ss', 'g') COLLATE "C"
                   ) AS text
            OFFSET 0
        ) AS plain
        WHERE t.ctid >= %(first)s::tid
          AND t.ctid < %(last)s::tid
          {place}
          AND plain.text LIKE ANY (%(patterns)s)
        """
    ).format(
        key=sql.SQL("t.ctid::text") if key is None else sql.SQL("t.{}").format(sql.Identifier(key)),
        table=sql.Identifier(table),
        place=place,
    )
    cursor = await conn.execute(
        statement,
        {
            "first": window[0],
            "last": window[1],
            "patterns": list(patterns),
            "namespace": namespace,
        },
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


def _of_namespace(table: str) -> sql.Composable:
    """Return the condition that a row is of the namespace, its own or its owner's."""
    if table not in OWNERS:
        return sql.SQL("AND t.namespace = %(namespace)s")
    owner, column = OWNERS[table]
    return sql.SQL(
        "AND EXISTS (SELECT FROM {owner} o WHERE o.id = t.{column} AND o.namespace = %(namespace)s)"
    ).format(owner=sql.Identifier(owner), column=sql.Identifier(column))


async def list_echoes(conn: Connection, ids: Sequence[int], *, namespace: str | None) -> list[int]:
    """Return the echoes of these episodes: what was written back of them."""
    cursor = await conn.execute(
        """
        SELECT e.id
        FROM episodic_memory e
        WHERE e.metadata ? 'echo_of'
          AND jsonb_typeof(e.metadata -> 'echo_of') = 'array'
          AND EXISTS (
              SELECT
              FROM jsonb_array_elements_text(e.metadata -> 'echo_of') AS o (id)
              WHERE o.id = ANY(%(ids)s::text[])
          )
          AND (%(namespace)s::text IS NULL OR e.namespace = %(namespace)s)
        """,
        {"ids": [str(i) for i in ids], "namespace": namespace},
    )
    return [row[0] for row in await cursor.fetchall()]


async def count_held(conn: Connection, ids: Sequence[int]) -> int:
    """Return how many of these episodes are held."""
    return await fetch_value(
        conn,
        "SELECT count(*) FROM memory_holds WHERE episode_id = ANY(%(ids)s)",
        {"ids": list(ids)},
    )


async def delete_rows(conn: Connection, table: str, keys: Sequence[Any]) -> list[Any]:
    """Delete the rows with these keys and return the keys of those that there were."""
    statement = sql.SQL("DELETE FROM {table} WHERE {key} = ANY(%(keys)s) RETURNING {key}").format(
        table=sql.Identifier(table), key=sql.Identifier(MEMORY_TABLES[table])
    )
    cursor = await conn.execute(statement, {"keys": list(keys)})
    return [row[0] for row in await cursor.fetchall()]


async def clear_statistics(
    conn: Connection, places: Sequence[str], names: Sequence[str], namespace: str | None
) -> int:
    """Forget the word statistics of namespaces, and the names' words wherever they stand."""
    params: dict[str, Any] = {
        "places": list(places),
        "names": " ".join(names),
        "namespace": namespace,
    }
    await execute(conn, "DELETE FROM memory_namespaces WHERE namespace = ANY(%(places)s)", params)
    return await execute(
        conn,
        """
        DELETE FROM memory_terms
        WHERE namespace = ANY(%(places)s)
           OR (
               term = ANY(tsvector_to_array(to_tsvector('english', %(names)s)))
               AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
           )
        """,
        params,
    )


async def list_ids(conn: Connection, table: str, *, after: int, limit: int) -> list[int]:
    """Return the keys of a memory table behind `after`, ascending, each once."""
    key = sql.Identifier(MEMORY_TABLES[table])
    cursor = await conn.execute(
        sql.SQL(
            "SELECT DISTINCT {key} FROM {table} WHERE {key} > %(after)s ORDER BY 1 LIMIT %(limit)s"
        ).format(key=key, table=sql.Identifier(table)),
        {"after": after, "limit": limit},
    )
    return [row[0] for row in await cursor.fetchall()]


async def rewrite_table(conn: Connection, table: str) -> bool:
    """Write a table and its indexes anew, with what is in them and nothing else; locks it.

    Returns False where the user may not.

    `VACUUM` alone leaves the bytes of what was deleted in the free space of pages. The connection
    is in autocommit mode.
    """
    name = sql.SQL(".").join(sql.Identifier(part) for part in table.split("."))
    allowed = await fetch_value(
        conn,
        """
        SELECT pg_has_role(c.relowner, 'USAGE')
            OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        FROM pg_class c
        WHERE c.oid = %(table)s::regclass
        """,
        {"table": table},
    )
    if not allowed:
        # PostgreSQL would pass over the table with a warning.
        return False
    await conn.execute("SET statement_timeout = 0")
    try:
        await conn.execute(sql.SQL("VACUUM (FULL, ANALYZE) {}").format(name))
    finally:
        await conn.execute("RESET statement_timeout")
    return await _forget_samples(conn, table, name)


async def _forget_samples(conn: Connection, table: str, name: sql.Composable) -> bool:
    """Delete the planner's samples of an empty table, which `ANALYZE` leaves as they were.

    Returns False where there are some and the user, no superuser, may not.
    """
    params = {"table": table}
    empty = await fetch_value(conn, sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(name))
    superuser = await fetch_value(
        conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    if not empty:
        return True
    if not superuser:
        return not await fetch_value(
            conn,
            "SELECT EXISTS (SELECT FROM pg_stats WHERE tablename = %(table)s)",
            params,
        )
    await execute(
        conn,
        """
        DELETE FROM pg_statistic
        WHERE starelid = %(table)s::regclass
           OR starelid IN (
               SELECT indexrelid
               FROM pg_index
               WHERE indrelid = %(table)s::regclass
           )
        """,
        params,
    )
    return True


async def checkpoint(conn: Connection) -> bool:
    """Bring everything to the disk, so that replaced files go; False where the user may not."""
    allowed = await fetch_value(conn, "SELECT pg_has_role('pg_checkpoint', 'USAGE')")
    if allowed:
        await conn.execute("CHECKPOINT")
    return bool(allowed)


async def read_wal(conn: Connection) -> dict[str, Any]:
    """Return what of the write-ahead log still holds deleted rows, as far as one can tell."""
    cursor = await conn.execute(
        """
        SELECT pg_current_wal_lsn()::text,
               current_setting('archive_mode'),
               current_setting('max_wal_size'),
               (SELECT count(*) FROM pg_replication_slots)
        """
    )
    row: Any = await cursor.fetchone()
    return {"until_lsn": row[0], "archive_mode": row[1], "max_wal_size": row[2], "slots": row[3]}
