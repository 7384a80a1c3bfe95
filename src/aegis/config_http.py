"""Settings of the HTTP face; `Settings` in `config.py` takes them in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aegis.config_fields import setting

__all__ = ["HttpSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Who may ask how much, how long it may take, and over what (docs/explanation/http-face.md)."""

    tls_certificate: Path | None = setting(
        "File with the certificate, and those that signed it, that `aegis up` speaks TLS with; it "
        "may hold the key, too.",
        default=None,
    )
    tls_key: Path | None = setting("File with its private key, without a password.", default=None)
    http_hsts_s: int = setting(
        "Seconds for which browsers are told to use TLS alone (Strict-Transport-Security), said "
        "where TLS was spoken; 0 for never.",
        default=0,
    )
    http_trusted_proxies: str | None = setting(
        "Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, after "
        "commas: `10.0.0.0/24,127.0.0.1`.",
        default=None,
    )
    http_cors_origins: str | None = setting(
        "Origins whose pages may read answers, after commas: `https://app.example.com`; none "
        "otherwise.",
        default=None,
    )
    http_rate_per_s: float = setting(
        "Requests a second that one address (an IPv6 network of 64 bits) may send to one process, "
        "before its key is looked at; 0 for no limit.",
        default=50.0,
    )
    http_rate_burst: int = setting("Requests that it may send at once.", default=200)
    http_failures_per_minute: int = setting(
        "Requests a minute, and at once, that one address may send with a key or token that is not "
        "known; 0 for no limit.",
        default=20,
    )
    http_limit_loopback: Literal["off", "on"] = setting(
        "Whether these limits hold for this machine itself, too.", default="off"
    )
    http_max_connections: int = setting("Connections at once at most.", default=512)
    http_max_connections_per_client: int = setting(
        "Of these, from one address that is neither a trusted proxy nor this machine.", default=128
    )
    http_max_requests: int = setting("Requests that are worked on at once at most.", default=128)
    http_max_streams: int = setting("Streams that are sent at once at most.", default=64)
    http_header_timeout_s: float = setting(
        "Seconds that a client has for the head of a request, and for the handshake of TLS.",
        default=10.0,
    )
    http_body_timeout_s: float = setting(
        "Seconds that it has for the body, and one more for each 32 KiB that came.", default=30.0
    )
    http_request_timeout_s: float = setting(
        "Seconds until a request is given up; long work and streams go on.", default=60.0
    )
    http_keep_alive_s: float = setting(
        "Seconds after which a connection that asks nothing more is closed.", default=15.0
    )
