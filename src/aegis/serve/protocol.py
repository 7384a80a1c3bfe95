"""One connection: how long it may be silent, how many there may be, and what a bad head is told.

uvicorn closes a connection that is silent after an answer, and no other: one that never finishes
the head of a request, goes on sending a body that was refused, or does not read its answer stays
for ever. h11 bounds a head that comes in parts at 16 KiB, chunks' heads likewise, and refuses two
lengths, a length beside chunks, and everything else that is not HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from aegis.api.pace import bucket_of, is_loopback
from aegis.api.peer import Peers
from aegis.api.safety import SAFE
from aegis.request import new_request_id

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from aegis.config import Settings

__all__ = ["Connections", "protocol_of"]

#: Seconds in which a client that was refused may finish sending, and one that is closed may read.
_LINGER_S = 2.0
#: Seconds without reading after which a client is taken to be gone.
_UNREAD_S = 30.0
_PHRASES = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


class Connections:
    """How many connections there are, and whose."""

    def __init__(self, settings: Settings) -> None:
        self.header_timeout_s = settings.http_header_timeout_s
        self._most = settings.http_max_connections
        self._most_per_client = settings.http_max_connections_per_client
        self._peers = Peers(settings.http_trusted_proxies)
        self._count = 0
        self._by_client: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more and return True, or return False where there is no room."""
        bucket = bucket_of(address)
        if self._count >= self._most:
            return False
        if self._by_client[bucket] >= self._most_per_client and not self._many(address):
            return False
        self._count += 1
        self._by_client[bucket] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less."""
        bucket = bucket_of(address)
        self._count -= 1
        self._by_client[bucket] -= 1
        if not self._by_client[bucket]:
            del self._by_client[bucket]

    def _many(self, address: str) -> bool:
        """Tell whether an address stands for many clients."""
        return is_loopback(address) or self._peers.trusts(address)


class _Connection(H11Protocol):
    """uvicorn's connection with limits."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self._address: str | None = None
        #: Until when the head of a request, or what is left of a refused body, has to be there.
        self._due: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self._connections.enter(address):
            self._refuse(503, "overloaded", "Too many connections; try again in a moment.")
            return
        self._address = address
        self._due = self.loop.call_later(self._connections.header_timeout_s, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._cancel_due()
        self._cancel_unread()
        self._unset_keepalive_if_required()
        if self._address is not None:
            self._connections.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; the head of a request has to be whole in time."""
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            # The body has a time of its own, where it is read.
            cycle = self._cycle()
            if cycle is None or not cycle.response_complete:
                self._cancel_due()
        elif self._due is None and self.timeout_keep_alive_task is None:
            self._due = self.loop.call_later(self._connections.header_timeout_s, self._too_late)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the end of a body that nobody wanted."""
        wanted = self.conn.their_state is not h11.SEND_BODY
        super().on_response_complete()
        self._cancel_due()
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self.loop.call_later(_UNREAD_S, self.transport.abort)
        elif not wanted:
            self._due = self.loop.call_later(_LINGER_S, self._close)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        del msg
        self._refuse(400, "http_invalid", "This is no HTTP request.")

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that asks nothing more."""
        self._close()

    def pause_writing(self) -> None:
        """The client does not read: it has some seconds."""
        super().pause_writing()
        self._cancel_unread()
        self._unread = self.loop.call_later(_UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._cancel_unread()

    def _too_late(self) -> None:
        self._due = None
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            # Nothing was asked, so nothing is answered.
            self._close()
            return
        self._refuse(408, "header_timeout", "The head of the request did not come in time.")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer without the application, and close; half an answer is only cut off.

        Closing while something is unread would take the answer back: what still comes is thrown
        away for a moment.
        """
        cycle = self._cycle()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._cancel_due()
        if cycle is not None and not cycle.response_complete:
            # Whoever works on it is told that nobody hears it.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self._close()
                return
        self.transport.write(_answer(status, code, detail))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._due = self.loop.call_later(_LINGER_S, self._close)

    def _close(self) -> None:
        """Close once what was written is read, or in a moment, whichever comes first."""
        if not self.transport.is_closing():
            self.transport.close()
            self.loop.call_later(_LINGER_S, self.transport.abort)

    def _cycle(self) -> RequestResponseCycle | None:
        """Return the request that is worked on, or was; None before the first one."""
        return cast("RequestResponseCycle | None", self.cycle)

    def _cancel_due(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _cancel_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def protocol_of(settings: Settings) -> Any:
    """Return what makes the connections of one server, as `uvicorn.Config.http` takes it."""
    connections = Connections(settings)

    class Connection(_Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, connections=connections, **kwargs)

    return Connection


def _answer(status: int, code: str, detail: str) -> bytes:
    request_id = new_request_id()
    body = json.dumps(
        {
            "type": f"urn:aegis:error:{code}",
            "title": _PHRASES[status],
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": request_id,
        }
    ).encode()
    lines = [
        b"HTTP/1.1 %d %s" % (status, _PHRASES[status].encode()),
        b"content-type: application/problem+json",
        b"content-length: %d" % len(body),
        b"x-request-id: " + request_id.encode(),
        *(name + b": " + value for name, value in SAFE),
        *([b"retry-after: 1"] if status == 503 else []),
        b"connection: close",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
