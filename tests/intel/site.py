"""A website on 127.0.0.1 that answers as a test wants, and counts what it was asked."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

__all__ = ["Reply", "Site", "serve"]


@dataclass
class Reply:
    """One answer."""

    body: bytes | str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: Cut the connection after so many bytes of the body.
    cut_after: int | None = None

    @property
    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else self.body


@dataclass
class Site:
    """What is served: a text or a `Reply` by path, or a function of the request's headers."""

    url: str = ""
    pages: dict[str, str | Reply | Callable[[Mapping[str, str]], str | Reply]] = field(
        default_factory=dict
    )
    asked: Counter[str] = field(default_factory=Counter)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, headers: Mapping[str, str]) -> Reply:
        self.asked[path] += 1
        self.seen.append((path, {name.lower(): value for name, value in headers.items()}))
        found = self.pages.get(path)
        if found is None:
            return Reply("<h1>Not found</h1>", status=404)
        if callable(found):
            found = found(headers)
        return Reply(found) if isinstance(found, str) else found


@contextmanager
def serve(site: Site | None = None) -> Generator[Site]:
    """Serve a site until the block ends."""
    served = site or Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            reply = served.answer(self.path, dict(self.headers.items()))
            body = reply.content
            self.send_response(reply.status)
            names = {name.lower() for name in reply.headers}
            if "content-type" not in names:
                self.send_header("Content-Type", "text/html; charset=utf-8")
            if "content-length" not in names and reply.status != 304:
                self.send_header("Content-Length", str(len(body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.cut_after is not None:
                self.wfile.write(body[: reply.cut_after])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
            elif reply.status != 304:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
