"""A Docker daemon that speaks its API over a Unix socket, and a server of text over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path


@dataclass
class Daemon:
    """What the daemon says; `stats` by id, an id without any is gone."""

    containers: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    #: What `/containers/{id}/json` says; nothing of who is not in it.
    starts: dict[str, Any] = field(default_factory=dict)
    #: Answers to this are cut off in the middle.
    cut_off: str | None = None

    def add(self, key: str, name: str, stats: Any, *, status: str = "Up 3 days") -> None:
        self.containers.append(
            {"Id": key * 32, "Names": [f"/{name}"], "State": "running", "Status": status}
        )
        self.stats[key * 32] = stats

    def start(self, key: str, at: str, restarts: int, *, status: str = "Up 2 seconds") -> None:
        """Let a container have been started."""
        self.starts[key * 32] = {"State": {"StartedAt": at}, "RestartCount": restarts}
        next(c for c in self.containers if c["Id"] == key * 32)["Status"] = status

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if path == "/containers/json":
            return 200, json.dumps(self.containers).encode()
        found = re.fullmatch(r"/containers/(\w+)/stats\?stream=false&one-shot=true", path)
        if found and found[1] in self.stats:
            stats = self.stats[found[1]]
            return 200, stats if isinstance(stats, bytes) else json.dumps(stats).encode()
        found = re.fullmatch(r"/containers/(\w+)/json", path)
        if found and found[1] in self.starts:
            return 200, json.dumps(self.starts[found[1]]).encode()
        return 404, b'{"message": "No such container"}'


def stats(
    *, total: int, system: int, cpus: int = 4, usage: int = 300_000_000, **more: Any
) -> dict[str, Any]:
    """Return what Docker 29 says on cgroup v2; `more` replaces parts."""
    return {
        "read": "2026-05-01T09:00:00Z",
        "preread": "0001-01-01T00:00:00Z",
        "os_type": "linux",
        "cpu_stats": {
            "cpu_usage": {"total_usage": total, "usage_in_kernelmode": 1, "usage_in_usermode": 2},
            "system_cpu_usage": system,
            "online_cpus": cpus,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "memory_stats": {
            "usage": usage,
            "limit": 1_000_000_000,
            "stats": {"inactive_file": 100_000_000},
        },
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "read", "value": 3_000_000},
                {"major": 8, "minor": 0, "op": "write", "value": 4_000_000},
                {"major": 8, "minor": 0, "op": "discard", "value": 9_000_000},
            ]
        },
        "networks": {
            "eth0": {"rx_bytes": 1_000_000, "tx_bytes": 2_000_000},
            "eth1": {"rx_bytes": 10_000_000, "tx_bytes": 20_000_000},
        },
        **more,
    }


@asynccontextmanager
async def docker_daemon(socket: Path, daemon: Daemon) -> AsyncGenerator[Daemon]:
    """Yield a daemon that listens on `socket`."""
    server = await asyncio.start_unix_server(
        _handler(daemon.answer, lambda path: bool(daemon.cut_off and daemon.cut_off in path)),
        str(socket),
    )
    try:
        yield daemon
    finally:
        server.close()


@asynccontextmanager
async def text_server(answer: Callable[[str], tuple[int, bytes]]) -> AsyncGenerator[str]:
    """Yield the address of a server on loopback that answers every path by `answer`."""
    server = await asyncio.start_server(_handler(answer), "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def _handler(
    answer: Callable[[str], tuple[int, bytes]], cut_off: Callable[[str], bool] = lambda _: False
) -> Any:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ", 2)[1]
            status, body = answer(path)
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: text/plain; version=0.0.4\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            )
            # Its length was promised.
            writer.write(body[: len(body) // 2] if cut_off(path) else body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return handle
