"""Middleware that meters an ASGI application whose callers `aegis.keys` let in.

    from aegis.keys.asgi import ApiKeys
    from aegis.usage.asgi import Metered

    app = ApiKeys(Metered(app, client.usage), client.keys)

An answer begins when its event is on the disk: what was answered is billable, whatever ends the
process. An application says what a call used with `report`.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import AegisError, InvalidInput
from aegis.keys.models import Verification
from aegis.usage.models import Event
from aegis.usage.validate import MAX_COST, MAX_INT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from aegis.usage.service import Usage

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["UNMATCHED", "Call", "Metered", "report"]

#: Endpoint of calls that no route took: their paths are their callers' to invent.
UNMATCHED: Final = "(no route)"
_REPORT: Final = "aegis.usage"


def report(scope: Scope, *, tokens: int = 0, cost_usd: Decimal | str | int = 0) -> None:
    """Add to what the call of this ASGI scope used, before its answer begins.

    Raises:
        InvalidInput: a value is negative, or more than an event can hold.
    """
    before = scope.get(_REPORT, (0, Decimal(0)))
    after = (before[0] + tokens, before[1] + round(Decimal(cost_usd), 6))
    if tokens < 0 or Decimal(cost_usd) < 0 or after[0] > MAX_INT or after[1] > MAX_COST:
        raise InvalidInput(
            f"The call reports {tokens} tokens and {cost_usd} US dollars; use 0 to {MAX_INT:,} and "
            f"0 to {MAX_COST} in all."
        )
    scope[_REPORT] = after


class Metered:
    """ASGI middleware, inside of `ApiKeys` or below a guard that sets `scope["aegis.key"]`.

    Calls without a verified customer pass and are not metered.
    """

    def __init__(self, app: Application, usage: Usage, *, source: str = "middleware") -> None:
        self._app = app
        self._usage = usage
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, and hold its answer back until the event is durable."""
        if scope["type"] != "http" or customer_of(scope) is None:
            await self._app(scope, receive, send)
            return
        call = Call(scope, send, self._usage, source=self._source)
        try:
            await self._app(scope, receive, call.send)
        finally:
            # What ended without an answer was accepted, too; the server answers it with 500.
            await call.end(500)


class Call:
    """One call that is under way; `send` records it before the answer begins."""

    def __init__(self, scope: Scope, send: Send, usage: Usage, *, source: str) -> None:
        self._scope = scope
        self._send = send
        self._usage = usage
        self._source = source
        self._began = time.perf_counter()
        self._created_at = datetime.now(UTC)
        self._ended = False
        self._mute = False

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one waits for the disk.

        If the event cannot be written, the caller gets 503 instead of the answer.
        """
        if self._mute:
            return
        if message["type"] == "http.response.start":
            try:
                await self.end(int(message["status"]))
            except AegisError as error:
                self._mute = True
                await _refuse(error, self._send)
                return
        await self._send(message)

    async def end(self, status: int) -> None:
        """Record the call, once."""
        if self._ended:
            return
        self._ended = True
        found = self._scope["aegis.key"]
        tokens, cost_usd = self._scope.get(_REPORT, (0, Decimal(0)))
        await self._usage.meter.record(
            Event(
                event_id=uuid.uuid4().hex,
                customer_id=found.customer_id,
                api_key_id=found.key_id,
                endpoint=_endpoint(self._scope),
                method=str(self._scope["method"])[:10],
                status_code=status,
                response_time_ms=round((time.perf_counter() - self._began) * 1000),
                tokens_used=tokens,
                cost_usd=cost_usd,
                created_at=self._created_at,
                source=self._source,
            )
        )


def customer_of(scope: Scope) -> str | None:
    """Return the customer whose key was verified, None for a call that nobody is billed for."""
    found = scope.get("aegis.key")
    return found.customer_id if isinstance(found, Verification) else None


def _endpoint(scope: Scope) -> str:
    """Return the template of the route that took the call."""
    named = scope.get("aegis.endpoint")
    if isinstance(named, str):
        return named[:200]
    path = getattr(scope.get("route"), "path", None)
    return path[:200] if isinstance(path, str) and path else UNMATCHED


async def _refuse(error: AegisError, send: Send) -> None:
    from aegis.keys.headers import refuse_error

    refusal = refuse_error(error, temporary=True)
    headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
