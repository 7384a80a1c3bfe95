"""SQL of changes: stored once, told once, taken note of."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_value
from aegis.intel.models import Change

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.intel.models import NewChange

__all__ = ["acknowledge", "add_change", "get_change", "list_changes", "list_untold", "set_told"]

_COLUMNS: LiteralString = """
    ch.id,
    ch.page_id,
    c.name AS competitor,
    p.url,
    p.page_type,
    ch.change_type,
    ch.importance,
    ch.summary,
    ch.old_value,
    ch.new_value,
    ch.diff,
    ch.word_diff,
    ch.details,
    ch.old_screenshot_url,
    ch.new_screenshot_url,
    ch.detected_at,
    ch.acknowledged_at
"""
_FROM: LiteralString = """
    FROM competitor_changes ch
    LEFT JOIN competitor_pages p ON p.id = ch.page_id
    LEFT JOIN competitors c ON c.id = p.competitor_id
"""


async def add_change(
    conn: Connection,
    page_id: int,
    change: NewChange,
    *,
    telling_due: bool,
    screenshots: tuple[str | None, str | None] = (None, None),
) -> int:
    """Store a confirmed change and return its id."""
    return await fetch_value(
        conn,
        """
        INSERT INTO competitor_changes (
            page_id, change_type, old_value, new_value, diff, word_diff, importance, summary,
            details, telling_due, old_screenshot_url, new_screenshot_url
        )
        VALUES (
            %(page_id)s, %(change_type)s, %(old_value)s, %(new_value)s, %(diff)s, %(word_diff)s,
            %(importance)s, %(summary)s, %(details)s, %(telling_due)s, %(old_shot)s, %(new_shot)s
        )
        RETURNING id
        """,
        {
            "page_id": page_id,
            "change_type": change.change_type,
            "old_value": change.old_value,
            "new_value": change.new_value,
            "diff": change.diff,
            "word_diff": change.word_diff,
            "importance": change.importance,
            "summary": change.summary,
            "details": None if change.details is None else Jsonb(change.details),
            "telling_due": telling_due,
            "old_shot": screenshots[0],
            "new_shot": screenshots[1],
        },
    )


async def get_change(conn: Connection, change_id: int) -> Change:
    """Return one change (`NotFound`)."""
    return await fetch_one(
        conn,
        Change,
        "SELECT " + _COLUMNS + _FROM + "WHERE ch.id = %(id)s",
        {"id": change_id},
        missing=f"There is no change {change_id}; `aegis intel changes` lists them.",
    )


async def list_changes(
    conn: Connection,
    *,
    competitor_id: int | None,
    page_id: int | None,
    change_types: Sequence[str],
    importances: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    unseen: bool,
    before: int | None,
    limit: int,
) -> list[Change]:
    """Return changes, the newest first; `before` is the id of the last of the page before."""
    return await fetch_all(
        conn,
        Change,
        "SELECT "
        + _COLUMNS
        + _FROM
        + """
        WHERE (%(before)s::integer IS NULL OR ch.id < %(before)s)
          AND (%(competitor_id)s::integer IS NULL OR p.competitor_id = %(competitor_id)s)
          AND (%(page_id)s::integer IS NULL OR ch.page_id = %(page_id)s)
          AND (%(types)s::text[] = '{}' OR ch.change_type = ANY(%(types)s))
          AND ch.importance = ANY(%(importances)s)
          AND (%(since)s::timestamptz IS NULL OR ch.detected_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR ch.detected_at < %(until)s)
          AND (NOT %(unseen)s OR ch.acknowledged_at IS NULL)
        ORDER BY ch.id DESC
        LIMIT %(limit)s
        """,
        {
            "competitor_id": competitor_id,
            "page_id": page_id,
            "types": list(change_types),
            "importances": list(importances),
            "since": since,
            "until": until,
            "unseen": unseen,
            "before": before,
            "limit": limit,
        },
    )


async def acknowledge(
    conn: Connection, ids: Sequence[int], *, competitor_id: int | None
) -> list[int]:
    """Take note of changes, by id or all of a competitor; return those that were new."""
    cursor = await conn.execute(
        """
        UPDATE competitor_changes ch
        SET acknowledged_at = now()
        WHERE ch.acknowledged_at IS NULL
          AND (
              ch.id = ANY(%(ids)s::integer[])
              OR ch.page_id IN (
                  SELECT id FROM competitor_pages WHERE competitor_id = %(competitor_id)s
              )
          )
        RETURNING ch.id
        """,
        {"ids": list(ids), "competitor_id": competitor_id},
    )
    return sorted(row[0] for row in await cursor.fetchall())


async def list_untold(conn: Connection, *, limit: int) -> list[Change]:
    """Return changes that memory and alerts are still to be told, oldest first."""
    return await fetch_all(
        conn,
        Change,
        "SELECT "
        + _COLUMNS
        + _FROM
        + """
        WHERE ch.telling_due
        ORDER BY ch.id
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )


async def set_told(conn: Connection, change_id: int) -> None:
    """Note that memory and alerts know."""
    await execute(
        conn,
        "UPDATE competitor_changes SET telling_due = false WHERE id = %(id)s",
        {"id": change_id},
    )
