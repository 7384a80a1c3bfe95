"""The web server. Importing this is the longest import of a start."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from aegis.api.app import create_app
from aegis.serve.protocol import protocol_of
from aegis.serve.tls import tls_context

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Generator, Mapping

    from starlette.types import ASGIApp

    from aegis.api.door import Door
    from aegis.client import Aegis

__all__ = ["GRACE_S", "Web", "web_server"]

#: Seconds that requests under way have to finish after a signal.
GRACE_S = 10
#: A head that comes in parts may be as long as one that comes at once (`api/door.py`).
_HEAD_BYTES = 48 * 1024
#: Seconds that the end of TLS may take.
_TLS_END_S = 5.0


class Web(uvicorn.Server):
    """uvicorn, without signal handlers of its own; `ready` is set once requests are answered."""

    def __init__(self, config: uvicorn.Config, door: Door, *, handshake_s: float) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._door = door
        self._handshake_s = handshake_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve; as uvicorn does, with a limit for the handshake of TLS."""
        await self.lifespan.startup()
        config, loop = self.config, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            made: Any = config.http_protocol_class
            return made(config, self.server_state, self.lifespan.state)

        tls = config.ssl is not None
        self.servers = [
            await loop.create_server(
                connection,
                sock=sock,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=self._handshake_s if tls else None,
                ssl_shutdown_timeout=_TLS_END_S if tls else None,
            )
            for sock in sockets or ()
        ]
        self.started = True
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, finish what is under way, and end streams, which have no end."""
        self._door.stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the process, which ends with status 0 after a clean stop."""
        yield

    def stop(self) -> None:
        """Finish what is under way and end; the second call no longer waits for it."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def web_server(
    client: Aegis, *, token: str, names: Collection[str], mounts: Mapping[str, ASGIApp]
) -> Web:
    """Return the server of the HTTP application and what is mounted on it."""
    settings = client.settings
    door = create_app(client, token=token, names=names, mounts=mounts)
    context = tls_context(settings)
    config = uvicorn.Config(
        door,
        http=protocol_of(settings),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose forwarded addresses are believed is for `aegis.api.peer` to say.
        proxy_headers=False,
        ws="none",
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=settings.http_keep_alive_s,  # pyright: ignore[reportArgumentType]
        timeout_graceful_shutdown=GRACE_S,
        # A request must not inherit the context of the one before it on its connection.
        reset_contextvars=True,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    return Web(config, door, handshake_s=settings.http_header_timeout_s)
