"""Docker's statistics, over its Unix socket or TCP, computed as `docker stats` does.

`one-shot` makes the daemon answer at once, without the sample before: that is kept here, by id.
Formulas: docker/cli, cli/command/container/stats_helpers.go.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.metrics.collect.reading import Reading, Round

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

__all__ = ["Docker", "read_start", "read_stats"]

_TIMEOUT_S: Final = 8.0
_AT_ONCE: Final = 8
_MOST_BYTES: Final = 8_000_000
_MOST_CONTAINERS: Final = 2_000


class Docker:
    """The containers that run on one Docker. `address` is a socket's path or a URL."""

    name = "docker"

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: httpx2.AsyncClient | None = None
        #: When containers started and how often they were restarted, by id.
        self._starts: dict[str, tuple[float, int]] = {}
        self._read_at = -math.inf

    async def read(self) -> Round:
        """Ask for the list of containers, and for each one's figures."""
        at = time.time()
        listed, trouble = await self._get("/containers/json")
        if not isinstance(listed, list):
            return Round(at=at, readings=[], problems={"docker": trouble or "sent no list"})
        rows = [
            cast("dict[str, Any]", row)
            for row in cast("list[Any]", listed)[:_MOST_CONTAINERS]
            if isinstance(row, dict)
        ]
        gate = asyncio.Semaphore(_AT_ONCE)
        if time.monotonic() - self._read_at > _SETTLED_S:
            self._starts.clear()

        async def one(row: dict[str, Any]) -> tuple[str, Reading | None, str | None]:
            async with gate:
                return await self._stats(row)

        found = await asyncio.gather(*(one(row) for row in rows))
        problems = {f"docker {name}": why for name, _, why in found if why is not None}
        readings = [reading for _, reading, _ in found if reading is not None]
        ids = {str(row.get("Id", "")) for row in rows}
        self._starts = {key: known for key, known in self._starts.items() if key in ids}
        self._read_at = time.monotonic()
        return Round(at=at, readings=readings, problems=problems)

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _stats(self, row: Mapping[str, Any]) -> tuple[str, Reading | None, str | None]:
        key = str(row.get("Id", ""))
        name = _name(row, key)
        if not key.isalnum():
            return name, None, "has no id"
        stats, trouble = await self._get(f"/containers/{key}/stats?stream=false&one-shot=true")
        if trouble == _GONE:
            # It ended between the list and this question.
            return name, None, None
        if not isinstance(stats, dict):
            return name, None, trouble or "sent no figures"
        try:
            reading = read_stats(name, key, cast("dict[str, Any]", stats))
            started_at, restarts = await self._start(row, key)
            return name, replace(reading, started_at=started_at, restarts=restarts), None
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            return name, None, f"sent figures of an unknown shape ({type(error).__name__})"

    async def _start(self, row: Mapping[str, Any], key: str) -> tuple[float | None, int | None]:
        """Return when a container started and its restarts; asked only where they may be new."""
        known = self._starts.get(key)
        if known is not None and _SETTLED.match(str(row.get("Status", ""))):
            return known
        said, _ = await self._get(f"/containers/{key}/json")
        found = read_start(said)
        if found is None:
            # As it was: what cannot be told is no start.
            return known or (None, None)
        self._starts[key] = found
        return found

    async def _get(self, path: str) -> tuple[Any, str | None]:
        import httpx2

        if self._client is None:
            self._client = _open(self._address)
        body = bytearray()
        try:
            async with self._client.stream("GET", path) as reply:
                async for chunk in reply.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        return None, f"sends more than {_MOST_BYTES:,} bytes"
                if reply.status_code == 404:
                    return None, _GONE
                if reply.status_code != 200:
                    return None, f"answers with HTTP {reply.status_code}"
            return json.loads(bytes(body)), None
        except (httpx2.RequestError, httpx2.StreamError) as error:
            return None, _why(self._address, error)
        except (ValueError, RecursionError):
            return None, "sends no JSON"


_GONE: Final = "is gone"
#: `docker ps` says since when in words. These are for more than a minute: it is the start that was
#: seen then, if the last round was less than a minute ago.
_SETTLED: Final = re.compile(r"Up (?:About an hour|\d+ (?:minutes|hours|days|weeks|months|years))")
_SETTLED_S: Final = 60.0
#: Docker's nanoseconds, cut to what is understood.
_NANOSECONDS: Final = re.compile(r"(\.\d{1,6})\d*")


