"""How slow a place may be before it counts as one that does not answer.

Time-outs of sockets do not help against one that sends a byte now and then. So each call has a
limit, by the bytes that it moves, and whoever waits looks up meanwhile: Ctrl-C is not kept waiting.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from aegis.db.vigil import GIVING_UP
from aegis.ops.backup.programs import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SLOWEST", "STALL_S", "awaited", "called", "limit_s"]

T = TypeVar("T")

#: Seconds that a call may take, and bytes a second that it has to move beyond that.
STALL_S = 60.0
SLOWEST = 16 << 10
#: How often whoever waits looks up; seconds.
_TURN_S = 0.2


def limit_s(size: int = 0) -> float:
    """Return how many seconds a call may take that moves `size` bytes."""
    return STALL_S + size / SLOWEST


def called(work: Callable[[], T], size: int = 0) -> T:
    """Run blocking work in a thread of its own, and leave it there if it takes too long.

    Raises:
        TimeoutError: it moved too little.
        Stopped: nobody wants it any more.
    """
    call = _Call(work)
    stop = GIVING_UP.get()
    left = limit_s(size)
    while not call.done.wait(min(_TURN_S, left)):
        left -= _TURN_S
        if stop is not None and stop.is_set():
            raise Stopped
        if left <= 0:
            raise TimeoutError(_too_slow(size))
    return call.result()


class _Call(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.done = threading.Event()
        self._work = work
        self._found: T
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._found = self._work()
        except BaseException as error:  # noqa: BLE001 (raised by whoever waits)
            self._error = error
        finally:
            self.done.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._found


async def awaited(work: Coroutine[object, object, T], size: int = 0) -> T:
    """Do the same for a coroutine, which is cancelled.

    Raises:
        TimeoutError: it moved too little.
        Stopped: nobody wants it any more.
    """
    stop = GIVING_UP.get()
    task = asyncio.ensure_future(work)
    left = limit_s(size)
    try:
        while not (await asyncio.wait([task], timeout=min(_TURN_S, max(left, 0.01))))[0]:
            left -= _TURN_S
            if stop is not None and stop.is_set():
                raise Stopped
            if left <= 0:
                raise TimeoutError(_too_slow(size))
    finally:
        task.cancel()
    return task.result()


def _too_slow(size: int) -> str:
    what = f"moved less than {size >> 10} kB" if size else "said nothing"
    return f"it {what} in {limit_s(size):.0f} s"
