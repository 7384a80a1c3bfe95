"""Requests to addresses that somebody else chose: a workflow's, a page's, a redirect's.

Only http and https, and no address that is private, loopback, link-local or otherwise not of the
public internet, unless `AEGIS_OUTBOUND_ALLOW` names it. The name is resolved once, every answer is
checked, and the connection goes to a checked address: what a second look-up says does not matter.
`Host` and SNI stay the name's. Proxies of the environment are not used, as they would resolve for
themselves. Import it where it is needed only: it loads the HTTP client.
"""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import httpcore2
import httpx2

from aegis.addresses import Allowed, is_metadata, may_reach, plain_host
from aegis.errors import InvalidInput, LimitExceeded, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from aegis.config import Settings

__all__ = [
    "Allowed",
    "GuardedTransport",
    "check_url",
    "checked_addresses",
    "guarded_client",
    "may_reach",
    "read_body",
]

#: Takes name and port, returns addresses as text.
Resolver: TypeAlias = "Callable[[str, int], Awaitable[Sequence[str]]]"

#: Addresses of one name that are tried; more answers are checked, not tried.
_TRIED = 8
#: What `read_body` can undo with a limit on what comes out.
_ENCODINGS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 47}


def check_url(url: str) -> httpx2.URL:
    """Return `url` taken apart, if it is a web address; its host is checked on connecting.

    Raises:
        InvalidInput: scheme, host or port is none of the web's, or it names a user.
    """
    try:
        parts = httpx2.URL(url)
        host = parts.host
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise _no_url(url, "is no address") from None
    if parts.scheme not in ("http", "https"):
        raise _no_url(url, f"has scheme {parts.scheme[:20]!r}")
    if not host:
        raise _no_url(url, "names no host")
    if parts.port is not None and not 0 < parts.port < 65_536:
        raise _no_url(url, f"has port {parts.port}")
    if parts.userinfo:
        raise InvalidInput(
            f"A URL at {host} carries a user or password; send them in a header.",
            code="outbound_url",
        )
    return parts


async def checked_addresses(
    host: str,
    port: int,
    allowed: Allowed | None = None,
    *,
    resolve: Resolver | None = None,
) -> Sequence[str]:
    """Resolve a name once and return its addresses, all of which may be reached.

    One that may not refuses the name: whoever controls the answers would choose otherwise.

    Raises:
        PermissionDenied: an answer is no public address (`outbound_refused`).
        Unavailable: the name does not resolve (`outbound_name`).
    """
    allowed = allowed or Allowed()
    addresses = await (resolve or _resolve)(host, port)
    if not addresses:
        raise Unavailable(
            f"{host} does not resolve; check the name, or try again.", code="outbound_name"
        )
    if plain_host(host) in allowed.hosts:
        refused = [a for a in addresses if is_metadata(a)]
    else:
        refused = [a for a in addresses if not may_reach(a, allowed)]
    if refused:
        where = host if host == refused[0] else f"{host} ({refused[0]})"
        raise PermissionDenied(
            f"{where} is no address of the public internet; an operator can allow it with "
            "AEGIS_OUTBOUND_ALLOW.",
            code="outbound_refused",
        )
    return addresses


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Transport that connects to checked addresses only."""

    def __init__(
        self,
        allowed: Allowed | None = None,
        *,
        resolve: Resolver | None = None,
        verify: Any = True,
        limits: httpx2.Limits | None = None,
    ) -> None:
        limits = limits or httpx2.Limits(max_connections=100, max_keepalive_connections=20)
        context = _tls() if verify is True else verify
        super().__init__(verify=context, trust_env=False, limits=limits)
        # The library's transport has no argument for what opens its connections.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(verify=context, trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Guarded(allowed or Allowed(), resolve),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, and each that a redirect leads to."""
        check_url(str(request.url))
        return await super().handle_async_request(request)


