"""Asking websites over HTTP: politely, within limits, and public addresses only.

Every request, of a redirect and of robots.txt too, waits for the host's turn, which is kept in the
database: all workers together ask a host no faster than one may. No transaction is open meanwhile.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

import anyio
import httpx2

from aegis.errors import InvalidInput, LimitExceeded, Unavailable
from aegis.intel.decoding import decode
from aegis.intel.store import hosts
from aegis.intel.urls import clean, host_of
from aegis.outbound import guarded_client, read_body

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

__all__ = ["MOST_REDIRECTS", "Answer", "Fetcher", "is_redirect"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 5
#: A turn that comes later than this is not waited for; the page is tried again then.
_LONGEST_WAIT_S = 60.0
#: How long a host that says "too many" is left alone: at least, without its own word, at most.
_LEAST_PAUSE_S, _USUAL_PAUSE_S, _MOST_PAUSE_S = 1.0, 60.0, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a website answered in the end."""

    #: After redirects.
    url: str
    status: int
    body: bytes
    content_type: str
    charset: str | None
    etag: str | None
    last_modified: str | None
    #: Seconds that the host wants to be left alone.
    retry_after_s: float | None

    @property
    def text(self) -> str:
        """Return the body as text."""
        return decode(self.body, self.charset)


class Fetcher:
    """Asks over HTTP for whoever watches; open it with `async with`."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(
        self,
        url: str,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        delay_s: float | None = None,
        most_bytes: int | None = None,
    ) -> Answer:
        """Return the answer to a GET of one address; a redirect is an answer, too.

        Raises:
            Unavailable: nothing usable came in time.
            PermissionDenied: the host is not a public one.
            LimitExceeded: it is too large, or the host's turn is too far away.
        """
        await self._take_turn(host_of(url), delay_s)
        headers: dict[str, str] = {}
        if etag is not None:
            headers["If-None-Match"] = etag
        if last_modified is not None:
            headers["If-Modified-Since"] = last_modified
        try:
            with anyio.fail_after(self._settings.intel_timeout_s):
                answer = await self._request(url, headers, most_bytes)
        except TimeoutError:
            raise Unavailable(
                f"{host_of(url)} did not answer within {self._settings.intel_timeout_s:g} s.",
                code="intel_timeout",
            ) from None
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"{host_of(url)} cannot be reached ({type(error).__name__}).",
                code="intel_unreachable",
            ) from None
        except (httpx2.InvalidURL, ValueError):
            raise InvalidInput(f"{url[:80]!r} cannot be asked for.") from None
        if answer.retry_after_s is not None:
            async with self._db.transaction() as conn:
                await hosts.delay_host(conn, host_of(url), seconds=answer.retry_after_s)
        return answer

    def redirected(self, url: str, location: str) -> str:
        """Return where a redirect leads (`Unavailable`)."""
        try:
            return clean(urljoin(url, location))
        except (InvalidInput, ValueError):
            raise Unavailable(
                f"{host_of(url)} redirects to {location[:80]!r}, which is no web address.",
                code="intel_redirect",
            ) from None

    async def _take_turn(self, host: str, delay_s: float | None) -> None:
        delay = self._settings.intel_delay_s if delay_s is None else delay_s
        if delay <= 0:
            return
        async with self._db.transaction() as conn:
            wait_s = await hosts.reserve(conn, host, delay_s=delay)
        if wait_s > _LONGEST_WAIT_S:
            raise LimitExceeded(
                f"{host} is not asked for another {wait_s:.0f} s.", code="intel_busy"
            )
        await anyio.sleep(wait_s)

    async def _request(self, url: str, headers: dict[str, str], most_bytes: int | None) -> Answer:
        client = self._opened()
        async with client.stream("GET", url, headers=headers) as reply:
            status = reply.status_code
            body = b""
            if status not in _REDIRECTS and status != 304:
                body = await read_body(reply, most_bytes or self._settings.intel_max_bytes)
            location = reply.headers.get("location", "") if status in _REDIRECTS else ""
            return Answer(
                url=self.redirected(url, location) if location else url,
                status=status,
                body=body,
                content_type=reply.headers.get("content-type", "").split(";")[0].strip().lower(),
                charset=reply.charset_encoding,
                etag=_header(reply, "etag"),
                last_modified=_header(reply, "last-modified"),
                retry_after_s=_pause(reply) if status in (429, 503) else None,
            )

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = guarded_client(
                self._settings,
                # The deadline of a request is the only time-out.
                timeout_s=self._settings.intel_timeout_s,
                headers={
                    "User-Agent": self._settings.intel_user_agent,
                    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.5",
                },
            )
            # What one page sets is not told to another.
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return self._client


def is_redirect(answer: Answer) -> bool:
    """Return whether an answer sends elsewhere."""
    return answer.status in _REDIRECTS


def _header(reply: httpx2.Response, name: str) -> str | None:
    value = reply.headers.get(name)
    # It is sent back later: what cannot be sent is not kept.
    return (
        value if value and len(value) <= 500 and value.isascii() and value.isprintable() else None
    )


def _pause(reply: httpx2.Response) -> float:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    text = reply.headers.get("retry-after", "").strip()
    seconds = _USUAL_PAUSE_S
    if text.isdecimal() and len(text) < 10:
        seconds = float(text)
    elif text:
        try:
            until = parsedate_to_datetime(text)
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            seconds = (until - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            seconds = _USUAL_PAUSE_S
    # Not all pages of a host come back in the same second.
    return min(max(seconds, _LEAST_PAUSE_S), _MOST_PAUSE_S) * random.uniform(1.0, 1.1)  # noqa: S311
