"""SQL of claims: pages and competitors whose turn it is, under a lease and a fencing token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.db import Connection

__all__ = [
    "Claimed",
    "claim_competitors",
    "claim_page",
    "claim_pages",
    "release_competitors",
    "release_pages",
    "renew_competitors",
    "renew_pages",
    "seconds_until_due",
]


#: Pages that are looked at, of those that are due, before hosts are.
_WINDOW = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A row that was claimed."""

    id: int
    host: str | None
    lease_token: int


async def claim_pages(
    conn: Connection,
    owner: str,
    *,
    limit: int,
    lease_s: float,
    per_host: int,
    without_hosts: Collection[str],
) -> list[Claimed]:
    """Claim due pages, the longest due first, no more of one host at once than may be.

    A host that nobody may ask in the next seconds is passed over, as is one that is busy; so its
    pages take no place from others. The first 500 that are due are looked at; where they do not
    do, because few hosts have them all, one page of each host is.
    """
    return await fetch_all(
        conn,
        Claimed,
        """
        WITH RECURSIVE busy AS MATERIALIZED (
            SELECT host, count(*) AS pages
            FROM competitor_pages
            WHERE lease_until > now()
            GROUP BY host
        ),
        first_due AS MATERIALIZED (
            SELECT id, host, competitor_id, next_check_at
            FROM competitor_pages
            WHERE state IN ('watched', 'gone')
              AND next_check_at IS NOT NULL
              AND next_check_at <= now()
              AND (lease_until IS NULL OR lease_until <= now())
            ORDER BY next_check_at
            LIMIT %(window)s
        ),
        near AS MATERIALIZED (
            SELECT p.id, p.host, p.next_check_at, coalesce(b.pages, 0) AS busy
            FROM first_due p
            LEFT JOIN competitors c ON c.id = p.competitor_id
            LEFT JOIN competitor_hosts h ON h.host = p.host
            LEFT JOIN busy b ON b.host = p.host
            WHERE coalesce(c.enabled, true)
              AND coalesce(b.pages, 0) < %(per_host)s
              AND (h.next_request_at IS NULL OR h.next_request_at <= now() + INTERVAL '2 seconds')
              AND (p.host IS NULL OR p.host <> ALL(%(without)s::text[]))
        ),
        -- From one host to the next by the index; not at all where those near are enough.
        hosts (host) AS (
            (
                SELECT p.host
                FROM competitor_pages p
                WHERE p.state IN ('watched', 'gone')
                  AND p.next_check_at IS NOT NULL
                  AND p.host IS NOT NULL
                  AND (SELECT count(*) FROM first_due) = %(window)s
                  AND (SELECT count(DISTINCT host) FROM near) < %(limit)s
                ORDER BY p.host
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT p.host
                FROM competitor_pages p
                WHERE p.state IN ('watched', 'gone')
                  AND p.next_check_at IS NOT NULL
                  AND p.host > hosts.host
                ORDER BY p.host
                LIMIT 1
            )
            FROM hosts
            WHERE hosts.host IS NOT NULL
        ),
        far AS MATERIALIZED (
            SELECT found.id, hosts.host, found.next_check_at, coalesce(b.pages, 0) AS busy
            FROM hosts
            LEFT JOIN competitor_hosts h ON h.host = hosts.host
            LEFT JOIN busy b ON b.host = hosts.host
            CROSS JOIN LATERAL (
                SELECT p.id, p.next_check_at
                FROM competitor_pages p
                LEFT JOIN competitors c ON c.id = p.competitor_id
                WHERE p.host = hosts.host
                  AND p.state IN ('watched', 'gone')
                  AND p.next_check_at <= now()
                  AND (p.lease_until IS NULL OR p.lease_until <= now())
                  AND coalesce(c.enabled, true)
                ORDER BY p.next_check_at
                LIMIT %(per_host)s
            ) found
            WHERE coalesce(b.pages, 0) < %(per_host)s
              AND (h.next_request_at IS NULL OR h.next_request_at <= now() + INTERVAL '2 seconds')
              AND hosts.host <> ALL(%(without)s::text[])
        ),
        turns AS (
            SELECT
                id,
                next_check_at,
                busy + row_number() OVER (PARTITION BY host ORDER BY next_check_at, id) AS turn
            FROM (SELECT * FROM near UNION SELECT * FROM far) AS due
        ),
        best AS MATERIALIZED (
            -- Some more than are wanted, as others may be taking the first of them.
            SELECT id
            FROM turns
            WHERE turn <= %(per_host)s
            ORDER BY next_check_at
            LIMIT %(limit)s * 4 + 16
        ),
        chosen AS (
            SELECT p.id
            FROM competitor_pages p
            WHERE p.id = ANY (ARRAY(SELECT id FROM best))
              AND p.next_check_at <= now()
              AND (p.lease_until IS NULL OR p.lease_until <= now())
            ORDER BY p.next_check_at
            LIMIT %(limit)s
            FOR UPDATE OF p SKIP LOCKED
        )
        UPDATE competitor_pages p
        SET lease_owner = %(owner)s,
            lease_until = now() + make_interval(secs => %(lease)s),
            lease_token = p.lease_token + 1
        WHERE p.id = ANY (ARRAY(SELECT id FROM chosen))
        RETURNING p.id, p.host, p.lease_token
        """,
        {
            "owner": owner,
            "limit": limit,
            "lease": lease_s,
            "per_host": per_host,
            "without": list(without_hosts),
            "window": _WINDOW,
        },
    )


