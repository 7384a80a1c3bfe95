"""SQL of pages: what is watched, and how a check ended, under its fencing token."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.intel.models import Page, PageRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.intel.models import Found, PageState

__all__ = [
    "add_pages",
    "choose_pages",
    "configure_page",
    "finish",
    "get_page",
    "get_row",
    "list_due",
    "list_pages",
    "list_urls",
]

_COLUMNS: LiteralString = """
    p.id,
    p.competitor_id,
    c.name AS competitor,
    p.url,
    p.page_type,
    p.state,
    p.browser,
    p.include_selectors,
    p.exclude_selectors,
    coalesce(p.check_every_s, c.check_every_s, 86400) AS check_every_s,
    p.content_hash,
    p.screenshot_url,
    p.last_checked_at,
    p.next_check_at,
    p.last_changed_at,
    p.last_status,
    p.failures,
    p.last_error
"""


async def get_row(conn: Connection, page_id: int) -> PageRow | None:
    """Return what a check needs of a page, None where it was deleted."""
    return await fetch_optional(
        conn,
        PageRow,
        """
        SELECT
            p.id,
            c.name AS competitor,
            p.url,
            p.host,
            p.page_type,
            p.state,
            p.browser,
            p.include_selectors,
            p.exclude_selectors,
            coalesce(p.check_every_s, c.check_every_s, 86400) AS check_every_s,
            p.content_hash,
            p.body_hash,
            p.etag,
            p.last_modified,
            p.extractor,
            p.noise,
            p.failures,
            p.last_status,
            p.screenshot_url,
            p.lease_token
        FROM competitor_pages p
        LEFT JOIN competitors c ON c.id = p.competitor_id
        WHERE p.id = %(id)s
        """,
        {"id": page_id},
    )


async def get_page(conn: Connection, page_id: int) -> Page:
    """Return one page (`NotFound`)."""
    return await fetch_one(
        conn,
        Page,
        "SELECT "
        + _COLUMNS
        + """
        FROM competitor_pages p
        LEFT JOIN competitors c ON c.id = p.competitor_id
        WHERE p.id = %(id)s
        """,
        {"id": page_id},
        missing=f"There is no page {page_id}; `aegis intel pages` lists them.",
    )


async def list_pages(
    conn: Connection,
    *,
    competitor_id: int | None,
    states: Sequence[str],
    page_type: str | None,
    after: int,
    limit: int,
) -> list[Page]:
    """Return pages by id."""
    return await fetch_all(
        conn,
        Page,
        "SELECT "
        + _COLUMNS
        + """
        FROM competitor_pages p
        LEFT JOIN competitors c ON c.id = p.competitor_id
        WHERE p.id > %(after)s
          AND (%(competitor_id)s::integer IS NULL OR p.competitor_id = %(competitor_id)s)
          AND (%(states)s::text[] = '{}' OR p.state = ANY(%(states)s))
          AND (%(page_type)s::text IS NULL OR p.page_type = %(page_type)s)
        ORDER BY p.id
        LIMIT %(limit)s
        """,
        {
            "competitor_id": competitor_id,
            "states": list(states),
            "page_type": page_type,
            "after": after,
            "limit": limit,
        },
    )


async def list_due(conn: Connection, *, competitor_id: int | None, only_due: bool) -> list[int]:
    """Return the ids of watched pages, all of them or those whose time has come."""
    cursor = await conn.execute(
        """
        SELECT p.id
        FROM competitor_pages p
        LEFT JOIN competitors c ON c.id = p.competitor_id
        WHERE p.state IN ('watched', 'gone')
          AND (%(competitor_id)s::integer IS NULL OR p.competitor_id = %(competitor_id)s)
          AND (%(competitor_id)s::integer IS NOT NULL OR coalesce(c.enabled, true))
          AND (NOT %(only_due)s OR p.next_check_at <= now())
        ORDER BY p.next_check_at NULLS LAST, p.id
        """,
        {"competitor_id": competitor_id, "only_due": only_due},
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_urls(conn: Connection, competitor_id: int) -> set[str]:
    """Return the addresses of a competitor's pages, whatever their state."""
    cursor = await conn.execute(
        "SELECT url FROM competitor_pages WHERE competitor_id = %(id)s", {"id": competitor_id}
    )
    return {row[0] for row in await cursor.fetchall()}


