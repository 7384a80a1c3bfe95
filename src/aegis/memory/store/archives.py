"""SQL over `memory_archives`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.memory.retention.archive import Archive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "begin_archive",
    "complete_archive",
    "drop_archive",
    "get_archive",
    "list_abandoned",
    "list_archives",
    "list_partners",
    "list_present",
    "lock_archive",
    "replace_file",
    "set_restored",
    "span_of",
]

_COLUMNS: LiteralString = """
    a.id,
    a.namespace,
    a.kind,
    a.reason,
    a.state,
    a.path,
    a.rows,
    a.size_bytes,
    a.sha256,
    a.digest,
    a.oldest_at,
    a.newest_at,
    a.started_at,
    a.completed_at,
    a.restored_at
"""


async def begin_archive(
    conn: Connection, *, namespace: str, kind: str, reason: str, path: str
) -> Archive:
    """Note that an archive is about to be written."""
    return await fetch_one(
        conn,
        Archive,
        """
        INSERT INTO memory_archives AS a (namespace, kind, reason, state, path)
        VALUES (%(namespace)s, %(kind)s, %(reason)s, 'writing', %(path)s)
        RETURNING
        """
        + _COLUMNS,
        {"namespace": namespace, "kind": kind, "reason": reason, "path": path},
        missing="The archive was not noted.",
    )


async def lock_archive(conn: Connection, archive_id: int) -> Archive | None:
    """Keep an archive from being changed by others, and return it."""
    return await fetch_optional(
        conn,
        Archive,
        "SELECT " + _COLUMNS + "FROM memory_archives a WHERE a.id = %(id)s FOR UPDATE",
        {"id": archive_id},
    )


async def complete_archive(
    conn: Connection,
    archive_id: int,
    *,
    ids: Sequence[int],
    rows: int,
    size_bytes: int,
    sha256: str,
    digest: str,
    oldest_at: datetime | None,
    newest_at: datetime | None,
) -> Archive:
    """Note that an archive holds its rows."""
    return await fetch_one(
        conn,
        Archive,
        """
        UPDATE memory_archives AS a
        SET state = 'complete',
            ids = %(ids)s,
            rows = %(rows)s,
            size_bytes = %(size_bytes)s,
            sha256 = %(sha256)s,
            digest = %(digest)s,
            oldest_at = %(oldest_at)s::timestamptz,
            newest_at = %(newest_at)s::timestamptz,
            completed_at = now()
        WHERE a.id = %(id)s
        RETURNING
        """
        + _COLUMNS,
        {
            "id": archive_id,
            "ids": list(ids),
            "rows": rows,
            "size_bytes": size_bytes,
            "sha256": sha256,
            "digest": digest,
            "oldest_at": oldest_at,
            "newest_at": newest_at,
        },
        missing=f"There is no archive {archive_id}.",
    )


async def replace_file(
    conn: Connection,
    archive_id: int,
    *,
    path: str,
    ids: Sequence[int],
    size_bytes: int,
    sha256: str,
    digest: str,
) -> None:
    """Let an archive have another file, with fewer rows."""
    await execute(
        conn,
        """
        UPDATE memory_archives
        SET path = %(path)s,
            ids = %(ids)s,
            rows = cardinality(%(ids)s::integer[]),
            size_bytes = %(size_bytes)s,
            sha256 = %(sha256)s,
            digest = %(digest)s
        WHERE id = %(id)s
        """,
        {
            "id": archive_id,
            "path": path,
            "ids": list(ids),
            "size_bytes": size_bytes,
            "sha256": sha256,
            "digest": digest,
        },
    )


async def drop_archive(conn: Connection, archive_id: int) -> None:
    """Forget an archive that has no file, or no row left in it."""
    await execute(conn, "DELETE FROM memory_archives WHERE id = %(id)s", {"id": archive_id})


async def set_restored(conn: Connection, archive_id: int) -> Archive:
    """Note that everything of an archive is back."""
    return await fetch_one(
        conn,
        Archive,
        """
        UPDATE memory_archives AS a
        SET state = 'restored',
            restored_at = now()
        WHERE a.id = %(id)s
        RETURNING
        """
        + _COLUMNS,
        {"id": archive_id},
        missing=f"There is no archive {archive_id}.",
    )


async def get_archive(conn: Connection, archive_id: int, *, namespace: str) -> Archive:
    """Return one archive; `NotFound` where the namespace has none of this id."""
    return await fetch_one(
        conn,
        Archive,
        "SELECT "
        + _COLUMNS
        + "FROM memory_archives a WHERE a.id = %(id)s AND a.namespace = %(namespace)s",
        {"id": archive_id, "namespace": namespace},
        missing=f"There is no archive {archive_id} in namespace {namespace!r}.",
    )


async def list_archives(
    conn: Connection,
    *,
    namespace: str | None,
    kind: str | None = None,
    memory_id: int | None = None,
    limit: int | None = None,
) -> list[Archive]:
    """Return archives, the newest first; `memory_id`: those that hold this row."""
    return await fetch_all(
        conn,
        Archive,
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_archives a
        WHERE (%(namespace)s::text IS NULL OR a.namespace = %(namespace)s)
          AND (%(kind)s::text IS NULL OR a.kind = %(kind)s)
          AND (%(memory_id)s::integer IS NULL OR a.ids @> ARRAY[%(memory_id)s::integer])
        ORDER BY a.id DESC
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "kind": kind, "memory_id": memory_id, "limit": limit},
    )


async def list_abandoned(conn: Connection) -> list[Archive]:
    """Lock and return archives that nobody writes any more and that were never completed."""
    return await fetch_all(
        conn,
        Archive,
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_archives a
        WHERE a.state = 'writing'
          -- Whoever writes one holds its row, from a moment after it was noted.
          AND a.started_at < now() - interval '1 minute'
        ORDER BY a.id
        FOR UPDATE SKIP LOCKED
        """,
    )


