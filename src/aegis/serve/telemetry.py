"""Measuring, watching and alerting beside the requests, for ever; failures are tried again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.client import Aegis

__all__ = ["collect_metrics", "send_alerts", "watch_metrics"]

_log = logging.getLogger("aegis.serve")

_WATCH_S = 15.0
_SEND_S = 3.0
#: How long the end waits for what is to be saved.
_CLOSE_S = 5.0
_LONGEST_PAUSE_S = 60.0
#: Rounds of sending between two looks at what is old.
_KEEP_EVERY = 1_200
#: The same of channels that fail.
_CHECK_EVERY = 20


async def collect_metrics(client: Aegis) -> None:
    """Measure containers and the machine, unless the settings say no."""
    if client.settings.metrics_collect == "off":
        return

    async def work() -> None:
        await client.telemetry.collect()

    try:
        await _for_ever(work, every_s=client.settings.metrics_every_s, event="serve.collect_failed")
    finally:
        await _close(client)


async def watch_metrics(client: Aegis) -> None:
    """Look for anomalies in what is measured; at the end the next process goes on from there."""
    if client.settings.metrics_watch == "off":
        return

    async def work() -> None:
        done = await client.telemetry.watch()
        if done.opened or done.ended:
            _log.info("serve.anomalies", extra={"opened": done.opened, "ended": done.ended})

    try:
        await _for_ever(work, every_s=_WATCH_S, event="serve.watch_failed")
    finally:
        await _close(client)


async def _close(client: Aegis) -> None:
    """Save what is known and let another process go on; whichever loop ends first does it."""
    try:
        await asyncio.wait_for(client.telemetry.aclose(), _CLOSE_S)
    except (AegisError, TimeoutError) as error:
        # What is not saved is judged again.
        why = str(error) or f"it took longer than {_CLOSE_S:g} s"
        _log.warning("serve.watch_not_saved", extra={"why": why})


async def send_alerts(client: Aegis) -> None:
    """See to what time brings, and send what is due."""
    from aegis.alerts.outage import Outage
    from aegis.alerts.work import Deliveries

    deliveries = Deliveries(client.db, client.alerts.channels)
    outage = Outage(client.alerts.channels.addresses)
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        await outage.while_watched(client.alerts.tick())
        await deliveries.deliver()
        if rounds % _CHECK_EVERY == 0 and client.alerts.channels.addresses:
            await client.alerts.check_channels()
        if rounds % _KEEP_EVERY == 0:
            await client.alerts.keep()
        rounds += 1

    await _for_ever(work, every_s=_SEND_S, event="serve.alerts_failed")


async def _for_ever(work: Callable[[], Awaitable[None]], *, every_s: float, event: str) -> None:
    loop = asyncio.get_running_loop()
    pause, due = every_s, loop.time()
    while True:
        try:
            await work()
            pause = every_s
        except AegisError as error:
            pause = min(max(pause, every_s) * 2, max(_LONGEST_PAUSE_S, every_s))
            _log.warning(event, extra={"code": error.code, "why": error.message})
        # A rhythm and no pause: a round that takes long does not make the next one late.
        due = max(due + pause, loop.time())
        await asyncio.sleep(due - loop.time())
