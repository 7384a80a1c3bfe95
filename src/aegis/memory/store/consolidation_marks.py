"""SQL of how far consolidation has looked: one run at a time, its mark, who may write before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = [
    "find_done",
    "list_namespaces",
    "lock_run",
    "mark_done",
    "read_upper",
    "still_writing",
    "unlock_run",
]


async def lock_run(conn: Connection, namespace: str) -> bool:
    """Take the lock of runs for the session; return False where another run has it."""
    return await fetch_value(
        conn,
        "SELECT pg_try_advisory_lock(hashtextextended('aegis.consolidate ' || %(ns)s, 0))",
        {"ns": namespace},
    )


async def unlock_run(conn: Connection, namespace: str) -> None:
    """Give the lock of runs back."""
    await fetch_value(
        conn,
        "SELECT pg_advisory_unlock(hashtextextended('aegis.consolidate ' || %(ns)s, 0))",
        {"ns": namespace},
    )


async def find_done(conn: Connection, namespace: str) -> int:
    """Return the id up to which the namespace has been looked at, 0 for never."""
    found = await fetch_value(
        conn,
        "SELECT done_to FROM memory_consolidation WHERE namespace = %(namespace)s",
        {"namespace": namespace},
    )
    return found or 0


async def mark_done(conn: Connection, namespace: str, done_to: int, *, finished: bool) -> None:
    """Remember how far the namespace has been looked at; it never goes back."""
    await execute(
        conn,
        """
        INSERT INTO memory_consolidation AS c (namespace, done_to, finished_at)
        VALUES (%(namespace)s, %(done_to)s, CASE WHEN %(finished)s THEN now() END)
        ON CONFLICT (namespace) DO UPDATE
        SET done_to = greatest(c.done_to, excluded.done_to),
            finished_at = coalesce(excluded.finished_at, c.finished_at)
        """,
        {"namespace": namespace, "done_to": done_to, "finished": finished},
    )


async def read_upper(conn: Connection) -> tuple[int, list[str]]:
    """Return the greatest id given out so far, and who may still commit one up to it.

    A writer holds its lock on the table before it draws an id, and until it has ended; so whoever
    has drawn one of these ids and has not ended is among those that hold the lock now. The order of
    the two questions matters.
    """
    upper = await fetch_value(
        conn,
        """
        SELECT coalesce(
            pg_sequence_last_value(pg_get_serial_sequence('episodic_memory', 'id')::regclass),
            (SELECT max(id) FROM episodic_memory),
            0
        )
        """,
    )
    return min(int(upper), 2**31 - 1), await still_writing(conn)


async def still_writing(conn: Connection) -> list[str]:
    """Return the transactions that may have written episodes and have not ended."""
    cursor = await conn.execute(
        """
        SELECT DISTINCT l.virtualtransaction
        FROM pg_locks l
        WHERE l.locktype = 'relation'
          AND l.relation = 'episodic_memory'::regclass
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.granted
          AND l.mode IN (
              'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
          )
          AND l.pid IS DISTINCT FROM pg_backend_pid()
        ORDER BY l.virtualtransaction
        """
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_namespaces(conn: Connection) -> list[str]:
    """Return the namespaces with episodes that have not been looked at.

    It takes as long as there are namespaces, however many episodes they have.
    """
    cursor = await conn.execute(
        """
        -- From one namespace to the next by the index, which has few of them beside all rows.
        WITH RECURSIVE names AS (
            (
                SELECT e.namespace
                FROM episodic_memory e
                ORDER BY e.namespace
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT e.namespace
                FROM episodic_memory e
                WHERE e.namespace > n.namespace
                ORDER BY e.namespace
                LIMIT 1
            )
            FROM names n
            WHERE n.namespace IS NOT NULL
        )
        SELECT n.namespace
        FROM names n
        LEFT JOIN memory_consolidation c ON c.namespace = n.namespace
        WHERE EXISTS (
            SELECT
            FROM episodic_memory e
            WHERE e.namespace = n.namespace
              AND e.id > coalesce(c.done_to, 0)
        )
        ORDER BY n.namespace
        """
    )
    return [row[0] for row in await cursor.fetchall()]
