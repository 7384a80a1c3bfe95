"""SQL of snapshots: the baseline of a page, what waits for confirmation, what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_value
from aegis.intel.models import Snapshot

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.intel.models import Reading, SnapshotState

__all__ = [
    "add_snapshot",
    "drop_pending",
    "find_document",
    "list_current",
    "prune",
    "reread",
    "retire_baseline",
]


async def list_current(conn: Connection, page_id: int) -> list[Snapshot]:
    """Return the baseline, if there is one, and after it what is pending, oldest first."""
    return await fetch_all(
        conn,
        Snapshot,
        """
        SELECT
            id, page_id, state, taken_at, url, status, extractor, method, title, text, prices,
            outline, body_hash, screenshot_url, picture
        FROM competitor_snapshots
        WHERE page_id = %(page_id)s
          AND state IN ('baseline', 'pending')
        ORDER BY state <> 'baseline', id
        """,
        {"page_id": page_id},
    )


async def find_document(conn: Connection, snapshot_id: int) -> bytes | None:
    """Return a snapshot's document, compressed with zlib; None where it was not kept."""
    return await fetch_value(
        conn,
        "SELECT html FROM competitor_snapshots WHERE id = %(id)s",
        {"id": snapshot_id},
    )


async def add_snapshot(
    conn: Connection,
    page_id: int,
    reading: Reading,
    *,
    state: SnapshotState,
    url: str,
    status: int,
    html: bytes | None,
    body_hash: str | None,
    screenshot_url: str | None = None,
    picture: bytes | None = None,
) -> int:
    """Add a snapshot and return its id."""
    return await fetch_value(
        conn,
        """
        INSERT INTO competitor_snapshots (
            page_id, state, url, status, extractor, method, title, text, prices, outline, html,
            body_hash, screenshot_url, picture
        )
        VALUES (
            %(page_id)s, %(state)s, %(url)s, %(status)s, %(extractor)s, %(method)s, %(title)s,
            %(text)s, %(prices)s, %(outline)s, %(html)s, %(body_hash)s, %(screenshot_url)s,
            %(picture)s
        )
        RETURNING id
        """,
        {
            "page_id": page_id,
            "state": state,
            "url": url,
            "status": status,
            **_said(reading),
            "html": html,
            "body_hash": body_hash,
            "screenshot_url": screenshot_url,
            "picture": picture,
        },
    )


async def reread(conn: Connection, snapshot_id: int, reading: Reading) -> None:
    """Replace what a snapshot says, of the same document: another extraction read it."""
    await execute(
        conn,
        """
        UPDATE competitor_snapshots
        SET extractor = %(extractor)s,
            method = %(method)s,
            title = %(title)s,
            text = %(text)s,
            prices = %(prices)s,
            outline = %(outline)s
        WHERE id = %(id)s
        """,
        {"id": snapshot_id, **_said(reading)},
    )


async def retire_baseline(conn: Connection, page_id: int) -> None:
    """Make the baseline an old snapshot, without its document."""
    await execute(
        conn,
        """
        UPDATE competitor_snapshots
        SET state = 'old',
            html = NULL,
            picture = NULL
        WHERE page_id = %(page_id)s
          AND state = 'baseline'
        """,
        {"page_id": page_id},
    )


async def drop_pending(conn: Connection, page_id: int) -> None:
    """Delete what waited for confirmation."""
    await execute(
        conn,
        """
        DELETE FROM competitor_snapshots
        WHERE page_id = %(page_id)s
          AND state = 'pending'
        """,
        {"page_id": page_id},
    )


async def prune(conn: Connection, page_id: int, *, keep: int) -> None:
    """Delete the oldest of a page's old snapshots."""
    await execute(
        conn,
        """
        DELETE FROM competitor_snapshots
        WHERE id IN (
            SELECT id
            FROM competitor_snapshots
            WHERE page_id = %(page_id)s
              AND state = 'old'
            ORDER BY id DESC
            OFFSET %(keep)s
        )
        """,
        {"page_id": page_id, "keep": keep},
    )


def _said(reading: Reading) -> dict[str, str]:
    return {
        "extractor": reading.extractor,
        "method": reading.method,
        "title": reading.title,
        "text": "\n".join(reading.text),
        "prices": "\n".join(reading.prices),
        "outline": "\n".join(reading.outline),
    }
