"""SQL over `memory_quarantine`: putting rows and old values aside, and back again.

What is deleted or overwritten and what is put aside are one statement each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.errors import Conflict, NotFound
from aegis.memory.audit.report import Quarantined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "clear_vectors",
    "drop_related",
    "list_quarantined",
    "move_namespace",
    "put_aside",
    "redate",
    "restore_one",
]

_CHANGEABLE = frozenset(
    {"related_memories", "embedding", "embedding_model", "namespace", "timestamp"}
)


async def put_aside(
    conn: Connection,
    ids: Sequence[int],
    digests: Sequence[str],
    *,
    kind: str,
    reasons: Sequence[str],
) -> int:
    """Move episodes that still say what was judged into quarantine; return how many went.

    One that a decision belongs to stays.
    """
    return await execute(
        conn,
        """
        WITH judged AS (
            SELECT *
            FROM unnest(%(ids)s::int[], %(digests)s::text[], %(reasons)s::text[])
                AS j (id, digest, reason)
        ),
        gone AS (
            DELETE FROM episodic_memory e
            USING judged j
            WHERE e.id = j.id
              AND md5(e.summary) = j.digest
              AND NOT EXISTS (SELECT FROM decision_outcomes d WHERE d.decision_id = e.id)
            RETURNING e.id, e.namespace, to_jsonb(e) - 'search' AS content
        )
        INSERT INTO memory_quarantine (
            namespace, source_table, source_row_id, action, kind, reason, content, links
        )
        SELECT
            g.namespace,
            'episodic_memory',
            g.id,
            'deleted',
            %(kind)s,
            j.reason,
            g.content,
            -- Gone with the episode at the end of this statement; still seen here.
            (
                SELECT jsonb_agg(to_jsonb(l))
                FROM decision_episodes l
                WHERE l.episode_id = g.id
            )
        FROM gone g
        JOIN judged j ON j.id = g.id
        ORDER BY g.id
        """,
        {"ids": list(ids), "digests": list(digests), "reasons": list(reasons), "kind": kind},
    )


async def drop_related(conn: Connection, ids: Sequence[int], *, kind: str) -> int:
    """Take ids that are gone out of `related_memories`; return how many rows changed."""
    return await execute(
        conn,
        """
        WITH old AS (
            SELECT e.id, e.namespace, e.related_memories
            FROM episodic_memory e
            WHERE e.id = ANY(%(ids)s::int[])
            ORDER BY e.id
            FOR UPDATE
        ),
        left_over AS (
            SELECT o.id,
                   ARRAY(
                       SELECT r.id
                       FROM unnest(o.related_memories) WITH ORDINALITY AS r (id, place)
                       WHERE EXISTS (SELECT FROM episodic_memory x WHERE x.id = r.id)
                       ORDER BY r.place
                   ) AS related
            FROM old o
        ),
        kept AS (
            INSERT INTO memory_quarantine (
                namespace, source_table, source_row_id, action, kind, reason, content
            )
            SELECT o.namespace, 'episodic_memory', o.id, 'changed', %(kind)s,
                   'It named episodes that are gone.',
                   jsonb_build_object('related_memories', to_jsonb(o.related_memories))
            FROM old o
            JOIN left_over l ON l.id = o.id
            WHERE l.related IS DISTINCT FROM o.related_memories
        )
        UPDATE episodic_memory e
        SET related_memories = l.related
        FROM left_over l
        WHERE e.id = l.id
          AND l.related IS DISTINCT FROM e.related_memories
        """,
        {"ids": list(ids), "kind": kind},
    )


_CLEAR: LiteralString = """
    WITH old AS (
        SELECT e.id, e.namespace, e.embedding, e.embedding_model
        FROM {table} e
        WHERE e.id = ANY(%(ids)s::int[])
          AND e.embedding IS NOT NULL
        ORDER BY e.id
        FOR UPDATE
    ),
    kept AS (
        INSERT INTO memory_quarantine (
            namespace, source_table, source_row_id, action, kind, reason, content
        )
        SELECT o.namespace, {name}, o.id, 'changed', %(kind)s, %(reason)s,
               jsonb_build_object(
                   'embedding', o.embedding::text, 'embedding_model', o.embedding_model
               )
        FROM old o
    )
    UPDATE {table} e
    SET embedding = NULL,
        embedding_model = NULL
    FROM old o
    WHERE e.id = o.id
