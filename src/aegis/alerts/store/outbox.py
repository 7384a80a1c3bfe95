"""SQL of the outbox: messages that are due, who sends them, and how that went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.types.json import Jsonb

from aegis.alerts.models import Delivery
from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.db.lease import CHANNEL, Claim

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "add_entries",
    "claim",
    "count_recent",
    "delete_old",
    "end_unknown",
    "find_delivery",
    "insert_delivery",
    "list_deliveries",
    "next_due",
    "notify",
    "record_failure",
    "record_sent",
    "release",
    "renew",
    "retry",
]

_COLUMNS: Final[LiteralString] = """
    d.id, d.delivery_id::text AS delivery_id, d.channel, d.group_key, d.state, d.entries,
    d.attempts, d.next_at, d.last_error, d.created_at, d.sent_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    id: int
    channel: str
    token: int
    critical: bool


async def count_recent(conn: Connection, channel: str, *, since: datetime) -> int:
    """Return how many messages to a channel became due since then."""
    return await fetch_value(
        conn,
        """
        SELECT count(*)::int
        FROM alert_deliveries
        WHERE channel = %(channel)s
          AND created_at > %(since)s
        """,
        {"channel": channel, "since": since},
    )


async def add_entries(
    conn: Connection,
    *,
    channel: str,
    group_key: str,
    entries: Sequence[Mapping[str, Any]],
    critical: bool,
    next_at: datetime,
    most: int,
) -> bool:
    """Add to a message that nobody has begun to send; return whether there is one.

    What was claimed once stays as it is: its receiver may have it already.
    """
    found = await fetch_value(
        conn,
        """
        WITH waiting AS (
            SELECT id
            FROM alert_deliveries
            WHERE channel = %(channel)s
              AND group_key = %(group)s
              AND state = 'pending'
              AND token = 0
              AND jsonb_array_length(entries) < %(most)s
            ORDER BY id
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE alert_deliveries AS d
        SET entries = d.entries || %(entries)s,
            critical = d.critical OR %(critical)s,
            next_at = least(d.next_at, %(next)s)
        FROM waiting
        WHERE d.id = waiting.id
        RETURNING d.id
        """,
        {
            "channel": channel,
            "group": group_key,
            "entries": Jsonb(list(entries)),
            "critical": critical,
            "next": next_at,
            "most": most,
        },
    )
    return found is not None


async def insert_delivery(
    conn: Connection,
    *,
    channel: str,
    group_key: str,
    entries: Sequence[Mapping[str, Any]],
    critical: bool,
    next_at: datetime,
    now: datetime,
) -> int:
    """Make a message due, and return its number."""
    return await fetch_value(
        conn,
        """
        INSERT INTO alert_deliveries (channel, group_key, entries, critical, next_at, created_at)
        VALUES (%(channel)s, %(group)s, %(entries)s, %(critical)s, %(next)s, %(now)s)
        RETURNING id
        """,
        {
            "channel": channel,
            "group": group_key,
            "entries": Jsonb(list(entries)),
            "critical": critical,
            "next": next_at,
            "now": now,
        },
    )


async def notify(conn: Connection, kind: str) -> None:
    """Wake the workers when the transaction commits."""
    given = {"channel": CHANNEL, "kind": kind}
    await execute(conn, "SELECT pg_notify(%(channel)s, %(kind)s)", given)


async def claim(
    conn: Connection,
    kind: str,
    *,
    owner: str,
    limit: int,
    lease_s: float,
    channels: Collection[str],
    without: Collection[str],
) -> list[Claim]:
    """Lease messages to known channels that are due, critical ones first."""
    rows = await fetch_all(
        conn,
        _Claimed,
        """
        WITH due AS (
            SELECT id
            FROM alert_deliveries
            WHERE state = 'pending'
              -- Farther ahead than any quiet time or lease: said by a clock that was wrong.
              AND (next_at <= clock_timestamp() OR next_at > clock_timestamp() + INTERVAL '8 days')
              AND (lease_until IS NULL OR lease_until < clock_timestamp()
                   OR lease_until > clock_timestamp() + INTERVAL '1 day')
              AND channel = ANY (%(channels)s)
              AND channel <> ALL (%(without)s)
            ORDER BY critical DESC, next_at, id
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        )
        UPDATE alert_deliveries AS d
        SET lease_owner = %(owner)s,
            lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
            token = d.token + 1,
            attempts = d.attempts + 1
        FROM due
        WHERE d.id = due.id
        RETURNING d.id, d.channel, d.token, d.critical
        """,
        {
            "owner": owner,
            "limit": limit,
            "lease": lease_s,
            "channels": [*channels],
            "without": [*without],
        },
    )
    return [
        Claim(
            kind=kind,
            id=str(row.id),
            token=row.token,
            key=row.channel,
            provider=row.channel,
            priority=int(row.critical),
        )
        for row in sorted(rows, key=lambda row: (not row.critical, row.id))
    ]


