"""What measuring and watching cost: the real collector and detector, a Docker of N containers.

A process of its own serves Docker's API (with the list, figures and starts that Docker 29 sends);
another is `Telemetry` as `aegis up` runs it, with a day of samples learned from. Its processor time
is read from the kernel, user and system, so that other load does not matter; its memory is what is
resident above that of the same process before it measured. A round takes what it takes every 15
seconds, so the share of a core is the time of a round over that.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import importlib
import json
import multiprocessing
import os
import random
import socketserver
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from aegis.alerts.service import Alerts
from aegis.config import load_settings
from aegis.db import Database
from aegis.metrics.models import Sample
from aegis.metrics.service import Metrics
from aegis.metrics.telemetry import Telemetry
from benchmarks.database import migrated_database
from benchmarks.report import progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

__all__ = ["add_arguments", "run"]

_EVERY_S = 15.0
_NS = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=40, help="rounds that are measured")
    parser.add_argument("--hours", type=float, default=24.0, help="hours that are learned from")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        socket = Path(folder) / "docker.sock"
        async with migrated_database() as db:
            await _fill(db, args.containers, args.hours)
            with _daemon(socket, args.containers):
                return await asyncio.to_thread(_in_a_process, _dsn(db), str(socket), args.rounds)


def _dsn(db: Database) -> str:
    return db._address()  # pyright: ignore[reportPrivateUsage]


async def _fill(db: Database, containers: int, hours: float) -> None:
    """Write samples of the last hours, each 15 seconds, with a rhythm and some noise."""
    rng = random.Random(11)
    now = datetime.now(UTC).replace(microsecond=0)
    steps = int(hours * 3_600 / _EVERY_S)
    metrics = Metrics(db)
    for begin in progress(range(steps, 0, -500), "Filling"):
        given = [
            _sample(rng, number, now - timedelta(seconds=_EVERY_S * step))
            for step in range(begin, max(0, begin - 500), -1)
            for number in range(containers)
        ]
        await metrics.record(given)


def _sample(rng: random.Random, number: int, at: datetime) -> Sample:
    return Sample(
        container_name=f"container-{number:03}",
        timestamp=at,
        cpu_percent=20 + 5 * rng.random(),
        mem_usage_mb=300 + rng.random(),
        mem_percent=30 + rng.random(),
        net_io_mb=at.timestamp() / 1e3 % 1e6,
        block_io_mb=at.timestamp() / 2e3 % 1e6,
    )


def _in_a_process(dsn: str, socket: str, rounds: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_telemetry, args=(dsn, socket, rounds, send))
    process.start()
    send.close()
    try:
        return receive.recv()
    finally:
        process.join()


def _telemetry(dsn: str, socket: str, rounds: int, send: Any) -> None:
    send.send(asyncio.run(_rounds(dsn, socket, rounds)))


async def _rounds(dsn: str, socket: str, rounds: int) -> dict[str, float]:
    settings = replace(load_settings({}), metrics_docker=socket)
    async with await Database.open(dsn, settings) as db:
        metrics = Metrics(db)
        telemetry = Telemetry(db, metrics, Alerts(db, settings), settings)
        # What every process that serves has anyway: connections, and a client of HTTP.
        importlib.import_module("httpx2")
        await metrics.latest()
        base = _resident_mb()
        began = time.process_time()
        await telemetry.collect()
        await telemetry.watch()
        learning_s = time.process_time() - began
        collected: list[float] = []
        watched: list[float] = []
        samples = 0
        for _ in range(rounds):
            at = time.process_time()
            done = await telemetry.collect()
            collected.append(time.process_time() - at)
            assert done is not None and not done.problems, done
            samples = len(done.samples)
            at = time.process_time()
            judged = await telemetry.watch()
            watched.append(time.process_time() - at)
            assert judged.points, judged
        used = _resident_mb()
        await telemetry.aclose()
    a_round = sum(collected + watched) / rounds
    return {
        "series": samples,
        "collect_cpu_ms": 1_000 * median(collected),
        "watch_cpu_ms": 1_000 * median(watched),
        "share_of_a_core_percent": 100 * a_round / _EVERY_S,
        "learning_cpu_s": learning_s,
        "memory_mb": used - base,
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def _daemon(socket: Path, containers: int) -> Generator[None]:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_serve, args=(str(socket), containers, ready), daemon=True)
    process.start()
    try:
        ready.wait(30)
        yield
    finally:
        process.kill()
        process.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    containers: int


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts == ["containers", "json"]:
            found: Any = [_listed(number) for number in range(self.server.containers)]
        elif parts[-1] == "stats":
            found = _figures(int(parts[1], 16))
        else:
            found = {"State": {"StartedAt": "2026-01-01T00:00:00.123456789Z"}, "RestartCount": 0}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: Any) -> None: ...


def _serve(socket: str, containers: int, ready: Any) -> None:
    server = _Server(socket, _Handler)
    server.containers = containers
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready.set()
    threading.Event().wait()


def _listed(number: int) -> dict[str, Any]:
    """Return a row of `docker ps` with what Docker sends beside what is needed."""
    return {
        "Id": f"{number:064x}",
        "Names": [f"/container-{number:03}"],
        "Image": "registry.example.org/team/service:1.2.3",
        "ImageID": f"sha256:{number:064x}",
        "Command": "/usr/local/bin/service --config /etc/service.toml",
        "Created": 1_767_225_600,
        "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000, "Type": "tcp"}],
        "Labels": {f"org.example.label.{n}": "value " * 4 for n in range(10)},
        "State": "running",
        "Status": "Up 3 days (healthy)",
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {"NetworkID": f"{number:064x}"}}},
        "Mounts": [{"Type": "volume", "Name": f"{number:064x}", "Destination": "/data"}],
    }


def _figures(number: int) -> dict[str, Any]:
    """Return what Docker 29 says on cgroup version 2, all of `memory.stat` included."""
    now = time.monotonic_ns()
    cpu = {
        "cpu_usage": {"total_usage": now // 20, "usage_in_kernelmode": 1, "usage_in_usermode": 2},
        "system_cpu_usage": 4 * now,
        "online_cpus": 4,
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    return {
        "read": "2026-05-01T09:00:00Z",
        "preread": "0001-01-01T00:00:00Z",
        "id": f"{number:064x}",
        "name": f"/container-{number:03}",
        "os_type": "linux",
        "num_procs": 0,
        "pids_stats": {"current": 12, "limit": 9_000},
        "cpu_stats": cpu,
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "memory_stats": {
            "usage": 400_000_000,
            "limit": 1_000_000_000,
            "stats": {f"figure_{n}": n * 1_000 for n in range(35)} | {"inactive_file": 100_000_000},
        },
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "read", "value": now // _NS},
                {"major": 8, "minor": 0, "op": "write", "value": now // _NS},
            ]
        },
        "networks": {
            f"eth{n}": {"rx_bytes": now // 1_000, "rx_packets": 1, "rx_errors": 0, "rx_dropped": 0,
                        "tx_bytes": now // 1_000, "tx_packets": 1, "tx_errors": 0, "tx_dropped": 0}
            for n in range(2)
        },
    }  # fmt: skip
