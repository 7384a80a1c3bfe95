"""The socket to serve on, taken before anything is started: a taken port costs nothing."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

from aegis.errors import ConfigError, OpsError
from aegis.wire.presence import find_presence

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["is_loopback", "listen", "url_of"]


def listen(settings: Settings) -> socket.socket:
    """Return a listening socket at `api_host` and `api_port`; port 0 takes a free one.

    Raises:
        OpsError: the port is taken; says by whom where that is known.
        ConfigError: the address is none of this machine's, or the port needs privileges.
    """
    host, port = settings.api_host, settings.api_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            f"AEGIS_API_HOST is {host!r}, which is no address: {error}. Use 127.0.0.1.",
            code="api_host_invalid",
        ) from error
    try:
        # A port whose last owner has just ended may be taken again at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise _refused(settings, error) from error
    sock.setblocking(False)
    return sock


def url_of(sock: socket.socket, *, tls: bool = False) -> str:
    """Return the address that `sock` listens on, as a URL that a program here can reach."""
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if sock.family is socket.AF_INET else "::1"
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_loopback(sock: socket.socket) -> bool:
    """Tell whether only this machine can reach `sock`."""
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


def _refused(settings: Settings, error: OSError) -> Exception:
    host, port = settings.api_host, settings.api_port
    if error.errno == errno.EADDRINUSE:
        other = find_presence(settings.data_dir)
        if other is not None and other.url.endswith(f":{port}"):
            return OpsError(
                f"Port {port} is taken: Aegis serves this data folder there already (process "
                f"{other.pid}). Use it, stop it, or choose another with --port.",
                code="port_taken",
            )
        return OpsError(
            f"Port {port} on {host} is taken by another program (`ss -ltnp sport = :{port}` or "
            f"`lsof -i :{port}` names it). Stop it, or choose another with --port.",
            code="port_taken",
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            f"Port {port} needs privileges; choose one above 1023 with --port.",
            code="api_port_forbidden",
        )
    return ConfigError(
        f"Aegis cannot listen on {host}:{port}: {error.strerror}. Correct AEGIS_API_HOST.",
        code="api_host_invalid",
    )
