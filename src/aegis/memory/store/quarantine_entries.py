"""SQL that puts entries of `memory_quarantine` back where they were, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from aegis.db import execute, fetch_optional, fetch_value
from aegis.errors import Conflict, NotFound
from aegis.memory.audit.report import Quarantined
from aegis.memory.store import graph_sides, sides

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["restore_one"]

_CHANGEABLE = frozenset(
    {
        "related_memories",
        "embedding",
        "embedding_model",
        "namespace",
        "timestamp",
        "review_at",
        "resolved_at",
    }
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
            f"{entry.source_table} is gone or has an outcome by now, or its id or source_id is "
            "taken by another one.",
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
    # The array comes after the relations, of which it would make others.
    names = [row[0] for row in await cursor.fetchall() if row[0] != "related_memories"]
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
        await _put_back_side(conn, entry)
    return put


async def _put_back_side(conn: Connection, entry: Quarantined) -> None:
    """Put back what other tables held of a row that is back.

    A relation whose other end is in quarantine goes into the entry of that one.
    """
    await sides.drop_retired_vectors(conn, entry.source_table, [entry.source_row_id])
    side = await fetch_value(
        conn,
        """
        SELECT (
            CASE jsonb_typeof(links)
                -- As it was written at first: the links of decisions alone.
                WHEN 'array' THEN jsonb_build_object('decision_episodes', links)
                ELSE links
            END
        )::text
        FROM memory_quarantine
        WHERE id = %(id)s
        """,
        {"id": entry.id},
    )
    if side is not None:
        await sides.put_side(conn, entry.source_table, [side])
        for relation in await graph_sides.put_relations(conn, [side]):
            await _hand_on(conn, entry, relation)
    related = entry.content.get("related_memories")
    await graph_sides.put_related(conn, {entry.source_row_id: related})


async def _hand_on(conn: Connection, entry: Quarantined, relation: str) -> None:
    await execute(
        conn,
        """
        UPDATE memory_quarantine q
        SET links = CASE jsonb_typeof(q.links)
                        WHEN 'object' THEN q.links
                        WHEN 'array' THEN jsonb_build_object('decision_episodes', q.links)
                        ELSE '{}'
                    END
                || jsonb_build_object(
                    'graph_relations',
                    coalesce(
                        CASE WHEN jsonb_typeof(q.links) = 'object'
                             THEN q.links -> 'graph_relations' END,
                        '[]'
                    ) || %(relation)s::jsonb
                )
        FROM jsonb_populate_record(NULL::graph_relations, %(relation)s::jsonb) AS r
        WHERE q.source_table = 'episodic_memory'
          AND q.source_row_id IN (r.from_episode, r.to_episode, r.said_in_episode)
          AND q.action = 'deleted'
          AND q.id <> %(id)s
        """,
        {"id": entry.id, "relation": relation},
    )


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
          AND {still}
        """
    ).format(
        table=sql.Identifier(entry.source_table),
        # A decision that has its outcome is not opened again.
        still=sql.SQL(
            "coalesce(e.outcome_status, 'pending') = 'pending'"
            if entry.source_table == "decision_outcomes"
            else "true"
        ),
        assignments=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("was", name))
            for name in names
        ),
    )
    return await execute(conn, statement, {"id": entry.id})
