"""SQL of rules and silences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.alerts.models import Rule, Silence
from aegis.db import execute, fetch_all, fetch_one

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "delete_rule",
    "end_silence",
    "insert_silence",
    "list_rules",
    "list_silences",
    "put_rule",
]


async def list_rules(conn: Connection) -> list[Rule]:
    """Return all rules, those that count first at the top."""
    return await fetch_all(
        conn,
        Rule,
        """
        SELECT name, source, condition, labels, priority, least_severity, hold_s, clear_s,
               unknown_s, channels, escalate_s, escalate_to, remind_s, group_s, enabled
        FROM alert_rules
        ORDER BY priority DESC, name = 'default', name
        """,
    )


async def put_rule(conn: Connection, rule: Rule) -> None:
    """Write a rule, in place of one of the same name."""
    await execute(
        conn,
        """
        INSERT INTO alert_rules (
            name, source, condition, labels, priority, least_severity, hold_s, clear_s, unknown_s,
            channels, escalate_s, escalate_to, remind_s, group_s, enabled
        )
        VALUES (
            %(name)s, %(source)s, %(condition)s, %(labels)s, %(priority)s, %(least_severity)s,
            %(hold_s)s, %(clear_s)s, %(unknown_s)s, %(channels)s, %(escalate_s)s,
            %(escalate_to)s, %(remind_s)s, %(group_s)s, %(enabled)s
        )
        ON CONFLICT (name) DO UPDATE
        SET source = excluded.source,
            condition = excluded.condition,
            labels = excluded.labels,
            priority = excluded.priority,
            least_severity = excluded.least_severity,
            hold_s = excluded.hold_s,
            clear_s = excluded.clear_s,
            unknown_s = excluded.unknown_s,
            channels = excluded.channels,
            escalate_s = excluded.escalate_s,
            escalate_to = excluded.escalate_to,
            remind_s = excluded.remind_s,
            group_s = excluded.group_s,
            enabled = excluded.enabled
        """,
        {
            **{name: getattr(rule, name) for name in Rule.__slots__},
            "labels": Jsonb(dict(rule.labels)),
            "channels": [*rule.channels],
            "escalate_to": [*rule.escalate_to],
        },
    )


async def delete_rule(conn: Connection, name: str) -> bool:
    """Delete a rule; return whether there was one."""
    return bool(
        await execute(conn, "DELETE FROM alert_rules WHERE name = %(name)s", {"name": name})
    )


async def list_silences(conn: Connection, *, now: datetime | None = None) -> list[Silence]:
    """Return silences, the newest first; with `now` only those that are in force."""
    return await fetch_all(
        conn,
        Silence,
        """
        SELECT id, source, condition, labels, until, reason, created_by, created_at, ended_at
        FROM alert_silences
        WHERE %(now)s::timestamptz IS NULL
           OR (ended_at IS NULL AND until > %(now)s)
        ORDER BY id DESC
        LIMIT 1000
        """,
        {"now": now},
    )


async def insert_silence(
    conn: Connection,
    *,
    source: str,
    condition: str,
    labels: Mapping[str, str],
    until: datetime,
    reason: str | None,
    by: str | None,
    now: datetime,
) -> Silence:
    """Write a silence and return it."""
    values: dict[str, Any] = {
        "source": source,
        "condition": condition,
        "labels": Jsonb(dict(labels)),
        "until": until,
        "reason": reason,
        "by": by,
        "now": now,
    }
    return await fetch_one(
        conn,
        Silence,
        """
        INSERT INTO alert_silences (
            source, condition, labels, until, reason, created_by, created_at
        )
        VALUES (%(source)s, %(condition)s, %(labels)s, %(until)s, %(reason)s, %(by)s, %(now)s)
        RETURNING id, source, condition, labels, until, reason, created_by, created_at, ended_at
        """,
        values,
        missing="The silence was not written.",
    )


async def end_silence(conn: Connection, silence_id: int, *, now: datetime) -> bool:
    """End a silence now; return whether it was in force."""
    return bool(
        await execute(
            conn,
            """
            UPDATE alert_silences
            SET ended_at = %(now)s
            WHERE id = %(id)s
              AND ended_at IS NULL
              AND until > %(now)s
            """,
            {"id": silence_id, "now": now},
        )
    )
