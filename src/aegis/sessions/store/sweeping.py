"""SQL that finds sessions with something to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all
from aegis.sessions.models import SessionEvent, SessionRow
from aegis.sessions.store.recording import ROW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["clear_due", "drop_events", "list_due", "list_said", "list_silent", "put_back"]


async def list_due(conn: Connection, *, limit: int) -> list[SessionRow]:
    """Return sessions whose transcripts have lines to read."""
    return await fetch_all(
        conn,
        SessionRow,
        "SELECT "
        + ROW
        + """
        FROM claude_sessions s
        WHERE s.transcript_due
        ORDER BY s.id
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )


async def clear_due(conn: Connection, session_id: str) -> None:
    """Note that a transcript is being read; what is written to it later marks it anew."""
    await execute(
        conn,
        """
        UPDATE claude_sessions
        SET transcript_due = false
        WHERE session_id = %(session_id)s
          AND transcript_due
        """,
        {"session_id": session_id},
    )


async def list_silent(conn: Connection, *, before: datetime, limit: int) -> list[SessionRow]:
    """Return running sessions that nothing was heard of since `before`, the longest silent first.

    Rows of plain SQL are whoever wrote them's to close.
    """
    return await fetch_all(
        conn,
        SessionRow,
        "SELECT "
        + ROW
        + """
        FROM claude_sessions s
        WHERE s.status = 'running'
          AND s.source IS NOT NULL
          AND s.last_event_at < %(before)s
        ORDER BY s.last_event_at
        LIMIT %(limit)s
        """,
        {"before": before, "limit": limit},
    )


async def put_back(conn: Connection, now: datetime) -> int:
    """Let sessions that were heard of by a clock far ahead count as heard of now; return how many.

    They would be silent for as long as that clock was wrong, and never be closed.
    """
    return await execute(
        conn,
        """
        UPDATE claude_sessions
        SET last_event_at = %(now)s
        WHERE status = 'running'
          AND source IS NOT NULL
          AND last_event_at > %(now)s + INTERVAL '1 hour'
        """,
        {"now": now},
    )


async def list_said(
    conn: Connection, session_id: str, *, after: datetime | None, without: Sequence[str]
) -> list[SessionEvent]:
    """Return what hooks heard in a session after a time: prompts, answers, failures.

    Prompts of the sources `without` are left out.
    """
    return await fetch_all(
        conn,
        SessionEvent,
        """
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
        WHERE s.session_id = %(session_id)s
          AND e.event IN ('UserPromptSubmit', 'Stop', 'PostToolUseFailure')
          AND e.text IS NOT NULL
          AND (e.event <> 'UserPromptSubmit'
               OR coalesce(e.details->>'source', '') <> ALL (%(without)s))
          AND (%(after)s::timestamptz IS NULL OR e.at > %(after)s)
        ORDER BY e.id
        """,
        {"session_id": session_id, "after": after, "without": [*without]},
    )


async def drop_events(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete events of sessions that ended, older than `before`; what is locked waits."""
    return await execute(
        conn,
        """
        DELETE FROM session_events
        WHERE id IN (
            SELECT e.id
            FROM session_events e
            JOIN claude_sessions s ON s.id = e.session_id
            WHERE e.at < %(before)s
              AND s.status IS DISTINCT FROM 'running'
            LIMIT %(limit)s
            FOR UPDATE OF e SKIP LOCKED
        )
        """,
        {"before": before, "limit": limit},
    )
