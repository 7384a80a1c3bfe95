"""The server's edge over real sockets: time, sizes, numbers, TLS, and how it stops."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.api.safety import SAFE
from aegis.client import Aegis
from aegis.errors import ConfigError
from aegis.serve.tls import tls_context
from aegis.serve.web import web_server
from tests.certificates import self_signed
from tests.serving import aegis, answer, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.serve.web import Web

TOKEN = "aegis_op_" + "t" * 43
ASK = b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n" % (
    TOKEN.encode()
)
POST = (
    b"POST /v1/memory/recall HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer %s\r\n" % TOKEN.encode()
)
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def server(
    db: Database, settings: Settings, mounts: dict[str, Any] | None = None, **changed: Any
) -> AsyncGenerator[tuple[int, Web]]:
    """Yield the port of a server in this loop."""
    settings = replace(settings, embedder="none", **changed)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        web = web_server(
            Aegis(db, None, settings), token=TOKEN, names=["localhost"], mounts=mounts or {}
        )
        running = asyncio.create_task(web.serve(sockets=[sock]))
        await web.ready.wait()
        try:
            yield port, web
        finally:
            web.stop()
            web.stop()
            await running


async def read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    """Return the next answer of a connection: status, headers and document."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {n.lower(): v for n, _, v in (text.partition(": ") for text in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, json.loads(body)


async def send(port: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await read(reader)
    finally:
        writer.close()


async def test_head_that_does_not_come_is_not_waited_for(db: Database, settings: Settings) -> None:
    async with server(db, settings, http_header_timeout_s=2.0) as (port, _):
        silent, first = await asyncio.open_connection("127.0.0.1", port)
        slow, second = await asyncio.open_connection("127.0.0.1", port)
        second.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A:")
        again, third = await asyncio.open_connection("127.0.0.1", port)
        third.write(ALIVE)
        assert (await read(again))[0] == 200
        # The second request of a connection, as well as the first one.
        third.write(b"GET /healthz HTTP/1.1\r\n")
        assert await asyncio.wait_for(silent.read(), 30) == b""
        for reader in (slow, again):
            status, headers, document = await read(reader)
            assert (status, document["code"]) == (408, "header_timeout")
            assert headers["x-request-id"] == document["request_id"]
            assert await asyncio.wait_for(reader.read(), 30) == b""
        for writer in (first, second, third):
            writer.close()


async def test_connection_that_asks_nothing_more_is_closed(
    db: Database, settings: Settings
) -> None:
    async with server(db, settings, http_keep_alive_s=0.2) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(ALIVE)
            assert (await read(reader))[0] == 200
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


@pytest.mark.parametrize(
    "length", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
)
async def test_body_that_does_not_come_is_given_up(
    db: Database, settings: Settings, length: bytes
) -> None:
    async with server(db, settings, http_body_timeout_s=0.2) as (port, _):
        status, _, document = await send(port, POST + length)
        assert (status, document["code"]) == (408, "body_timeout")


async def test_body_that_was_refused_is_not_read_for_ever(db: Database, settings: Settings) -> None:
    async with server(db, settings) as (port, web):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 99999999\r\n\r\n{")
        assert (await read(reader))[0] == 413
        # It drips on, and is closed all the same.
        while web.server_state.connections:
            writer.write(b" ")
            await asyncio.sleep(0.05)
        writer.close()


async def test_refused_body_that_is_sent_whole_costs_no_connection(
    db: Database, settings: Settings
) -> None:
    async with server(db, settings) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST.replace(TOKEN.encode(), b"wrong") + b"Content-Length: 50000\r\n\r\n")
        writer.write(b" " * 50_000 + ASK)
        assert (await read(reader))[0] == 401
        assert (await read(reader))[0] == 200
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200_000,
    ],
    ids=["tls", "hostless", "hosts", "nul", "lengths", "negative", "coding", "chunk", "head"],
)
async def test_what_is_no_http_is_told_so_and_nothing_else(
    db: Database, settings: Settings, data: bytes
) -> None:
    async with server(db, settings) as (port, _):
        status, headers, document = await send(port, data)
        assert (status, document["code"]) == (400, "http_invalid")
        assert {name.decode(): value.decode() for name, value in SAFE}.items() <= headers.items()
        assert "server" not in headers
        assert (await send(port, ALIVE))[0] == 200


