"""Jobs that ended long ago go, a few at a time, so that no lock is held for long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput
from aegis.research.store import jobs as store

if TYPE_CHECKING:
    from aegis.db import Database

__all__ = ["prune"]

#: Jobs of one transaction: each may have thousands of sources and citations.
_AT_ONCE: Final = 100


async def prune(db: Database, *, keep_days: float) -> int:
    """Delete jobs that ended longer ago, and return how many that were (`InvalidInput`)."""
    if not 0 <= keep_days <= 36_500:
        raise InvalidInput(f"keep_days is {keep_days:g}; it is 0 to 36,500.")
    pruned = 0
    while True:
        async with db.transaction() as conn:
            count = await store.delete_ended(conn, keep_days=keep_days, limit=_AT_ONCE)
        pruned += count
        if count < _AT_ONCE:
            return pruned