async def list_partners(conn: Connection, archive: Archive) -> list[Archive]:
    """Return the other archives of the namespace of which a row is back in its table."""
    return await fetch_all(
        conn,
        Archive,
        "SELECT "
        + _COLUMNS
        + """
        FROM memory_archives a
        WHERE a.namespace = %(namespace)s
          AND a.id <> %(id)s
          AND a.state <> 'writing'
          AND EXISTS (
              SELECT
              FROM unnest(a.ids) AS i (id)
              WHERE CASE a.kind
                        WHEN 'episode'
                        THEN EXISTS (SELECT FROM episodic_memory e WHERE e.id = i.id)
                        ELSE EXISTS (SELECT FROM semantic_memory f WHERE f.id = i.id)
                    END
          )
        ORDER BY a.id
        """,
        {"namespace": archive.namespace, "id": archive.id},
    )


_PRESENT: dict[str, LiteralString] = {
    "episode": """
        SELECT id, namespace, created_at FROM episodic_memory WHERE id = ANY(%(ids)s)
    """,
    "fact": """
        SELECT id, namespace, created_at FROM semantic_memory WHERE id = ANY(%(ids)s)
    """,
}


async def list_present(
    conn: Connection, kind: str, ids: Sequence[int]
) -> dict[int, tuple[str, datetime | None]]:
    """Return (namespace, created at) of the rows with these ids that are in their table."""
    cursor = await conn.execute(_PRESENT[kind], {"ids": list(ids)})
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


_SPAN: dict[str, LiteralString] = {
    "episode": """
        SELECT ARRAY[min(timestamp), max(timestamp)] FROM episodic_memory WHERE id = ANY(%(ids)s)
    """,
    "fact": """
        SELECT ARRAY[min(created_at), max(created_at)] FROM semantic_memory WHERE id = ANY(%(ids)s)
    """,
}


async def span_of(
    conn: Connection, kind: str, ids: Sequence[int]
) -> tuple[datetime | None, datetime | None]:
    """Return the time of the oldest and of the newest of these rows."""
    span: Any = await fetch_value(conn, _SPAN[kind], {"ids": list(ids)})
    return span[0], span[1]
