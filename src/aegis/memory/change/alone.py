"""Who works on a change of the embedding model: one at a time.

An advisory lock of the session says who, so that two never embed the same rows; it goes with the
connection, whatever kills the process.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from aegis.errors import ConfigError, Conflict
from aegis.memory.store import registry, spares

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Connection, Database

__all__ = ["WORK", "could_work", "holding_lock"]

#: As it is called where it cannot be done.
WORK = "A change of the embedding model"


@asynccontextmanager
async def holding_lock(db: Database, *, wait_s: float) -> AsyncGenerator[Connection, None]:
    """Lend the connection that holds the lock of the work.

    Raises:
        Conflict: another worker kept it for all of `wait_s`.
    """
    async with db.session(WORK) as guard:
        started = time.monotonic()
        while not await spares.lock_work(guard):
            if time.monotonic() - started >= wait_s:
                raise Conflict(
                    "Another process works on the change of the model; try again in a moment.",
                    code="change_busy",
                )
            await anyio.sleep(0.1)
        try:
            yield guard
        finally:
            if not guard.closed:
                await spares.unlock_work(guard)


async def could_work(db: Database) -> bool:
    """Tell whether to go on; behind a pooler that no lock gets past, not without a change.

    Raises:
        ConfigError: `db_needs_session`, there is such a pooler, and a change is under way.
    """
    try:
        db.require_session(WORK)
    except ConfigError:
        async with db.transaction() as conn:
            models = await registry.list_used(conn)
        if any(model.state != "active" for model in models):
            raise
        return False
    return True
