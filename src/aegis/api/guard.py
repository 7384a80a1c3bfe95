"""What every request passes first: the Host header, its key, the size of the body.

The operator token is the key that may do everything, and needs no database to be known. Any other
key is verified as those of customers are, with the scope that the route asks for.

Plain ASGI, so that it stands in front of whatever is mounted. A page in a browser cannot get here
by rebinding a name of its own to 127.0.0.1: the Host must be an IP address or a name of this host.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from typing import TYPE_CHECKING

from aegis.api.errors import problem, problem_of
from aegis.api.scopes import OPERATOR, scope_of
from aegis.errors import InvalidInput, LimitExceeded, Unauthenticated, Unavailable
from aegis.keys.asgi import send_refusal, with_headers
from aegis.keys.gate import Gate, key_of
from aegis.keys.headers import Refusal, refuse_error
from aegis.security.audit.actor import Actor, acting_as, request_id_of
from aegis.usage.asgi import Call

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from aegis.keys import Keys, Verification
    from aegis.usage import Usage

__all__ = ["BATCH_BYTES", "BODY_BYTES", "Guard"]

BODY_BYTES = 4 * 2**20
#: For the routes that take many at once.
BATCH_BYTES = 64 * 2**20
#: Stripe has no key of ours: the signature of its webhook is checked by the route.
_PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json", "/v1/billing/stripe/webhook"})
_log = logging.getLogger("aegis.api")


class Guard:
    """ASGI middleware; `names` are the host names that this server answers to.

    What was found out about the caller's key is in `scope["aegis.key"]`. A call whose key was
    accepted is metered from there on, whatever becomes of it; one with the operator token is not.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        names: Collection[str],
        keys: Keys,
        usage: Usage,
        local: Collection[str] = (),
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._gate = Gate(keys)
        self._usage = usage
        #: Paths that this machine may read without a key.
        self._local = frozenset(local)
        self._names = frozenset(name.lower() for name in names) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        limit = BATCH_BYTES if scope["path"].endswith("/batch") else BODY_BYTES
        refusal = self._refuse_host(headers)
        if refusal is None and scope["path"] not in _PUBLIC and not self._is_local(scope):
            found = await self._check(scope)
            if isinstance(found, Refusal):
                await send_refusal(found, scope, receive, send)
                return
            if found is None:
                refusal = problem_of(
                    Unauthenticated("Send the operator token as `Authorization: Bearer …`.")
                )
            else:
                scope["aegis.key"] = found
                send = with_headers(send, self._gate.headers(found))
                # The operator is nobody's customer; and asks while the database takes no writes.
                if found.key_id is not None:
                    send = Call(scope, send, self._usage, source="v1").send
        if refusal is None:
            refusal = _refuse_size(headers, limit)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if b"content-length" not in headers:
            body = await _read(receive, limit)
            if body is None:
                await _too_large(limit)(scope, receive, send)
                return
            receive = _replay(body, receive)
        with acting_as(_actor_of(scope, headers)):
            await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> Verification | Refusal | None:
        """Return who calls, why they may not, or None for nobody."""
        key = key_of(scope["headers"])
        if key is None:
            return None
        if hmac.compare_digest(key.encode("latin-1"), self._token):
            return OPERATOR
        found = await self._gate.check(
            scope["headers"], scope=scope_of(scope["method"], scope["path"])
        )
        if not isinstance(found, Refusal) and not found.checked:
            # AEGIS_KEYS_WHEN_DOWN=open is for what others serve; an unknown caller gets no memory.
            return refuse_error(Unavailable("The key was not checked."), temporary=True)
        return found

    def _is_local(self, scope: Scope) -> bool:
        """Return whether this machine itself reads a path that is open to it."""
        if scope["path"] not in self._local or scope["method"] not in ("GET", "HEAD"):
            return False
        # Behind a proxy everybody comes from here.
        forwarded = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
        if any(name in forwarded for name, _ in scope["headers"]):
            return False
        try:
            return ipaddress.ip_address((scope.get("client") or ("",))[0]).is_loopback
        except ValueError:
            return False

    def _refuse_host(self, headers: dict[bytes, bytes]) -> Response | None:
        if self._answers_to(headers.get(b"host", b"").decode("latin-1")):
            return None
        _log.warning(
            "api.host_refused", extra={"host": headers.get(b"host", b"").decode("latin-1")}
        )
        return problem(
            421,
            "host_refused",
            "The Host header names no host that this server answers to; use its address.",
            kind=InvalidInput.code,
        )

    def _answers_to(self, host: str) -> bool:
        name = _name_of(host)
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _actor_of(scope: Scope, headers: dict[bytes, bytes]) -> Actor:
    """Return who calls, for the audit log."""
    found = scope.get("aegis.key")
    request_id = request_id_of(headers.get(b"x-request-id", b"").decode("latin-1"))
    if found is None:
        # Without a key nothing is changed but what routes check by themselves.
        return Actor(kind="service", face="http", id="unknown", request_id=request_id)
    if found.key_id is None:
        return Actor(kind="operator", face="http", request_id=request_id)
    return Actor(kind="key", face="http", id=str(found.key_id), request_id=request_id)


def _refuse_size(headers: dict[bytes, bytes], limit: int) -> Response | None:
    declared = headers.get(b"content-length", b"")
    return _too_large(limit) if declared.isdigit() and int(declared) > limit else None


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
