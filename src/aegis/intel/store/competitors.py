"""SQL of competitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.intel.models import Competitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "CompetitorRow",
    "add_competitor",
    "configure_competitor",
    "find_competitors",
    "finish_discovery",
    "get_row",
    "list_competitors",
    "lock_competitor",
    "lock_domains",
    "remove_competitor",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompetitorRow:
    """What looking for pages needs to know of a competitor."""

    id: int
    name: str
    domain: str
    url: str | None
    #: Whether its pages were looked for before.
    known: bool
    failures: int
    lease_token: int


_SELECT: LiteralString = """
    SELECT
        c.id,
        c.name,
        c.domain,
        c.category,
        c.url,
        coalesce(c.enabled, true) AS enabled,
        c.check_every_s,
        c.last_checked_at,
        c.discovered_at,
        c.discover_at,
        c.last_error,
        c.created_at,
        (
            SELECT count(*) FROM competitor_pages p
            WHERE p.competitor_id = c.id AND p.state IN ('watched', 'gone')
        ) AS watched,
        (
            SELECT count(*) FROM competitor_pages p
            WHERE p.competitor_id = c.id AND p.state = 'proposed'
        ) AS proposed,
        (
            SELECT count(*)
            FROM competitor_changes ch
            JOIN competitor_pages p ON p.id = ch.page_id
            WHERE p.competitor_id = c.id AND ch.acknowledged_at IS NULL
        ) AS unseen
    FROM competitors c
"""


async def lock_domains(conn: Connection) -> None:
    """Let one transaction at a time add a competitor: the seed has no unique domain."""
    await execute(conn, "SELECT pg_advisory_xact_lock(hashtext('aegis.intel.domains'))")


async def add_competitor(
    conn: Connection,
    *,
    name: str,
    domain: str,
    url: str,
    category: str | None,
    check_every_s: int,
) -> int:
    """Add a competitor, whose pages are to be looked for at once, and return its id."""
    return await fetch_value(
        conn,
        """
        INSERT INTO competitors (name, domain, url, category, check_every_s, discover_at)
        VALUES (%(name)s, %(domain)s, %(url)s, %(category)s, %(every)s, now())
        RETURNING id
        """,
        {
            "name": name,
            "domain": domain,
            "url": url,
            "category": category,
            "every": check_every_s,
        },
    )


async def find_competitors(conn: Connection, text: str) -> list[Competitor]:
    """Return competitors of this id, name or domain."""
    return await fetch_all(
        conn,
        Competitor,
        _SELECT
        + """
        WHERE c.id::text = %(text)s
           OR lower(c.name) = lower(%(text)s)
           OR lower(c.domain) = lower(%(text)s)
        ORDER BY c.id
        """,
        {"text": text},
    )


async def list_competitors(conn: Connection) -> Sequence[Competitor]:
    """Return all competitors by name."""
    return await fetch_all(conn, Competitor, _SELECT + "ORDER BY lower(c.name), c.id LIMIT 10000")


async def get_row(conn: Connection, competitor_id: int) -> CompetitorRow | None:
    """Return what looking for pages needs, None where it was deleted."""
    return await fetch_optional(
        conn,
        CompetitorRow,
        """
        SELECT id, name, domain, url, discovered_at IS NOT NULL AS known, failures, lease_token
        FROM competitors
        WHERE id = %(id)s
        """,
        {"id": competitor_id},
    )


async def lock_competitor(conn: Connection, competitor_id: int) -> None:
    """Hold a competitor's row until the transaction ends."""
    await execute(
        conn, "SELECT FROM competitors WHERE id = %(id)s FOR UPDATE", {"id": competitor_id}
    )


async def configure_competitor(
    conn: Connection,
    competitor_id: int,
    *,
    enabled: bool | None,
    check_every_s: int | None,
    category: str | None,
    discover: bool,
) -> None:
    """Set what is not None; `discover` has its pages looked for at once."""
    await execute(
        conn,
        """
        UPDATE competitors
        SET enabled = coalesce(%(enabled)s, enabled),
            check_every_s = coalesce(%(every)s, check_every_s),
            category = coalesce(%(category)s, category),
            discover_at = CASE WHEN %(discover)s THEN now() ELSE discover_at END
        WHERE id = %(id)s
        """,
        {
            "id": competitor_id,
            "enabled": enabled,
            "every": check_every_s,
            "category": category,
            "discover": discover,
        },
    )


async def finish_discovery(
    conn: Connection,
    competitor_id: int,
    token: int | None,
    *,
    next_s: float,
    failures: int,
    error: str | None,
) -> bool:
    """Write how looking for pages ended; return whether the lease, if any, was still held."""
    return bool(
        await fetch_value(
            conn,
            """
            WITH done AS (
                UPDATE competitors
                SET discovered_at = CASE
                        WHEN %(error)s::text IS NULL THEN now() ELSE discovered_at
                    END,
                    discover_at = now() + make_interval(secs => %(next)s),
                    failures = %(failures)s,
                    last_error = %(error)s,
                    lease_owner = CASE
                        WHEN %(token)s::bigint IS NULL THEN lease_owner
                    END,
                    lease_until = CASE
                        WHEN %(token)s::bigint IS NULL THEN lease_until
                    END
                WHERE id = %(id)s
                  AND (%(token)s::bigint IS NULL OR lease_token = %(token)s)
                RETURNING id
            )
            SELECT count(*) FROM done
            """,
            {
                "id": competitor_id,
                "token": token,
                "next": next_s,
                "failures": failures,
                "error": error,
            },
        )
    )


async def remove_competitor(conn: Connection, competitor_id: int) -> dict[str, int]:
    """Delete a competitor with its pages, snapshots and changes; return how many of each."""
    cursor = await conn.execute(
        """
        WITH changes AS (
            DELETE FROM competitor_changes
            WHERE page_id IN (SELECT id FROM competitor_pages WHERE competitor_id = %(id)s)
            RETURNING id
        ),
        pages AS (
            DELETE FROM competitor_pages WHERE competitor_id = %(id)s RETURNING id
        ),
        gone AS (
            DELETE FROM competitors WHERE id = %(id)s RETURNING id
        )
        SELECT
            (SELECT count(*) FROM gone),
            (SELECT count(*) FROM pages),
            (SELECT count(*) FROM changes)
        """,
        {"id": competitor_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return {"competitors": row[0], "pages": row[1], "changes": row[2]}
