"""SQL that writes events. Sessions are locked in one order: writers never wait in a ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all
from aegis.sessions.models import SessionRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from aegis.db import Connection
    from aegis.sessions.models import NewEvent

__all__ = ["ROW", "insert_events", "insert_sessions", "lock_sessions", "save_rows"]

#: The columns of `SessionRow`.
ROW: LiteralString = """
    s.id,
    s.session_id,
    s.namespace,
    coalesce(s.status, 'running') AS status,
    s.turn,
    s.source,
    coalesce(s.started_at, s.last_event_at, 'epoch') AS started_at,
    s.last_event_at,
    s.ended_at,
    s.end_reason,
    s.user_id,
    s.command,
    s.title,
    s.model,
    s.cwd,
    s.agent_type,
    s.transcript_path,
    s.transcript_offset,
    s.transcript_at,
    s.transcript_due,
    s.resumes,
    s.prompts,
    s.tool_calls,
    s.tool_failures
"""


async def insert_sessions(
    conn: Connection, firsts: Sequence[tuple[str, str, datetime, str | None]]
) -> None:
    """Add sessions that are not there: session id, namespace, start, parent.

    Parents come before their children, and otherwise ids in one order.
    """
    await execute(
        conn,
        """
        INSERT INTO claude_sessions (session_id, namespace, started_at, status)
        SELECT DISTINCT ON (n.session_id) n.session_id, n.namespace, n.at, 'running'
        FROM unnest(
            %(ids)s::text[],
            %(namespaces)s::text[],
            %(times)s::timestamptz[]
        ) AS n (session_id, namespace, at)
        ORDER BY n.session_id, n.at
        ON CONFLICT (session_id) DO NOTHING
        """,
        {
            "ids": [f[0] for f in firsts],
            "namespaces": [f[1] for f in firsts],
            "times": [f[2] for f in firsts],
        },
    )
    children = [f for f in firsts if f[3] is not None]
    if children:
        await execute(
            conn,
            """
            UPDATE claude_sessions s
            SET parent_id = p.id
            FROM unnest(%(ids)s::text[], %(parents)s::text[]) AS n (session_id, parent)
            JOIN claude_sessions p ON p.session_id = n.parent
            WHERE s.session_id = n.session_id
              AND s.parent_id IS NULL
            """,
            {"ids": [c[0] for c in children], "parents": [c[3] for c in children]},
        )


async def lock_sessions(conn: Connection, session_ids: Sequence[str]) -> dict[str, SessionRow]:
    """Return the sessions' rows, locked until the transaction ends, by session id."""
    rows = await fetch_all(
        conn,
        SessionRow,
        "SELECT "
        + ROW
        + """
        FROM claude_sessions s
        WHERE s.session_id = ANY(%(ids)s)
        ORDER BY s.session_id
        FOR UPDATE
        """,
        {"ids": list(session_ids)},
    )
    return {row.session_id: row for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    session_id: UUID
    key: str


async def insert_events(
    conn: Connection, events: Sequence[NewEvent], rows: Mapping[str, SessionRow]
) -> set[tuple[UUID, str]]:
    """Add the events that are not there and return the row and key of those."""
    found = await fetch_all(
        conn,
        _New,
        """
        INSERT INTO session_events (session_id, key, event, at, tool, path, failed, text, details)
        SELECT
            n.session_id,
            n.key,
            n.event,
            n.at,
            n.tool,
            n.path,
            n.failed,
            n.text,
            n.details
        FROM unnest(
            %(sessions)s::uuid[],
            %(keys)s::text[],
            %(events)s::text[],
            %(times)s::timestamptz[],
            %(tools)s::text[],
            %(paths)s::text[],
            %(failed)s::boolean[],
            %(texts)s::text[],
            %(details)s::jsonb[]
        ) WITH ORDINALITY
            AS n (session_id, key, event, at, tool, path, failed, text, details, place)
        ORDER BY n.place
        ON CONFLICT (session_id, key) DO NOTHING
        RETURNING session_id, key
        """,
        {
            "sessions": [rows[e.session_id].id for e in events],
            "keys": [e.key for e in events],
            "events": [e.event for e in events],
            "times": [e.at for e in events],
            "tools": [e.tool for e in events],
            "paths": [e.path for e in events],
            "failed": [e.failed for e in events],
            "texts": [e.text for e in events],
            "details": [Jsonb(e.details) if e.details else None for e in events],
        },
    )
    return {(row.session_id, row.key) for row in found}


async def save_rows(conn: Connection, rows: Sequence[SessionRow]) -> None:
    """Write what follows from events back to rows that the transaction has locked."""
    for row in rows:
        values: dict[str, Any] = {name: getattr(row, name) for name in row.__slots__}
        await execute(
            conn,
            """
            UPDATE claude_sessions
            SET status = %(status)s,
                turn = %(turn)s,
                source = %(source)s,
                started_at = %(started_at)s,
                last_event_at = %(last_event_at)s,
                ended_at = %(ended_at)s,
                end_reason = %(end_reason)s,
                user_id = %(user_id)s,
                command = %(command)s,
                title = %(title)s,
                model = %(model)s,
                cwd = %(cwd)s,
                agent_type = %(agent_type)s,
                transcript_path = %(transcript_path)s,
                transcript_offset = %(transcript_offset)s,
                transcript_at = %(transcript_at)s,
                transcript_due = %(transcript_due)s,
                resumes = %(resumes)s,
                prompts = %(prompts)s,
                tool_calls = %(tool_calls)s,
                tool_failures = %(tool_failures)s
            WHERE id = %(id)s
            """,
            values,
        )
