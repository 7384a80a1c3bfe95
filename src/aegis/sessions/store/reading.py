"""SQL that reads sessions and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from aegis.db import execute, fetch_all, fetch_one, fetch_optional
from aegis.sessions.models import Session, SessionEvent, SessionRow, ToolUse, TouchedFile
from aegis.sessions.store.recording import ROW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "find_row",
    "get_session",
    "list_agents",
    "list_events",
    "list_files",
    "list_recalled",
    "list_sessions",
    "list_tools",
    "set_recalled",
]

#: The columns of `Session`, in its order.
_COLUMNS: LiteralString = """
    s.session_id,
    p.session_id AS parent,
    s.agent_type,
    s.namespace,
    s.user_id,
    coalesce(s.status, 'running') AS status,
    s.turn,
    s.source,
    s.command,
    s.title,
    s.model,
    s.cwd,
    coalesce(s.started_at, s.last_event_at, 'epoch') AS started_at,
    coalesce(s.last_event_at, s.ended_at, s.started_at, 'epoch') AS last_event_at,
    s.ended_at,
    s.end_reason,
    s.resumes,
    s.prompts,
    s.tool_calls,
    s.tool_failures,
    s.input_tokens,
    s.output_tokens,
    s.cache_write_tokens,
    s.cache_read_tokens,
    s.cost_usd::double precision AS cost_usd,
    s.unpriced_messages,
    s.transcript_path
"""

_MAX_FILES = 1_000

_EVENTS: LiteralString = """
    SELECT
        e.id,
        s.session_id,
        e.event,
        e.at,
        e.tool,
        e.path,
        e.failed,
        e.text,
        e.details,
        coalesce(e.recalled, '{}') AS recalled
    FROM session_events e
    JOIN claude_sessions s ON s.id = e.session_id
    WHERE s.namespace = %(namespace)s
      AND (%(session_id)s::text IS NULL OR s.session_id = %(session_id)s)
"""
_AFTER: LiteralString = "AND e.id > %(after)s ORDER BY e.id LIMIT %(limit)s"
_LAST: LiteralString = "ORDER BY e.id DESC LIMIT %(limit)s"


async def list_sessions(
    conn: Connection,
    *,
    namespace: str,
    statuses: Sequence[str],
    cwd: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Session]:
    """Return sessions without sub-agents, the latest start first.

    `before` is the start and the session id of the last of the page before.
    """
    at, session_id = (None, "") if before is None else before
    return await fetch_all(
        conn,
        Session,
        "SELECT "
        + _COLUMNS
        + """
        FROM claude_sessions s
        LEFT JOIN claude_sessions p ON p.id = s.parent_id
        WHERE s.namespace = %(namespace)s
          AND s.parent_id IS NULL
          -- Plain SQL may have set it so; a page cannot end there.
          AND s.started_at IS NOT NULL
          AND (%(statuses)s::text[] = '{}' OR s.status = ANY(%(statuses)s))
          AND (%(cwd)s::text IS NULL OR s.cwd = %(cwd)s)
          AND (
              %(before)s::timestamptz IS NULL
              OR (s.started_at, s.id) < (
                  %(before)s,
                  (SELECT b.id FROM claude_sessions b WHERE b.session_id = %(before_id)s)
              )
          )
        ORDER BY s.started_at DESC, s.id DESC
        LIMIT %(limit)s
        """,
        {
            "namespace": namespace,
            "statuses": list(statuses),
            "cwd": cwd,
            "before": at,
            "before_id": session_id,
            "limit": limit,
        },
    )


async def get_session(conn: Connection, session_id: str, *, namespace: str) -> Session:
    """Return one session (`NotFound`)."""
    return await fetch_one(
        conn,
        Session,
        "SELECT "
        + _COLUMNS
        + """
        FROM claude_sessions s
        LEFT JOIN claude_sessions p ON p.id = s.parent_id
        WHERE s.session_id = %(session_id)s
          AND s.namespace = %(namespace)s
        """,
        {"session_id": session_id, "namespace": namespace},
        missing=f"There is no session {session_id!r} in namespace {namespace!r}.",
    )


async def list_agents(conn: Connection, session_id: str) -> list[Session]:
    """Return the sub-agents of a session, in the order they were started, 1,000 at most."""
    return await fetch_all(
        conn,
        Session,
        "SELECT "
        + _COLUMNS
        + """
        FROM claude_sessions p
        JOIN claude_sessions s ON s.parent_id = p.id
        WHERE p.session_id = %(session_id)s
        ORDER BY s.started_at, s.id
        LIMIT 1000
        """,
        {"session_id": session_id},
    )


async def list_tools(conn: Connection, session_id: str) -> list[ToolUse]:
    """Return how often a session called each tool, the most called first."""
    return await fetch_all(
        conn,
        ToolUse,
        """
        SELECT e.tool, count(*) AS calls, count(*) FILTER (WHERE e.failed) AS failures
        FROM session_events e
        JOIN claude_sessions s ON s.id = e.session_id
        WHERE s.session_id = %(session_id)s
          AND e.event IN ('PostToolUse', 'PostToolUseFailure')
          AND e.tool IS NOT NULL
        GROUP BY e.tool
        ORDER BY calls DESC, e.tool
        """,
        {"session_id": session_id},
    )


async def list_files(
    conn: Connection, session_id: str, *, limit: int = _MAX_FILES
) -> list[TouchedFile]:
    """Return the files that a session's tools touched, the most touched first."""
    return await fetch_all(
        conn,
        TouchedFile,
        """
        SELECT e.path, array_agg(DISTINCT e.tool ORDER BY e.tool) AS tools, count(*) AS calls
        FROM session_events e
        JOIN claude_sessions s ON s.id = e.session_id
        WHERE s.session_id = %(session_id)s
          AND e.event IN ('PostToolUse', 'PostToolUseFailure')
          AND e.path IS NOT NULL
        GROUP BY e.path
        ORDER BY calls DESC, e.path
        LIMIT %(limit)s
        """,
        {"session_id": session_id, "limit": limit},
    )


