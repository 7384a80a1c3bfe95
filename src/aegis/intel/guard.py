"""The network as a stranger's address may use it: public addresses alone, checked as connected to."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import anyio
import httpcore2
import httpx2

from aegis.errors import PermissionDenied, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_host", "open_transport"]


def open_transport(*, allow_private: bool) -> httpx2.AsyncHTTPTransport:
    """Return a transport that connects to public addresses only, unless told otherwise."""
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=15)
    transport = httpx2.AsyncHTTPTransport(trust_env=False, limits=limits)
    pool: Any = transport._pool  # pyright: ignore[reportPrivateUsage]
    pool._network_backend = _Backend(pool._network_backend, allow_private)
    return transport


async def check_host(host: str, port: int, *, allow_private: bool) -> str:
    """Return an address of `host` to connect to; every one it has must be public.

    Raises:
        PermissionDenied: one is not.
        Unavailable: the name has no address.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(f"{host} has no address.", code="intel_unreachable") from None
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if not allow_private and not ipaddress.ip_address(address.split("%")[0]).is_global:
            raise PermissionDenied(
                f"{host} is {address}, which is not a public address.", code="outbound_private"
            )
    return addresses[0]


class _Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, inner: httpcore2.AsyncNetworkBackend, allow_private: bool) -> None:
        self._inner = inner
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        address = await check_host(host, port, allow_private=self._allow_private)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
