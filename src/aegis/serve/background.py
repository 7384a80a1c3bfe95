"""What goes on beside the requests, of this process alone: loading, filling in, its own files.

What is to be done once, however many processes there are, is a schedule (`aegis.worker.defaults`).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from aegis.errors import AegisError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from aegis.client import Aegis
    from aegis.config import Settings

__all__ = [
    "LateApp",
    "PostOnly",
    "fill_in_vectors",
    "keep_database",
    "load_model",
    "read_for_graph",
    "release_memory",
    "serve_mcp",
    "watch_sessions",
    "work_on_models",
]

_log = logging.getLogger("aegis.serve")

#: Seconds between looks for rows without a vector, doubled while there is nothing to do.
_SHORTEST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0
_BATCH = 512
#: Of the change of the embedding model: rows a round, seconds between rounds with and without
#: work, and between looks at every row rather than at the new ones.
_CHANGE_ROWS = 2_048
_CHANGE_BUSY_S, _CHANGE_IDLE_S, _CHANGE_AGAIN_S = 0.3, 15.0, 300.0
#: Seconds between looks into the spool of hooks, and between sweeps of sessions.
_SPOOL_S = 1.0
_SESSIONS_S = 60.0
#: Seconds between looks at the embedded server; doubled, up to the other, while it does not start.
_LOOK_S = 1.0
_LONGEST_LOOK_S = 60.0


class LateApp:
    """An application whose code is loaded with its first request; requests wait for it."""

    def __init__(self) -> None:
        self._app: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
        self._asked = asyncio.Event()

    def use(self, app: ASGIApp) -> None:
        """Let the requests through."""
        self._app.set_result(app)

    def fail(self, error: AegisError) -> None:
        """Answer every request with `error`."""
        if not self._app.done():
            self._app.set_exception(error)
            self._app.exception()

    async def asked(self) -> None:
        """Wait until there is a request."""
        await self._asked.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as soon as the application is there."""
        self._asked.set()
        app = await asyncio.shield(self._app)
        await app(scope, receive, send)


