"""SQL of `infra_anomaly_alerts`: what was found, written once an incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_value
from aegis.metrics.models import Anomaly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.metrics.watching.finding import Finding

__all__ = ["FalseAlarm", "end_others", "list_anomalies", "list_false", "mark", "put"]

_COLUMNS: Final[LiteralString] = """
    a.id, a.host, a.container_name, a.metric, a.kind, a.severity, a.status, a.observed, a.expected,
    a.expected_low, a.expected_high, a.score, a.explanation, a.evidence, a.started_at, a.ended_at,
    a.acknowledged_at, a.marked_false_at, a.first_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarm:
    """A pattern that somebody said was none, and how far it went at most."""

    container_name: str
    metric: str
    kind: str
    score: float


async def put(conn: Connection, finding: Finding) -> bool:
    """Write a finding, or what became of it; return whether it is new.

    The first alert of those that began within five minutes in one container is their `first_id`.
    """
    return await fetch_value(
        conn,
        """
        WITH first AS (
            SELECT min(coalesce(o.first_id, o.id)) AS id
            FROM infra_anomaly_alerts o
            WHERE o.container_name = %(container)s
              AND o.started_at BETWEEN %(started)s::timestamptz - INTERVAL '5 minutes'
                                   AND %(started)s::timestamptz + INTERVAL '5 minutes'
              AND o.incident IS DISTINCT FROM %(incident)s
        )
        INSERT INTO infra_anomaly_alerts AS a (
            container_name, metric, kind, severity, status, observed, expected, expected_low,
            expected_high, score, explanation, evidence, started_at, ended_at, incident, first_id
        )
        SELECT %(container)s, %(metric)s, %(kind)s, %(severity)s,
               CASE WHEN %(ended)s::timestamptz IS NULL THEN 'open' ELSE 'resolved' END,
               %(observed)s, %(expected)s, %(low)s, %(high)s, %(score)s, %(explanation)s,
               %(evidence)s, %(started)s, %(ended)s, %(incident)s, first.id
        FROM first
        ON CONFLICT (incident) DO UPDATE
        SET kind = excluded.kind,
            severity = excluded.severity,
            status = CASE
                WHEN a.marked_false_at IS NOT NULL OR excluded.ended_at IS NOT NULL THEN 'resolved'
                WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged'
                ELSE 'open'
            END,
            observed = excluded.observed,
            expected = excluded.expected,
            expected_low = excluded.expected_low,
            expected_high = excluded.expected_high,
            score = excluded.score,
            explanation = excluded.explanation,
            evidence = excluded.evidence,
            ended_at = excluded.ended_at,
            updated_at = now()
        RETURNING created_at = now() AND updated_at = created_at
        """,
        {
            "container": finding.container_name,
            "metric": finding.metric,
            "kind": finding.kind,
            "severity": finding.severity,
            "observed": finding.observed,
            "expected": finding.expected,
            "low": finding.low,
            "high": finding.high,
            "score": finding.score,
            "explanation": finding.explanation,
            "evidence": Jsonb(finding.evidence),
            "started": datetime.fromtimestamp(finding.started_at, UTC),
            "ended": None
            if finding.ended_at is None
            # Where the clock was put back it ends before it began.
            else datetime.fromtimestamp(max(finding.ended_at, finding.started_at), UTC),
            "incident": finding.incident,
        },
    )


async def end_others(conn: Connection, incidents: Sequence[str]) -> int:
    """End incidents that are open and not among these: their states were lost or forgotten."""
    return await execute(
        conn,
        """
        UPDATE infra_anomaly_alerts
        SET status = 'resolved',
            ended_at = coalesce(ended_at, greatest(started_at, updated_at)),
            updated_at = now()
        WHERE incident IS NOT NULL
          AND status <> 'resolved'
          AND incident <> ALL (%(incidents)s)
        """,
        {"incidents": [*incidents]},
    )


async def mark(conn: Connection, incident: str, *, false: bool, at: datetime) -> None:
    """Note that somebody took an incident on, or said that it was none."""
    await execute(
        conn,
        """
        UPDATE infra_anomaly_alerts
        SET acknowledged_at = coalesce(acknowledged_at, %(at)s),
            ended_at = CASE WHEN %(false)s THEN coalesce(ended_at, %(at)s) ELSE ended_at END,
            marked_false_at = CASE WHEN %(false)s THEN %(at)s ELSE marked_false_at END,
            status = CASE
                WHEN %(false)s OR ended_at IS NOT NULL THEN 'resolved'
                ELSE 'acknowledged'
            END,
            updated_at = now()
        WHERE incident = %(incident)s
        """,
        {"incident": incident, "false": false, "at": at},
    )


async def list_false(conn: Connection, *, since: datetime) -> list[FalseAlarm]:
    """Return what was marked as false since then, each pattern with its highest score."""
    return await fetch_all(
        conn,
        FalseAlarm,
        """
        SELECT coalesce(container_name, '') AS container_name, metric, kind,
               coalesce(max(score), 0)::float8 AS score
        FROM infra_anomaly_alerts
        WHERE marked_false_at > %(since)s
        GROUP BY container_name, metric, kind
        """,
        {"since": since},
    )


async def list_anomalies(
    conn: Connection,
    *,
    statuses: Sequence[str],
    container_name: str | None,
    before: int | None,
    limit: int,
) -> list[Anomaly]:
    """Return anomalies, the newest first."""
    return await fetch_all(
        conn,
        Anomaly,
        "SELECT "
        + _COLUMNS
        + """
        FROM infra_anomaly_alerts a
        WHERE a.status = ANY (%(statuses)s)
          AND (%(container)s::text IS NULL OR a.container_name = %(container)s)
          AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
        ORDER BY a.id DESC
        LIMIT %(limit)s
        """,
        {
            "statuses": [*statuses],
            "container": container_name,
            "before": before,
            "limit": limit,
        },
    )