async def test_long_head_is_refused_however_it_comes(db: Database, settings: Settings) -> None:
    async with server(db, settings) as (port, _):
        large = ALIVE[:-2] + b"X-A: " + b"y" * 34_000 + b"\r\n\r\n"
        many = ALIVE[:-2] + b"".join(b"X-%d: y\r\n" % n for n in range(120)) + b"\r\n"
        long = ALIVE.replace(b"/healthz", b"/healthz?" + b"a" * 9_000)
        parameters = ALIVE.replace(b"/healthz", b"/healthz?" + b"&".join([b"a=1"] * 120))
        assert [(await send(port, x))[0] for x in (large, many, long, parameters)] == [
            431, 431, 414, 400,
        ]  # fmt: skip


async def test_connections_beyond_the_bound_are_told_when_to_come_again(
    db: Database, settings: Settings
) -> None:
    async with server(db, settings, http_max_connections=2) as (port, web):
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in kept:
            writer.write(ALIVE)
            assert (await read(reader))[0] == 200
        reader, third = await asyncio.open_connection("127.0.0.1", port)
        status, headers, document = await read(reader)
        assert (status, document["code"], headers["retry-after"]) == (503, "overloaded", "1")
        third.close()
        for _, writer in kept:
            writer.close()
        # Room that was given back is room again.
        while len(web.server_state.connections):
            await asyncio.sleep(0.01)
        assert (await send(port, ALIVE))[0] == 200


class _Slow:
    """An application that answers when it is told to, and shows who waits."""

    def __init__(self, *, begins: bool = False) -> None:
        self.begun = asyncio.Semaphore(0)
        self.go = asyncio.Event()
        self._begins = begins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.release()
        if self._begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await self.go.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})


async def test_requests_in_work_beyond_the_bound_are_told_when_to_come_again(
    db: Database, settings: Settings
) -> None:
    slow = _Slow()
    async with server(db, settings, {"/slow": slow}, http_max_requests=2) as (port, _):
        ask = ASK.replace(b"/v1/status", b"/slow")
        working = [asyncio.create_task(send(port, ask)) for _ in range(2)]
        for _ in working:
            await slow.begun.acquire()
        status, headers, document = await send(port, ASK)
        assert (status, document["code"], headers["retry-after"]) == (503, "overloaded", "1")
        # A supervisor that hears nothing would kill it now.
        assert (await send(port, ALIVE))[0] == 200
        slow.go.set()
        assert [(await task)[0] for task in working] == [200, 200]
        assert (await send(port, ASK))[0] == 200


async def test_request_that_takes_too_long_is_given_up_with_its_statement(
    db: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="aegis.api")
    async with (
        server(db, settings, http_request_timeout_s=0.5) as (port, _),
        await db.dedicated() as holder,
        await db.dedicated() as watch,
    ):
        await holder.execute("BEGIN")
        await holder.execute("LOCK TABLE episodic_memory IN ACCESS EXCLUSIVE MODE")
        ask = ASK.replace(b"/v1/status", b"/v1/memory/episodes")
        status, _, document = await send(port, ask)
        assert (status, document["code"]) == (503, "request_timeout")
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND query LIKE '%episodic_memory%' AND datname = current_database()"
        )
        # The statement has gone with it, long before its own time-out.
        while await (await watch.execute(waiting)).fetchone() != (0,):
            await asyncio.sleep(0.01)
        await holder.execute("ROLLBACK")
        assert (await send(port, ask))[0] == 200
    (told,) = [r for r in caplog.records if r.msg == "api.gave_up"]
    assert told.path == "/v1/memory/episodes"  # type: ignore[attr-defined]


