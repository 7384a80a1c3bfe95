"""Telling Stripe, beside the requests: what waits in the outbox, every minute."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["tell_stripe"]

_log = logging.getLogger("aegis.serve")

#: Seconds between rounds; doubled, up to the other, while Stripe refuses our key.
_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 3_600.0


async def tell_stripe(client: Aegis) -> None:
    """Send what Stripe does not know yet, for ever; never without a key of Stripe's."""
    if not client.billing.stripe.configured:
        return
    pause = _PAUSE_S
    while True:
        try:
            done = await client.billing.stripe.sync()
            if done.sent or done.failed:
                extra = {"sent": done.sent, "failed": done.failed, "waiting": done.waiting}
                _log.info("serve.stripe_told", extra=extra)
            pause = _PAUSE_S
        except AegisError as error:
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            _log.warning("serve.stripe_failed", extra={"code": error.code, "why": error.message})
        await asyncio.sleep(pause)
