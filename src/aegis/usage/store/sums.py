"""SQL of sums: read, compared with their events, made again from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from aegis.db import fetch_all
from aegis.usage.models import Difference

if TYPE_CHECKING:
    from datetime import date, datetime

    from aegis.db import Connection
    from aegis.usage.models import Granularity, Group, Order

__all__ = ["compare_month", "count_events", "read_sums", "rebuild_month"]

_HOURLY: Final[LiteralString] = """
    SELECT u.hour AS at, u.customer_id, u.api_key_id, u.endpoint, u.method, u.calls, u.errors,
           u.tokens, u.cost_usd, u.response_ms_sum, u.response_histogram
    FROM usage_hourly u
    WHERE u.hour >= %(since)s
      AND u.hour < %(until)s
"""
_DAILY: Final[LiteralString] = """
    SELECT u.day::timestamp AT TIME ZONE 'UTC' AS at, u.customer_id, u.api_key_id, u.endpoint,
           u.method, u.calls, u.errors, u.tokens, u.cost_usd, u.response_ms_sum,
           u.response_histogram
    FROM usage_daily u
    WHERE u.day >= (%(since)s AT TIME ZONE 'UTC')::date
      AND u.day < (%(until)s AT TIME ZONE 'UTC')::date
"""
_FILTERED: Final[LiteralString] = """
      AND (%(customer_id)s::text IS NULL OR u.customer_id = %(customer_id)s)
      AND (%(api_key_id)s::uuid IS NULL OR u.api_key_id = %(api_key_id)s::uuid)
      AND (%(endpoint)s::text IS NULL OR u.endpoint = %(endpoint)s)
"""
_SUMMED: Final[LiteralString] = """
), grouped AS MATERIALIZED (
    SELECT
        CASE %(granularity)s::text
            WHEN 'all' THEN %(since)s::timestamptz
            ELSE date_trunc(%(granularity)s::text, p.at, 'UTC')
        END AS span,
        CASE %(group)s::text
            WHEN 'customer' THEN p.customer_id
            WHEN 'key' THEN p.api_key_id::text
            WHEN 'endpoint' THEN p.method || ' ' || p.endpoint
        END AS member,
        p.*
    FROM picked p
), sums AS (
    SELECT
        g.span,
        g.member,
        sum(g.calls)::bigint AS calls,
        sum(g.errors)::bigint AS errors,
        sum(g.tokens)::bigint AS tokens,
        sum(g.cost_usd) AS cost_usd,
        sum(g.response_ms_sum)::bigint AS response_ms
    FROM grouped g
    GROUP BY 1, 2
    HAVING sum(g.calls) <> 0
), chosen AS (
    SELECT s.*
    FROM sums s
    ORDER BY
        CASE WHEN %(order)s::text IS NULL THEN s.span END,
        CASE %(order)s::text
            WHEN 'calls' THEN s.calls
            WHEN 'errors' THEN s.errors
            WHEN 'tokens' THEN s.tokens
            WHEN 'cost_usd' THEN s.cost_usd
        END DESC NULLS LAST,
        s.member
    LIMIT %(limit)s
), counted AS (
    SELECT g.span, g.member, b.bucket, sum(b.n)::bigint AS n
    FROM grouped g
    JOIN chosen c ON c.span = g.span AND c.member IS NOT DISTINCT FROM g.member
    CROSS JOIN LATERAL unnest(g.response_histogram) WITH ORDINALITY AS b (n, bucket)
    GROUP BY 1, 2, 3
)
SELECT
    c.span, c.member, c.calls, c.errors, c.tokens, c.cost_usd, c.response_ms,
    ARRAY(
        SELECT k.n
        FROM counted k
        WHERE k.span = c.span
          AND k.member IS NOT DISTINCT FROM c.member
        ORDER BY k.bucket
    )
FROM chosen c
ORDER BY
    CASE WHEN %(order)s::text IS NULL THEN c.span END,
    CASE %(order)s::text
        WHEN 'calls' THEN c.calls
        WHEN 'errors' THEN c.errors
        WHEN 'tokens' THEN c.tokens
        WHEN 'cost_usd' THEN c.cost_usd
    END DESC NULLS LAST,
    c.member
