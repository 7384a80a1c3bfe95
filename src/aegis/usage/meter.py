"""The meter: calls of one process, written many at once, each exactly once.

`record` returns when its event is on the disk. Events that come while a transaction is under way
share the next one. An event carries an id from the start, so a transaction whose end nobody saw is
simply tried again.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Final

from aegis.errors import AegisError, Unavailable
from aegis.usage.store import events as store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Database
    from aegis.usage.models import Event
    from aegis.usage.partitions import Partitions

__all__ = ["Meter", "write_events"]

_BATCH: Final = 1_000
#: A call waits for its event; after so many tries it is answered with an error instead.
_TRIES: Final = 4
_FIRST_PAUSE_S: Final = 0.05

_log = logging.getLogger("aegis.usage")


class Meter:
    """Writes the events of one process."""

    def __init__(self, db: Database, partitions: Partitions) -> None:
        self._db = db
        self._partitions = partitions
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def record(self, event: Event) -> None:
        """Write an event and return when it is durable (`Unavailable`: it is not)."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        if self._task is None:
            # Of no request alone: it writes the events of many.
            self._task = asyncio.create_task(self._work(), context=Context())
        await done

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._write(batch)
        finally:
            self._task = None

    async def _write(self, batch: Sequence[tuple[Event, asyncio.Future[None]]]) -> None:
        try:
            try:
                await write_events(
                    self._db,
                    self._partitions,
                    [event for event, _ in batch],
                    written=lambda: _settle(batch, None),
                )
            except Unavailable:
                raise
            except AegisError:
                # One of them is to blame, such as one whose key is gone; the others shall not be.
                await self._write_singly(batch)
        except AegisError as error:
            _log.error("usage.unmetered", extra={"code": error.code, "why": error.message})
            _settle(batch, error)
        finally:
            # Whatever else ended it: nobody waits for ever.
            _settle(batch, Unavailable("The meter was cut off.", code="meter_cut_off"))

    async def _write_singly(self, batch: Sequence[tuple[Event, asyncio.Future[None]]]) -> None:
        for event, done in batch:
            try:
                await write_events(self._db, self._partitions, [event])
                _settle([(event, done)], None)
            except AegisError as error:
                _settle([(event, done)], error)


async def write_events(
    db: Database,
    partitions: Partitions,
    events: Sequence[Event],
    *,
    written: Callable[[], None] | None = None,
) -> int:
    """Write events in one transaction and return how many were new.

    Safe to repeat. `events` has no id twice. `written` is called once they are durable, and before
    the connection is given back: whoever waits for that need not wait for this.
    """
    pause = _FIRST_PAUSE_S
    # Times of events are UTC, as months are; of a batch they are of few days.
    months = {day.replace(day=1) for day in {event.created_at.date() for event in events}}
    for attempt in range(1, _TRIES + 1):
        try:
            await partitions.require(months)
            # One statement is a transaction by itself: BEGIN and COMMIT would be two more round
            # trips that the call waits for.
            async with db.connection() as conn:
                count = await store.insert_events(conn, events)
                if written is not None:
                    written()
                    await asyncio.sleep(0)
                return count
        except Unavailable:
            # A lost connection, a deadlock with another program: the ids make a second try safe.
            if attempt == _TRIES:
                raise
            await asyncio.sleep(pause)
            pause *= 2
    raise AssertionError


def _settle(batch: Sequence[tuple[Event, asyncio.Future[None]]], error: AegisError | None) -> None:
    for _, done in batch:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(type(error)(error.message, code=error.code))
