"""Headers that every answer has, whoever makes it, and what pages of other origins may read.

Whatever an answer says itself stays: an invoice as a page brings its own policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.types import Scope

    from aegis.config import Settings

__all__ = ["SAFE", "Safety"]

#: Nothing is to be run, framed, guessed, kept or told on.
SAFE: Final[Sequence[tuple[bytes, bytes]]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
_ASKED: Final = b"Authorization, Content-Type, X-API-Key, X-Request-Id, Last-Event-ID"
_SHOWN: Final = b"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"


class Safety:
    """The headers of one server's answers."""

    def __init__(self, settings: Settings) -> None:
        self._hsts = (
            ((b"strict-transport-security", b"max-age=%d" % settings.http_hsts_s),)
            if settings.http_hsts_s
            else ()
        )
        origins = (settings.http_cors_origins or "").split(",")
        self._origins = frozenset(o.strip().rstrip("/").encode() for o in origins if o.strip())

    def headers(self, scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
        """Return what is said beside the answer to a request."""
        found = [*SAFE, (b"x-request-id", request_id.encode())]
        if self._hsts and scope.get("scheme") == "https":
            found += self._hsts
        if self._origins:
            # Answers differ by who asks, whoever that is.
            found.append((b"vary", b"Origin"))
            origin = self._origin(scope)
            if origin is not None:
                # A page of another origin may read it, so the browser must not keep it back.
                found = [pair for pair in found if pair[0] != b"cross-origin-resource-policy"]
                found += [
                    (b"cross-origin-resource-policy", b"cross-origin"),
                    (b"access-control-allow-origin", origin),
                    (b"access-control-expose-headers", _SHOWN),
                ]
        return found

    def preflight(self, scope: Scope) -> list[tuple[bytes, bytes]] | None:
        """Return what a browser is told that asks beforehand; None where it is not allowed."""
        if scope["method"] != "OPTIONS" or not self._origins or self._origin(scope) is None:
            return None
        if not any(name == b"access-control-request-method" for name, _ in scope["headers"]):
            return None
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", b"600"),
        ]

    def _origin(self, scope: Scope) -> bytes | None:
        return _known(scope["headers"], self._origins)


def _known(headers: Iterable[tuple[bytes, bytes]], origins: frozenset[bytes]) -> bytes | None:
    for name, value in headers:
        if name == b"origin":
            return value if value in origins else None
    return None
