"""The source that is chosen by itself: it follows Docker as it comes and goes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aegis.metrics.collect import Collector, open_source
from aegis.metrics.collect.sources import Auto
from aegis.metrics.service import Metrics
from tests.metrics.daemons import Daemon, docker_daemon, stats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path that is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        yield Path(folder) / "docker.sock"


class Now:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


async def names_of(auto: Auto) -> set[str]:
    return {one.name for one in (await auto.read()).readings}


async def test_docker_that_comes_later_is_found_without_a_restart(
    socket: Path, settings: Settings
) -> None:
    now, daemon = Now(), Daemon()
    daemon.add("ab", "web", stats(total=1, system=1))
    auto = Auto(replace(settings, metrics_docker=str(socket)), clock=now)
    assert "web" not in await names_of(auto)
    assert auto.name == "cgroup"
    async with docker_daemon(socket, daemon):
        assert "web" not in await names_of(auto)
        now.at += 61
        assert "web" in await names_of(auto)
        assert auto.name == "docker"
        # And the machine is measured as before.
        assert any(name.startswith("host/") for name in await names_of(auto))
    await auto.aclose()


async def test_docker_that_does_not_answer_is_waited_for_and_one_that_was_stopped_is_not(
    socket: Path, settings: Settings
) -> None:
    now, daemon = Now(), Daemon()
    daemon.add("ab", "web", stats(total=1, system=1))
    auto = Auto(replace(settings, metrics_docker=str(socket)), clock=now)
    async with docker_daemon(socket, daemon):
        assert "web" in await names_of(auto)
    # It crashed: its socket is left over. However long it takes, its containers are missed.
    for _ in range(3):
        now.at += 3_600
        found = await auto.read()
        assert "docker" in found.problems
        assert auto.name == "docker"
    async with docker_daemon(socket, daemon):
        assert "web" in await names_of(auto)
    # It was stopped: for a while it may be on its way back, such as with a new version.
    socket.unlink(missing_ok=True)
    assert "docker" in (await auto.read()).problems
    now.at += 300
    assert auto.name == "docker"
    assert "docker" in (await auto.read()).problems
    now.at += 301
    found = await auto.read()
    assert (auto.name, "docker" in found.problems) == ("cgroup", False)
    async with docker_daemon(socket, daemon):
        now.at += 61
        assert "web" in await names_of(auto)
    await auto.aclose()


async def test_collector_follows_docker(
    socket: Path, settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis.metrics.collect.sources._LOOK_S", 0.0)
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=1, system=1))
    chosen = replace(settings, metrics_docker=str(socket))
    collector = Collector(Metrics(db), await open_source("auto", chosen))
    assert (await collector.collect()).source == "cgroup"
    async with docker_daemon(socket, daemon):
        done = await collector.collect()
        assert done.source == "docker"
        assert "web" in {sample.container_name for sample in done.samples}
    await collector.aclose()
