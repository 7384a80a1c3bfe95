"""One connection that listens, for all in a process who wait to be told of executions.

It is held only while somebody listens. Where it breaks, everybody is told once it is back: a
notification may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Literal

from aegis.errors import ConfigError, Unavailable
from aegis.workflows.store.listening import listen, notifications

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aegis.db import Database

__all__ = ["Listener"]

#: `aegis_workflow_changes`: executions moved on. `aegis_workflow_told`: somebody told them
#: something, or took them from their worker.
Channel = Literal["aegis_workflow_changes", "aegis_workflow_told"]
_PAUSE_S: Final = 0.5


class Listener:
    """Calls when an execution is named on a channel."""

    def __init__(self, db: Database, channel: Channel) -> None:
        self._db = db
        self._channel: Channel = channel
        self._calls: dict[str, list[Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def calling(self, id: str, call: Callable[[], None]) -> Generator[None]:
        """Call `call` whenever the execution is named, and when that may have been missed."""
        self._calls.setdefault(id, []).append(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            held = self._calls[id]
            held.remove(call)
            if not held:
                del self._calls[id]
            if not self._calls:
                self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _listen(self) -> None:
        while True:
            try:
                async with self._db.session("Listening for notifications") as conn:
                    await listen(conn, self._channel)
                    self._call_all()
                    async for payload in notifications(conn):
                        for id in payload.split(","):
                            for call in self._calls.get(id, ()):
                                call()
            except (ConfigError, Unavailable):
                # Through a pooler by transactions nobody can listen: everybody looks by the clock.
                pass
            self._call_all()
            await asyncio.sleep(_PAUSE_S)

    def _call_all(self) -> None:
        for held in self._calls.values():
            for call in held:
                call()
