"""The outermost edge of the HTTP face: who may come in at all, before anything is known of a key.

In this order, and none of it asks the database: an id for the request; the length of the address,
of headers, the number of parameters; the pace of the address; how much is worked on already. Then
the request is worked on for as long as its kind may take, and its answer leaves with the headers
that every answer has. docs/explanation/http-face.md says why.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from aegis.api.errors import problem, unexpected
from aegis.api.pace import Pace, bucket_of, is_loopback
from aegis.api.peer import Peers
from aegis.api.safety import Safety
from aegis.api.timing import length_of
from aegis.errors import InvalidInput, LimitExceeded, Unavailable
from aegis.request import REQUEST_ID, new_request_id, safe_request_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from aegis.config import Settings

__all__ = ["Door"]

#: uvicorn with h11 takes a head of 16 KiB, or of up to 256 KiB if it comes at once.
_URL_BYTES: Final = 8 * 1024
_PARAMETERS: Final = 100
_HEADERS: Final = 100
_HEADER_BYTES: Final = 32 * 1024
#: Answered however busy it is, and to whoever asks: a supervisor that gets no answer kills.
_ALIVE: Final = "/healthz"
_RETRY_S: Final = 1
#: Refusals are counted, and told to the log once in so many seconds.
_TELL_S: Final = 60.0

_log = logging.getLogger("aegis.api")


class Door:
    """ASGI middleware; `pace` and `peers` are there for what stands behind it, too."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._safety = Safety(settings)
        self._peers = Peers(settings.http_trusted_proxies)
        self._pace = Pace(settings.http_rate_per_s, settings.http_rate_burst)
        self._limits_loopback = settings.http_limit_loopback == "on"
        self._timeout_s = settings.http_request_timeout_s
        self._most = {"short": settings.http_max_requests, "stream": settings.http_max_streams}
        self._busy = {"short": 0, "stream": 0}
        self._streams: set[asyncio.Timeout] = set()
        self._refused, self._told_at = 0, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work on the request, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        before = REQUEST_ID.set(request_id)
        try:
            address = self._peers.resolve(scope)
            leaving = _Answer(send, self._safety.headers(scope, request_id))
            refusal = self._refuse(scope, address)
            if refusal is not None:
                await refusal(scope, receive, leaving.send)
                return
            await self._work(scope, receive, leaving)
        finally:
            REQUEST_ID.reset(before)

    def stop(self) -> None:
        """End the streams that are under way; the server stops, and they would hold it up."""
        for stream in list(self._streams):
            stream.reschedule(0)

    async def _work(self, scope: Scope, receive: Receive, leaving: _Answer) -> None:
        length = length_of(scope["method"], scope["path"])
        kind = "stream" if length == "stream" else "short"
        if self._busy[kind] >= self._most[kind] and scope["path"] != _ALIVE:
            await _overloaded()(scope, receive, leaving.send)
            return
        self._busy[kind] += 1
        try:
            async with asyncio.timeout(self._timeout_s if length == "short" else None) as limit:
                if kind == "stream":
                    self._streams.add(limit)
                try:
                    await self._app(scope, receive, leaving.send)
                finally:
                    self._streams.discard(limit)
        except TimeoutError:
            if kind == "stream" and leaving.started:
                await leaving.end()
            else:
                _log.warning(
                    "api.gave_up", extra={"path": scope["path"], "seconds": self._timeout_s}
                )
                await leaving.replace(scope, receive, _gave_up(self._timeout_s))
        except asyncio.CancelledError:
            # The server stops and did not wait longer. Nobody is told what was half done.
            await leaving.replace(scope, receive, _stopping())
        except Exception:  # noqa: BLE001
            _log.exception("api.unexpected", extra={"path": scope["path"]})
            await leaving.replace(scope, receive, unexpected())
        finally:
            self._busy[kind] -= 1

    def _refuse(self, scope: Scope, address: str) -> Response | None:
        allowed = self._safety.preflight(scope)
        refusal = self._refuse_pace(address) or _refuse_head(scope)
        if refusal is None and allowed is not None:
            refusal = Response(status_code=204)
            refusal.raw_headers = [*allowed]
        return refusal

    def _refuse_pace(self, address: str) -> Response | None:
        if not self._limits_loopback and is_loopback(address):
            return None
        now = time.monotonic()
        wait = self._pace.take(bucket_of(address), now)
        if not wait:
            return None
        self._refused += 1
        if now - self._told_at > _TELL_S:
            _log.warning("api.too_fast", extra={"address": address, "refused": self._refused})
            self._refused, self._told_at = 0, now
        return too_fast("address_limited", "Too many requests from this address", wait)


class _Answer:
    """What leaves: each answer with the headers of all, and whether one has begun."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.started = False
        self._ended = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.started = True
            given: list[Any] = list(message.get("headers", ()))
            said = {bytes(name).lower() for name, _ in given}
            message["headers"] = [*given, *(pair for pair in self._headers if pair[0] not in said)]
        elif not message.get("more_body", False):
            self._ended = True
        await self._send(message)

    async def end(self) -> None:
        """End an answer that has begun and has no length."""
        if not self._ended:
            await self.send({"type": "http.response.body", "body": b""})

    async def replace(self, scope: Scope, receive: Receive, answer: Response) -> None:
        """Send `answer` instead of one that has not begun; half an answer is cut off."""
        if not self.started:
            await answer(scope, receive, self.send)


def too_fast(code: str, what: str, wait: float) -> Response:
    """Return the answer to what comes faster than it may."""
    seconds = max(1, math.ceil(wait))
    return problem(
        429,
        code,
        f"{what}; try again in {seconds} s.",
        kind=LimitExceeded.code,
        headers={"Retry-After": str(seconds)},
    )


def _id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return safe_request_id(value.decode("latin-1")) or new_request_id()
    return new_request_id()


def _refuse_head(scope: Scope) -> Response | None:
    query: bytes = scope["query_string"]
    if len(scope.get("raw_path") or scope["path"]) + len(query) > _URL_BYTES:
        return problem(
            414,
            "address_too_long",
            f"The address is longer than {_URL_BYTES} bytes; send what is long in a body.",
            kind=LimitExceeded.code,
        )
    if query.count(b"&") >= _PARAMETERS:
        return problem(
            400,
            "too_many_parameters",
            f"There are more than {_PARAMETERS} query parameters.",
            kind=InvalidInput.code,
        )
    headers = scope["headers"]
    if len(headers) > _HEADERS or sum(len(n) + len(v) for n, v in headers) > _HEADER_BYTES:
        return problem(
            431,
            "headers_too_large",
            f"Send {_HEADERS} headers and {_HEADER_BYTES // 1024} KiB of them at most.",
            kind=LimitExceeded.code,
        )
    return None


def _overloaded() -> Response:
    return problem(
        503,
        "overloaded",
        "The server works on as much as it can; try again in a moment.",
        kind=Unavailable.code,
        headers={"Retry-After": str(_RETRY_S)},
    )


def _gave_up(seconds: float) -> Response:
    return problem(
        503,
        "request_timeout",
        f"The request took longer than {seconds:g} s and was given up; ask for less at a time.",
        kind=Unavailable.code,
        headers={"Retry-After": "5"},
    )


def _stopping() -> Response:
    return problem(
        503,
        "stopping",
        "The server is stopping; try again when it is back.",
        kind=Unavailable.code,
        headers={"Retry-After": "5", "Connection": "close"},
    )
