"""Watching an execution: notified of changes, never asking on a clock."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from aegis.workflows import mending
from aegis.workflows.execution import ENDED, Change
from aegis.workflows.store import steps

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Database
    from aegis.workflows.listening import Listener

__all__ = ["watch"]

#: A look without a notification: rows are also changed by plain SQL.
_LOOK_S: Final = 30.0


async def watch(db: Database, changes: Listener, id: str, *, after: int) -> AsyncGenerator[Change]:
    """Yield how it stands, with steps above `after`, then each change until it ends."""
    stir = asyncio.Event()
    last: Change | None = None
    with changes.calling(id, stir.set):
        while True:
            stir.clear()
            async with db.transaction() as conn:
                found = await mending.get(conn, id)
                new = await steps.list_steps(conn, id, after=after)
            after = max([after, *(r.seq for r in new)])
            if last is None or new or found != last.execution:
                last = Change(execution=found, steps=new)
                yield last
            if found.status in ENDED:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await stir.wait()
