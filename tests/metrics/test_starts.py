"""Starts of containers, as Docker tells them or counters show them; and loops of them."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts.service import Alerts
from aegis.db import fetch_value
from aegis.errors import Unavailable
from aegis.metrics.collect.collector import Collector
from aegis.metrics.collect.docker import Docker, read_start
from aegis.metrics.collect.reading import Rates, Reading, Round
from aegis.metrics.models import Sample, Start
from aegis.metrics.service import Metrics
from aegis.metrics.telemetry import Telemetry
from aegis.metrics.watching.series import Container
from tests.metrics.daemons import Daemon, docker_daemon, stats
from tests.metrics.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.metrics.watching.finding import Finding

NS = 1_000_000_000


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path that is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        yield Path(folder) / "docker.sock"


def told(rates: Rates) -> list[tuple[str, float, int]]:
    return [(s.container_name, s.started_at.timestamp(), s.starts) for s in rates.starts]


async def test_docker_tells_starts_and_how_many_were_too_fast_to_be_seen(socket: Path) -> None:
    daemon, rates = Daemon(), Rates()
    daemon.add("ab", "web", stats(total=10 * NS, system=1_000 * NS))
    daemon.start("ab", "2026-05-01T09:00:00.123456789Z", 1)
    async with docker_daemon(socket, daemon):
        docker = Docker(str(socket))
        rates.samples(await docker.read())
        first = datetime(2026, 5, 1, 9, 0, 0, 123_456, tzinfo=UTC).timestamp()
        assert told(rates) == [("web", first, 1)]
        rates.samples(await docker.read())
        assert told(rates) == []
        daemon.start("ab", "2026-05-01T09:00:40Z", 4, status="Restarting (1) 3 seconds ago")
        rates.samples(await docker.read())
        assert [(name, starts) for name, _, starts in told(rates)] == [("web", 3)]
        # By hand: Docker does not count that among its restarts.
        daemon.start("ab", "2026-05-01T09:05:00Z", 0)
        rates.samples(await docker.read())
        assert [(name, starts) for name, _, starts in told(rates)] == [("web", 1)]
        await docker.aclose()


async def test_who_runs_for_long_is_not_asked_again(socket: Path) -> None:
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=10 * NS, system=1_000 * NS))
    daemon.start("ab", "2026-05-01T09:00:00Z", 0, status="Up 3 days (healthy)")
    async with docker_daemon(socket, daemon):
        docker = Docker(str(socket))
        for _ in range(4):
            (reading,) = (await docker.read()).readings
            assert reading.started_at is not None
        await docker.aclose()
    assert len([path for path in daemon.asked if path.endswith(f"{'ab' * 32}/json")]) == 1


async def test_renamed_container_goes_on_and_is_no_start(socket: Path) -> None:
    daemon, rates = Daemon(), Rates()
    daemon.add("ab", "old", stats(total=10 * NS, system=1_000 * NS))
    daemon.start("ab", "2026-05-01T09:00:00Z", 0)
    async with docker_daemon(socket, daemon):
        docker = Docker(str(socket))
        rates.samples(await docker.read())
        daemon.containers[0]["Names"] = ["/new"]
        daemon.stats["ab" * 32] = stats(total=11 * NS, system=1_004 * NS)
        (sample,) = rates.samples(await docker.read())
        await docker.aclose()
    assert (sample.container_name, sample.cpu_percent) == ("new", pytest.approx(100.0))
    assert rates.starts == []


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"State": None},
        {"State": {"StartedAt": "yesterday"}},
        {"State": {"StartedAt": "0001-01-01T00:00:00Z"}, "RestartCount": 3},
        {"State": {"StartedAt": "2026-05-01T09:00:00Z"}, "RestartCount": "x"},
        {"State": {"StartedAt": "2026-05-01T09:00:00"}},
    ],
)
def test_what_says_no_start_is_none(said: Any) -> None:
    assert read_start(said) is None


@pytest.mark.parametrize("where", ["/containers/json", "/stats"])
async def test_docker_gone_in_mid_stream_loses_one_round_and_is_no_start(
    socket: Path, db: Database, where: str
) -> None:
    daemon = Daemon()
    for key, name in (("ab", "web"), ("cd", "db")):
        daemon.add(key, name, stats(total=10 * NS, system=1_000 * NS))
        daemon.start(key, "2026-05-01T09:00:00Z", 0, status="Up 3 days")
    collector = Collector(Metrics(db), Docker(str(socket)))
    async with docker_daemon(socket, daemon):
        assert (await collector.collect()).recorded == 2
        daemon.cut_off = where
        cut = await collector.collect()
        # The fault took effect: nothing was measured, and why is said.
        assert (cut.samples, cut.recorded) == ([], 0)
        assert cut.problems and all("cannot be reached" in text for text in cut.problems)
        assert (await collector.collect()).problems == []
    # Now the daemon is gone altogether, in the middle of what it was asked.
    assert (await collector.collect()).recorded == 0
    daemon.cut_off = None
    async with docker_daemon(socket, daemon):
        assert (await collector.collect()).recorded == 2
    await collector.aclose()
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT count(*) FROM container_starts") == 2


def test_counter_that_falls_is_a_start_where_nobody_tells() -> None:
    rates = Rates()
    for at, cpu_s in ((100.0, 50.0), (115.0, 51.0), (130.0, 2.0), (145.0, 3.0)):
        rates.samples(Round(at=at, readings=[Reading(name="my", key="k", cpu_s=cpu_s)]))
        assert told(rates) == ([("my", 130.0, 1)] if at == 130.0 else [])


def at_times(container: Container, times: list[float]) -> list[Finding]:
    found: list[Finding] = []
    for at in times:
        found += container.update(at, {"cpu_percent": 5.0})
    return found


def test_loop_of_a_container_without_any_counters_is_seen() -> None:
    container = Container("web")
    at_times(container, [15.0 * n for n in range(100)])
    found = [*container.started(1_500.0, 1), *container.started(1_520.0, 1)]
    assert found == []
    (loop,) = container.started(1_550.0, 1)
    assert (loop.kind, loop.ended_at, loop.observed) == ("restart_loop", None, 3.0)
    # Told again, nothing happens; another one is news of the same incident.
    assert container.started(1_550.0, 1) == []
    (more,) = container.started(1_560.0, 2)
    assert (more.incident, more.observed) == (loop.incident, 5.0)
    ended = at_times(container, [1_560.0 + 15.0 * n for n in range(1, 70)])
    assert [(f.incident, f.ended_at is not None) for f in ended] == [(loop.incident, True)]
    # The rounds after read the same starts once more.
    assert [f for at in (1_500.0, 1_520.0, 1_550.0) for f in container.started(at, 1)] == []


def test_start_that_daemon_and_counter_show_counts_once_whichever_comes_first() -> None:
    for first in ("daemon", "counter"):
        container = Container("web")
        container.update(0.0, {"net_io_mb": 50.0})
        container.update(15.0, {"net_io_mb": 60.0})
        for number in range(2):
            at = 100.0 + 100 * number
            if first == "daemon":
                assert container.started(at, 1) == []
            assert container.update(at + 10, {"net_io_mb": 1.0 - number / 2}) == []
            if first == "counter":
                assert container.started(at, 1) == []
        assert container.started(300.0, 1)[0].observed == 3.0


def test_state_of_before_is_read_and_goes_on() -> None:
    container = Container("web")
    rng = random.Random(1)
    for n in range(3_000):
        container.update(30.0 * n, {"mem_percent": 30 + n / 100 + rng.random()})
    container.started(89_000.0, 2)
    state = container.to_bytes()
    assert Container.from_bytes("web", state).to_bytes() == state
    import json
    import struct

    (size,) = struct.unpack_from("<I", state)
    head = json.loads(state[4 : 4 + size])
    old = {
        **{k: v for k, v in head.items() if k not in ("trends", "drifts", "told_starts")},
        "version": 1,
        "trend": head["trends"]["mem_percent"],
        "drift": head["drifts"].get("mem_percent"),
    }
    assert old["drift"] is not None
    packed = json.dumps(old).encode()
    read = Container.from_bytes("web", struct.pack("<I", len(packed)) + packed + state[4 + size :])
    assert [f.kind for f in read.open_findings() if f.metric == "mem_percent"] == ["leak"]


async def test_loop_that_docker_tells_is_one_alert_and_over_after_a_while(
    db: Database, settings: Settings
) -> None:
    lab = Lab(db, settings)
    await lab.run(360)
    await lab.watch()
    for _ in range(4):
        await lab.run(1)
        start = Start(container_name="web", started_at=lab.now - timedelta(seconds=4))
        await lab.metrics.record([], starts=[start, start])
        await lab.watch()
    (loop,) = [one for one in await lab.found() if one.kind == "restart_loop"]
    assert (loop.severity, loop.status, loop.observed) == ("critical", "open", 4.0)
    alerts = [a for a in await lab.alerts.list() if a.condition_id.startswith("restart_loop")]
    assert len(alerts) == 1
    for _ in range(3):
        await lab.run(7)
        await lab.watch()
    (loop,) = [one for one in await lab.found() if one.kind == "restart_loop"]
    assert loop.status == "resolved"


async def test_docker_gone_beside_its_machine_is_one_alert_and_no_silences(
    db: Database, settings: Settings
) -> None:
    lab = Lab(db, settings)
    names = [f"c{number}" for number in range(20)]
    await lab.run(30, names=["host/box", *names])
    await lab.watch()
    for _ in range(8):
        await lab.run(1, names=["host/box"])
        await lab.watch()
    assert [one for one in await lab.found() if one.kind == "silence"] == []
    assert [a.condition_id for a in await lab.alerts.list()] == ["nothing-measured"]


async def test_disk_that_fills_up_is_told_with_the_time_at_which_it_is_full(
    db: Database, settings: Settings
) -> None:
    lab = Lab(db, settings)
    given = [
        Sample(
            container_name="host/box:/data",
            timestamp=lab.now + timedelta(seconds=30 * number),
            disk_percent=60 + number / 40,
        )
        for number in range(1, 1_000)
    ]
    lab.now = given[-1].timestamp
    await lab.metrics.record(given)
    await lab.watch()
    # What lasts is told of; the beginning was learned from.
    filling = [one for one in await lab.found() if one.kind == "filling"]
    assert len(filling) == 1 and filling[0].metric == "disk_percent"
    assert "Disk rises by 3 an hour and reaches 100% on" in filling[0].explanation
    (alert,) = [a for a in await lab.alerts.list() if a.condition_id.startswith("filling")]
    assert alert.title == "host/box:/data: disk fills up"


async def test_one_process_measures_a_machine_and_another_takes_over(
    db: Database, settings: Settings
) -> None:
    chosen = replace(settings, metrics_collect="process")
    one, two = (Telemetry(db, Metrics(db), Alerts(db, chosen), chosen) for _ in range(2))
    assert await one.collect() is not None
    assert await two.collect() is None
    assert await one.collect() is not None
    # It was killed: its lease runs out.
    async with db.transaction() as conn:
        await conn.execute("UPDATE metric_collectors SET lease_until = now() - INTERVAL '1 s'")
    assert await two.collect() is not None
    assert await one.collect() is None
    # Who ends in order lets go at once.
    await two.aclose()
    assert await one.collect() is not None
    await one.aclose()
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT count(*) FROM metric_collectors") == 0
        samples = await fetch_value(conn, "SELECT count(*) FROM container_metrics")
    assert samples == 4


async def test_who_measures_goes_on_through_an_outage_and_who_does_not_waits(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(settings, metrics_collect="process")
    mine, other = (Telemetry(db, Metrics(db), Alerts(db, chosen), chosen) for _ in range(2))
    assert await mine.collect() is not None

    def down(*_: object) -> Any:
        raise Unavailable("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(db, "transaction", down)
        waiting = await mine.collect()
        assert waiting is not None and waiting.waiting == 1
        with pytest.raises(Unavailable):
            await other.collect()
    done = await mine.collect()
    assert done is not None and (done.recorded, done.waiting) == (2, 0)
    await mine.aclose()
