"""What a check writes beside the page's own row: snapshots and changes, in its transaction."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from aegis.intel.step import body_hash
from aegis.intel.store import changes, snapshots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.intel.browser import Rendered
    from aegis.intel.fetching import Answer
    from aegis.intel.models import NewChange, PageRow, Reading, SnapshotState
    from aegis.intel.step import Step

__all__ = ["add", "reread", "store"]

#: Changes that memory and alerts are told.
_TOLD = ("high", "critical")


async def add(
    conn: Connection,
    page: PageRow,
    answer: Answer,
    rendered: Rendered | None,
    reading: Reading,
    html: str | None,
    *,
    state: SnapshotState,
) -> None:
    """Add a snapshot, with the document where there is one."""
    packed = None if html is None else zlib.compress(html.encode(errors="replace"), 6)
    await snapshots.add_snapshot(
        conn,
        page.id,
        reading,
        state=state,
        url=answer.url,
        status=answer.status,
        html=packed,
        body_hash=body_hash(answer.body),
        screenshot_url=None if rendered is None else rendered.screenshot_url,
        picture=None if rendered is None else rendered.picture,
    )


async def reread(conn: Connection, step: Step) -> None:
    """Write what the baseline says to the extraction of today, where that is something else."""
    if step.reread:
        await snapshots.reread(conn, step.baseline.id, step.old)


async def store(
    conn: Connection,
    page: PageRow,
    found: Sequence[NewChange],
    screenshots: tuple[str | None, str | None] = (None, None),
) -> tuple[int, ...]:
    """Store confirmed changes, the important ones as due for telling; return their ids."""
    ids: list[int] = []
    for change in found:
        told = change.importance in _TOLD
        ids.append(
            await changes.add_change(
                conn, page.id, change, telling_due=told, screenshots=screenshots
            )
        )
    return tuple(ids)
