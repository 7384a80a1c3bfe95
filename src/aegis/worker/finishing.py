"""Outcomes of jobs are written together: those that come while a write is under way are the next.

One commit for many jobs, and no waiting: a single outcome is written at once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError, Unavailable
from aegis.worker.store import claims

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.worker.store.claims import Outcome

    _Waiting = tuple[Outcome, asyncio.Future[bool]]

__all__ = ["Finisher"]

_log = logging.getLogger("aegis.worker")

#: Outcomes of one statement.
_MOST = 1_000
#: Seconds between tries while the database does not answer; the leases end it.
_PAUSE_S = 0.5


class Finisher:
    """Writes outcomes in batches; `write` returns when one is committed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[_Waiting] = []
        self._ids: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def pending(self) -> set[int]:
        """Return the ids of jobs whose outcomes are not known to be written yet."""
        return set(self._ids)

    async def write(self, outcome: Outcome) -> bool:
        """Write one outcome; False where the job was not held any longer.

        While the database does not answer it is tried again; it ends when its caller is cancelled.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, future))
        self._ids.add(outcome.id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            return await future
        finally:
            self._ids.discard(outcome.id)

    async def _work(self) -> None:
        # What is ready in this turn of the loop goes together.
        await asyncio.sleep(0)
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            batch = [(outcome, future) for outcome, future in batch if not future.done()]
            if not batch:
                continue
            try:
                await self._write(batch)
            except Unavailable as error:
                told = {"code": error.code, "why": error.message, "jobs": len(batch)}
                _log.warning("worker.finish_failed", extra=told)
                self._waiting = [*batch, *self._waiting]
                await asyncio.sleep(_PAUSE_S)
            except AegisError:
                # One of them cannot be written; each by itself tells which.
                for one in batch:
                    await self._write_alone(one)

    async def _write(self, batch: list[_Waiting]) -> None:
        async with self._db.transaction() as conn:
            held = await claims.finish(conn, [outcome for outcome, _ in batch])
        for outcome, future in batch:
            if not future.done():
                future.set_result(outcome.id in held)

    async def _write_alone(self, one: _Waiting) -> None:
        try:
            await self._write([one])
        except Unavailable:
            self._waiting.append(one)
        except AegisError as error:
            if not one[1].done():
                one[1].set_exception(error)
