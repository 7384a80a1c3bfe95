"""Serve until a signal says stop.

Order of the start: the port is taken, then the database is prepared in a thread while the web
framework is imported, then requests are answered; the model comes a moment later, and MCP when it
is first asked for: whoever asks waits. Order of the stop: the reverse.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.serve.listen import is_loopback, listen, url_of
from aegis.wire.presence import Presence, announce, find_presence, fingerprint
from aegis.wire.token import ensure_token, token_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aegis.client import Aegis
    from aegis.config import Settings
    from aegis.serve.background import LateApp
    from aegis.serve.database import Prepared
    from aegis.serve.web import Web

__all__ = ["Serving", "serve"]

_log = logging.getLogger("aegis.serve")

_EXPOSED = (
    "It can be reached from other machines, without TLS, and the token is all that guards it. "
    "Set AEGIS_TLS_CERTIFICATE, put a proxy that speaks TLS before it, or leave AEGIS_API_HOST at "
    "127.0.0.1."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where everything is, once it serves."""

    url: str
    mcp_url: str
    token_path: Path
    #: Address of the database for `psql`, never with a password.
    database: str
    server_version: str
    pgvector: str
    schema: str
    embedded: bool
    #: What would be better, one line each.
    advice: tuple[str, ...]


def serve(
    settings: Settings,
    *,
    on_ready: Callable[[Serving], object],
    say: Callable[[str], object],
) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is told once requests are answered.

    Raises:
        AegisError: the start failed; nothing is left running that this call started.
    """
    token = ensure_token(settings.data_dir)
    if settings.tls_certificate is not None:
        from aegis.serve.tls import tls_context

        # What is wrong with it is said before anything is started.
        tls_context(settings)
    sock = listen(settings)
    # Nothing of what a start loads is garbage, and looking for some takes a tenth of the time;
    # `release_memory` turns it on again.
    gc.disable()
    # The longest import of the start, while the database is prepared.
    threading.Thread(target=_import_ahead, name="aegis-import", daemon=True).start()
    try:
        asyncio.run(_Process(settings, token, sock, on_ready, say).run())
    except asyncio.CancelledError:
        # A signal came before anything was served.
        return
    finally:
        gc.enable()
        sock.close()


def _import_ahead() -> None:
    import importlib

    importlib.import_module("aegis.serve.web")
    importlib.import_module("aegis.serve.working")


class _Process:
    def __init__(
        self,
        settings: Settings,
        token: str,
        sock: socket.socket,
        on_ready: Callable[[Serving], object],
        say: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._token = token
        self._sock = sock
        self._on_ready = on_ready
        self._say = say
        self._server: Web | None = None
        #: Whether the embedded server that runs now was started here.
        self._started = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, task)
        async with AsyncExitStack() as stack:
            prepared = await self._prepare(stack)
            client = await self._connect(stack, prepared)
            await self._serve(client)

    def _stop(self, task: asyncio.Task[Any]) -> None:
        if self._server is None:
            task.cancel()
        else:
            self._server.stop()

    async def _prepare(self, stack: AsyncExitStack) -> Prepared:
        from aegis.db import embedded
        from aegis.serve.database import prepare

        async def release() -> None:
            if self._started:
                await asyncio.to_thread(embedded.release, self._settings)

        stack.push_async_callback(release)

        def work() -> Prepared:
            prepared = prepare(self._settings, self._say)
            self._started = prepared.started
            return prepared

        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # What has begun is finished, so that it can be undone.
            await asyncio.wait([working])
            raise

    async def _connect(self, stack: AsyncExitStack, prepared: Prepared) -> Aegis:
        from aegis.client import Aegis
        from aegis.db import Database
        from aegis.db.server import finder
        from aegis.memory.embedding import open_embedder, open_next_embedder
        from aegis.memory.reranking import open_reranker

        find_dsn = finder(self._settings)
        db = await Database.open(prepared.dsn, self._settings, find_dsn=find_dsn)
        stack.push_async_callback(db.close)
        reranker = open_reranker(self._settings)
        if reranker is not None:
            stack.push_async_callback(reranker.aclose)
        client = Aegis(
            db,
            open_embedder(self._settings),
            self._settings,
            reranker=reranker,
            next_embedder=open_next_embedder(self._settings),
        )
        if client.embedder is not None:
            stack.push_async_callback(client.embedder.aclose)
        stack.push_async_callback(client.memory.models.flush)
        return client

    async def _serve(self, client: Aegis) -> None:
        from aegis.serve.background import LateApp, PostOnly
        from aegis.serve.web import web_server

        late = LateApp()
        serving = await self._describe(client)
        names = (self._settings.api_host, *_own_names(self._sock))
        server = web_server(client, token=self._token, names=names, mounts={"/mcp": PostOnly(late)})
        self._server = server
        beside = [
            asyncio.create_task(self._tell(server, serving)),
            asyncio.create_task(self._beside(client, late)),
        ]
        try:
            await server.serve(sockets=[self._sock])
        finally:
            # Statements are cut off now, which is meant, and no news to whoever stops it.
            logging.getLogger("psycopg").setLevel(logging.ERROR)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await client.memory.usage.flush()

    async def _tell(self, server: Web, serving: Serving) -> None:
        await server.ready.wait()
        presence = Presence(
            url=serving.url,
            pid=os.getpid(),
            serves=fingerprint(self._settings, self._token),
            certificate=str(self._settings.tls_certificate or ""),
        )
        announcement = announce(self._settings.data_dir, presence)
        if announcement is None:
            other = find_presence(self._settings.data_dir)
            _log.warning("serve.not_announced", extra={"pid": other.pid if other else None})
        try:
            self._on_ready(serving)
            await asyncio.Event().wait()
        finally:
            if announcement is not None:
                announcement.withdraw()

    async def _beside(self, client: Aegis, late: LateApp) -> None:
        from aegis.serve.background import (
            fill_in_vectors,
            keep_database,
            load_model,
            read_for_graph,
            release_memory,
            serve_mcp,
            watch_sessions,
            work_on_models,
        )
        from aegis.serve.telemetry import collect_metrics, send_alerts, watch_metrics
        from aegis.serve.working import work_beside

        async def load() -> None:
            await load_model(client)
            release_memory()
            async with asyncio.TaskGroup() as filling:
                filling.create_task(fill_in_vectors(client))
                filling.create_task(work_on_models(client))

        host = "127.0.0.1" if is_loopback(self._sock) else self._settings.api_host
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_mcp(client, late, host=host))
            group.create_task(load())
            group.create_task(read_for_graph(client))
            group.create_task(watch_sessions(client))
            if self._settings.worker == "on":
                group.create_task(work_beside(client))
            group.create_task(collect_metrics(client))
            group.create_task(watch_metrics(client))
            group.create_task(send_alerts(client))
            if self._settings.database_url is None:
                group.create_task(keep_database(self._settings, self._restarted))

    def _restarted(self) -> None:
        self._started = True

    async def _describe(self, client: Aegis) -> Serving:
        from aegis.db.revision import schema_state
        from aegis.db.server import check_server
        from aegis.db.translate import redact

        async with client.db.transaction() as conn:
            report = await check_server(conn)
            status = await schema_state(conn)
            dsn = conn.info.dsn
        disagreement = await client.memory.models.find_disagreement()
        advice = report.advice if disagreement is None else (*report.advice, disagreement)
        tls = self._settings.tls_certificate is not None
        url = url_of(self._sock, tls=tls)
        return Serving(
            url=url,
            mcp_url=f"{url}/mcp",
            token_path=token_path(self._settings.data_dir),
            database=redact(dsn),
            server_version=report.version,
            pgvector=report.pgvector,
            schema=status.revision or "",
            embedded=self._settings.database_url is None,
            advice=advice if tls or is_loopback(self._sock) else (*advice, _EXPOSED),
        )


def _own_names(sock: socket.socket) -> tuple[str, ...]:
    return () if is_loopback(sock) else (socket.gethostname(),)
