"""Blocking work in a thread, for callers that can be cancelled."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from aegis.db.vigil import GIVING_UP

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run blocking work; where the caller is cancelled, it is told to end, and waited for."""
    stop = threading.Event()
    # A server that stands still is not waited for by who is to end.
    GIVING_UP.set(stop)
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        # Unlike awaiting the task, this leaves it alone when the caller is cancelled.
        await asyncio.wait([task])
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        task.exception()
        raise
    return task.result()
