"""SQL of schedules. A row that was removed stays where it is one of the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.worker.models import Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.worker.models import NewSchedule

__all__ = [
    "add",
    "add_default",
    "drop_default",
    "find",
    "has_job",
    "list_ahead",
    "list_due",
    "list_schedules",
    "move",
    "now",
    "put_next",
    "remove",
    "seconds_to_next",
    "set_paused",
]

_COLUMNS: LiteralString = """
    s.id,
    s.name,
    s.cron,
    s.timezone,
    s.function,
    s.arguments,
    s.priority,
    s.max_attempts,
    s.timeout_s,
    s.missed,
    s.grace_s,
    s.jitter_s,
    s.paused,
    s.next_at,
    s.last_planned_at,
    s.skipped,
    s.created_by,
    s.created_at,
    s.changed_at
"""


async def now(conn: Connection) -> datetime:
    """Return the server's time: the one clock of all workers."""
    return await fetch_value(conn, "SELECT now()")


async def find(conn: Connection, name: str, *, lock: bool = False) -> Schedule | None:
    """Return a schedule by name, or None; `lock` keeps planners and others away from it."""
    return await fetch_optional(
        conn,
        Schedule,
        "SELECT "
        + _COLUMNS
        + " FROM schedules s WHERE s.name = %(name)s AND s.removed_at IS NULL"
        + (" FOR UPDATE" if lock else ""),
        {"name": name},
    )


async def list_schedules(conn: Connection) -> list[Schedule]:
    """Return all schedules by name."""
    return await fetch_all(
        conn,
        Schedule,
        "SELECT " + _COLUMNS + " FROM schedules s WHERE s.removed_at IS NULL ORDER BY s.name",
    )


async def list_due(conn: Connection, *, limit: int) -> list[Schedule]:
    """Return schedules whose time has come, locked; those that another plans are left to it."""
    return await fetch_all(
        conn,
        Schedule,
        "SELECT "
        + _COLUMNS
        + """
        FROM schedules s
        WHERE s.next_at <= now()
          AND NOT s.paused
          AND s.removed_at IS NULL
        ORDER BY s.next_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
        """,
        {"limit": limit},
    )


async def list_ahead(conn: Connection) -> list[Schedule]:
    """Return the schedules whose time has not come, for a look at whether it is too far away."""
    return await fetch_all(
        conn,
        Schedule,
        "SELECT "
        + _COLUMNS
        + """
        FROM schedules s
        WHERE (s.next_at > now() OR s.next_at IS NULL)
          AND NOT s.paused
          AND s.removed_at IS NULL
        ORDER BY s.id
        FOR UPDATE SKIP LOCKED
        """,
    )


async def has_job(conn: Connection, name: str) -> bool:
    """Tell whether a job of a schedule waits or runs."""
    return await fetch_value(
        conn,
        """
        SELECT EXISTS (
            SELECT
            FROM (
                SELECT state
                FROM jobs
                WHERE schedule = %(name)s
                ORDER BY id DESC
                -- The newest only: history is long.
                LIMIT 20
            ) newest
            WHERE state IN ('waiting', 'running')
        )
        """,
        {"name": name},
    )


async def move(
    conn: Connection,
    schedule_id: int,
    *,
    next_at: datetime | None,
    last: datetime | None,
    skipped: int,
) -> None:
    """Note what was planned and when the next time is."""
    await execute(
        conn,
        """
        UPDATE schedules
        SET next_at = %(next_at)s,
            last_planned_at = coalesce(%(last)s, last_planned_at),
            skipped = skipped + %(skipped)s
        WHERE id = %(id)s
        """,
        {"id": schedule_id, "next_at": next_at, "last": last, "skipped": skipped},
    )


async def put_next(conn: Connection, schedule_id: int, next_at: datetime | None) -> None:
    """Set the next time alone."""
    await execute(
        conn,
        "UPDATE schedules SET next_at = %(next_at)s WHERE id = %(id)s",
        {"id": schedule_id, "next_at": next_at},
    )


async def seconds_to_next(conn: Connection) -> float | None:
    """Return seconds until the next time of any schedule, 0 for now, None for never."""
    seconds = await fetch_value(
        conn,
        """
        SELECT extract(epoch FROM min(next_at) - now())::float8
        FROM schedules
        WHERE NOT paused
          AND removed_at IS NULL
        """,
    )
    return None if seconds is None else max(seconds, 0.0)


