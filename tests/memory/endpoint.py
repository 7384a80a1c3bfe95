"""A real HTTP server on loopback that answers as each test tells it to."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@dataclass(slots=True)
class Reply:
    """What the server says to one request."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    #: Close the connection without an answer.
    hang_up: bool = False
    #: Hold the answer back until the test is over.
    stall: bool = False


@dataclass(slots=True)
class Endpoint:
    """The running server, what it was asked, and what it will answer."""

    url: str
    answer: Callable[[dict[str, Any]], Reply]
    #: Answers that come before those of `answer`.
    first: list[Reply] = field(default_factory=list[Reply])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(endpoint: Endpoint) -> Generator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.asked.append(body)
            endpoint.headers.append(dict(self.headers.items()) | {"path": self.path})
            reply = endpoint.first.pop(0) if endpoint.first else endpoint.answer(body)
            if reply.stall:
                endpoint.over.wait(30)
            if reply.stall or reply.hang_up:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
