"""Calls that come at once share statements: few run, and what waits goes together with the next.

A graph that stores thousands of items at once starts as many calls. Each on its own they would
queue for the pool's few connections until its patience ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

__all__ = ["Gathering"]

Op = TypeVar("Op")
Result = TypeVar("Result")


class Gathering(Generic[Op, Result]):
    """Does operations of many calls, all of which come in one event loop."""

    __slots__ = ("_busy", "_lanes", "_most", "_waiting", "_work")

    def __init__(
        self,
        work: Callable[[list[Op]], Coroutine[None, None, list[Result]]],
        *,
        lanes: int,
        most: int,
    ) -> None:
        """Have `work` do operations, at most `lanes` times at once.

        `most` operations of several calls go together; those of one call do however many.
        """
        self._work = work
        self._most = most
        self._lanes = lanes
        self._busy = 0
        self._waiting: deque[tuple[list[Op], asyncio.Future[list[Result]]]] = deque()

    async def do(self, ops: list[Op]) -> list[Result]:
        """Return what operations come to: at once where there is room, else with others."""
        if self._busy < self._lanes:
            self._busy += 1
            try:
                return await self._work(ops)
            finally:
                self._next()
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((ops, future))
        return await future

    def _next(self) -> None:
        """Give the room that became free to those that wait, or up."""
        calls: list[tuple[list[Op], asyncio.Future[list[Result]]]] = []
        size = 0
        while self._waiting and (not calls or size + len(self._waiting[0][0]) <= self._most):
            ops, future = self._waiting.popleft()
            # Who was cancelled waits for nothing.
            if not future.done():
                calls.append((ops, future))
                size += len(ops)
        if not calls:
            self._busy -= 1
            return
        task = asyncio.get_running_loop().create_task(self._together(calls))
        _RUNNING.add(task)
        task.add_done_callback(_RUNNING.discard)

    async def _together(
        self, calls: Sequence[tuple[list[Op], asyncio.Future[list[Result]]]]
    ) -> None:
        """Do the operations of several calls; where that fails, each call by itself."""
        try:
            if len(calls) == 1 or not await self._all(calls):
                for ops, future in calls:
                    await self._alone(ops, future)
        finally:
            for _, future in calls:
                future.cancel()
            self._next()

    async def _all(self, calls: Sequence[tuple[list[Op], asyncio.Future[list[Result]]]]) -> bool:
        """Return whether all went well; whose fault it is, each call learns for itself."""
        together = [op for ops, _ in calls for op in ops]
        (done,) = await asyncio.gather(self._work(together), return_exceptions=True)
        if isinstance(done, BaseException):
            return False
        start = 0
        for ops, future in calls:
            _tell(future, done[start : start + len(ops)])
            start += len(ops)
        return True

    async def _alone(self, ops: list[Op], future: asyncio.Future[list[Result]]) -> None:
        if future.done():
            return
        (done,) = await asyncio.gather(self._work(ops), return_exceptions=True)
        if not isinstance(done, BaseException):
            _tell(future, done)
        elif not future.done():
            future.set_exception(done)


def _tell(future: asyncio.Future[list[Result]], result: list[Result]) -> None:
    if not future.done():
        future.set_result(result)


#: An event loop keeps only weak references to its tasks.
_RUNNING: set[asyncio.Task[None]] = set()