def guarded_client(
    settings: Settings,
    *,
    timeout_s: float = 30.0,
    follow_redirects: bool = False,
    max_redirects: int = 5,
    headers: Mapping[str, str] | None = None,
    limits: httpx2.Limits | None = None,
    resolve: Resolver | None = None,
    verify: Any = True,
) -> httpx2.AsyncClient:
    """Return a client whose every connection, redirects included, is checked; close it.

    `timeout_s` is for each wait, not for the whole answer. Read bodies with `read_body`. It keeps
    no cookies of its own accord between hosts, and reads no proxy or netrc of the environment.
    """
    return httpx2.AsyncClient(
        transport=GuardedTransport(
            Allowed.parse(settings.outbound_allow), resolve=resolve, verify=verify, limits=limits
        ),
        timeout=timeout_s,
        follow_redirects=follow_redirects,
        max_redirects=max_redirects,
        headers={"Accept-Encoding": "gzip, deflate", "User-Agent": "Aegis", **(headers or {})},
        trust_env=False,
    )


async def read_body(response: httpx2.Response, max_bytes: int) -> bytes:
    """Read a streamed response to its end, decompressed, and never hold more than `max_bytes`.

    Raises:
        LimitExceeded: it is longer, packed or unpacked (`outbound_size`).
        Unavailable: it is packed in a way that was not asked for, or is cut (`outbound_body`).
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        unpack = None
    elif encoding in _ENCODINGS:
        unpack = _Unpack(encoding)
    else:
        raise Unavailable(
            f"{response.url.host} answers in encoding {encoding[:40]!r}, which was not asked for.",
            code="outbound_body",
        )
    body = bytearray()
    taken = 0
    async for part in response.aiter_raw():
        taken += len(part)
        if unpack is None:
            body += part
        else:
            body += unpack.more(part, max_bytes - len(body) + 1, response.url.host)
        if taken > max_bytes or len(body) > max_bytes:
            raise LimitExceeded(
                f"{response.url.host} answers with more than {max_bytes:,} bytes; raise the limit "
                "or ask for less.",
                code="outbound_size",
            )
    if unpack is not None and taken and not unpack.done:
        raise Unavailable(
            f"{response.url.host} sent a cut {encoding} body; try again.", code="outbound_body"
        )
    return bytes(body)


class _Unpack:
    """Undoes gzip or deflate, a bounded piece at a time."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflate = zlib.decompressobj(_ENCODINGS[encoding])
        self._first = True

    @property
    def done(self) -> bool:
        return self._inflate.eof

    def more(self, part: bytes, most: int, host: str) -> bytes:
        try:
            out = self._try(part, most)
        except zlib.error:
            raise Unavailable(
                f"{host} sent a broken {self._encoding} body; try again.", code="outbound_body"
            ) from None
        self._first = False
        return out

    def _try(self, part: bytes, most: int) -> bytes:
        # `most` cuts the output; who asks sees that it is too long and stops.
        try:
            return self._inflate.decompress(part, most)
        except zlib.error:
            if not self._first or self._encoding != "deflate":
                raise
            # Some servers send deflate without zlib's two bytes in front.
            self._inflate = zlib.decompressobj(-15)
            return self._inflate.decompress(part, most)


class _Guarded(httpcore2.AsyncNetworkBackend):
    """Opens connections to checked addresses; the pool above it speaks HTTP and TLS."""

    def __init__(self, allowed: Allowed, resolve: Resolver | None) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._network: Any = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        deadline = anyio.current_time() + (float("inf") if timeout is None else timeout)
        try:
            with anyio.fail_after(timeout):
                addresses = await checked_addresses(
                    host, port, self._allowed, resolve=self._resolve
                )
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"{host} does not resolve in time") from None
        trouble: Exception | None = None
        for address in addresses[:_TRIED]:
            left = deadline - anyio.current_time()
            if left <= 0:
                break
            try:
                return await self._network.connect_tcp(
                    address,
                    port,
                    timeout=None if left == float("inf") else left,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                trouble = error
        raise trouble or httpcore2.ConnectTimeout(f"{host} cannot be connected to in time")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@functools.cache
def _tls() -> Any:
    """Return the context of every client: reading the authorities takes 20 ms."""
    return httpx2.create_ssl_context(trust_env=False)


async def _resolve(host: str, port: int) -> Sequence[str]:
    import socket

    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _no_url(url: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"URL {url[:200]!r} {what}; use one such as https://example.com/.", code="outbound_url"
    )
