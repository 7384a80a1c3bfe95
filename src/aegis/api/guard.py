"""What every request passes first: the Host header, the size of the body, the operator token.

Plain ASGI, so that it stands in front of whatever is mounted. A page in a browser cannot get here
by rebinding a name of its own to 127.0.0.1: the Host must be an IP address or a name of this host.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from typing import TYPE_CHECKING

from aegis.api.errors import problem, problem_of
from aegis.errors import InvalidInput, LimitExceeded, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BATCH_BYTES", "BODY_BYTES", "Guard"]

BODY_BYTES = 4 * 2**20
#: For the routes that take many at once.
BATCH_BYTES = 64 * 2**20
_PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json"})
_log = logging.getLogger("aegis.api")


class Guard:
    """ASGI middleware; `names` are the host names that this server answers to."""

    def __init__(self, app: ASGIApp, *, token: str, names: Collection[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._names = frozenset(name.lower() for name in names) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        limit = BATCH_BYTES if scope["path"].endswith("/batch") else BODY_BYTES
        refusal = self._refuse(scope, headers, limit)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if b"content-length" not in headers:
            body = await _read(receive, limit)
            if body is None:
                await _too_large(limit)(scope, receive, send)
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope, headers: dict[bytes, bytes], limit: int) -> Response | None:
        if not self._answers_to(headers.get(b"host", b"").decode("latin-1")):
            _log.warning(
                "api.host_refused", extra={"host": headers.get(b"host", b"").decode("latin-1")}
            )
            return problem(
                421,
                "host_refused",
                "The Host header names no host that this server answers to; use its address.",
                kind=InvalidInput.code,
            )
        if scope["path"] not in _PUBLIC and not self._authorised(
            headers.get(b"authorization", b"")
        ):
            return problem_of(
                Unauthenticated("Send the operator token as `Authorization: Bearer …`.")
            )
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            return _too_large(limit)
        return None

    def _answers_to(self, host: str) -> bool:
        name = _name_of(host)
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _authorised(self, header: bytes) -> bool:
        scheme, _, given = header.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token)


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return a body that declared no length, None if it is larger than `limit`."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


def _too_large(limit: int) -> Response:
    return problem(
        413,
        "body_too_large",
        f"The body is larger than {limit // 2**20} MiB; send less at a time.",
        kind=LimitExceeded.code,
        headers={"Connection": "close"},
    )


def _name_of(host: str) -> str:
    """Return the host of a Host header without its port: `[::1]:80`, `127.0.0.1:80`, `name`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