async def claim_page(
    conn: Connection, page_id: int, owner: str, *, lease_s: float
) -> Claimed | None:
    """Claim one page, due or not; None where somebody is at it, or it does not exist."""
    found = await fetch_all(
        conn,
        Claimed,
        """
        UPDATE competitor_pages p
        SET lease_owner = %(owner)s,
            lease_until = now() + make_interval(secs => %(lease)s),
            lease_token = p.lease_token + 1
        WHERE p.id = %(id)s
          AND (p.lease_until IS NULL OR p.lease_until <= now())
        RETURNING p.id, p.host, p.lease_token
        """,
        {"id": page_id, "owner": owner, "lease": lease_s},
    )
    return found[0] if found else None


async def claim_competitors(
    conn: Connection, owner: str, *, limit: int, lease_s: float, without_hosts: Collection[str]
) -> list[Claimed]:
    """Claim competitors whose new pages are to be looked for."""
    return await fetch_all(
        conn,
        Claimed,
        """
        WITH due AS (
            SELECT c.id, place.host
            FROM competitors c
            CROSS JOIN LATERAL (
                SELECT lower(substring(c.url FROM '^[A-Za-z]+://[^/?#]+')) AS host
            ) AS place
            LEFT JOIN competitor_hosts h ON h.host = place.host
            WHERE c.discover_at <= now()
              AND coalesce(c.enabled, true)
              AND (c.lease_until IS NULL OR c.lease_until <= now())
              AND (h.next_request_at IS NULL OR h.next_request_at <= now() + INTERVAL '2 seconds')
              AND coalesce(place.host <> ALL(%(without)s::text[]), true)
            ORDER BY c.discover_at
            LIMIT %(limit)s
            FOR UPDATE OF c SKIP LOCKED
        )
        UPDATE competitors c
        SET lease_owner = %(owner)s,
            lease_until = now() + make_interval(secs => %(lease)s),
            lease_token = c.lease_token + 1
        FROM due
        WHERE c.id = due.id
        RETURNING c.id, due.host, c.lease_token
        """,
        {"owner": owner, "limit": limit, "lease": lease_s, "without": list(without_hosts)},
    )


async def renew_pages(
    conn: Connection, held: Sequence[tuple[int, int]], *, lease_s: float
) -> set[int]:
    """Extend leases of (id, token), and return the ids that are still held."""
    cursor = await conn.execute(
        """
        UPDATE competitor_pages p
        SET lease_until = now() + make_interval(secs => %(lease)s)
        FROM unnest(%(ids)s::integer[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE p.id = held.id
          AND p.lease_token = held.token
          AND p.lease_owner IS NOT NULL
        RETURNING p.id
        """,
        _pairs(held, lease=lease_s),
    )
    return {row[0] for row in await cursor.fetchall()}


