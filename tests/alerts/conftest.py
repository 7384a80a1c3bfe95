"""Alerts on a database of the test's own, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts.models import Condition
from aegis.alerts.service import Alerts
from aegis.alerts.work import Deliveries

if TYPE_CHECKING:
    from aegis.alerts.addresses import Address
    from aegis.alerts.message import Message
    from aegis.config import Settings
    from aegis.db import Database


class Clock:
    """A clock that stands until it is moved; it begins at the machine's time."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Receiver:
    """What was sent, by channel; raises what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Message]] = []
        self.error: Exception | None = None

    async def __call__(self, address: Address, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.got.append((address.name, message))

    @property
    def subjects(self) -> list[str]:
        return [message.subject for _, message in self.got]


class Bench:
    """Alerts, their messages, and who gets them."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.settings = settings
        self.clock = Clock()
        self.alerts = Alerts(db, settings, now=self.clock)
        self.receiver = Receiver()
        self.deliveries = Deliveries(db, self.alerts.channels, send=self.receiver, host="box")

    async def see(self, *conditions: Condition, **how: Any) -> Any:
        """Observe for the source `doctor`."""
        return await self.alerts.observe("doctor", conditions, **how)

    async def deliver(self) -> list[str]:
        """Send everything that waits, whenever it is due; subjects of what was sent now."""
        before = len(self.receiver.got)
        async with self.db.transaction() as conn:
            await conn.execute(
                "UPDATE alert_deliveries SET next_at = now() WHERE state = 'pending'"
            )
        await self.deliveries.deliver()
        return self.receiver.subjects[before:]


def bad(name: str = "backup.age", state: Any = "warning", **more: Any) -> Condition:
    fields: dict[str, Any] = {
        "id": name,
        "source": "doctor",
        "state": state,
        "title": f"{name} is bad",
        "observed": "31 h",
        "threshold": "26 h",
        "advice": "aegis backup create",
        **more,
    }
    return Condition(**fields)


def good(name: str = "backup.age") -> Condition:
    return bad(name, "ok", observed="1 h", advice=None)


@pytest.fixture
async def bench(db: Database, settings: Settings) -> Bench:
    """One channel, `ops`."""
    made = Bench(db, replace(settings, alert_channels="ops=https://example.org/secret-token"))
    await made.alerts.channels.announce()
    return made