async def add_pages(
    conn: Connection, competitor_id: int, found: Sequence[Found], *, state: PageState
) -> list[int]:
    """Add pages that the competitor has not yet, and return their ids.

    The caller holds the competitor's row: two at once would add a page twice.
    """
    cursor = await conn.execute(
        """
        INSERT INTO competitor_pages (competitor_id, url, page_type, state)
        SELECT %(competitor_id)s, f.url, f.page_type, %(state)s
        FROM unnest(%(urls)s::text[], %(types)s::text[]) WITH ORDINALITY AS f (url, page_type, n)
        WHERE NOT EXISTS (
            SELECT FROM competitor_pages p
            WHERE p.competitor_id = %(competitor_id)s
              AND p.url = f.url
        )
        ORDER BY f.n
        RETURNING id
        """,
        {
            "competitor_id": competitor_id,
            "state": state,
            "urls": [page.url for page in found],
            "types": [page.page_type for page in found],
        },
    )
    return [row[0] for row in await cursor.fetchall()]


async def choose_pages(conn: Connection, ids: Sequence[int], *, state: PageState) -> list[int]:
    """Watch, propose or ignore pages; what is newly watched is due at once."""
    cursor = await conn.execute(
        """
        UPDATE competitor_pages
        SET next_check_at = CASE WHEN state <> %(state)s THEN now() ELSE next_check_at END,
            state = %(state)s
        WHERE id = ANY(%(ids)s)
        RETURNING id
        """,
        {"ids": list(ids), "state": state},
    )
    return [row[0] for row in await cursor.fetchall()]


async def configure_page(
    conn: Connection,
    page_id: int,
    *,
    page_type: str | None = None,
    browser: bool | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    check_every_s: int | None = None,
) -> None:
    """Set what is not None; the next check is at once, and reads the baseline anew."""
    await execute(
        conn,
        """
        UPDATE competitor_pages
        SET page_type = coalesce(%(page_type)s, page_type),
            browser = coalesce(%(browser)s, browser),
            include_selectors = coalesce(%(include)s::text[], include_selectors),
            exclude_selectors = coalesce(%(exclude)s::text[], exclude_selectors),
            check_every_s = coalesce(%(every)s, check_every_s),
            etag = NULL,
            last_modified = NULL,
            body_hash = NULL,
            next_check_at = now()
        WHERE id = %(id)s
        """,
        {
            "id": page_id,
            "page_type": page_type,
            "browser": browser,
            "include": None if include is None else list(include),
            "exclude": None if exclude is None else list(exclude),
            "every": check_every_s,
        },
    )


async def finish(
    conn: Connection,
    page: PageRow,
    token: int,
    *,
    next_s: float | None,
    error: str | None,
    changed: bool = False,
    learned: bool = True,
    lasting: bool = True,
) -> bool:
    """Write how a check ended, give the lease back, and return whether it was still held.

    `page` has the columns as they are to be. `learned` is False for a failure: it checked nothing.
    `lasting` is False for what may be lost with the server.
    """
    return bool(
        await fetch_value(
            conn,
            """
            WITH page AS (
                UPDATE competitor_pages
                SET state = %(state)s,
                    last_checked_at = CASE WHEN %(learned)s THEN now() ELSE last_checked_at END,
                    last_changed_at = CASE WHEN %(changed)s THEN now() ELSE last_changed_at END,
                    next_check_at = now() + make_interval(secs => %(next)s),
                    failures = %(failures)s,
                    last_error = %(error)s,
                    last_status = %(last_status)s,
                    etag = %(etag)s,
                    last_modified = %(last_modified)s,
                    body_hash = %(body_hash)s,
                    content_hash = %(content_hash)s,
                    extractor = %(extractor)s,
                    screenshot_url = %(screenshot_url)s,
                    noise = %(noise)s,
                    lease_owner = NULL,
                    lease_until = NULL
                WHERE id = %(id)s
                  AND lease_token = %(token)s
                RETURNING competitor_id
            ),
            competitor AS (
                -- Once a minute is enough, and keeps pages from waiting for one row.
                UPDATE competitors c
                SET last_checked_at = now()
                FROM page
                WHERE c.id = page.competitor_id
                  AND %(learned)s
                  AND (c.last_checked_at IS NULL OR c.last_checked_at < now() - INTERVAL '1 minute')
            )
            SELECT
                (SELECT count(*) FROM page),
                -- That nothing changed may be lost with the server: it is found out again.
                CASE WHEN NOT %(lasting)s THEN set_config('synchronous_commit', 'off', true) END
            """,
            {
                "id": page.id,
                "token": token,
                "lasting": lasting,
                "state": page.state,
                "next": next_s,
                "failures": page.failures,
                "error": error,
                "last_status": page.last_status,
                "etag": page.etag,
                "last_modified": page.last_modified,
                "body_hash": page.body_hash,
                "content_hash": page.content_hash,
                "extractor": page.extractor,
                "screenshot_url": page.screenshot_url,
                "noise": Jsonb(page.noise),
                "changed": changed,
                "learned": learned,
            },
        )
    )