async def renew(conn: Connection, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
    """Extend leases, and return the ids of those that are still held."""
    cursor = await conn.execute(
        """
        UPDATE alert_deliveries AS d
        SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
        FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE d.id = held.id
          AND d.token = held.token
          AND d.state = 'pending'
        RETURNING d.id
        """,
        {"lease": lease_s, **_held(claims)},
    )
    return {str(row[0]) for row in await cursor.fetchall()}


async def release(conn: Connection, claims: Sequence[Claim]) -> None:
    """Hand messages back, due at once, without counting an attempt."""
    await execute(
        conn,
        """
        UPDATE alert_deliveries AS d
        SET lease_owner = NULL,
            lease_until = NULL,
            attempts = greatest(d.attempts - 1, 0)
        FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE d.id = held.id
          AND d.token = held.token
          AND d.state = 'pending'
        """,
        _held(claims),
    )


async def find_delivery(conn: Connection, claim: Claim) -> Delivery | None:
    """Return the message of a claim; None where the claim is not held any more."""
    return await fetch_optional(
        conn,
        Delivery,
        "SELECT "
        + _COLUMNS
        + """
        FROM alert_deliveries d
        WHERE d.id = %(id)s
          AND d.token = %(token)s
          AND d.state = 'pending'
        """,
        {"id": int(claim.id), "token": claim.token},
    )


async def record_sent(conn: Connection, claim: Claim) -> bool:
    """Note that a message arrived; return whether the claim was still held."""
    return bool(
        await execute(
            conn,
            """
            UPDATE alert_deliveries
            SET state = 'sent',
                sent_at = clock_timestamp(),
                lease_owner = NULL,
                lease_until = NULL,
                last_error = NULL
            WHERE id = %(id)s
              AND token = %(token)s
              AND state = 'pending'
            """,
            {"id": int(claim.id), "token": claim.token},
        )
    )


async def record_failure(
    conn: Connection, claim: Claim, *, error: str, pause_s: float, dead: bool
) -> bool:
    """Note why a message did not arrive, and when it is tried again, if it is."""
    return bool(
        await execute(
            conn,
            """
            UPDATE alert_deliveries
            SET state = CASE WHEN %(dead)s THEN 'dead' ELSE 'pending' END,
                next_at = clock_timestamp() + make_interval(secs => %(pause)s),
                lease_owner = NULL,
                lease_until = NULL,
                last_error = %(error)s
            WHERE id = %(id)s
              AND token = %(token)s
              AND state = 'pending'
            """,
            {
                "id": int(claim.id),
                "token": claim.token,
                "error": error,
                "pause": pause_s,
                "dead": dead,
            },
        )
    )


async def next_due(conn: Connection, channels: Collection[str]) -> float | None:
    """Return seconds until the next message to a known channel is due; None without one."""
    return await fetch_value(
        conn,
        """
        SELECT CASE WHEN count(*) > 0 THEN greatest(
            0,
            extract(epoch FROM min(greatest(next_at, coalesce(lease_until, next_at)))
                - clock_timestamp())
        ) END::float8
        FROM alert_deliveries
        WHERE state = 'pending'
          AND channel = ANY (%(channels)s)
        """,
        {"channels": [*channels]},
    )


async def list_deliveries(
    conn: Connection, *, states: Sequence[str], channel: str | None, limit: int
) -> list[Delivery]:
    """Return messages in one of the states, the newest first."""
    return await fetch_all(
        conn,
        Delivery,
        "SELECT "
        + _COLUMNS
        + """
        FROM alert_deliveries d
        WHERE d.state = ANY (%(states)s)
          AND (%(channel)s::text IS NULL OR d.channel = %(channel)s)
        ORDER BY d.id DESC
        LIMIT %(limit)s
        """,
        {"states": [*states], "channel": channel, "limit": limit},
    )


async def retry(conn: Connection, *, delivery_id: int | None, channel: str | None) -> int:
    """Let dead messages be tried again, one, a channel's or all; return how many."""
    return await execute(
        conn,
        """
        UPDATE alert_deliveries
        SET state = 'pending',
            attempts = 0,
            created_at = clock_timestamp(),
            next_at = clock_timestamp()
        WHERE state = 'dead'
          AND (%(id)s::bigint IS NULL OR id = %(id)s)
          AND (%(channel)s::text IS NULL OR channel = %(channel)s)
        """,
        {"id": delivery_id, "channel": channel},
    )


async def end_unknown(conn: Connection, *, before: datetime) -> int:
    """Give up messages that no process has even tried to send since then."""
    return await execute(
        conn,
        """
        UPDATE alert_deliveries
        SET state = 'dead',
            last_error = 'No process knows the address of this channel.'
        WHERE state = 'pending'
          AND attempts = 0
          AND next_at < %(before)s
        """,
        {"before": before},
    )


async def delete_old(conn: Connection, *, before: datetime) -> int:
    """Delete messages that arrived or were given up before this time."""
    return await execute(
        conn,
        """
        DELETE FROM alert_deliveries
        WHERE state <> 'pending'
          AND created_at < %(before)s
        """,
        {"before": before},
    )


def _held(claims: Sequence[Claim]) -> dict[str, Any]:
    return {
        "ids": [int(claim.id) for claim in claims],
        "tokens": [claim.token for claim in claims],
    }
