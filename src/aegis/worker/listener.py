"""Notifications of due work, by one connection of its own; made again whenever it breaks."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from aegis.db import lease
from aegis.errors import AegisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.db import Database

__all__ = ["listen"]

_log = logging.getLogger("aegis.worker")

#: Seconds between tries to connect, doubled up to the other.
_SHORTEST_S: Final = 0.2
_LONGEST_S: Final = 10.0


async def listen(
    db: Database, *, told: Callable[[str], object], connected: Callable[[bool], object]
) -> None:
    """Hand each payload to `told`, for ever; `connected` hears whether there is a connection.

    What was notified while there was none is lost: after `connected(True)` everybody looks. Where
    none can be had (a pooler by transactions, and no way past it) that is said once, and all look
    by the clock.
    """
    pause = _SHORTEST_S
    while True:
        try:
            async with aclosing(lease.listen(db)) as payloads:
                async for payload in payloads:
                    if payload is None:
                        connected(True)
                        pause = _SHORTEST_S
                    else:
                        told(payload)
        except (AegisError, OSError) as error:
            if isinstance(error, AegisError) and error.code == "db_needs_session":
                _log.warning("worker.polls", extra={"why": error.message})
                connected(False)
                await asyncio.Event().wait()
            _log.warning("worker.listener_lost", extra={"why": str(error).partition("\n")[0]})
        finally:
            connected(False)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_S)
