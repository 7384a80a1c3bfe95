"""Sources: what they say becomes samples; what was not measured is no zero."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import Database, fetch_value
from aegis.errors import ConfigError, InvalidInput
from aegis.metrics.collect import Collector, open_source
from aegis.metrics.collect.cgroup import Cgroup
from aegis.metrics.collect.docker import Docker, read_stats
from aegis.metrics.collect.machine import Process, read_machine
from aegis.metrics.collect.reading import Rates, Reading, Round
from aegis.metrics.service import Metrics
from tests.metrics.daemons import Daemon, docker_daemon, stats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.metrics.models import Sample

NS = 1_000_000_000


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path that is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        yield Path(folder) / "docker.sock"


def by_name(samples: list[Sample]) -> dict[str, Sample]:
    return {sample.container_name: sample for sample in samples}


async def test_docker_s_figures_are_those_of_docker_stats(socket: Path) -> None:
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=10 * NS, system=1_000 * NS))
    async with docker_daemon(socket, daemon):
        docker, rates = Docker(str(socket)), Rates()
        (first,) = rates.samples(await docker.read())
        assert first.cpu_percent is None
        daemon.stats["ab" * 32] = stats(total=12 * NS, system=1_008 * NS)
        (second,) = rates.samples(await docker.read())
        await docker.aclose()
    # (2 / 8) * 4 * 100: one whole core of four.
    assert second.cpu_percent == pytest.approx(100.0)
    assert second.mem_usage_mb == pytest.approx(200.0)
    assert second.mem_percent == pytest.approx(20.0)
    assert second.net_io_mb == pytest.approx(33.0)
    assert second.block_io_mb == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        # cgroup v1, with the page cache of the group's children.
        ({"usage": 500, "limit": 1000, "stats": {"total_inactive_file": 100}}, 400),
        ({"usage": 500, "limit": 1000, "stats": {"total_inactive_file": 600}}, 500),
        ({"usage": 500, "limit": 1000, "stats": {"inactive_file": 200, "cache": 1}}, 300),
        ({"usage": 500, "limit": 0, "stats": {}}, 500),
        ({"usage": 500}, 500),
        # Accounting is off.
        ({"usage": 0, "limit": 0}, None),
        ({}, None),
        (None, None),
    ],
)
def test_memory_of_old_and_new_daemons(memory: Any, used: float | None) -> None:
    reading = read_stats("a", "b", stats(total=1, system=1, memory_stats=memory))
    assert reading.mem_bytes == used


def test_what_a_container_has_not_is_no_zero() -> None:
    bare = stats(total=5 * NS, system=10 * NS, blkio_stats={"io_service_bytes_recursive": None})
    del bare["networks"]
    reading = read_stats("host-net", "b", bare)
    assert (reading.net_bytes, reading.block_bytes) == (None, None)
    off = read_stats("off", "b", {"cpu_stats": {"cpu_usage": {"total_usage": 0}}})
    assert (off.cpu_s, off.mem_bytes) == (None, None)


def test_processors_of_an_old_daemon_are_counted_by_their_figures() -> None:
    old = stats(total=4, system=100, cpus=0)
    old["cpu_stats"]["cpu_usage"]["percpu_usage"] = [1, 3]
    reading = read_stats("a", "b", old)
    assert reading.clock_s == pytest.approx(50 / NS)


async def test_restart_rename_and_end_of_containers(socket: Path) -> None:
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=100 * NS, system=1_000 * NS))
    daemon.add("cd", "old", stats(total=100 * NS, system=1_000 * NS))
    async with docker_daemon(socket, daemon):
        docker, rates = Docker(str(socket)), Rates()
        rates.samples(await docker.read())
        # One began anew, one has another name, one ends between the list and its figures.
        daemon.stats["ab" * 32] = stats(total=1 * NS, system=1_004 * NS)
        daemon.stats["cd" * 32] = stats(total=101 * NS, system=1_004 * NS)
        daemon.containers[1]["Names"] = ["/web/alias", "/new"]
        daemon.containers.append({"Id": "ef" * 32, "Names": ["/short"]})
        this = await docker.read()
        await docker.aclose()
    found = by_name(rates.samples(this))
    assert set(found) == {"web", "new"}
    assert found["web"].cpu_percent is None
    assert found["new"].cpu_percent == pytest.approx(100.0)
    assert this.problems == {}


@pytest.mark.parametrize(
    "answer", [b"nonsense", b"[]", b'{"cpu_stats": 5}', b"null", b'{"networks": {"e": 1}}']
)
async def test_one_container_s_broken_answer_leaves_the_others(socket: Path, answer: bytes) -> None:
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=1, system=1))
    daemon.add("cd", "bad", answer)
    async with docker_daemon(socket, daemon):
        docker = Docker(str(socket))
        this = await docker.read()
        await docker.aclose()
    assert [reading.name for reading in this.readings] == ["web"]
    assert list(this.problems) == ["docker bad"]


async def test_docker_that_is_not_there_is_said_once_and_when_it_is_back(
    socket: Path, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(Metrics(db), Docker(str(socket)))
    first = await collector.collect()
    assert [problem for problem in first.problems if "is Docker running" in problem]
    assert (await collector.collect()).problems == []
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=1, system=1))
    caplog.set_level("INFO", logger="aegis.metrics")
    async with docker_daemon(socket, daemon):
        done = await collector.collect()
    assert (done.recorded, done.problems) == (1, [])
    assert "metrics.can_read_again" in caplog.text
    socket.unlink(missing_ok=True)
    assert len((await collector.collect()).problems) == 1
    await collector.aclose()


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PROC = {
    "stat": "cpu  100 0 100 800 50 0 0 0 30 0\ncpu0 1 2 3\n",
    "meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n",
    "net/dev": "Inter-|\n face |\n  lo: 5 0 0 0 0 0 0 0 5 0\neth0: 100 0 0 0 0 0 0 0 200 0\n"
    "veth1: 7 0 0 0 0 0 0 0 7 0\n",
    "diskstats": "8 0 sda 1 1 10 1 1 1 20 1\n8 1 sda1 1 1 10 1 1 1 20 1\n"
    "7 0 loop0 1 1 9 1 1 1 9 1\n",
}


async def test_groups_of_version_2(tmp_path: Path) -> None:
    web, batch = "system.slice/my\\x2dweb.service", "system.slice/batch.service"
    container = f"system.slice/docker-{'ab' * 32}.scope"
    write(tmp_path / "proc", PROC)
    write(
        tmp_path / "cg",
        {
            "cgroup.controllers": "cpu memory io",
            f"{web}/cpu.stat": "usage_usec 5000000\nuser_usec 1\n",
            f"{web}/memory.current": "300000\n",
            f"{web}/memory.stat": "anon 1\ninactive_file 100000\n",
            f"{web}/memory.max": "400000\n",
            f"{web}/io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=500 dios=0\n",
            f"{web}/inner.scope/cpu.stat": "usage_usec 9\n",
            f"{batch}/cpu.stat": "usage_usec 7\n",
            f"{batch}/memory.max": "max\n",
            f"{batch}/memory.current": "600\n",
            "system.slice/empty.service/cgroup.events": "populated 0\nfrozen 0\n",
            "system.slice/empty.service/cpu.stat": "usage_usec 7\n",
            "user.slice/user-0.slice/session-3.scope/cpu.stat": "usage_usec 7\n",
            f"{container}/cpu.stat": "usage_usec 8\n",
            f"{container}/io.stat": "",
        },
    )
    this = await Cgroup(tmp_path / "cg", tmp_path / "proc", host="box").read()
    found = {reading.name: reading for reading in this.readings}
    assert set(found) == {"host/box", "my-web", "batch", "ab" * 6}
    assert found["my-web"].cpu_s == 5
    assert (found["my-web"].mem_bytes, found["my-web"].mem_limit_bytes) == (200_000, 400_000)
    assert (found["my-web"].block_bytes, found["my-web"].net_bytes) == (30, None)
    # Without a limit of its own it has the machine's; without the controller, no figure.
    assert (found["batch"].mem_limit_bytes, found["batch"].block_bytes) == (1_024_000, None)
    assert (found["ab" * 6].block_bytes, found["ab" * 6].mem_bytes) == (0, None)
    host = found["host/box"]
    assert (host.mem_bytes, host.net_bytes, host.block_bytes) == (614_400, 300, 30 * 512)


async def test_groups_of_version_1(tmp_path: Path) -> None:
    place = f"docker/{'cd' * 32}"
    write(
        tmp_path / "cg",
        {
            f"cpuacct/{place}/cpuacct.usage": f"{3 * NS}\n",
            f"memory/{place}/memory.usage_in_bytes": "900\n",
            f"memory/{place}/memory.stat": "cache 5\ntotal_inactive_file 200\n",
            f"memory/{place}/memory.limit_in_bytes": "9223372036854771712\n",
            f"blkio/{place}/blkio.throttle.io_service_bytes": (
                "8:0 Read 10\n8:0 Write 5\n8:0 Sync 15\n8:0 Total 15\nTotal 15\n"
            ),
        },
    )
    this = await Cgroup(tmp_path / "cg", tmp_path / "none", host="box").read()
    (reading,) = this.readings
    assert (reading.name, reading.cpu_s, reading.mem_bytes) == ("cd" * 6, 3, 700)
    assert (reading.block_bytes, reading.mem_limit_bytes) == (15, None)
    assert "host" in this.problems


async def test_no_groups_at_all_is_a_problem_and_no_error(tmp_path: Path) -> None:
    this = await Cgroup(tmp_path / "none", tmp_path / "none").read()
    assert this.readings == []
    assert set(this.problems) == {"host", "cgroup"}


async def test_this_machine_s_own_figures_are_plausible() -> None:
    groups, rates = Cgroup(), Rates()
    rates.samples(await groups.read())
    sum(number * number for number in range(300_000))
    samples = rates.samples(await groups.read())
    host = samples[0]
    assert host.container_name.startswith("host/")
    assert host.mem_percent is not None and 0 < host.mem_percent <= 100
    assert all(one.cpu_percent is None or one.cpu_percent >= 0 for one in samples)


async def test_our_own_process_is_measured_where_nothing_else_is() -> None:
    process, rates = Process(), Rates()
    rates.samples(await process.read())
    sum(number * number for number in range(500_000))
    (sample,) = rates.samples(await process.read())
    assert sample.cpu_percent is not None and sample.cpu_percent > 0
    assert sample.mem_usage_mb is not None and sample.mem_usage_mb > 10


async def test_samples_wait_through_an_outage_of_the_database(
    dsn: str, db: Database, settings: Settings
) -> None:
    class Source:
        name = "process"
        count = 0

        async def read(self) -> Round:
            import time

            self.count += 1
            return Round(at=time.time(), readings=[Reading(name=f"c{self.count}", key="a")])

        async def aclose(self) -> None: ...

    broken = await Database.open(dsn, replace(settings, pool_timeout_s=0.2), min_size=1)
    collector = Collector(Metrics(broken), Source())
    await broken.close()
    for number in range(3):
        done = await collector.collect()
        assert (done.recorded, done.waiting) == (0, number + 1)
    collector._metrics = Metrics(db)
    assert (await collector.collect()).recorded == 4
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT count(*) FROM container_metrics") == 4
    assert (await collector.collect()).waiting == 0


def test_two_of_one_name_and_clocks_that_jump_say_nothing() -> None:
    rates = Rates()

    def at(time: float, cpu: float) -> list[Sample]:
        both = [Reading(name="a", key=key, cpu_s=cpu) for key in ("1", "2")]
        return rates.samples(Round(at=time, readings=both))

    assert len(at(1_000, 1)) == 1
    assert at(900, 2)[0].cpu_percent is None
    assert at(910, 3)[0].cpu_percent == 10
    assert at(9_000, 4)[0].cpu_percent is None


def test_names_are_made_to_fit() -> None:
    long = Reading(name="x" * 150 + "\n\x1b[31m", key="a")
    (sample,) = Rates().samples(Round(at=1.0, readings=[long]))
    assert len(sample.container_name) == 100
    assert sample.container_name.isprintable()


async def test_the_best_source_that_is_there(socket: Path, settings: Settings) -> None:
    chosen = replace(settings, metrics_docker=str(socket))
    assert (await open_source("auto", chosen)).name == "cgroup"
    async with docker_daemon(socket, Daemon()):
        assert (await open_source("auto", chosen)).name == "docker"
    # The socket is left over, and nobody listens.
    assert (await open_source("auto", chosen)).name == "cgroup"
    with pytest.raises(InvalidInput):
        await open_source("magic", settings)
    with pytest.raises(ConfigError):
        await open_source("prometheus", settings)
    with pytest.raises(ConfigError, match="no http"):
        await open_source("prometheus", replace(settings, metrics_prometheus="file:///secret"))


async def test_file_systems_of_a_machine_are_measured_each_once(tmp_path: Path) -> None:
    for name in ("data", "with space", "again"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    data, odd = tmp_path / "data", f"{tmp_path}/with\\040space"
    write(
        tmp_path / "proc",
        {
            **PROC,
            "self/mounts": "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n"
            f"/dev/sdb1 {data} ext4 rw 0 0\n/dev/sdb1 {tmp_path}/again/longer ext4 rw 0 0\n"
            f"/dev/sdb1 {tmp_path}/file ext4 rw 0 0\n/dev/sdc1 {odd} xfs rw 0 0\n"
            f"/dev/loop3 {tmp_path}/again squashfs ro 0 0\nhost:/x /mnt/nfs nfs rw 0 0\nbroken\n",
        },
    )
    asked: list[str] = []

    def statvfs(folder: str) -> os.statvfs_result:
        asked.append(folder)
        if folder.endswith("space"):
            raise OSError("it was unplugged")
        free = 20 if folder == "/" else 35
        # Blocks, free ones, and those free for others than root: 5 are root's own.
        return os.statvfs_result((4_096, 4_096, 100, free, free - 5, 9, 9, 9, 0, 255))

    found = read_machine(tmp_path / "proc", name="host/box", statvfs=statvfs)
    assert [(one.name, one.disk_percent) for one in found] == [
        ("host/box", pytest.approx(100 * 80 / 95)),
        (f"host/box:{data}", pytest.approx(100 * 65 / 95)),
    ]
    # A server that is gone would make one wait: it is not asked.
    assert asked == ["/", str(data), f"{tmp_path}/with space"]
    samples = Rates().samples(Round(at=1.0, readings=found))
    assert by_name(samples)["host/box"].disk_percent == pytest.approx(100 * 80 / 95)


async def test_docker_on_this_machine_comes_with_the_machine(
    socket: Path, settings: Settings
) -> None:
    daemon = Daemon()
    daemon.add("ab", "web", stats(total=1, system=1))
    async with docker_daemon(socket, daemon):
        source = await open_source("auto", replace(settings, metrics_docker=str(socket)))
        names = [one.name for one in (await source.read()).readings]
        await source.aclose()
    assert names[0] == "web"
    assert names[1].startswith("host/")
