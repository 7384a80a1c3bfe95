"""Prometheus: text that targets expose, and a server that is asked."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket as net
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.metrics.collect import open_source
from aegis.metrics.collect.exposition import NAMES, parse_text, readings_of
from aegis.metrics.collect.prometheus import Prometheus
from aegis.metrics.collect.reading import Rates, Reading, Round
from tests.metrics.daemons import text_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from aegis.config import Settings

CADVISOR = """\
# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed in seconds.
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{cpu="total",id="/a",image="x",name="web"} 12.5 1714554000000
container_cpu_usage_seconds_total{cpu="cpu00",id="/docker/b",name="we\\"i,rd}"} 1
container_cpu_usage_seconds_total{cpu="cpu01",id="/docker/b",name="we\\"i,rd}"} 2
container_cpu_usage_seconds_total{cpu="total",id="/"} 99
container_memory_working_set_bytes{id="/docker/a",name="web"} 2e+08
container_memory_usage_bytes{id="/docker/a",name="web"} 3e+08
container_spec_memory_limit_bytes{id="/docker/a",name="web"} 4e+08
container_spec_memory_limit_bytes{id="/docker/b",name="we\\"i,rd}"} 9.223372036854772e+18
container_network_receive_bytes_total{interface="eth0",name="web"} 1000
container_network_transmit_bytes_total{interface="eth0",name="web"} 500
container_fs_reads_bytes_total{device="/dev/sda",name="web"} 70
container_fs_writes_bytes_total{device="/dev/sda",name="web"} 30
container_memory_working_set_bytes{namespace="shop",pod="cart-1",container="cart"} 5
container_cpu_usage_seconds_total{namespace="shop",pod="cart-1",container="POD"} NaN
container_memory_working_set_bytes{broken="yes} 5
container_memory_working_set_bytes{name="nan"} NaN
container_unknown_thing{name="web"} 1
go_goroutines 8
"""


def test_cadvisor_s_text() -> None:
    found = {one.name: one for one in readings_of(parse_text(CADVISOR), target="t")}
    assert set(found) == {"web", 'we"i,rd}', "shop/cart-1/cart"}
    web = found["web"]
    assert (web.cpu_s, web.mem_bytes, web.mem_limit_bytes) == (12.5, 2e8, 4e8)
    assert (web.net_bytes, web.block_bytes) == (1_500, 100)
    odd = found['we"i,rd}']
    assert (odd.cpu_s, odd.mem_limit_bytes, odd.net_bytes) == (3, None, None)


def test_node_exporter_s_text() -> None:
    text = """\
node_cpu_seconds_total{cpu="0",mode="user"} 10
node_cpu_seconds_total{cpu="0",mode="idle"} 1000
node_cpu_seconds_total{cpu="1",mode="system"} 5
node_memory_MemTotal_bytes 1000
node_memory_MemAvailable_bytes 250
node_network_receive_bytes_total{device="eth0"} 10
node_network_receive_bytes_total{device="lo"} 1000
node_disk_written_bytes_total{device="sda"} 7
"""
    (host,) = readings_of(parse_text(text), target="10.0.0.5:9100")
    assert (host.name, host.cpu_s, host.mem_bytes) == ("host/10.0.0.5:9100", 15, 750)
    assert (host.net_bytes, host.block_bytes) == (10, 7)


def test_node_exporter_s_file_systems_are_measured_each_disk_once() -> None:
    def files(device: str, mount: str, size: int, free: int, left: int, kind: str = "ext4") -> str:
        labels = f'{{device="{device}",fstype="{kind}",mountpoint="{mount}"}}'
        return (
            f"node_filesystem_size_bytes{labels} {size}\n"
            f"node_filesystem_free_bytes{labels} {free}\n"
            f"node_filesystem_avail_bytes{labels} {left}\n"
        )

    text = "node_memory_MemTotal_bytes 1000\n" + "".join(
        [
            files("/dev/sda1", "/", 100, 20, 15),
            files("/dev/sda1", "/var/lib/docker", 100, 20, 15),
            files("/dev/sdb1", "/data", 1_000, 500, 500),
            files("/dev/loop3", "/snap", 10, 0, 0, "squashfs"),
            files("tmpfs", "/run", 10, 5, 5, "tmpfs"),
            files("/dev/sdc1", "/empty", 0, 0, 0),
            'node_filesystem_size_bytes{device="/dev/sdd1",fstype="xfs",mountpoint="/half"} 5\n',
        ]
    )
    found = readings_of(parse_text(text), target="box:9100")
    assert {one.name: one.disk_percent for one in found} == {
        "host/box:9100": pytest.approx(100 * 80 / 95),
        "host/box:9100:/data": 50.0,
    }
    samples = Rates().samples(Round(at=1.0, readings=found))
    assert [one.disk_percent for one in samples if one.container_name.endswith("/data")] == [50.0]


def test_any_process_that_exposes_itself() -> None:
    text = "process_cpu_seconds_total 3\nprocess_resident_memory_bytes 9\n"
    (one,) = readings_of(parse_text(text), target="app:8000")
    assert (one.name, one.cpu_s, one.mem_bytes) == ("app:8000", 3, 9)


async def test_text_is_scraped() -> None:
    async with text_server(lambda _: (200, CADVISOR.encode())) as address:
        source = Prometheus(f"http://{address}/metrics")
        this = await source.read()
        await source.aclose()
    assert {reading.name for reading in this.readings} >= {"web"}


async def test_several_targets_are_one_source_and_one_that_is_away_leaves_the_others(
    settings: Settings,
) -> None:
    async with (
        text_server(lambda _: (200, CADVISOR.encode())) as containers,
        text_server(lambda _: (200, b"node_memory_MemTotal_bytes 1000\n")) as machine,
        text_server(lambda _: (500, b"")) as broken,
        text_server(lambda _: (500, b"")) as broken_too,
    ):
        addresses = (containers, machine, broken, broken_too)
        text = "  ".join(f"http://{address}/metrics" for address in addresses)
        source = await open_source("auto", replace(settings, metrics_prometheus=text))
        this = await source.read()
        await source.aclose()
    names = {reading.name for reading in this.readings}
    assert "web" in names
    assert any(name.startswith("host/") for name in names)
    assert set(this.problems) == {f"prometheus {broken}", f"prometheus {broken_too}"}


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (200, b"\xff\xfe"), (200, b'{"status": "error"}'), (200, b"[1]"), (200, b"")],
)
async def test_what_is_no_answer_is_a_problem(status: int, body: bytes) -> None:
    async with text_server(lambda _: (status, body)) as address:
        for url in (f"http://{address}", f"http://{address}/metrics"):
            source = Prometheus(url)
            this = await source.read()
            await source.aclose()
            assert (list(this.readings), list(this.problems)) == ([], ["prometheus"])


@asynccontextmanager
async def prometheus_server(target: str, folder: Path) -> AsyncGenerator[str]:
    """Yield the address of a Prometheus that has scraped `target`: a real one where it is
    installed, else one that gives the answer that a real one gives.
    """
    program = shutil.which("prometheus")
    if program is None:
        series = [
            {
                "metric": {"__name__": one.name, **one.labels, "instance": target, "job": "x"},
                "value": [1714554000.0, str(one.value)],
            }
            for one in parse_text(CADVISOR)
        ]
        answer = {"status": "success", "data": {"resultType": "vector", "result": series}}
        async with text_server(lambda _: (200, json.dumps(answer).encode())) as address:
            yield f"http://{address}"
        return
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: x, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with net.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


async def test_a_prometheus_server_is_asked(tmp_path: Path) -> None:
    valid = "\n".join(
        line for line in CADVISOR.splitlines() if "broken=" not in line and "17145" not in line
    )
    text = valid + '\ncontainer_cpu_usage_seconds_total{cpu="total",name="web"} 12.5\n'
    async with (
        text_server(lambda _: (200, text.encode())) as target,
        prometheus_server(target, tmp_path) as url,
    ):
        source = Prometheus(url)
        async with asyncio.timeout(60):
            while not (this := await source.read()).readings:
                await asyncio.sleep(0.05)
        await source.aclose()
    found = {reading.name: reading for reading in this.readings}
    assert (found["web"].cpu_s, found["web"].mem_bytes) == (12.5, 2e8)
    assert found["web"].net_bytes == 1_500


def test_every_name_that_is_asked_for_is_understood() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for name in NAMES:
        labels = '{name="a",mode="user",operation="Read",device="sda"}'
        readings = readings_of(parse_text(f"{name}{labels} 5\n"), target="t")
        (reading,) = readings
        values = [getattr(reading, field) for field in Reading.__slots__ if field != "clock_s"]
        # Two or three of these say something together.
        if "Mem" not in name and "filesystem" not in name:
            assert 5.0 in values, name
