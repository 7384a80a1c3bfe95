"""Ways to people, and what waits to be sent: `client.alerts.channels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.alerts import validate
from aegis.alerts.addresses import parse_addresses
from aegis.alerts.models import DELIVERY_STATES
from aegis.alerts.store import alerts as store
from aegis.alerts.store import channels as channel_store
from aegis.alerts.store import outbox
from aegis.alerts.telling import KIND
from aegis.errors import InvalidInput, NotFound
from aegis.security.audit.recording import audited
from aegis.security.audit.recording import note as log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aegis.alerts.addresses import Address
    from aegis.alerts.models import Channel, Delivery
    from aegis.config import Settings
    from aegis.db import Connection, Database

__all__ = ["Channels"]


class Channels:
    """The channels of one database. `now` is the clock, for those who test; else the server's."""

    def __init__(
        self, db: Database, settings: Settings, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._db = db
        self._settings = settings
        self._now = now
        self._addresses: dict[str, Address] | None = None

    @property
    def addresses(self) -> Mapping[str, Address]:
        """The channels whose addresses this process has, by name (`ConfigError`)."""
        if self._addresses is None:
            self._addresses = parse_addresses(self._settings.alert_channels)
        return self._addresses

    async def announce(self) -> None:
        """Say in the database which channels this process has; their addresses stay here."""
        addresses = self.addresses
        if not addresses:
            return
        async with self._db.transaction() as conn:
            for name in sorted(addresses):
                await channel_store.put_channel(conn, addresses[name])

    async def list(self) -> Sequence[Channel]:
        """Return the channels that any process has named, with how they fare."""
        async with self._db.transaction() as conn:
            return await channel_store.list_channels(conn)

    async def test(self, channel: str | None = None, *, by: str | None = None) -> Sequence[int]:
        """Make a test message due, to one channel or all; return their numbers (`NotFound`)."""
        validate.check_by(by)
        await self.announce()
        async with self._db.transaction() as conn:
            now = await self._time(conn)
            known = await channel_store.list_channels(conn)
            wanted = [c for c in known if channel is None or c.name == channel]
            if not wanted:
                raise NotFound(
                    f"There is no channel {channel or ''!r}; AEGIS_ALERT_CHANNELS names them."
                )
            made = [
                await outbox.insert_delivery(
                    conn,
                    channel=one.name,
                    group_key=f"test:{now.isoformat()}",
                    entries=[_test_entry(one.name, by, now)],
                    critical=True,
                    next_at=now,
                    now=now,
                )
                for one in wanted
            ]
            await outbox.notify(conn, KIND)
            return made

    async def deliveries(
        self,
        *,
        states: Sequence[str] = DELIVERY_STATES,
        channel: str | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Return messages, the newest first; those given up are `dead`."""
        validate.check_limit(limit)
        if channel is not None:
            validate.check_channel(channel)
        for state in states:
            if state not in DELIVERY_STATES:
                raise InvalidInput(f"state is {state!r}; use {', '.join(DELIVERY_STATES)}.")
        async with self._db.transaction() as conn:
            return await outbox.list_deliveries(conn, states=states, channel=channel, limit=limit)

    async def retry(self, delivery_id: int | None = None, *, channel: str | None = None) -> int:
        """Let dead messages be tried again, one, those of a channel, or all; return how many.

        Raises:
            NotFound: there is no dead message of this number.
        """
        if delivery_id is not None and not 0 < delivery_id < 2**63:
            raise InvalidInput(f"delivery_id is {delivery_id}; give the number of a message.")
        if channel is not None:
            validate.check_channel(channel)
        async with audited(self._db) as conn:
            count = await outbox.retry(conn, delivery_id=delivery_id, channel=channel)
            if count == 0 and delivery_id is not None:
                raise NotFound(
                    f"There is no message {delivery_id} that was given up; "
                    "`aegis alerts deliveries --state dead` lists them."
                )
            if count:
                await outbox.notify(conn, KIND)
                log(
                    conn,
                    "alerts.retry",
                    "alert_delivery",
                    "all" if delivery_id is None else delivery_id,
                    channel=channel,
                    messages=count,
                )
            return count

    async def _time(self, conn: Connection) -> datetime:
        return await store.clock(conn) if self._now is None else self._now()


def _test_entry(channel: str, by: str | None, now: datetime) -> dict[str, object]:
    return {
        "alert_id": 0,
        "kind": "test",
        "at": now.isoformat(),
        "source": "test",
        "condition": "test",
        "severity": "warning",
        "state": "firing",
        "condition_state": "warning",
        "title": f"channel {channel} works",
        "observed": f"asked for by {by}" if by else None,
        "threshold": None,
        "advice": "Nothing: this is a test.",
        "link": None,
        "labels": {},
        "began_at": now.isoformat(),
        "over_at": None,
    }
