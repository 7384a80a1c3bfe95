"""Consolidation at a quiet hour, beside the requests: namespaces with new episodes, in turn."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aegis.errors import AegisError

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["consolidate_all", "consolidate_nightly", "seconds_until"]

_log = logging.getLogger("aegis.serve")

#: A clock that is set must not be noticed a day late.
_LONGEST_SLEEP_S = 900.0


def seconds_until(at: str, now: datetime) -> float:
    """Return the seconds from `now` to the next time that it is `at`, such as `03:30`, in UTC."""
    hour, minute = map(int, at.split(":"))
    there = now.astimezone(UTC)
    next_at = there.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if next_at <= there:
        next_at += timedelta(days=1)
    return (next_at - there).total_seconds()


async def consolidate_nightly(client: Aegis) -> None:
    """Consolidate each day at the hour that the settings say, for ever; never for `off`."""
    at = client.settings.consolidate_at
    if at == "off":
        return
    while True:
        left = seconds_until(at, datetime.now(UTC))
        while left > _LONGEST_SLEEP_S:
            await asyncio.sleep(_LONGEST_SLEEP_S)
            left = seconds_until(at, datetime.now(UTC))
        # Never twice for one hour, if a clock wakes a moment early.
        await asyncio.sleep(left + 1.0)
        await consolidate_all(client)


async def consolidate_all(client: Aegis) -> int:
    """Consolidate every namespace that has new episodes and return how many proposals were made.

    What fails in one is logged, and tried again the next night.
    """
    made = 0
    try:
        names = await client.memory.consolidation.namespaces()
    except AegisError as error:
        _log.warning("serve.consolidation_failed", extra={"code": error.code, "why": error.message})
        return 0
    for name in names:
        try:
            done = await client.memory.consolidation.run(namespace=name)
        except AegisError as error:
            _log.warning(
                "serve.consolidation_failed",
                extra={"namespace": name, "code": error.code, "why": error.message},
            )
            continue
        made += len(done.proposed)
    _log.info("serve.consolidated", extra={"namespaces": len(names), "proposals": made})
    return made
