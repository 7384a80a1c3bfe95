"""Which source is read: the one that the settings name, or the best that is there."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError, InvalidInput
from aegis.metrics.collect.cgroup import Cgroup
from aegis.metrics.collect.docker import Docker
from aegis.metrics.collect.machine import Machine, Process
from aegis.metrics.collect.prometheus import Prometheus
from aegis.metrics.collect.reading import Round

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings
    from aegis.metrics.collect.reading import Source

__all__ = ["SOURCES", "Auto", "open_source"]

_log = logging.getLogger("aegis.metrics")

#: Seconds between looks for a Docker that is not there.
_LOOK_S: Final = 60.0
#: Docker that has not answered for so long, and whose socket is gone, was stopped on purpose.
_STOPPED_S: Final = 600.0
SOURCES: Final = ("auto", "docker", "cgroup", "prometheus", "process")


async def open_source(name: str, settings: Settings) -> Source:
    """Return a source; `auto` is Docker and the machine, or control groups, or ourselves.

    Which of them is there is looked at again while it is read.

    Raises:
        InvalidInput: there is no such source.
        ConfigError: the address of Prometheus is missing or is none.
    """
    match name:
        case "docker":
            return Docker(settings.metrics_docker)
        case "cgroup":
            return Cgroup()
        case "prometheus":
            return _prometheus(settings.metrics_prometheus)
        case "process":
            return Process()
        case "auto":
            if settings.metrics_prometheus is not None:
                return _prometheus(settings.metrics_prometheus)
            auto = Auto(settings)
            await auto.choose()
            return auto
        case _:
            raise InvalidInput(f"source is {name[:40]!r}; use one of {', '.join(SOURCES)}.")


class Together:
    """Sources that are read at once and make one round; it is named after the first."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self.name = sources[0].name

    async def read(self) -> Round:
        """Read all of them."""
        rounds = await asyncio.gather(*(source.read() for source in self._sources))
        return Round(
            at=rounds[0].at,
            readings=[reading for one in rounds for reading in one.readings],
            problems={what: why for one in rounds for what, why in one.problems.items()},
        )

    async def aclose(self) -> None:
        """Close all of them."""
        for source in self._sources:
            await source.aclose()


class Auto:
    """Docker while it is there, else what the machine itself says; looked for again and again.

    Docker that does not answer is waited for: its containers are missed, and that is told. Only
    where its socket was taken away for a while was it stopped on purpose, and the services of the
    machine are measured in its place until it is back.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = settings.metrics_docker
        self._clock = clock
        self._source: Source | None = None
        self._docker = False
        self._looked_at = -math.inf
        #: Since when Docker has not answered.
        self._gone_at: float | None = None

    @property
    def name(self) -> str:
        """Of the source that is read now."""
        return "auto" if self._source is None else self._source.name

    async def read(self) -> Round:
        """Read the best source that is there."""
        source = await self.choose()
        found = await source.read()
        if self._docker and "docker" in found.problems:
            if self._gone_at is None:
                self._gone_at = self._clock()
        else:
            self._gone_at = None
        return found

    async def aclose(self) -> None:
        """Close what is open."""
        source, self._source = self._source, None
        if source is not None:
            await source.aclose()

    async def choose(self) -> Source:
        """Return the source to read, another one than before where Docker came or went."""
        now = self._clock()
        if self._docker and await self._was_stopped(now):
            _log.info("metrics.docker_gone", extra={"address": self._address})
            await self.aclose()
        elif self._source is not None and (self._docker or now - self._looked_at < _LOOK_S):
            return self._source
        self._looked_at = now
        docker = await _docker(self._address)
        if docker is not None:
            if self._source is not None:
                _log.info("metrics.docker_found", extra={"address": self._address})
            await self.aclose()
            self._source = docker
        self._docker = docker is not None
        if self._source is None:
            self._source = await _without_docker()
        return self._source

    async def _was_stopped(self, now: float) -> bool:
        if self._gone_at is None or now - self._gone_at < _STOPPED_S:
            return False
        return "://" not in self._address and not await _exists(self._address)


def _prometheus(text: str | None) -> Source:
    """Return the one source of all addresses in the setting (`ConfigError`)."""
    addresses = (text or "").split()
    if not addresses:
        raise ConfigError("Set AEGIS_METRICS_PROMETHEUS to the address of text or of a server.")
    if len(addresses) == 1:
        return Prometheus(addresses[0])
    return Together(*(Prometheus(address, alone=False) for address in addresses))


async def _docker(address: str) -> Source | None:
    """Return Docker, and this machine where it runs on it; None where it does not answer."""
    if "://" not in address and not await _exists(address):
        return None
    docker = Docker(address)
    if (await docker.read()).problems.get("docker"):
        await docker.aclose()
        return None
    # A daemon elsewhere says nothing of this machine, nor this machine of it.
    return docker if "://" in address else Together(docker, Machine())


async def _exists(path: str) -> bool:
    return await asyncio.to_thread(Path(path).exists)


async def _without_docker() -> Source:
    groups = Cgroup()
    # The machine itself is worth having, with groups or without.
    if (await groups.read()).readings:
        return groups
    return Process()
