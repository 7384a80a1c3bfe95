"""Which source is read: the one that the settings name, or the best that is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError, InvalidInput
from aegis.metrics.collect.cgroup import Cgroup
from aegis.metrics.collect.docker import Docker
from aegis.metrics.collect.machine import Machine, Process
from aegis.metrics.collect.prometheus import Prometheus
from aegis.metrics.collect.reading import Round

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.metrics.collect.reading import Source

__all__ = ["SOURCES", "open_source"]

SOURCES: Final = ("auto", "docker", "cgroup", "prometheus", "process")


async def open_source(name: str, settings: Settings) -> Source:
    """Return a source; `auto` is Docker and the machine, or control groups, or ourselves.

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
            if settings.metrics_prometheus is None:
                raise ConfigError(
                    "Set AEGIS_METRICS_PROMETHEUS to the address of text or of a server."
                )
            return Prometheus(settings.metrics_prometheus)
        case "process":
            return Process()
        case "auto":
            return await _best(settings)
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


async def _best(settings: Settings) -> Source:
    if settings.metrics_prometheus is not None:
        return Prometheus(settings.metrics_prometheus)
    address = settings.metrics_docker
    if "://" in address or await asyncio.to_thread(Path(address).exists):
        docker = Docker(address)
        if not (await docker.read()).problems.get("docker"):
            # A daemon elsewhere says nothing of this machine, nor this machine of it.
            return docker if "://" in address else Together(docker, Machine())
        await docker.aclose()
    groups = Cgroup()
    # The machine itself is worth having, with groups or without.
    if (await groups.read()).readings:
        return groups
    return Process()