async def renew_competitors(
    conn: Connection, held: Sequence[tuple[int, int]], *, lease_s: float
) -> set[int]:
    """Extend leases of (id, token), and return the ids that are still held."""
    cursor = await conn.execute(
        """
        UPDATE competitors c
        SET lease_until = now() + make_interval(secs => %(lease)s)
        FROM unnest(%(ids)s::integer[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE c.id = held.id
          AND c.lease_token = held.token
          AND c.lease_owner IS NOT NULL
        RETURNING c.id
        """,
        _pairs(held, lease=lease_s),
    )
    return {row[0] for row in await cursor.fetchall()}


async def release_pages(conn: Connection, held: Sequence[tuple[int, int]]) -> int:
    """Hand pages back; they are due as before. Return how many."""
    return await execute(
        conn,
        """
        UPDATE competitor_pages p
        SET lease_owner = NULL,
            lease_until = NULL
        FROM unnest(%(ids)s::integer[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE p.id = held.id
          AND p.lease_token = held.token
        """,
        _pairs(held),
    )


async def release_competitors(conn: Connection, held: Sequence[tuple[int, int]]) -> int:
    """Hand competitors back; they are due as before. Return how many."""
    return await execute(
        conn,
        """
        UPDATE competitors c
        SET lease_owner = NULL,
            lease_until = NULL
        FROM unnest(%(ids)s::integer[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE c.id = held.id
          AND c.lease_token = held.token
        """,
        _pairs(held),
    )


async def seconds_until_due(conn: Connection) -> float | None:
    """Return the seconds until the next page or competitor is due, None for never.

    What is held is due when its lease ends; what is due and cannot be asked for, when the first of
    the hosts that have a pause may be asked again.
    """
    found = await fetch_value(
        conn,
        """
        WITH first_due AS MATERIALIZED (
            SELECT h.next_request_at
            FROM competitor_pages p
            LEFT JOIN competitors c ON c.id = p.competitor_id
            LEFT JOIN competitor_hosts h ON h.host = p.host
            WHERE p.state IN ('watched', 'gone')
              AND p.next_check_at IS NOT NULL
              AND p.next_check_at <= now()
              AND (p.lease_until IS NULL OR p.lease_until <= now())
              AND coalesce(c.enabled, true)
            ORDER BY p.next_check_at
            LIMIT %(window)s
        )
        SELECT extract(epoch FROM least(
            (SELECT min(coalesce(next_request_at, now())) FROM first_due),
            (
                -- Those behind them may be of others.
                SELECT min(next_request_at)
                FROM competitor_hosts
                WHERE next_request_at > now()
                  AND (SELECT count(*) FROM first_due) = %(window)s
            ),
            (
                SELECT p.next_check_at
                FROM competitor_pages p
                LEFT JOIN competitors c ON c.id = p.competitor_id
                WHERE p.state IN ('watched', 'gone')
                  AND p.next_check_at > now()
                  AND coalesce(c.enabled, true)
                ORDER BY p.next_check_at
                LIMIT 1
            ),
            (
                SELECT min(greatest(next_check_at, lease_until))
                FROM competitor_pages
                WHERE lease_until > now()
                  AND state IN ('watched', 'gone')
            ),
            (
                SELECT min(greatest(discover_at, lease_until))
                FROM competitors
                WHERE discover_at IS NOT NULL
                  AND coalesce(enabled, true)
            )
        ) - now())::double precision
        """,
        {"window": _WINDOW},
    )
    return None if found is None else max(0.0, float(found))


def _pairs(held: Sequence[tuple[int, int]], **more: object) -> dict[str, object]:
    return {"ids": [i for i, _ in held], "tokens": [token for _, token in held], **more}
