"""A server on 127.0.0.1 that answers each request with the next line of a script.

An answer may be late, cut off, malformed, endless or an error; whatever was asked is kept.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

#: How long anything here waits before a test counts as failed.
PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server does with a request."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Close the connection: before anything is said, or in the middle of the body.
    cut: str | None = None
    #: Wait until this is set.
    after: asyncio.Event | None = None
    #: Begin with the body and then keep still.
    stall: bool = False


def ok(document: Any, **more: Any) -> Answer:
    """Answer with a JSON document."""
    return Answer(body=json.dumps(document, ensure_ascii=False).encode(), **more)


def events(documents: Sequence[Any], **more: Any) -> Answer:
    """Answer with server-sent events."""
    lines = [f"event: {d['type']}\r\ndata: {json.dumps(d)}\r\n\r\n" for d in documents]
    return Answer(body="".join(lines).encode(), **more)


def refused(status: int, message: str = "no", **headers: str) -> Answer:
    """Answer with an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"error": {"message": message}}).encode()
    return Answer(status=status, body=body, headers=named)


CUT = Answer(cut="early")


class Script:
    """The answers, in order, and what was asked; the last answer is repeated."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.came = asyncio.Event()
        self.url = ""

    def starts(self) -> list[Asked]:
        """Return the requests that cost something."""
        return [a for a in self.asked if a.method == "POST" and not a.path.endswith("/cancel")]

    async def requests(self, number: int) -> None:
        """Wait until so many requests came."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.asked) < number:
                self.came.clear()
                await self.came.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(1_000):
                asked = await _read(reader)
                if asked is None:
                    return
                answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
                self.asked.append(asked)
                self.came.set()
                if not await _write(writer, answer):
                    return
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Script) -> AsyncGenerator[Script]:
    """Serve a script; its `url` is where."""
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    script.url = f"http://127.0.0.1:{port}"
    try:
        yield script
    finally:
        server.close()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readline()
    if not head:
        return None
    method, path, _ = head.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method=method, path=path, headers=headers, body=json.loads(raw) if raw else None)


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    if answer.after is not None:
        async with asyncio.timeout(PATIENCE_S):
            await answer.after.wait()
    if answer.cut == "early":
        return False
    length = len(answer.body) + 1_000 * answer.stall
    lines = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    body = answer.body[: len(answer.body) // 2] if answer.cut == "late" else answer.body
    writer.write(body)
    await writer.drain()
    return answer.cut is None
