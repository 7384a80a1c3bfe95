"""Prometheus: text that a target exposes, or what a Prometheus server has scraped already."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from aegis.errors import ConfigError
from aegis.metrics.collect.exposition import NAMES, Series, parse_text, readings_of
from aegis.metrics.collect.reading import Round

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx2

__all__ = ["Prometheus", "series_of"]

_TIMEOUT_S: Final = 15.0
_MOST_BYTES: Final = 64_000_000
_QUERY: Final = f'{{__name__=~"{"|".join(NAMES)}"}}'


class Prometheus:
    """One address: with a path it is a target's text, without one it is a server.

    One of several (`alone=False`) says which one its problems are of.
    """

    name = "prometheus"

    def __init__(self, url: str, *, alone: bool = True) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("AEGIS_METRICS_PROMETHEUS is no http:// or https:// address.")
        self._url = url
        self._server = parts.path in ("", "/") and not parts.query
        self._target = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
        self._about = "prometheus" if alone else f"prometheus {self._target}"
        self._client: httpx2.AsyncClient | None = None

    async def read(self) -> Round:
        """Scrape the target, or ask the server for the newest values."""
        at = time.time()
        body, trouble = await self._get()
        if body is None:
            return Round(at=at, readings=[], problems={self._about: trouble or "sent nothing"})
        try:
            series: Iterable[Series]
            if self._server:
                series = series_of(json.loads(body))
            else:
                series = parse_text(body.decode("utf-8", "replace"))
            readings = readings_of(series, target=self._target)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            why = f"sent what it should not ({type(error).__name__})"
            return Round(at=at, readings=[], problems={self._about: why})
        problems = {} if readings else {self._about: "has no series of containers or machines"}
        return Round(at=at, readings=readings, problems=problems)

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _get(self) -> tuple[bytes | None, str | None]:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(_TIMEOUT_S))
        url, parameters = self._url, None
        if self._server:
            url, parameters = f"{self._url.rstrip('/')}/api/v1/query", {"query": _QUERY}
        read = bytearray()
        try:
            async with self._client.stream("GET", url, params=parameters) as reply:
                async for chunk in reply.aiter_bytes():
                    read += chunk
                    if len(read) > _MOST_BYTES:
                        return None, f"sends more than {_MOST_BYTES:,} bytes"
                if reply.status_code != 200:
                    return None, f"answers with HTTP {reply.status_code}"
        except (httpx2.RequestError, httpx2.StreamError) as error:
            # The error's text may quote the address, and so a password in it.
            return None, f"{self._target} cannot be reached ({type(error).__name__})"
        return bytes(read), None


def series_of(answer: Any) -> list[Series]:
    """Return the series of an answer of `/api/v1/query` (`ValueError`, `KeyError`, `TypeError`)."""
    if not isinstance(answer, dict) or cast("dict[str, Any]", answer).get("status") != "success":
        raise ValueError("no answer to a query")
    found: list[Series] = []
    for one in cast("dict[str, Any]", answer)["data"]["result"]:
        labels = {str(name): str(value) for name, value in one["metric"].items()}
        name = labels.pop("__name__", "")
        found.append(Series(name, labels, float(one["value"][1])))
    return found
