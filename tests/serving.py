"""A real `aegis up` in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

from aegis.wire.presence import find_presence

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

CALL = [sys.executable, "-m", "aegis.cli"]


@dataclass(slots=True)
class Served:
    """A process that serves, and how to ask it."""

    process: subprocess.Popen[str]
    url: str
    data_dir: Path
    #: What it printed until it served.
    said: str

    @property
    def token(self) -> str:
        return (self.data_dir / "operator-token").read_text().strip()

    def http(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment with settings of Aegis, such as `database_url=…`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AEGIS_")}
    named = {f"AEGIS_{name.upper()}": value for name, value in settings.items()}
    return {**clean, "AEGIS_DATA_DIR": str(data_dir), **named}


@contextmanager
def serving(data_dir: Path, *arguments: str, **settings: str) -> Generator[Served]:
    """Run `aegis up` on a free port until the block ends; killed if it does not stop by itself."""
    arguments = arguments or ("--port", "0")
    with subprocess.Popen(
        [*CALL, "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(data_dir, **settings),
    ) as process:
        try:
            said = read_until(process, "Ctrl-C stops.")
            presence = find_presence(data_dir)
            assert presence is not None
            yield Served(process=process, url=presence.url, data_dir=data_dir, said=said)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()


def read_until(process: subprocess.Popen[str], mark: str) -> str:
    """Return what the process prints up to a line with `mark`."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if mark in line:
            return "".join(lines)
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())


def aegis(data_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*CALL, *arguments],
        capture_output=True,
        text=True,
        env=environment(data_dir, **settings),
        check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> object:
    """Return the JSON document that a command printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
