"""SQL of alerts and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.types.json import Jsonb

from aegis.alerts.models import Alert, AlertEvent
from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.alerts.models import EventKind
    from aegis.db import Connection

__all__ = [
    "add_event",
    "clock",
    "delete_alert",
    "delete_old",
    "get_alert",
    "insert_alert",
    "list_alerts",
    "list_events",
    "list_open",
    "lock_source",
    "lock_ticking",
    "update_alert",
]

_COLUMNS: Final[LiteralString] = """
    a.id, a.source, a.condition_id, a.labels, a.group_key, a.title, a.state, a.severity,
    a.condition_state, a.observed, a.threshold, a.advice, a.link, a.rule, a.hold_s, a.lasting,
    a.began_at, a.created_at, a.observed_at, a.unknown_since, a.fired_at, a.cleared_at,
    a.resolved_at, a.acknowledged_at, a.acknowledged_by, a.note, a.marked_false_at, a.escalated_at,
    a.told_at
"""
_SELECT: Final[LiteralString] = "SELECT " + _COLUMNS + "FROM alerts a "


async def clock(conn: Connection) -> datetime:
    """Return the server's time: machines that observe need not agree on theirs."""
    return await fetch_value(conn, "SELECT clock_timestamp()")


async def lock_source(conn: Connection, source: str) -> None:
    """Let one at a time observe for `source`, until the transaction ends."""
    await execute(
        conn,
        "SELECT pg_advisory_xact_lock(hashtextextended('aegis_alerts:' || %(source)s, 0))",
        {"source": source},
    )


async def lock_ticking(conn: Connection) -> bool:
    """Return whether this process may see to what is due; another one is at it otherwise."""
    return await fetch_value(
        conn, "SELECT pg_try_advisory_xact_lock(hashtextextended('aegis_alerts_tick', 0))"
    )


async def list_open(conn: Connection, source: str | None = None) -> list[Alert]:
    """Return the alerts that are not over, of one source or of all; locked, in order of ids."""
    return await fetch_all(
        conn,
        Alert,
        _SELECT
        + """
        WHERE a.state <> 'resolved'
          AND (%(source)s::text IS NULL OR a.source = %(source)s)
        ORDER BY a.id
        FOR UPDATE
        """,
        {"source": source},
    )


async def list_alerts(
    conn: Connection,
    *,
    states: Sequence[str],
    source: str | None,
    before: int | None,
    limit: int,
) -> list[Alert]:
    """Return a page of alerts in one of the states, the newest first."""
    return await fetch_all(
        conn,
        Alert,
        _SELECT
        + """
        WHERE a.state = ANY (%(states)s)
          AND (%(source)s::text IS NULL OR a.source = %(source)s)
          AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
        ORDER BY a.id DESC
        LIMIT %(limit)s
        """,
        {"states": [*states], "source": source, "before": before, "limit": limit},
    )


async def get_alert(conn: Connection, alert_id: int, *, lock: bool = False) -> Alert:
    """Return an alert (`NotFound`), locked where it is to be changed."""
    missing = f"There is no alert {alert_id}; `aegis alerts list` shows them."
    if lock:
        await fetch_optional(
            conn, Alert, _SELECT + "WHERE a.id = %(id)s FOR UPDATE", {"id": alert_id}
        )
    return await fetch_one(
        conn, Alert, _SELECT + "WHERE a.id = %(id)s", {"id": alert_id}, missing=missing
    )


async def insert_alert(conn: Connection, alert: Alert) -> int:
    """Write a new alert and return its number."""
    return await fetch_value(
        conn,
        """
        INSERT INTO alerts (
            source, condition_id, labels, group_key, title, state, severity, condition_state,
            observed, threshold, advice, link, rule, hold_s, lasting, began_at, created_at,
            observed_at, unknown_since
        )
        VALUES (
            %(source)s, %(condition_id)s, %(labels)s, %(group_key)s, %(title)s, %(state)s,
            %(severity)s, %(condition_state)s, %(observed)s, %(threshold)s, %(advice)s, %(link)s,
            %(rule)s, %(hold_s)s, %(lasting)s, %(began_at)s, %(created_at)s, %(observed_at)s,
            %(unknown_since)s
        )
        RETURNING id
        """,
        _values(alert),
    )


async def update_alert(conn: Connection, alert: Alert) -> None:
    """Write everything about an alert that changes while it lives."""
    await execute(
        conn,
        """
        UPDATE alerts
        SET labels = %(labels)s,
            title = %(title)s,
            state = %(state)s,
            severity = %(severity)s,
            condition_state = %(condition_state)s,
            observed = %(observed)s,
            threshold = %(threshold)s,
            advice = %(advice)s,
            link = %(link)s,
            rule = %(rule)s,
            hold_s = %(hold_s)s,
            began_at = %(began_at)s,
            observed_at = %(observed_at)s,
            unknown_since = %(unknown_since)s,
            fired_at = %(fired_at)s,
            cleared_at = %(cleared_at)s,
            resolved_at = %(resolved_at)s,
            acknowledged_at = %(acknowledged_at)s,
            acknowledged_by = %(acknowledged_by)s,
            note = %(note)s,
            marked_false_at = %(marked_false_at)s,
            escalated_at = %(escalated_at)s,
            told_at = %(told_at)s
        WHERE id = %(id)s
        """,
        _values(alert),
    )


async def delete_alert(conn: Connection, alert_id: int) -> None:
    """Forget an alert that never fired."""
    await execute(conn, "DELETE FROM alerts WHERE id = %(id)s", {"id": alert_id})


async def add_event(
    conn: Connection,
    alert_id: int,
    kind: EventKind,
    *,
    at: datetime,
    by: str | None = None,
    text: str | None = None,
) -> None:
    """Write what happened to an alert."""
    await execute(
        conn,
        """
        INSERT INTO alert_events (alert_id, at, kind, by, text)
        VALUES (%(id)s, %(at)s, %(kind)s, %(by)s, %(text)s)
        """,
        {"id": alert_id, "at": at, "kind": kind, "by": by, "text": text},
    )


async def list_events(
    conn: Connection, *, alert_id: int | None, before: int | None, limit: int
) -> list[AlertEvent]:
    """Return what happened, to one alert or to all, the newest first."""
    return await fetch_all(
        conn,
        AlertEvent,
        """
        SELECT e.id, e.alert_id, e.at, e.kind, e.by, e.text
        FROM alert_events e
        WHERE (%(alert)s::bigint IS NULL OR e.alert_id = %(alert)s)
          AND (%(before)s::bigint IS NULL OR e.id < %(before)s)
        ORDER BY e.id DESC
        LIMIT %(limit)s
        """,
        {"alert": alert_id, "before": before, "limit": limit},
    )


async def delete_old(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete alerts that were over before this time, their events with them; how many."""
    return await execute(
        conn,
        """
        DELETE FROM alerts
        WHERE id IN (
            SELECT id
            FROM alerts
            WHERE state = 'resolved'
              AND resolved_at < %(before)s
            ORDER BY resolved_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        )
        """,
        {"before": before, "limit": limit},
    )


def _values(alert: Alert) -> dict[str, Any]:
    values = {name: getattr(alert, name) for name in Alert.__slots__}
    return {**values, "labels": Jsonb(dict(alert.labels))}
