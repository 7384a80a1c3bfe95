"""Middleware that lets nobody into an ASGI application without a key.

    import aegis
    from aegis.keys.asgi import ApiKeys

    app = ApiKeys(app, aegis.connect(), scope="reports:read")

What was found out about the key is in `scope["aegis.key"]`, an `aegis.keys.Verification`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.keys.gate import Gate
from aegis.keys.headers import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence

    from aegis.keys.gate import Opening
    from aegis.keys.models import Limit
    from aegis.keys.service import Keys

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["ApiKeys", "send_refusal", "with_headers"]


class ApiKeys:
    """ASGI middleware; `keys` is a client's `keys`, or `aegis.connect()`, opened when needed.

    `scope` is what a key needs and `cost` what a call takes of rate and quota; each may be a
    function of the ASGI scope. `limits` are further limits, `public` paths that need no key. A key
    comes as `Authorization: Bearer …` or `X-API-Key`.
    """

    def __init__(
        self,
        app: Application,
        keys: Keys | Opening,
        *,
        scope: str | Callable[[Scope], str | None] | None = None,
        cost: int | Callable[[Scope], int] = 1,
        limits: Sequence[Limit | Mapping[str, Any]] = (),
        public: Collection[str] = (),
    ) -> None:
        self._app = app
        self._gate = Gate(keys)
        self._scope = scope
        self._cost = cost
        self._limits = limits
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer it with a problem."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await self._gate.close()
            return
        if scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        found = await self._gate.check(
            scope["headers"],
            scope=self._scope(scope) if callable(self._scope) else self._scope,
            cost=self._cost(scope) if callable(self._cost) else self._cost,
            limits=self._limits,
        )
        if isinstance(found, Refusal):
            await send_refusal(found, scope, receive, send)
            return
        scope["aegis.key"] = found
        await self._app(scope, receive, with_headers(send, self._gate.headers(found)))


def with_headers(send: Send, headers: Sequence[tuple[str, str]]) -> Send:
    """Return a `send` that adds headers to the answer, where it does not say them itself."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            said = {bytes(name).lower() for name, _ in given}
            message["headers"] = [*given, *(pair for pair in raw if pair[0] not in said)]
        await send(message)

    return sending


async def send_refusal(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with `refusal`; a WebSocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
