"""Important changes go to memory, once, and to alerts.

A change is stored as due for telling in the transaction that stores it; whoever checks a page next
tells what is due. Told twice after a crash, it is one memory all the same: its `source_id` is the
change's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from aegis.errors import AegisError, InvalidInput
from aegis.intel.store import changes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Database
    from aegis.intel.models import Change
    from aegis.memory import Memory

__all__ = ["Alerting", "key_of", "tell"]

_log = logging.getLogger("aegis.intel")
_BATCH = 50


class Alerting(Protocol):
    """Where people are told; what delivers alerts is put behind it."""

    async def tell(
        self, *, key: str, severity: str, title: str, text: str, details: Mapping[str, Any]
    ) -> None:
        """Raise an alert once for each key."""
        ...

    async def over(self, keys: Sequence[str]) -> None:
        """End the alerts of these keys."""
        ...


async def tell(db: Database, memory: Memory | None, alerting: Alerting | None) -> int:
    """Tell memory and alerts what is due, and return how many changes were told."""
    async with db.transaction() as conn:
        due = await changes.list_untold(conn, limit=_BATCH)
    told = 0
    for change in due:
        try:
            await _tell_one(change, memory, alerting)
        except InvalidInput as error:
            # What memory cannot take would be tried for ever.
            _log.warning("intel.not_told", extra={"change": change.id, "why": error.message})
        except AegisError as error:
            _log.warning("intel.telling_failed", extra={"change": change.id, "why": error.code})
            break
        async with db.transaction() as conn:
            await changes.set_told(conn, change.id)
        told += 1
    return told


async def _tell_one(change: Change, memory: Memory | None, alerting: Alerting | None) -> None:
    where = change.competitor or "A competitor"
    title = f"{where}: {change.change_type} of {change.url or 'a page'}"
    text = f"{title}. {change.summary or ''}".strip()
    if memory is not None:
        await memory.record(
            "competitor_change",
            text[:4_000],
            timestamp=change.detected_at,
            importance=change.importance,
            tags=["competitor", *([change.page_type] if change.page_type else [])],
            details={"change_id": change.id, "url": change.url, "type": change.change_type},
            source_id=key_of(change.id),
        )
    if alerting is not None:
        await alerting.tell(
            key=key_of(change.id),
            severity=change.importance,
            title=title,
            text=change.summary or title,
            details={"change_id": change.id, "url": change.url},
        )


def key_of(change_id: int) -> str:
    """Return by what memory and alerts know a change."""
    return f"intel:change:{change_id}"
