"""One connection that listens, for all in a process who wait to be told of executions.

It is held only while somebody listens. Where it breaks, everybody is told once it is back: a
notification may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Literal

from aegis.errors import Unavailable
from aegis.workflows.store.listening import listen, notifications

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.db import Database

__all__ = ["Listener"]

#: `aegis_workflow_changes`: executions moved on. `aegis_workflow_told`: somebody told them
#: something, or took them from their worker.
Channel = Literal["aegis_workflow_changes", "aegis_workflow_told"]
_PAUSE_S: Final = 0.5


class Listener:
    """Sets events when an execution is named on a channel."""

    def __init__(self, db: Database, channel: Channel) -> None:
        self._db = db
        self._channel: Channel = channel
        self._events: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @contextlib.contextmanager
    def events(self, id: str) -> Generator[asyncio.Event]:
        """Yield an event that is set whenever the execution is named; whoever waits clears it.

        It is set at the beginning and whenever something may have been missed.
        """
        event = asyncio.Event()
        event.set()
        self._events.setdefault(id, set()).add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        try:
            yield event
        finally:
            held = self._events[id]
            held.discard(event)
            if not held:
                del self._events[id]
            if not self._events and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _listen(self) -> None:
        while True:
            try:
                async with self._db.connection() as conn:
                    await listen(conn, self._channel)
                    self._set_all()
                    async for payload in notifications(conn):
                        for id in payload.split(","):
                            for event in self._events.get(id, ()):
                                event.set()
            except Unavailable:
                pass
            self._set_all()
            await asyncio.sleep(_PAUSE_S)

    def _set_all(self) -> None:
        for held in self._events.values():
            for event in held:
                event.set()