"""


async def read_sums(
    conn: Connection,
    *,
    since: datetime,
    until: datetime,
    granularity: Granularity,
    group: Group,
    order: Order | None,
    limit: int,
    customer_id: str | None,
    api_key_id: str | None,
    endpoint: str | None,
) -> list[Any]:
    """Return span, member, calls, errors, tokens, cost, milliseconds and histogram of each group.

    In order of time, or the largest `order` first. The span has to be of whole hours or days.
    """
    picked = _HOURLY if granularity == "hour" else _DAILY
    cursor = await conn.execute(
        "WITH picked AS (" + picked + _FILTERED + _SUMMED,
        {
            "since": since,
            "until": until,
            "granularity": granularity,
            "group": group,
            "order": order,
            "limit": limit,
            "customer_id": customer_id,
            "api_key_id": api_key_id,
            "endpoint": endpoint,
        },
    )
    return await cursor.fetchall()


#: What the sums of a month have to be, by the unit that %(unit)s names.
_EXPECTED: Final[LiteralString] = """
    WITH buckets AS (
        SELECT
            date_trunc(%(unit)s::text, e.created_at, 'UTC') AS at,
            e.customer_id,
            e.api_key_id,
            e.endpoint,
            e.method,
            aegis_usage_bucket(e.response_time_ms) AS bucket,
            count(*)::bigint AS calls,
            count(*) FILTER (WHERE e.status_code >= 400) AS errors,
            coalesce(sum(e.tokens_used::bigint), 0)::bigint AS tokens,
            coalesce(sum(e.cost_usd), 0) AS cost_usd,
            coalesce(sum(e.response_time_ms::bigint), 0)::bigint AS response_ms_sum
        FROM api_usage_events e
        WHERE e.created_at >= (%(month)s::date)::timestamp AT TIME ZONE 'UTC'
          AND e.created_at < (%(month)s::date + interval '1 month') AT TIME ZONE 'UTC'
        GROUP BY 1, 2, 3, 4, 5, 6
    ), expected AS (
        SELECT
            b.at,
            b.customer_id,
            b.api_key_id,
            b.endpoint,
            b.method,
            sum(b.calls)::bigint AS calls,
            sum(b.errors)::bigint AS errors,
            sum(b.tokens)::bigint AS tokens,
            sum(b.cost_usd) AS cost_usd,
            sum(b.response_ms_sum)::bigint AS response_ms_sum,
            aegis_usage_histogram(array_agg(b.bucket), array_agg(b.calls::numeric)) AS histogram
        FROM buckets b
        GROUP BY 1, 2, 3, 4, 5
    )
"""
_OF_HOURS: Final[LiteralString] = """
    SELECT u.hour AS at, u.customer_id, u.api_key_id, u.endpoint, u.method, u.calls, u.errors,
           u.tokens, u.cost_usd, u.response_ms_sum, u.response_histogram
    FROM usage_hourly u
    WHERE u.hour >= (%(month)s::date)::timestamp AT TIME ZONE 'UTC'
      AND u.hour < (%(month)s::date + interval '1 month') AT TIME ZONE 'UTC'
"""
_OF_DAYS: Final[LiteralString] = """
    SELECT u.day::timestamp AT TIME ZONE 'UTC', u.customer_id, u.api_key_id, u.endpoint, u.method,
           u.calls, u.errors, u.tokens, u.cost_usd, u.response_ms_sum, u.response_histogram
    FROM usage_daily u
    WHERE u.day >= %(month)s::date
      AND u.day < (%(month)s::date + interval '1 month')::date