def _open(address: str) -> httpx2.AsyncClient:
    import httpx2

    timeout = httpx2.Timeout(_TIMEOUT_S)
    if "://" in address:
        base = address.replace("tcp://", "http://", 1).rstrip("/")
        return httpx2.AsyncClient(base_url=base, timeout=timeout)
    transport = httpx2.AsyncHTTPTransport(uds=address)
    # The name is not looked up; a daemon wants a Host header that is one.
    return httpx2.AsyncClient(transport=transport, base_url="http://docker", timeout=timeout)


def _why(address: str, error: Exception) -> str:
    text = str(error)
    if "://" not in address:
        from pathlib import Path

        if "ermission" in text:
            return f"{address} may not be read; add this user to the group docker"
        if not Path(address).exists():
            return f"there is no {address}; is Docker running? AEGIS_METRICS_DOCKER names another"
    return f"cannot be reached ({type(error).__name__})"


def _name(row: Mapping[str, Any], key: str) -> str:
    names: Any = row.get("Names")
    if isinstance(names, list) and names:
        # Of links there may be several, such as /db and /web/db: the own one has one slash.
        texts = sorted((str(name) for name in cast("list[Any]", names)), key=lambda n: n.count("/"))
        return texts[0].lstrip("/") or key[:12]
    return key[:12]


def read_stats(name: str, key: str, stats: Mapping[str, Any]) -> Reading:
    """Return what one answer of `/containers/{id}/stats` says, of old and new daemons."""
    cpu_s, clock_s = _cpu(stats.get("cpu_stats") or {})
    memory, limit = _memory(stats.get("memory_stats") or {})
    return Reading(
        name=name,
        key=key,
        cpu_s=cpu_s,
        clock_s=clock_s,
        mem_bytes=memory,
        mem_limit_bytes=limit,
        net_bytes=_network(stats.get("networks")),
        block_bytes=_block(stats.get("blkio_stats") or {}),
    )


def read_start(said: Any) -> tuple[float, int] | None:
    """Return Unix seconds of the start and restarts, of an answer of `/containers/{id}/json`."""
    try:
        text = _NANOSECONDS.sub(r"\1", str(said["State"]["StartedAt"]))
        at = datetime.fromisoformat(text)
        restarts = int(said.get("RestartCount") or 0)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    # The year 1 is how Docker says never.
    if at.year < 2000 or at.tzinfo is None:
        return None
    return at.astimezone(UTC).timestamp(), restarts


def _cpu(cpu: Mapping[str, Any]) -> tuple[float | None, float | None]:
    usage: Any = cpu.get("cpu_usage") or {}
    used, system = usage.get("total_usage"), cpu.get("system_cpu_usage")
    # (used / system) * processors * 100, so the clock is the system's time a processor.
    count = cpu.get("online_cpus") or len(usage.get("percpu_usage") or ())
    if not used or not system or not count:
        return None, None
    return float(used) / 1e9, float(system) / 1e9 / float(count)


def _memory(memory: Mapping[str, Any]) -> tuple[float | None, float | None]:
    usage = memory.get("usage")
    # Without memory accounting, daemons say 0, or nothing: nobody runs on no memory.
    if not usage:
        return None, None
    details: Any = memory.get("stats") or {}
    cache = details.get("total_inactive_file")
    if cache is None or not cache < usage:
        cache = details.get("inactive_file")
    used = float(usage) - float(cache) if cache is not None and cache < usage else float(usage)
    limit = memory.get("limit")
    return used, float(limit) if limit else None


def _network(networks: Any) -> float | None:
    # A container with the host's network has none of its own.
    if not isinstance(networks, dict):
        return None
    each = cast("dict[str, dict[str, Any]]", networks).values()
    return float(sum(one.get("rx_bytes", 0) + one.get("tx_bytes", 0) for one in each))


def _block(block: Mapping[str, Any]) -> float | None:
    rows: Any = block.get("io_service_bytes_recursive")
    if not isinstance(rows, list):
        return None
    return float(
        sum(
            row.get("value", 0)
            for row in cast("list[dict[str, Any]]", rows)
            if str(row.get("op", ""))[:1] in "rRwW" and row.get("op")
        )
    )