class PostOnly:
    """An application that answers POST alone: without sessions there is no stream to offer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a POST on; answer anything else with 405."""
        if scope["type"] == "http" and scope["method"] != "POST":
            from aegis.api.errors import problem

            refusal = problem(
                405,
                "method_not_allowed",
                "MCP is spoken here by POST alone; there is no stream and no session.",
                headers={"Allow": "POST"},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def serve_mcp(client: Aegis, late: LateApp, *, host: str) -> None:
    """Load the MCP server when it is first asked for, and keep it running until cancelled.

    It is a sixth of what the process would hold, and many are never asked for it: agents may also
    have a process of their own (`aegis mcp`).
    """
    try:
        await late.asked()
        server, app = await asyncio.to_thread(_load_mcp, client, host)
        async with server.session_manager.run():
            late.use(app)
            release_memory()
            await asyncio.Event().wait()
    except Exception:  # noqa: BLE001
        # What else goes on here goes on.
        _log.exception("serve.mcp_failed")
        late.fail(Unavailable("MCP cannot be loaded; the server's log says why."))
    finally:
        late.fail(Unavailable("Aegis is stopping; try again when it is back."))


def _load_mcp(client: Aegis, host: str) -> tuple[Any, ASGIApp]:
    from aegis.mcp.server import http_app, server_of

    server = server_of(client)
    return server, http_app(server, host=host)


async def load_model(client: Aegis) -> None:
    """Load the embedder, so that the first question does not wait for it."""
    if client.embedder is None:
        return
    try:
        await client.embedder.warm()
    except AegisError as error:
        _log.warning("serve.embedder_failed", extra={"code": error.code, "why": error.message})


async def fill_in_vectors(client: Aegis) -> None:
    """Embed rows that have no vector yet, for ever; what fails is tried again later."""
    if client.embedder is None:
        return
    pause = _SHORTEST_PAUSE_S
    while True:
        try:
            filled = await client.memory.backfill(limit=_BATCH)
        except AegisError as error:
            filled = 0
            _log.warning("serve.backfill_failed", extra={"code": error.code, "why": error.message})
        if filled:
            _log.info("serve.backfilled", extra={"rows": filled})
            pause = 0.0 if filled >= _BATCH else _SHORTEST_PAUSE_S
        else:
            pause = min(max(pause * 2, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        await asyncio.sleep(pause)


async def read_for_graph(client: Aegis) -> None:
    """Read what is new for entities, for ever; what fails is tried again later."""
    pause = _SHORTEST_PAUSE_S
    while True:
        try:
            read = (await client.memory.graph.build(limit=_BATCH)).read
        except AegisError as error:
            read = 0
            _log.warning("serve.graph_failed", extra={"code": error.code, "why": error.message})
        if read:
            _log.info("serve.graph_built", extra={"texts": read})
            pause = 0.0 if read >= _BATCH else _SHORTEST_PAUSE_S
        else:
            pause = min(max(pause * 2, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        await asyncio.sleep(pause)


async def work_on_models(client: Aegis) -> None:
    """Do what a change of the embedding model needs, for ever; what fails is tried again later."""
    if client.embedder is None:
        return
    from aegis.memory.change.work import Places

    places, looked_at, pause = Places(), time.monotonic(), _CHANGE_IDLE_S
    while True:
        try:
            done = await client.memory.models.work(limit=_CHANGE_ROWS, places=places)
            pause = _CHANGE_BUSY_S if done.rows else _CHANGE_IDLE_S
            if done.rows:
                counts = {"embedded": done.embedded, "moved": done.moved, "dropped": done.dropped}
                _log.info("serve.models_changed", extra=counts)
        except AegisError as error:
            pause = min(max(pause * 2, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
            _log.warning("serve.change_failed", extra={"code": error.code, "why": error.message})
        if time.monotonic() - looked_at >= _CHANGE_AGAIN_S:
            places.after.clear()
            looked_at = time.monotonic()
        await client.memory.models.wait_for_work(most_s=pause)


async def watch_sessions(client: Aegis) -> None:
    """Write what hooks put into the spool, and sweep sessions, for ever; failures are tried again.

    Looking into an empty spool asks the file system, not the database.
    """
    loop = asyncio.get_running_loop()
    sweep_at = loop.time()
    pause = _SPOOL_S
    while True:
        await asyncio.sleep(pause)
        try:
            drained = await client.sessions.drain()
            if drained or loop.time() >= sweep_at:
                sweep_at = loop.time() + _SESSIONS_S
                swept = await client.sessions.sweep()
                _log.debug("serve.sessions_swept", extra={"closed": len(swept.closed)})
            pause = _SPOOL_S
        except AegisError as error:
            pause = min(pause * 2, _LONGEST_LOOK_S)
            _log.warning("serve.sessions_failed", extra={"code": error.code, "why": error.message})


async def keep_database(settings: Settings, on_start: Callable[[], object]) -> None:
    """Start the embedded server again whenever it was killed, for ever; tell `on_start`.

    One that was stopped is left alone: the next command that needs it starts it.
    """
    from aegis.db import embedded

    pause = _LOOK_S
    while True:
        await asyncio.sleep(pause)
        try:
            if await asyncio.to_thread(embedded.crashed, settings):
                _log.warning("serve.database_died")
                await _start_again(settings, on_start)
            pause = _LOOK_S
        except AegisError as error:
            pause = min(pause * 2, _LONGEST_LOOK_S)
            _log.warning("serve.database_failed", extra={"code": error.code, "why": error.message})


async def _start_again(settings: Settings, on_start: Callable[[], object]) -> None:
    from aegis.db import embedded

    def work() -> None:
        if embedded.start(settings).started:
            on_start()

    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        # What has begun is finished, so that it can be undone.
        await asyncio.wait([working])
        raise
    _log.info("serve.database_restarted")


def release_memory() -> None:
    """Give back what loading left behind; what stays is no longer looked at by the collector."""
    gc.collect()
    gc.freeze()
    gc.enable()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