"""


async def clear_vectors(
    conn: Connection, table: LiteralString, ids: Sequence[int], *, kind: str, reason: str
) -> int:
    """Take the vectors of rows away, so that the backfill makes new ones; return how many."""
    statement = sql.SQL(_CLEAR).format(table=sql.Identifier(table), name=sql.Literal(table))
    return await execute(conn, statement, {"ids": list(ids), "kind": kind, "reason": reason})


async def redate(conn: Connection, ids: Sequence[int], *, kind: str) -> int:
    """Date episodes by when they were recorded; return how many changed."""
    return await execute(
        conn,
        """
        WITH old AS (
            SELECT e.id, e.namespace, e.timestamp, e.created_at
            FROM episodic_memory e
            WHERE e.id = ANY(%(ids)s::int[])
              AND e.timestamp > now() + interval '1 day'
            ORDER BY e.id
            FOR UPDATE
        ),
        kept AS (
            INSERT INTO memory_quarantine (
                namespace, source_table, source_row_id, action, kind, reason, content
            )
            SELECT o.namespace, 'episodic_memory', o.id, 'changed', %(kind)s,
                   'It was dated ahead of time.',
                   jsonb_build_object('timestamp', o.timestamp)
            FROM old o
        )
        UPDATE episodic_memory e
        SET timestamp = least(coalesce(o.created_at, now()), now())
        FROM old o
        WHERE e.id = o.id
        """,
        {"ids": list(ids), "kind": kind},
    )


_MOVE: LiteralString = """
    WITH old AS (
        SELECT e.id, e.namespace
        FROM {table} e
        WHERE e.namespace = %(old)s
          -- One whose key the other namespace has already stays.
          AND NOT EXISTS (
              SELECT
              FROM {table} x
              WHERE x.namespace = %(new)s
                AND x.source_id = e.source_id
          )
        ORDER BY e.id
        LIMIT %(limit)s
        FOR UPDATE
    ),
    kept AS (
        INSERT INTO memory_quarantine (
            namespace, source_table, source_row_id, action, kind, reason, content
        )
        SELECT %(new)s, {name}, o.id, 'changed', %(kind)s, %(reason)s,
               jsonb_build_object('namespace', o.namespace)
        FROM old o
    )
    UPDATE {table} e
    SET namespace = %(new)s
    FROM old o
    WHERE e.id = o.id
"""


async def move_namespace(
    conn: Connection, table: LiteralString, old: str, new: str, *, kind: str, limit: int
) -> int:
    """Move up to `limit` rows from a namespace into another; return how many went."""
    statement = sql.SQL(_MOVE).format(table=sql.Identifier(table), name=sql.Literal(table))
    params: dict[str, Any] = {"old": old, "new": new, "kind": kind, "limit": limit}
    return await execute(conn, statement, params | {"reason": f"It was in namespace {old!r}."})


async def list_quarantined(
    conn: Connection, *, namespace: str | None, kind: str | None, after: int, limit: int
) -> list[Quarantined]:
    """Return what is in quarantine, by number."""
    return await fetch_all(
        conn,
        Quarantined,
        """
        SELECT
            q.id,
            q.namespace,
            q.source_table,
            q.source_row_id,
            q.action,
            q.kind,
            q.reason,
            q.content - 'embedding' AS content,
            q.created_at
        FROM memory_quarantine q
        WHERE q.id > %(after)s
          AND (%(namespace)s::text IS NULL OR q.namespace = %(namespace)s)
          AND (%(kind)s::text IS NULL OR q.kind = %(kind)s)
        ORDER BY q.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "kind": kind, "after": after, "limit": limit},
    )


