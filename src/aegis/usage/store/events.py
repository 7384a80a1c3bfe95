"""SQL of events: written many at once, each id once; read in order."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from aegis.db import fetch_all
from aegis.usage.models import EventRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from aegis.db import Connection
    from aegis.usage.models import Event

__all__ = ["forget_ids", "insert_events", "list_events", "owners_of", "require_partition"]

_PLACE: Final = attrgetter("customer_id", "event_id")


async def require_partition(conn: Connection, month: date) -> bool:
    """Make the partition of a month if there is none, and return whether it was made.

    Writers of other months are not held up. Give it a transaction of its own.
    """
    cursor = await conn.execute("SELECT aegis_usage_partition(%(month)s)", {"month": month})
    row: Any = await cursor.fetchone()
    return bool(row[0])


async def owners_of(conn: Connection, key_ids: Sequence[str]) -> dict[str, str]:
    """Return whose the keys are, of those that exist."""
    cursor = await conn.execute(
        "SELECT id::text, customer_id FROM api_keys WHERE id = ANY (%(ids)s::uuid[])",
        {"ids": list(key_ids)},
    )
    rows: list[Any] = await cursor.fetchall()
    return dict(rows)


async def insert_events(conn: Connection, events: Sequence[Event]) -> int:
    """Write events whose ids are new, and return how many were.

    One statement: the sums follow in the same transaction. Ids are locked in order, so that
    writers wait for one another and never in a circle; `events` has none twice.
    """
    ordered = sorted(events, key=_PLACE)
    cursor = await conn.execute(
        """
        WITH given AS MATERIALIZED (
            SELECT *
            FROM unnest(
                %(event_ids)s::text[],
                %(customer_ids)s::text[],
                %(api_key_ids)s::uuid[],
                %(endpoints)s::text[],
                %(methods)s::text[],
                %(status_codes)s::integer[],
                %(response_times_ms)s::integer[],
                %(tokens_used)s::integer[],
                %(costs_usd)s::numeric[],
                %(created_at)s::timestamptz[],
                %(sources)s::text[]
            ) AS g (
                event_id, customer_id, api_key_id, endpoint, method, status_code,
                response_time_ms, tokens_used, cost_usd, created_at, source
            )
        ), fresh AS (
            INSERT INTO usage_event_ids (customer_id, event_id, created_at)
            SELECT g.customer_id, g.event_id, g.created_at
            FROM given g
            ON CONFLICT (customer_id, event_id) DO NOTHING
            RETURNING customer_id, event_id
        )
        INSERT INTO api_usage_events (
            event_id, customer_id, api_key_id, endpoint, method, status_code,
            response_time_ms, tokens_used, cost_usd, created_at, source
        )
        SELECT
            g.event_id, g.customer_id, g.api_key_id, g.endpoint, g.method, g.status_code,
            g.response_time_ms, g.tokens_used, g.cost_usd, g.created_at, g.source
        FROM given g
        JOIN fresh f ON f.customer_id = g.customer_id AND f.event_id = g.event_id
        """,
        {
            "event_ids": _quoted([e.event_id for e in ordered]),
            "customer_ids": _quoted([e.customer_id for e in ordered]),
            "api_key_ids": _bare([e.api_key_id for e in ordered]),
            "endpoints": _quoted([e.endpoint for e in ordered]),
            "methods": _quoted([e.method for e in ordered]),
            "status_codes": _bare([e.status_code for e in ordered]),
            "response_times_ms": _bare([e.response_time_ms for e in ordered]),
            "tokens_used": _bare([e.tokens_used for e in ordered]),
            "costs_usd": _bare([e.cost_usd for e in ordered]),
            "created_at": _bare([e.created_at.isoformat() for e in ordered]),
            "sources": _quoted([e.source for e in ordered]),
        },
        prepare=True,
    )
    return cursor.rowcount


# Arrays in PostgreSQL's text form (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO):
# the driver makes the same of a list, one Python call a value, which is more than all else that a
# batch costs here. One form also means one prepared statement, whatever the numbers' sizes.


def _quoted(texts: Sequence[str]) -> str:
    """Return an array of any texts."""
    joined = "".join(texts)
    if '"' in joined or "\\" in joined:
        texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(texts) + '"}'


def _bare(values: Sequence[object]) -> str:
    """Return an array of numbers, ids and times, in which nothing has to be quoted."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


async def list_events(
    conn: Connection,
    *,
    customer_id: str | None,
    api_key_id: str | None,
    endpoint: str | None,
    since: datetime,
    until: datetime,
    before: tuple[datetime, int] | None,
    limit: int,
) -> list[EventRecord]:
    """Return events, newest first; `before` is time and number of the last one seen."""
    return await fetch_all(
        conn,
        EventRecord,
        """
        SELECT
            e.id, e.event_id, e.customer_id, e.api_key_id::text, e.endpoint, e.method,
            e.status_code, e.response_time_ms, e.tokens_used, e.cost_usd, e.created_at,
            e.recorded_at, e.source
        FROM api_usage_events e
        WHERE e.created_at >= %(since)s
          AND e.created_at < %(until)s
          AND (%(customer_id)s::text IS NULL OR e.customer_id = %(customer_id)s)
          AND (%(api_key_id)s::uuid IS NULL OR e.api_key_id = %(api_key_id)s::uuid)
          AND (%(endpoint)s::text IS NULL OR e.endpoint = %(endpoint)s)
          AND (
              %(at)s::timestamptz IS NULL
              OR (e.created_at, e.id) < (%(at)s::timestamptz, %(id)s::bigint)
          )
        ORDER BY e.created_at DESC, e.id DESC
        LIMIT %(limit)s
        """,
        {
            "customer_id": customer_id,
            "api_key_id": api_key_id,
            "endpoint": endpoint,
            "since": since,
            "until": until,
            "at": None if before is None else before[0],
            "id": None if before is None else before[1],
            "limit": limit,
        },
    )


async def forget_ids(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete ids of events that are older than `before`, and were written before it, too."""
    cursor = await conn.execute(
        """
        DELETE FROM usage_event_ids i
        WHERE i.ctid = ANY (ARRAY(
            SELECT o.ctid
            FROM usage_event_ids o
            WHERE o.recorded_at < %(before)s
              AND o.created_at < %(before)s
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ))
        """,
        {"before": before, "limit": limit},
    )
    return cursor.rowcount