"""
_TWO_SIDES: Final[LiteralString] = """
    , sides AS (
        -- Zeros at the end say nothing: deleted events leave them behind.
        SELECT 1 AS events, x.*, ltrim(
            regexp_replace(',' || array_to_string(x.histogram, ','), '(,0)+$', ''), ','
        ) AS shape
        FROM expected x
        UNION ALL
        SELECT 0, k.*, ltrim(
            regexp_replace(',' || array_to_string(k.response_histogram, ','), '(,0)+$', ''), ','
        )
        FROM kept k
    ), pairs AS (
        SELECT
            s.at,
            s.customer_id,
            s.api_key_id::text AS api_key_id,
            s.endpoint,
            s.method,
            coalesce(sum(s.calls) FILTER (WHERE s.events = 0), 0)::bigint AS calls,
            coalesce(sum(s.calls) FILTER (WHERE s.events = 1), 0)::bigint AS calls_of_events,
            coalesce(sum(s.cost_usd) FILTER (WHERE s.events = 0), 0) AS cost_usd,
            coalesce(sum(s.cost_usd) FILTER (WHERE s.events = 1), 0) AS cost_usd_of_events,
            sum(s.errors * (2 * s.events - 1)) <> 0
                OR sum(s.tokens * (2 * s.events - 1)) <> 0
                OR sum(s.response_ms_sum * (2 * s.events - 1)) <> 0
                OR coalesce(max(s.shape) FILTER (WHERE s.events = 0), '')
                    <> coalesce(max(s.shape) FILTER (WHERE s.events = 1), '')
                AS differs
        FROM sides s
        GROUP BY s.at, s.customer_id, s.api_key_id, s.endpoint, s.method
    )
    SELECT
        %(table)s::text AS "table", p.at, p.customer_id, p.api_key_id, p.endpoint, p.method,
        p.calls, p.calls_of_events, p.cost_usd, p.cost_usd_of_events
    FROM pairs p
    WHERE p.calls <> p.calls_of_events
       OR p.cost_usd <> p.cost_usd_of_events
       OR p.differs
    ORDER BY 2, 3, 4, 5, 6
    LIMIT %(limit)s
"""


async def compare_month(conn: Connection, month: date, *, limit: int) -> list[Difference]:
    """Return sums of a month that are not what its events add up to.

    Each table is compared in one statement, so in one state of the database.
    """
    found: list[Difference] = []
    tables: tuple[tuple[str, str, LiteralString], ...] = (
        ("hour", "usage_hourly", _OF_HOURS),
        ("day", "usage_daily", _OF_DAYS),
    )
    for unit, table, kept in tables:
        found += await fetch_all(
            conn,
            Difference,
            _EXPECTED + ", kept AS (" + kept + ")" + _TWO_SIDES,
            {"unit": unit, "table": table, "month": month, "limit": limit - len(found)},
        )
    return found


async def count_events(conn: Connection, month: date) -> int:
    """Return how many events a month has."""
    cursor = await conn.execute(
        """
        SELECT count(*)
        FROM api_usage_events e
        WHERE e.created_at >= (%(month)s::date)::timestamp AT TIME ZONE 'UTC'
          AND e.created_at < (%(month)s::date + interval '1 month') AT TIME ZONE 'UTC'
        """,
        {"month": month},
    )
    row: Any = await cursor.fetchone()
    return int(row[0])


async def rebuild_month(conn: Connection, month: date) -> None:
    """Make the sums of a month again from its events; writers wait until the transaction ends."""
    await conn.execute("LOCK TABLE api_usage_events IN SHARE ROW EXCLUSIVE MODE")
    await conn.execute(
        """
        DELETE FROM usage_hourly u
        WHERE u.hour >= (%(month)s::date)::timestamp AT TIME ZONE 'UTC'
          AND u.hour < (%(month)s::date + interval '1 month') AT TIME ZONE 'UTC'
        """,
        {"month": month},
    )
    await conn.execute(
        """
        DELETE FROM usage_daily u
        WHERE u.day >= %(month)s::date
          AND u.day < (%(month)s::date + interval '1 month')::date
        """,
        {"month": month},
    )
    await conn.execute(
        _EXPECTED
        + """
        INSERT INTO usage_hourly (
            hour, customer_id, api_key_id, endpoint, method,
            calls, errors, tokens, cost_usd, response_ms_sum, response_histogram
        )
        SELECT * FROM expected
        """,
        {"month": month, "unit": "hour"},
    )
    await conn.execute(
        _EXPECTED
        + """
        INSERT INTO usage_daily (
            day, customer_id, api_key_id, endpoint, method,
            calls, errors, tokens, cost_usd, response_ms_sum, response_histogram
        )
        SELECT
            (x.at AT TIME ZONE 'UTC')::date, x.customer_id, x.api_key_id, x.endpoint, x.method,
            x.calls, x.errors, x.tokens, x.cost_usd, x.response_ms_sum, x.histogram
        FROM expected x
        """,
        {"month": month, "unit": "day"},
    )
