"""Waiting for one's turn at a provider, as the rate that all processes share allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aegis.errors import Unavailable
from aegis.worker.store import rates

if TYPE_CHECKING:
    from aegis.db import Database

__all__ = ["take_turn"]

#: Seconds until an outage of the database is asked again.
_AGAIN_S: Final = 1.0


async def take_turn(db: Database, provider: str) -> None:
    """Reserve a call of a provider and wait until it may be made; at once where no rate is set.

    An outage is waited out: whoever holds a lease meanwhile loses it, if that takes long.
    """
    while True:
        try:
            async with db.transaction() as conn:
                wait_s = await rates.reserve(conn, provider)
            break
        except Unavailable:
            await asyncio.sleep(_AGAIN_S)
    await asyncio.sleep(wait_s)