async def restore_one(conn: Connection, entry_id: int, *, namespace: str | None) -> None:
    """Put one entry back where it was, and forget it.

    Raises:
        NotFound: there is no such entry.
        Conflict: its id or `source_id` is taken, or the row that was changed is gone.
    """
    entry = await fetch_optional(
        conn,
        Quarantined,
        """
        SELECT id, namespace, source_table, source_row_id, action, kind, reason,
               content - 'embedding' AS content, created_at
        FROM memory_quarantine
        WHERE id = %(id)s
          AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
        FOR UPDATE
        """,
        {"id": entry_id, "namespace": namespace},
    )
    if entry is None:
        raise NotFound(f"There is no entry {entry_id} in quarantine.")
    put = _put_back_row if entry.action == "deleted" else _put_back_values
    if await put(conn, entry) == 0:
        raise Conflict(
            f"Entry {entry_id} cannot be restored: its row {entry.source_row_id} of "
            f"{entry.source_table} is gone, or its id or source_id is taken by another one.",
            code="restore_blocked",
        )
    await execute(conn, "DELETE FROM memory_quarantine WHERE id = %(id)s", {"id": entry_id})


async def _put_back_row(conn: Connection, entry: Quarantined) -> int:
    """Insert a row with all columns that it had and its table has; return how many (0 or 1)."""
    cursor = await conn.execute(
        """
        SELECT a.attname
        FROM pg_attribute a
        WHERE a.attrelid = %(table)s::regclass
          AND a.attnum > 0
          AND NOT a.attisdropped
          AND a.attgenerated = ''
          -- A column that came later has its default.
          AND EXISTS (
              SELECT FROM memory_quarantine q WHERE q.id = %(id)s AND q.content ? a.attname::text
          )
        ORDER BY a.attnum
        """,
        {"table": entry.source_table, "id": entry.id},
    )
    names = [row[0] for row in await cursor.fetchall()]
    statement = sql.SQL(
        """
        INSERT INTO {table} ({columns})
        SELECT {values}
        FROM memory_quarantine q
        CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.content) AS was
        WHERE q.id = %(id)s
        ON CONFLICT DO NOTHING
        """
    ).format(
        table=sql.Identifier(entry.source_table),
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        values=sql.SQL(", ").join(sql.Identifier("was", name) for name in names),
    )
    put = await execute(conn, statement, {"id": entry.id})
    if put:
        await execute(
            conn,
            """
            INSERT INTO decision_episodes (decision_id, episode_id, role)
            SELECT l.decision_id, l.episode_id, l.role
            FROM memory_quarantine q
            CROSS JOIN LATERAL jsonb_populate_recordset(NULL::decision_episodes, q.links) AS l
            JOIN decision_outcomes d ON d.id = l.decision_id
            WHERE q.id = %(id)s
            ON CONFLICT DO NOTHING
            """,
            {"id": entry.id},
        )
    return put


async def _put_back_values(conn: Connection, entry: Quarantined) -> int:
    """Give a row its old values back; return how many rows (0 or 1)."""
    keys = await fetch_value(
        conn,
        "SELECT array_agg(k ORDER BY k) FROM memory_quarantine q, jsonb_object_keys(q.content) k "
        "WHERE q.id = %(id)s",
        {"id": entry.id},
    )
    names = [name for name in keys or () if name in _CHANGEABLE]
    if not names:
        return 0
    statement = sql.SQL(
        """
        UPDATE {table} e
        SET {assignments}
        FROM memory_quarantine q
        CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.content) AS was
        WHERE q.id = %(id)s
          AND e.id = q.source_row_id
        """
    ).format(
        table=sql.Identifier(entry.source_table),
        assignments=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("was", name))
            for name in names
        ),
    )
    return await execute(conn, statement, {"id": entry.id})
