"""Group commit: what many ask for while one statement is under way goes into the next one.

A connection is kept for a moment after its last statement: where more comes, the same connection
has the statement prepared and its tables at hand.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from aegis.errors import AegisError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.db import Connection, Database

__all__ = ["Batches"]

T = TypeVar("T")
R = TypeVar("R")

#: Statements under way at once: while one commits, the next one is worked on.
_STATEMENTS: Final = 2
#: Seconds that a connection is kept without work.
_LINGER_S: Final = 0.5
#: How long an outage is waited out before those who wait are told.
_OUTAGE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 1.0

_log = logging.getLogger("aegis.workflows")


class _Batch(Generic[T, R]):
    """What goes into one transaction, and who waits for it."""

    def __init__(self, parts: list[tuple[T, asyncio.Future[R]]]) -> None:
        self.given = [given for given, _ in parts]
        self.parts = parts
        self.since = asyncio.get_running_loop().time()

    def settle(self, results: Sequence[R]) -> None:
        for (_, answer), result in zip(self.parts, results, strict=True):
            if not answer.done():
                answer.set_result(result)

    def fail(self, error: AegisError) -> None:
        for _, answer in self.parts:
            if not answer.done():
                answer.set_exception(error)


class Batches(Generic[T, R]):
    """Gives `work` what was put in, up to `size` at once, and each caller its own result.

    `work` gets a connection in autocommit mode, is one transaction, and returns one result for
    each given, in order. Where the database is away it is asked again, so that doing it twice has
    to be the same as once; where it refuses a batch, each part is asked alone and only the guilty
    one is told.
    """

    def __init__(
        self,
        db: Database,
        work: Callable[[Connection, Sequence[T]], Awaitable[Sequence[R]]],
        *,
        size: int = 150,
    ) -> None:
        self._db = db
        self._work = work
        self._size = size
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._lanes: set[asyncio.Task[None]] = set()

    async def put(self, given: T) -> R:
        """Return the result once it is committed; raises what `work` raises."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, answer))
        self._stir()
        return await answer

    def _stir(self) -> None:
        if self._idle:
            # The one that was busy last.
            waker = self._idle.pop()
            if not waker.done():
                waker.set_result(None)
        elif len(self._lanes) < _STATEMENTS:
            task = asyncio.create_task(self._lane())
            self._lanes.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._lanes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("workflows.unexpected", exc_info=error)
        if self._waiting and not task.cancelled():
            self._stir()

    async def _next(self) -> _Batch[T, R] | None:
        """Return what waits, or comes within a moment."""
        if not self._waiting:
            waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waker)
            done, _ = await asyncio.wait([waker], timeout=_LINGER_S)
            if not done:
                self._idle.remove(waker)
                return None
        # A turn of the loop: what becomes ready together goes together.
        await asyncio.sleep(0)
        parts, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        return _Batch(parts)

    async def _lane(self) -> None:
        batch: _Batch[T, R] | None = None
        pause = 0.05
        try:
            while True:
                try:
                    async with self._db.connection() as conn:
                        while (batch := batch or await self._next()) is not None:
                            if batch.parts:
                                batch.settle(await self._work(conn, batch.given))
                            batch, pause = None, 0.05
                    return
                except Unavailable as error:
                    batch = self._patient(batch, error)
                except AegisError as error:
                    await self._alone(batch, error)
                    batch = None
                    continue
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        finally:
            if batch is not None:
                batch.fail(Unavailable("The write was given up.", code="write_given_up"))

    def _patient(self, batch: _Batch[T, R] | None, error: Unavailable) -> _Batch[T, R] | None:
        """Return the batch to try again, or tell those who have waited long enough."""
        _log.warning("workflows.write_again", extra={"code": error.code})
        if batch is None:
            return None
        if asyncio.get_running_loop().time() - batch.since < _OUTAGE_S:
            return batch
        batch.fail(error)
        return None

    async def _alone(self, batch: _Batch[T, R] | None, error: AegisError) -> None:
        """Ask for each part of a refused batch by itself."""
        if batch is None:
            raise error
        if len(batch.parts) == 1:
            batch.fail(error)
            return
        for part in batch.parts:
            one = _Batch([part])
            try:
                async with self._db.connection() as conn:
                    one.settle(await self._work(conn, one.given))
            except AegisError as guilty:
                one.fail(guilty)
