"""The one alert that no database can hold: that it does not answer.

It is sent past the outbox, by each process that serves, once when an outage has lasted, and once
when it is over.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aegis.alerts import sending
from aegis.alerts.message import render
from aegis.errors import AegisError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aegis.alerts.addresses import Address
    from aegis.alerts.message import Message

__all__ = ["Outage"]

_log = logging.getLogger("aegis.alerts")

#: Seconds that an outage lasts before people are told.
HOLD_S: Final = 60.0


class Outage:
    """Whether the database answered lately, and whom that was told."""

    def __init__(
        self,
        addresses: Mapping[str, Address],
        *,
        send: Callable[[Address, Message], Awaitable[None]] = sending.send,
        now: Callable[[], datetime] | None = None,
        hold_s: float = HOLD_S,
    ) -> None:
        self._addresses = addresses
        self._send = send
        self._now = now or (lambda: datetime.now(UTC))
        self._hold_s = hold_s
        self._since: datetime | None = None
        self._told: set[str] = set()

    async def while_watched(self, work: Awaitable[object]) -> None:
        """Await work on the database, and notice whether it answers (raises what `work` raises)."""
        try:
            await work
        except Unavailable as error:
            await self._is_down(error)
            raise
        if self._since is not None:
            await self._is_back()

    async def _is_down(self, error: Unavailable) -> None:
        now = self._now()
        self._since = self._since or now
        if (now - self._since).total_seconds() >= self._hold_s:
            await self._tell("fired", now, error.message, set(self._addresses) - self._told)

    async def _is_back(self) -> None:
        now = self._now()
        told, self._told = self._told, set()
        await self._tell("recovered", now, None, told)
        self._since, self._told = None, set()

    async def _tell(self, kind: str, now: datetime, why: str | None, names: set[str]) -> None:
        assert self._since is not None
        entry: dict[str, Any] = {
            "alert_id": 0,
            "kind": kind,
            "at": now.isoformat(),
            "source": "aegis",
            "condition": "database",
            "severity": "critical",
            "state": "firing" if kind == "fired" else "resolved",
            "condition_state": "critical" if kind == "fired" else "ok",
            "title": "The database does not answer",
            "observed": why,
            "threshold": None,
            "advice": "See what it says: aegis db status",
            "link": None,
            "labels": {},
            "began_at": self._since.isoformat(),
            "over_at": now.isoformat() if kind == "recovered" else None,
        }
        # The same for all tries of one outage.
        number = uuid.uuid5(uuid.NAMESPACE_OID, f"{socket.gethostname()}{self._since}{kind}")
        message = render(str(number), [entry], host=socket.gethostname())

        async def one(name: str) -> None:
            try:
                await self._send(self._addresses[name], message)
            except AegisError as error:
                _log.warning("alerts.not_delivered", extra={"channel": name, "code": error.code})
            else:
                self._told.add(name)

        await asyncio.gather(*(one(name) for name in sorted(names)))
