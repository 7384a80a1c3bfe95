"""SQL over `memory_quarantine`: putting rows and old values aside; `quarantine_entries` undoes it.

What is deleted or overwritten and what is put aside are one statement each, and what other tables
hold of a row goes aside with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import execute, fetch_all
from aegis.memory.audit.report import Quarantined
from aegis.memory.store import sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "clear_vectors",
    "close",
    "drop_related",
    "list_quarantined",
    "move_namespace",
    "put_aside",
    "redate",
    "remind",
]


async def put_aside(
    conn: Connection,
    ids: Sequence[int],
    digests: Sequence[str],
    *,
    kind: str,
    reasons: Sequence[str],
) -> int:
    """Move episodes that still say what was judged into quarantine; return how many went.

    What other tables hold of them goes along. One that a decision belongs to stays.
    """
    params: dict[str, Any] = {"ids": list(ids), "digests": list(digests)}
    cursor = await conn.execute(
        """
        SELECT e.id
        FROM unnest(%(ids)s::int[], %(digests)s::text[]) AS j (id, digest)
        JOIN episodic_memory e ON e.id = j.id
        WHERE md5(e.summary) = j.digest
          AND NOT EXISTS (SELECT FROM decision_outcomes d WHERE d.decision_id = e.id)
        ORDER BY e.id
        FOR UPDATE OF e
        """,
        params,
    )
    held = [row[0] for row in await cursor.fetchall()]
    beside = await sides.read_side(conn, "episodic_memory", held)
    why = dict(zip(ids, reasons, strict=True))
    return await execute(
        conn,
        """
        WITH judged AS (
            SELECT *
            FROM unnest(%(ids)s::int[], %(reasons)s::text[], %(sides)s::text[])
                AS j (id, reason, side)
        ),
        gone AS (
            DELETE FROM episodic_memory e
            USING judged j
            WHERE e.id = j.id
            RETURNING e.id, e.namespace, to_jsonb(e) - 'search' AS content
        )
        INSERT INTO memory_quarantine (
            namespace, source_table, source_row_id, action, kind, reason, content, links
        )
        SELECT g.namespace, 'episodic_memory', g.id, 'deleted', %(kind)s, j.reason, g.content,
               j.side::jsonb
        FROM gone g
        JOIN judged j ON j.id = g.id
        ORDER BY g.id
        """,
        {
            "ids": held,
            "reasons": [why[row_id] for row_id in held],
            "sides": [beside.get(row_id) for row_id in held],
            "kind": kind,
        },
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


_OPEN: LiteralString = """
    WITH old AS (
        SELECT d.id, d.namespace, d.review_at
        FROM decision_outcomes d
        WHERE d.id = ANY(%(ids)s::int[])
          AND (d.outcome_status IS NULL OR d.outcome_status::text = 'pending')
          AND d.resolved_at IS NULL
          AND coalesce(d.review_at, d.created_at, to_timestamp(0)) < now()
        ORDER BY d.id
        FOR UPDATE
    ),
"""


async def remind(conn: Connection, ids: Sequence[int], *, days: int) -> int:
    """Have open decisions that are due be due again in so many days; return how many."""
    return await execute(
        conn,
        _OPEN
        + """
        kept AS (
            INSERT INTO memory_quarantine (
                namespace, source_table, source_row_id, action, kind, reason, content
            )
            SELECT o.namespace, 'decision_outcomes', o.id, 'changed', 'decisions_open',
                   'Nobody had said how it turned out.',
                   jsonb_build_object('review_at', o.review_at)
            FROM old o
        )
        UPDATE decision_outcomes d
        SET review_at = now() + make_interval(days => %(days)s)
        FROM old o
        WHERE d.id = o.id
        """,
        {"ids": list(ids), "days": days},
    )


async def close(conn: Connection, ids: Sequence[int]) -> int:
    """Close open decisions that are due, without an outcome; return how many."""
    return await execute(
        conn,
        _OPEN
        + """
        kept AS (
            INSERT INTO memory_quarantine (
                namespace, source_table, source_row_id, action, kind, reason, content
            )
            SELECT o.namespace, 'decision_outcomes', o.id, 'changed', 'decisions_open',
                   'Nobody knows how it turned out.',
                   jsonb_build_object('resolved_at', NULL)
            FROM old o
        )
        UPDATE decision_outcomes d
        SET resolved_at = now()
        FROM old o
        WHERE d.id = o.id
        """,
        {"ids": list(ids)},
    )


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
