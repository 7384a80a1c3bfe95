"""What every request passes behind the door: the Host header, its key, its body.

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

from aegis.api.bodies import (
    BATCH_BYTES,
    BODY_BYTES,
    DEPTH,
    Bodies,
    is_too_deep,
    refuse_kind,
    replay,
    too_large,
)
from aegis.api.door import too_fast
from aegis.api.errors import problem, problem_of
from aegis.api.guessing import Guesses
from aegis.api.scopes import OPERATOR, scope_of
from aegis.errors import InvalidInput, Unauthenticated, Unavailable
from aegis.keys import Verification
from aegis.keys.asgi import send_refusal, with_headers
from aegis.keys.gate import Gate, key_of
from aegis.keys.headers import Refusal, refuse_error
from aegis.request import REQUEST_ID
from aegis.security.audit.actor import Actor, acting_as
from aegis.usage.asgi import Call

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from aegis.config import Settings
    from aegis.keys import Keys
    from aegis.usage import Usage

__all__ = ["Guard"]

#: Bodies of whoever has no key.
_PUBLIC_BYTES = 2**20
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
        settings: Settings,
        local: Collection[str] = (),
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._gate = Gate(keys)
        self._usage = usage
        self._guesses = Guesses(settings)
        self._bodies = Bodies(settings.http_body_timeout_s)
        #: Paths that this machine may read without a key.
        self._local = frozenset(local)
        self._names = frozenset(name.lower() for name in names) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal: Response | None = self._refuse_host(scope)
        limit = BATCH_BYTES if scope["path"].endswith("/batch") else BODY_BYTES
        if refusal is None and scope["path"] in _PUBLIC:
            limit = _PUBLIC_BYTES
        elif refusal is None and not self._is_local(scope):
            found = await self._check(scope)
            if isinstance(found, Refusal):
                await send_refusal(found, scope, receive, send)
                return
            if isinstance(found, Verification):
                scope["aegis.key"] = found
                # The operator is nobody's customer; and asks while the database takes no writes.
                if found.key_id is not None:
                    send = with_headers(send, self._gate.headers(found))
                    send = Call(scope, send, self._usage, source="v1").send
            else:
                refusal = found
        with acting_as(_actor_of(scope)):
            await (refusal or self._with_body(limit))(scope, receive, send)

    def _with_body(self, limit: int) -> ASGIApp:
        """Return the application, given the body whole; or what refuses it."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            declared = _declared(scope)
            if declared == 0:
                await self._app(scope, receive, send)
                return
            refusal = too_large(limit) if declared > limit else refuse_kind(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
            body = await self._bodies.read(receive, limit)
            if not isinstance(body, bytes):
                # None: the client has gone, and hears no answer.
                if body is not None:
                    await body(scope, receive, send)
                return
            try:
                app = _too_deep() if is_too_deep(body) else self._app
                await app(scope, replay(body, receive), send)
            finally:
                self._bodies.release(len(body))

        return answer

    async def _check(self, scope: Scope) -> Verification | Refusal | Response:
        """Return who calls, or why they may not."""
        key = key_of(scope["headers"])
        if key is None:
            return problem_of(
                Unauthenticated("Send the operator token as `Authorization: Bearer …`.")
            )
        address = str((scope.get("client") or ("",))[0])
        wait = self._guesses.wait(address, key)
        if wait:
            return too_fast("guesses_limited", "Too many unknown keys from this address", wait)
        # Not before it: else the token could be guessed as fast as one asks.
        if hmac.compare_digest(key.encode("latin-1"), self._token):
            self._guesses.right(address, key)
            return OPERATOR
        found = await self._gate.check(
            scope["headers"], scope=scope_of(scope["method"], scope["path"])
        )
        if isinstance(found, Refusal):
            if found.status == 401:
                self._guesses.wrong(address, key)
            return found
        if not found.checked:
            # AEGIS_KEYS_WHEN_DOWN=open is for what others serve; an unknown caller gets no memory.
            return refuse_error(Unavailable("The key was not checked."), temporary=True)
        self._guesses.right(address, key)
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

    def _refuse_host(self, scope: Scope) -> Response | None:
        host = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"host"), "")
        if self._answers_to(host):
            return None
        _log.warning("api.host_refused", extra={"host": host[:200]})
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


def _actor_of(scope: Scope) -> Actor:
    """Return who calls, for the audit log."""
    found = scope.get("aegis.key")
    request_id = REQUEST_ID.get()
    if found is None:
        # Without a key nothing is changed but what routes check by themselves.
        return Actor(kind="service", face="http", id="unknown", request_id=request_id)
    if found.key_id is None:
        return Actor(kind="operator", face="http", request_id=request_id)
    return Actor(kind="key", face="http", id=str(found.key_id), request_id=request_id)


def _declared(scope: Scope) -> int:
    """Return how long the body says that it is, 0 for none, 1 for one that does not say."""
    chunked = scope["method"] not in ("GET", "HEAD")
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
        if name == b"transfer-encoding":
            chunked = True
    return 1 if chunked else 0


def _too_deep() -> Response:
    return problem(
        400,
        "json_invalid",
        f"The body is nested too deeply, more than {DEPTH} lists and objects; flatten it.",
        kind=InvalidInput.code,
    )


def _name_of(host: str) -> str:
    """Return the host of a Host header without its port: `[::1]:80`, `127.0.0.1:80`, `name`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