async def list_events(
    conn: Connection,
    *,
    namespace: str,
    session_id: str | None,
    after: int | None,
    limit: int,
) -> list[SessionEvent]:
    """Return events in the order they came: the last ones, or those after an id."""
    where: dict[str, object] = {"namespace": namespace, "session_id": session_id, "limit": limit}
    if after is not None:
        return await fetch_all(conn, SessionEvent, _EVENTS + _AFTER, {**where, "after": after})
    rows = await fetch_all(conn, SessionEvent, _EVENTS + _LAST, where)
    return rows[::-1]


async def find_row(conn: Connection, session_id: str) -> SessionRow | None:
    """Return a session's row as events see it, unlocked."""
    return await fetch_optional(
        conn,
        SessionRow,
        "SELECT "
        + ROW
        + """
        FROM claude_sessions s
        WHERE s.session_id = %(session_id)s
        """,
        {"session_id": session_id},
    )


async def list_recalled(conn: Connection, session_id: str) -> set[int]:
    """Return the ids of memories that the session was given since its context last began."""
    cursor = await conn.execute(
        """
        WITH began AS (
            SELECT coalesce(max(e.id), 0) AS id
            FROM session_events e
            JOIN claude_sessions s ON s.id = e.session_id
            WHERE s.session_id = %(session_id)s
              AND e.event IN ('SessionStart', 'PreCompact', 'PostCompact')
        )
        SELECT DISTINCT unnest(e.recalled)
        FROM began b
        JOIN session_events e ON e.id >= b.id
        JOIN claude_sessions s ON s.id = e.session_id
        WHERE s.session_id = %(session_id)s
          AND e.recalled IS NOT NULL
        """,
        {"session_id": session_id},
    )
    return {row[0] for row in await cursor.fetchall()}


async def set_recalled(conn: Connection, session_id: str, key: str, ids: Sequence[int]) -> None:
    """Note which memories an event was answered with."""
    await execute(
        conn,
        """
        UPDATE session_events e
        SET recalled = %(ids)s
        FROM claude_sessions s
        WHERE s.id = e.session_id
          AND s.session_id = %(session_id)s
          AND e.key = %(key)s
        """,
        {"session_id": session_id, "key": key, "ids": list(ids)},
    )
