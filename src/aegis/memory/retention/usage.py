"""Counting what recall returned (`memory_usage`): in memory first, written together, later.

An answer never waits for it. What a process that is killed had not written yet is lost: counts are
a hint of what matters, not an account.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError, Conflict
from aegis.memory.store import retention as store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database

__all__ = ["Usage"]

#: Seconds that counts wait for others, and how many memories may wait.
_PAUSE_S = 5.0
_MOST = 5_000
#: Those of one write: a statement of a few milliseconds.
_BATCH = 500

_log = logging.getLogger("aegis.memory")


class Usage:
    """What one client's answers consisted of."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: dict[int, int] = {}
        self._later: asyncio.Task[None] | None = None

    def note(self, episode_ids: Sequence[int]) -> None:
        """Count each of these once, and write it down in a few seconds; returns at once."""
        for episode_id in episode_ids:
            if episode_id in self._counts or len(self._counts) < _MOST:
                self._counts[episode_id] = self._counts.get(episode_id, 0) + 1
        if self._counts and (self._later is None or self._later.done()):
            self._later = asyncio.get_running_loop().create_task(self._write_later())

    async def flush(self) -> None:
        """Write down what has been counted; what cannot be written is logged and forgotten."""
        if self._later is not None and self._later is not asyncio.current_task():
            self._later.cancel()
        self._later = None
        counts, self._counts = self._counts, {}
        ordered = sorted(counts.items())
        for start in range(0, len(ordered), _BATCH):
            batch = dict(ordered[start : start + _BATCH])
            try:
                await self._write(batch)
            except AegisError as error:
                extra = {"code": error.code, "why": str(error)}
                _log.warning("memory.usage_not_written", extra=extra)
                return

    async def _write_later(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        await self.flush()

    async def _write(self, counts: dict[int, int]) -> None:
        try:
            async with self._db.transaction() as conn:
                await store.add_usage(conn, counts)
        except Conflict:
            # One of them was deleted in this moment: the second time it is not there to be counted.
            async with self._db.transaction() as conn:
                await store.add_usage(conn, counts)