_VALUES: LiteralString = """
    %(name)s, %(cron)s, %(timezone)s, %(function)s, %(arguments)s, %(priority)s,
    %(max_attempts)s, %(timeout_s)s, %(missed)s, %(grace_s)s, %(jitter_s)s, %(created_by)s,
    %(next_at)s
"""
_SET: LiteralString = """
    SET cron = excluded.cron,
        timezone = excluded.timezone,
        function = excluded.function,
        arguments = excluded.arguments,
        priority = excluded.priority,
        max_attempts = excluded.max_attempts,
        timeout_s = excluded.timeout_s,
        missed = excluded.missed,
        grace_s = excluded.grace_s,
        jitter_s = excluded.jitter_s,
        next_at = excluded.next_at
"""
_INTO: LiteralString = """
    INSERT INTO schedules AS s (
        name, cron, timezone, function, arguments, priority, max_attempts, timeout_s, missed,
        grace_s, jitter_s, created_by, next_at
    )
    VALUES (
"""


def _params(new: NewSchedule, next_at: datetime | None) -> dict[str, Any]:
    return {
        "name": new.name,
        "cron": new.cron,
        "timezone": new.timezone,
        "function": new.function,
        "arguments": Jsonb(new.arguments),
        "priority": new.priority,
        "max_attempts": new.max_attempts,
        "timeout_s": new.timeout_s,
        "missed": new.missed,
        "grace_s": new.grace_s,
        "jitter_s": new.jitter_s,
        "created_by": new.created_by,
        "next_at": next_at,
    }


async def add(
    conn: Connection, new: NewSchedule, *, next_at: datetime | None, replace: bool
) -> Schedule | None:
    """Add a schedule and return it; None where there is one and it is not to be replaced."""
    return await fetch_optional(
        conn,
        Schedule,
        _INTO
        + _VALUES
        + ") ON CONFLICT (name) DO UPDATE"
        + _SET
        + """,
            changed_at = now(),
            removed_at = NULL
        WHERE s.removed_at IS NOT NULL
           OR %(replace)s
        RETURNING """
        + _COLUMNS,
        {**_params(new, next_at), "replace": replace},
    )


async def add_default(conn: Connection, new: NewSchedule, *, next_at: datetime | None) -> bool:
    """Add a default schedule, or bring it up to date where nobody changed it."""
    changed = await execute(
        conn,
        _INTO
        + _VALUES
        + ") ON CONFLICT (name) DO UPDATE"
        + _SET
        + """
        WHERE s.changed_at IS NULL
          AND s.created_by = excluded.created_by
          AND (
              s.cron, s.timezone, s.function, s.arguments, s.priority, s.max_attempts, s.missed,
              s.grace_s, s.jitter_s
          ) IS DISTINCT FROM (
              excluded.cron, excluded.timezone, excluded.function, excluded.arguments,
              excluded.priority, excluded.max_attempts, excluded.missed, excluded.grace_s,
              excluded.jitter_s
          )
        """,
        _params(new, next_at),
    )
    return changed > 0


async def drop_default(conn: Connection, names: Sequence[str], *, created_by: str) -> int:
    """Remove default schedules that settings turn off, where nobody changed them."""
    return await execute(
        conn,
        """
        DELETE FROM schedules
        WHERE name = ANY (%(names)s::text[])
          AND created_by = %(created_by)s
          AND changed_at IS NULL
        """,
        {"names": list(names), "created_by": created_by},
    )


async def set_paused(
    conn: Connection, name: str, *, paused: bool, next_at: datetime | None
) -> Schedule | None:
    """Pause or resume a schedule and return it, or None."""
    return await fetch_optional(
        conn,
        Schedule,
        """
        UPDATE schedules s
        SET paused = %(paused)s,
            next_at = %(next_at)s,
            changed_at = now()
        WHERE s.name = %(name)s
          AND s.removed_at IS NULL
        RETURNING """
        + _COLUMNS,
        {"name": name, "paused": paused, "next_at": next_at},
    )


async def remove(conn: Connection, name: str, *, default_by: str) -> bool:
    """Remove a schedule; of a default one the row stays, so that it does not come back."""
    cursor = await conn.execute(
        """
        WITH kept AS (
            UPDATE schedules
            SET removed_at = now(),
                changed_at = now()
            WHERE name = %(name)s
              AND removed_at IS NULL
              AND created_by = %(default_by)s
            RETURNING id
        ),
        gone AS (
            DELETE FROM schedules
            WHERE name = %(name)s
              AND created_by <> %(default_by)s
            RETURNING id
        )
        SELECT EXISTS (SELECT FROM kept) OR EXISTS (SELECT FROM gone)
        """,
        {"name": name, "default_by": default_by},
    )
    row = await cursor.fetchone()
    return bool(row and row[0])
