"""Group commit: what many ask for while one statement is under way goes into the next one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from aegis.errors import AegisError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["Batches"]

T = TypeVar("T")
R = TypeVar("R")

#: Statements under way at once: while one commits, the next one is worked on.
_STATEMENTS: Final = 2
#: How long an outage is waited out before those who wait are told.
_OUTAGE_S: Final = 60.0

_log = logging.getLogger("aegis.workflows")


class Batches(Generic[T, R]):
    """Gives `work` what was put in, up to `size` at once, and each caller its own result.

    `work` returns one result for each given, in order, and is one transaction. Where the database
    is away it is asked again, so that doing it twice has to be the same as once; where it refuses
    a batch, each part is asked alone and only the guilty one is told.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, size: int = 150
    ) -> None:
        self._work = work
        self._size = size
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def put(self, given: T) -> R:
        """Return the result once it is committed; raises what `work` raises."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        if self._waiting and len(self._running) < _STATEMENTS:
            task = asyncio.create_task(self._empty())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("workflows.unexpected", exc_info=error)
        self._start()

    async def _empty(self) -> None:
        # A turn of the loop: what becomes ready together goes together.
        await asyncio.sleep(0)
        while self._waiting:
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            try:
                await self._do(batch)
            finally:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(
                            Unavailable("The write was given up.", code="write_given_up")
                        )

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._patiently([given for given, _ in batch])
        except Unavailable as error:
            for _, answer in batch:
                _fail(answer, error)
        except AegisError as error:
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for part in batch:
                await self._do([part])
        else:
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)

    async def _patiently(self, given: Sequence[T]) -> Sequence[R]:
        loop = asyncio.get_running_loop()
        until = loop.time() + _OUTAGE_S
        pause = 0.05
        while True:
            try:
                return await self._work(given)
            except Unavailable as error:
                if loop.time() + pause > until:
                    raise
                _log.warning("workflows.write_again", extra={"code": error.code})
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


def _fail(answer: asyncio.Future[R], error: AegisError) -> None:
    if not answer.done():
        answer.set_exception(error)
