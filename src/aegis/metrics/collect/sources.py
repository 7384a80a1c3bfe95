"""Which source is read: the one that the settings name, or the best that is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError, InvalidInput
from aegis.metrics.collect.cgroup import Cgroup
from aegis.metrics.collect.docker import Docker
from aegis.metrics.collect.machine import Process
from aegis.metrics.collect.prometheus import Prometheus

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.metrics.collect.reading import Source

__all__ = ["SOURCES", "open_source"]

SOURCES: Final = ("auto", "docker", "cgroup", "prometheus", "process")


async def open_source(name: str, settings: Settings) -> Source:
    """Return a source; `auto` is Docker where it answers, else control groups, else ourselves.

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


async def _best(settings: Settings) -> Source:
    if settings.metrics_prometheus is not None:
        return Prometheus(settings.metrics_prometheus)
    address = settings.metrics_docker
    if "://" in address or await asyncio.to_thread(Path(address).exists):
        docker = Docker(address)
        if not (await docker.read()).problems.get("docker"):
            return docker
        await docker.aclose()
    groups = Cgroup()
    # The machine itself is worth having, with groups or without.
    if (await groups.read()).readings:
        return groups
    return Process()
