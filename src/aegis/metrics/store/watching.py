"""SQL of watching: who watches, samples since the last round, saved states, rules by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.metrics.models import MetricRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection

__all__ = [
    "Lease",
    "Row",
    "any_samples",
    "clock",
    "delete_rule",
    "forget_states",
    "hold",
    "let_go",
    "list_late",
    "list_rules",
    "list_samples",
    "list_states",
    "newest_id",
    "put_rule",
    "save_states",
    "set_done",
    "take",
]


#: Number, container, Unix seconds, then what is judged, in the order of `series.JUDGED`.
Row: TypeAlias = tuple[
    int,
    str,
    float,
    float | None,
    float | None,
    float | None,
    float | None,
    float | None,
    float | None,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the one row says to whoever watches now."""

    done_until: datetime | None
    #: Whether the same process watched before.
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A saved state."""

    container_name: str
    state: bytes


async def clock(conn: Connection) -> datetime:
    """Return the server's time."""
    return await fetch_value(conn, "SELECT clock_timestamp()")


async def any_samples(conn: Connection, *, since: datetime) -> bool:
    """Return whether anything was measured since then."""
    return await fetch_value(
        conn,
        """
        SELECT EXISTS (
            SELECT FROM container_metrics WHERE timestamp > %(since)s AND timestamp < 'infinity'
        )
        """,
        {"since": since},
    )


async def take(conn: Connection, owner: str, *, lease_s: float) -> Lease | None:
    """Take the watch, or keep it; None where another process has it."""
    return await fetch_optional(
        conn,
        Lease,
        """
        WITH before AS (
            SELECT id, owner
            FROM metric_watch
            WHERE owner IS NULL
               OR owner = %(owner)s
               OR lease_until IS NULL
               OR lease_until < clock_timestamp()
               -- Taken by a clock that was wrong.
               OR lease_until > clock_timestamp() + INTERVAL '1 hour'
            FOR UPDATE SKIP LOCKED
        )
        UPDATE metric_watch AS w
        SET owner = %(owner)s,
            lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
        FROM before
        WHERE w.id = before.id
        RETURNING w.done_until, coalesce(before.owner = %(owner)s, false) AS mine
        """,
        {"owner": owner, "lease": lease_s},
    )


async def hold(conn: Connection, owner: str) -> bool:
    """Return whether this process still watches; it does until the transaction ends."""
    return (
        await fetch_value(
            conn,
            "SELECT 1 FROM metric_watch WHERE owner = %(owner)s FOR UPDATE",
            {"owner": owner},
        )
        is not None
    )


async def let_go(conn: Connection, owner: str) -> None:
    """Let another process watch at once."""
    await execute(
        conn,
        """
        UPDATE metric_watch
        SET owner = NULL,
            lease_until = NULL
        WHERE owner = %(owner)s
        """,
        {"owner": owner},
    )


async def set_done(conn: Connection, until: datetime) -> None:
    """Note that the saved states know the samples up to here."""
    await execute(conn, "UPDATE metric_watch SET done_until = %(until)s", {"until": until})


async def newest_id(conn: Connection) -> int:
    """Return the number of the sample that was written last, 0 before the first."""
    return await fetch_value(conn, "SELECT coalesce(max(id), 0) FROM container_metrics")


async def list_samples(conn: Connection, *, since: datetime, until: datetime) -> list[Row]:
    """Return samples after `since` and up to `until`, in order of time; times in Unix seconds."""
    cursor = await conn.execute(
        """
        SELECT id, container_name, extract(epoch FROM timestamp)::float8, cpu_percent,
               mem_usage_mb, mem_percent, net_io_mb, block_io_mb, disk_percent
        FROM container_metrics
        WHERE timestamp > %(since)s
          AND timestamp <= %(until)s
        ORDER BY timestamp, id
        """,
        {"since": since, "until": until},
    )
    return await cursor.fetchall()  # pyright: ignore[reportReturnType]


async def list_late(
    conn: Connection, *, after_id: int, since: datetime, until: datetime
) -> list[Row]:
    """Return the same of samples that were written after another: those that came late."""
    cursor = await conn.execute(
        """
        SELECT id, container_name, extract(epoch FROM timestamp)::float8, cpu_percent,
               mem_usage_mb, mem_percent, net_io_mb, block_io_mb, disk_percent
        FROM container_metrics
        WHERE id > %(after_id)s
          AND timestamp > %(since)s
          AND timestamp <= %(until)s
        ORDER BY timestamp, id
        """,
        {"after_id": after_id, "since": since, "until": until},
    )
    return await cursor.fetchall()  # pyright: ignore[reportReturnType]


async def list_states(conn: Connection) -> list[State]:
    """Return every saved state."""
    return await fetch_all(
        conn,
        State,
        "SELECT container_name, state FROM metric_watch_states",
    )


async def save_states(conn: Connection, states: Mapping[str, bytes]) -> None:
    """Save states by container, in order of names."""
    names = sorted(states)
    await execute(
        conn,
        """
        INSERT INTO metric_watch_states (container_name, state, saved_at)
        SELECT name, state, clock_timestamp()
        FROM unnest(%(names)s::text[], %(states)s::bytea[]) AS given (name, state)
        ON CONFLICT (container_name) DO UPDATE
        SET state = excluded.state,
            saved_at = excluded.saved_at
        """,
        {"names": names, "states": [states[name] for name in names]},
    )


async def forget_states(conn: Connection, names: Sequence[str]) -> None:
    """Delete the states of containers that are gone."""
    await execute(
        conn,
        "DELETE FROM metric_watch_states WHERE container_name = ANY (%(names)s)",
        {"names": [*names]},
    )


async def list_rules(conn: Connection) -> list[MetricRule]:
    """Return the rules by name."""
    return await fetch_all(
        conn,
        MetricRule,
        """
        SELECT name, kind, container, metric, above, value, for_s, severity, enabled
        FROM metric_rules
        ORDER BY name
        """,
    )


async def put_rule(conn: Connection, rule: MetricRule) -> None:
    """Write a rule, in place of one of the same name."""
    await execute(
        conn,
        """
        INSERT INTO metric_rules (
            name, kind, container, metric, above, value, for_s, severity, enabled
        )
        VALUES (
            %(name)s, %(kind)s, %(container)s, %(metric)s, %(above)s, %(value)s, %(for_s)s,
            %(severity)s, %(enabled)s
        )
        ON CONFLICT (name) DO UPDATE
        SET kind = excluded.kind,
            container = excluded.container,
            metric = excluded.metric,
            above = excluded.above,
            value = excluded.value,
            for_s = excluded.for_s,
            severity = excluded.severity,
            enabled = excluded.enabled
        """,
        {name: getattr(rule, name) for name in MetricRule.__slots__},
    )


async def delete_rule(conn: Connection, name: str) -> bool:
    """Delete a rule; return whether there was one."""
    return bool(
        await execute(conn, "DELETE FROM metric_rules WHERE name = %(name)s", {"name": name})
    )
