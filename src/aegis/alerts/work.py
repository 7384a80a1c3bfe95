"""Messages as work of the worker: claimed, sent, and recorded under the claim's token.

At least once: a process that dies after sending and before saying so leaves a message that is sent
again, with the same delivery id.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.alerts import sending
from aegis.alerts.message import render
from aegis.alerts.store import channels as channel_store
from aegis.alerts.store import outbox
from aegis.alerts.telling import HELD_BACK, KIND
from aegis.db.lease import notify
from aegis.errors import AegisError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from aegis.alerts.addresses import Address
    from aegis.alerts.channels import Channels
    from aegis.alerts.message import Message
    from aegis.alerts.models import Delivery
    from aegis.db import Database
    from aegis.db.lease import Claim

    Sender = Callable[[Address, Message], Awaitable[None]]

__all__ = ["Deliveries"]

_log = logging.getLogger("aegis.alerts")

#: A message is given up when it is this old, or was refused so often.
_OLDEST: Final = timedelta(hours=24)
_MOST_REFUSALS: Final = 6
#: Seconds until the second attempt; doubled with each further one, up to the other.
_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 600.0
#: Seconds between the times that the channels of this process are named in the database.
_ANNOUNCE_S: Final = 3_600.0


class Deliveries:
    """The `Kind` that sends messages. A process claims those whose channels it has."""

    name = KIND

    def __init__(
        self,
        db: Database,
        channels: Channels,
        *,
        send: Sender = sending.send,
        host: str | None = None,
    ) -> None:
        self._db = db
        self._channels = channels
        self._send = send
        self._announced = -math.inf
        #: Who writes, as the subject says it.
        self._host = host or socket.gethostname()

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, without_keys: Collection[str] = ()
    ) -> list[Claim]:
        """Take messages that are due; a channel is the key that limits."""
        channels = self._channels.addresses
        if not channels:
            return []
        if time.monotonic() - self._announced > _ANNOUNCE_S:
            await self._channels.announce()
            self._announced = time.monotonic()
        async with self._db.transaction() as conn:
            return await outbox.claim(
                conn,
                KIND,
                owner=owner,
                limit=limit,
                lease_s=lease_s,
                channels=channels,
                without=without_keys,
            )

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        """Extend the leases, and return the ids of what is still held."""
        async with self._db.transaction() as conn:
            return await outbox.renew(conn, claims, lease_s=lease_s)

    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand messages back, due at once for other workers."""
        async with self._db.transaction() as conn:
            await outbox.release(conn, claims)
            # They sleep until the leases would have run out.
            await notify(conn, KIND)

    async def run(self, claim: Claim) -> None:
        """Send one message, and record how that went."""
        async with self._db.transaction() as conn:
            delivery = await outbox.find_delivery(conn, claim)
        if delivery is None:
            return
        address = self._channels.addresses.get(delivery.channel)
        if address is None:
            # Without a word to workers: this one would claim it again at once.
            async with self._db.transaction() as conn:
                await outbox.release(conn, [claim])
            return
        message = render(
            delivery.delivery_id,
            delivery.entries,
            host=self._host,
            held_back=delivery.group_key == HELD_BACK,
        )
        error: AegisError | None = None
        try:
            await self._send(address, message)
        except AegisError as failed:
            error = failed
        await self._record(claim, delivery, error)

    async def next_due(self) -> float | None:
        """Return seconds until the next message is due; None without one."""
        async with self._db.transaction() as conn:
            return await outbox.next_due(conn, self._channels.addresses)

    async def deliver(self, *, limit: int = 1_000, at_once: int = 8) -> int:
        """Send what is due now, without a worker; return how many were tried."""
        owner = f"{socket.gethostname()}:{secrets.token_hex(4)}"
        tried = 0
        while tried < limit:
            claims = await self.claim(owner, limit=at_once, lease_s=2 * sending.TIMEOUT_S)
            if not claims:
                break
            await asyncio.gather(*(self.run(claim) for claim in claims))
            tried += len(claims)
        return tried

    async def _record(self, claim: Claim, delivery: Delivery, error: AegisError | None) -> None:
        text = None if error is None else error.message[:500]
        async with self._db.transaction() as conn:
            if error is None:
                held = await outbox.record_sent(conn, claim)
            else:
                refused = isinstance(error, ConfigError)
                old = datetime.now(UTC) - delivery.created_at > _OLDEST
                dead = old or (refused and delivery.attempts >= _MOST_REFUSALS)
                held = await outbox.record_failure(
                    conn, claim, error=text or "", pause_s=_pause_s(delivery.attempts), dead=dead
                )
            if held:
                await channel_store.record_outcome(conn, delivery.channel, text)
        if error is not None:
            extra = {"channel": delivery.channel, "code": error.code, "attempt": delivery.attempts}
            _log.warning("alerts.not_delivered", extra=extra)


def _pause_s(attempts: int) -> float:
    return min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(attempts - 1, 20))