async def test_stop_ends_streams_and_finishes_requests(db: Database, settings: Settings) -> None:
    slow, stream = _Slow(), _Slow(begins=True)

    async def route(scope: Any, receive: Any, send: Any) -> None:
        scope["path"] = "/v1/executions/x/watch"
        await stream(scope, receive, send)

    async with server(db, settings, {"/slow": slow, "/v1/executions/x/watch": route}) as (
        port,
        web,
    ):
        ask = ASK.replace(b"/v1/status", b"/slow")
        working = asyncio.create_task(send(port, ask))
        await slow.begun.acquire()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK.replace(b"/v1/status", b"/v1/executions/x/watch"))
        await stream.begun.acquire()
        web.stop()
        # The stream ends as it should: its last chunk says so.
        text = await asyncio.wait_for(reader.read(), 30)
        assert text.startswith(b"HTTP/1.1 200") and text.endswith(b"4\r\nhalf\r\n0\r\n\r\n")
        slow.go.set()
        assert (await working)[0] == 200
        writer.close()


async def test_client_that_leaves_while_it_sends_leaves_nothing_behind(
    db: Database, settings: Settings
) -> None:
    async with server(db, settings) as (port, web):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        while not web.server_state.tasks:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        while web.server_state.tasks or web.server_state.connections:
            await asyncio.sleep(0.01)
        assert (await send(port, ALIVE))[0] == 200


async def test_tls_is_spoken_with_the_certificate_of_the_settings(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    pem = self_signed(tmp_path, "aegis.example")
    trusting = ssl.create_default_context(cafile=str(pem))
    async with server(
        db, settings, tls_certificate=pem, http_hsts_s=600, http_header_timeout_s=3.0
    ) as (port, _):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname="aegis.example"
        )
        writer.write(ALIVE)
        status, headers, _ = await read(reader)
        assert (status, headers["strict-transport-security"]) == (200, "max-age=600")
        writer.close()
        # Who says nothing of TLS is not waited for either.
        silent, other = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(silent.read(), 30) == b""
        other.close()


def test_commands_ask_the_server_that_speaks_tls(tmp_path: Path, dsn: str) -> None:
    pem = self_signed(tmp_path, "aegis.example")
    folder = tmp_path / "data"
    given = {"database_url": dsn, "embedder": "none"}
    with serving(folder, tls_certificate=str(pem), **given) as served:
        assert served.url.startswith("https://") and f"curl {served.url}" in served.said
        found: Any = answer(aegis(folder, "db", "status", "--json", **given))
        # The figures of its pool come over TLS.
        assert found["serving"]["url"] == served.url
        assert found["serving"]["pool"]["max_size"] == 10


@pytest.mark.parametrize("what", ["missing", "garbage", "keyless", "locked"])
def test_certificate_that_is_none_is_refused_before_anything_starts(
    tmp_path: Path, settings: Settings, what: str
) -> None:
    pem = self_signed(tmp_path, "aegis.example")
    text = pem.read_text()
    if what == "missing":
        pem = tmp_path / "none.pem"
    elif what == "garbage":
        pem.write_text("certificate")
    elif what == "keyless":
        pem.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
    else:
        pem.write_bytes(_locked(text.encode()))
    with pytest.raises(ConfigError, match="AEGIS_TLS_CERTIFICATE") as caught:
        tls_context(replace(settings, tls_certificate=pem))
    assert "\n" not in caught.value.message
    done = aegis(tmp_path / "data", "up", "--port", "0", tls_certificate=str(pem))
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (8, 1, ""), done.stderr


def _locked(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pem, None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    return locked + pem[pem.index(b"-----BEGIN CERTIFICATE") :]
