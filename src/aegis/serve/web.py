"""The web server. Importing this is the longest import of a start."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from aegis.api.app import create_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Generator, Mapping

    from starlette.types import ASGIApp

    from aegis.client import Aegis

__all__ = ["GRACE_S", "Web", "web_server"]

#: Seconds that requests under way have to finish after a signal.
GRACE_S = 10


class Web(uvicorn.Server):
    """uvicorn, without signal handlers of its own; `ready` is set once requests are answered."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.ready.set()

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
    config = uvicorn.Config(
        create_app(client, token=token, names=names, mounts=mounts),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )
    return Web(config)
