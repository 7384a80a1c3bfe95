"""One request to a provider: bounded in time and size, its failures told apart.

What matters of a failure is whether the request may have been taken on: a paid start that was sent
and not answered must not simply be sent again. The key stands in no message.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import anyio

from aegis.errors import ConfigError
from aegis.redaction import redact
from aegis.research.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from datetime import datetime

    import httpx2

__all__ = ["Asking", "Endpoint"]

#: A report with everything that it rests on stays far below.
MAX_BYTES = 32 * 2**20
MAX_DEPTH = 100
_LONGEST_WAIT_S = 3_600.0
#: Answers that say that nothing was taken on.
_REFUSED_FOR_NOW = frozenset({409, 425, 429, 500, 503, 529})
#: Answers of somebody in between, who does not know.
_NOBODY_KNOWS = frozenset({408, 502, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a provider is asked, and with which headers."""

    name: str
    base: str
    headers: Mapping[str, str]
    #: The setting of the key, for messages.
    key_setting: str
    key: str | None

    def address(self, path: str) -> str:
        """Return the address of a path."""
        return self.base.rstrip("/") + "/" + path.lstrip("/")


class Asking:
    """The requests of one process to all providers."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._client: httpx2.AsyncClient | None = None
        self._max_bytes = max_bytes

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ask(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        timeout_s: float,
        exact: bool = False,
        now: datetime,
    ) -> dict[str, Any]:
        """Return the object that a provider answers with; `exact` reads fractions as decimals.

        Raises:
            Trouble: it does not, and `uncertain` says whether it may be working all the same.
            ConfigError: the key is refused.
        """
        paid = method == "POST"
        async with self.open(
            endpoint, method, path, body=body, timeout_s=timeout_s, now=now
        ) as chunks:
            answer = bytearray()
            async for chunk in chunks:
                answer += chunk
        return read_object(bytes(answer), endpoint.name, uncertain=paid, exact=exact)

    @asynccontextmanager
    async def open(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None,
        timeout_s: float,
        silence_s: float | None = None,
        now: datetime,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Lend the body of a good answer, to be read within `timeout_s` from the request on.

        A longer silence than `silence_s` counts as cut.
        """
        import httpx2

        if self._client is None:
            # Only what is asked for is asked: a redirect would take the key elsewhere.
            self._client = httpx2.AsyncClient(timeout=None, follow_redirects=False)
        paid = method == "POST"
        content = None if body is None else json.dumps(body, ensure_ascii=True).encode()
        headers = {"Content-Type": "application/json", **endpoint.headers}
        within = httpx2.Timeout(timeout_s, read=silence_s or timeout_s, connect=min(timeout_s, 30))
        try:
            with anyio.fail_after(timeout_s):
                async with self._client.stream(
                    method,
                    endpoint.address(path),
                    content=content,
                    headers=headers,
                    timeout=within,
                ) as reply:
                    if reply.status_code >= 300:
                        raise await self._refusal(endpoint, reply, paid=paid, now=now)
                    yield self._bounded(endpoint, reply, paid=paid)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise Trouble(
                f"{endpoint.name} cannot be reached at {_host(endpoint)} ({type(error).__name__})."
            ) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise Trouble(
                f"{endpoint.name} did not answer within {timeout_s:g} s.", uncertain=paid
            ) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise ConfigError(
                f"The address of {endpoint.name} is no web address; check its setting.",
                code="research_url",
            ) from None
        except httpx2.HTTPError as error:
            # Its text may quote a header, and so the key.
            raise Trouble(
                f"The connection to {endpoint.name} was cut ({type(error).__name__}).",
                uncertain=paid,
            ) from None

    async def _bounded(
        self, endpoint: Endpoint, reply: httpx2.Response, *, paid: bool
    ) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in reply.aiter_bytes():
            seen += len(chunk)
            if seen > self._max_bytes:
                raise Trouble(
                    f"{endpoint.name} answers with more than {self._max_bytes // 2**20} MiB.",
                    code="research_too_large",
                    retry=False,
                    uncertain=paid,
                )
            yield chunk

    async def _refusal(
        self, endpoint: Endpoint, reply: httpx2.Response, *, paid: bool, now: datetime
    ) -> Exception:
        status = reply.status_code
        text = b""
        async for chunk in reply.aiter_bytes():
            text += chunk
            if len(text) > 65_536:
                break
        why = _reason(text, endpoint.key)
        said = f"{endpoint.name} answers with HTTP {status}" + (f": {why}" if why else "") + "."
        if status in (401, 403):
            return ConfigError(
                f"{endpoint.name} refuses the key (HTTP {status}); check {endpoint.key_setting}.",
                code="research_key",
            )
        if status in _REFUSED_FOR_NOW or status in _NOBODY_KNOWS or status >= 500:
            wait = _retry_after(reply.headers.get("Retry-After"), now)
            known = status in _REFUSED_FOR_NOW
            return Trouble(said, uncertain=paid and not known, retry_after_s=wait)
        code = "research_gone" if status in (404, 410) else "research_refused"
        return Trouble(said, code=code, retry=False)


def read_object(
    body: bytes, name: str, *, uncertain: bool = False, exact: bool = False
) -> dict[str, Any]:
    """Return the JSON object in a body (`Trouble` where there is none)."""
    try:
        value = json.loads(body, parse_float=Decimal if exact else None)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or _too_deep(value):
        raise Trouble(f"{name} answers with something else than an object.", uncertain=uncertain)
    return cast("dict[str, Any]", value)


def _reason(body: bytes, key: str | None) -> str:
    try:
        value = json.loads(body)
        error = value.get("error", value.get("detail", value.get("message", "")))
        text = error.get("message", "") if isinstance(error, dict) else error  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    except (ValueError, RecursionError, AttributeError):
        text = ""
    if not isinstance(text, str):
        return ""
    if key:
        # Before it is cut: a cut key would no longer be recognised.
        text = text.replace(key, "…")
    return " ".join(redact(text[:2_000]).split())[:200].rstrip(".")


def _retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that an answer asks to wait: a number, or a date."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S) if seconds == seconds else None


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                below += cast("dict[str, Any]", part).values()
            elif isinstance(part, list):
                below += cast("list[Any]", part)
        if not below:
            return False
        level = below
    return True


def _host(endpoint: Endpoint) -> str:
    try:
        parts = urlsplit(endpoint.base)
        host = parts.hostname or ""
        return f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return "its address"
