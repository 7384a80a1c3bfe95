"""Control groups of Linux: services, containers, and the machine itself.

Version 2, and version 1 where that is mounted. A group is a series where its name says what it is:
`*.service`, `*.scope`, or the 64 hexadecimal digits of a container. Groups have no network of
their own. The machine is `host/NAME`. Kernel documentation: admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.metrics.collect import machine
from aegis.metrics.collect.reading import Reading, Round

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cgroup"]

_CONTAINER: Final = re.compile(
    r"(?:(?:docker|libpod|cri-containerd|crio|containerd)-)?([0-9a-f]{64})(?:\.scope)?"
)
_ESCAPED: Final = re.compile(r"\\x([0-9a-f]{2})")
_DEEPEST: Final = 8
_MOST_GROUPS: Final = 1_000
_MOST_BYTES: Final = 1_000_000
#: Version 1 says "no limit" with a number near 2**63.
_NO_LIMIT: Final = 1 << 60


class Cgroup:
    """The groups under `root`; `proc` is where the machine's own figures are."""

    name = "cgroup"

    def __init__(
        self, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc"), host: str = ""
    ) -> None:
        self._root = root
        self._proc = proc
        self._host = f"host/{host or socket.gethostname()}"

    async def read(self) -> Round:
        """Read every group, in a thread: files of the kernel may make one wait."""
        return await asyncio.to_thread(self._read)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _read(self) -> Round:
        at = time.time()
        readings: list[Reading] = []
        problems: dict[str, str] = {}
        memory = machine.memory(self._proc)
        host = machine.read_machine(self._proc, name=self._host)
        if not host:
            problems["host"] = f"{self._proc}/stat cannot be read"
        readings += host
        limit = None if memory is None else memory[1]
        try:
            if (self._root / "cgroup.controllers").exists():
                groups = [_version_2(path, name, limit) for path, name in _groups(self._root)]
            elif (base := self._version_1_base()) is not None:
                groups = [
                    _version_1(self._root, path.relative_to(base), name, limit)
                    for path, name in _groups(base)
                ]
            else:
                groups = []
                problems["cgroup"] = f"there are no control groups under {self._root}"
        except OSError as error:
            groups = []
            problems["cgroup"] = f"{self._root} cannot be read: {error.strerror}"
        readings += [group for group in groups if group is not None]
        return Round(at=at, readings=readings, problems=problems)

    def _version_1_base(self) -> Path | None:
        for controller in ("cpuacct", "cpu,cpuacct", "memory"):
            if (self._root / controller).is_dir():
                return self._root / controller
        return None


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the groups that are series, with their names; not what is inside of them."""
    waiting, found = [(root, 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inner = sorted(
                    entry.name for entry in entries if entry.is_dir(follow_symlinks=False)
                )
        except OSError:
            # It went away while it was looked at.
            continue
        for part in inner:
            name = _name(part)
            if name is None:
                if depth < _DEEPEST:
                    waiting.append((folder / part, depth + 1))
                continue
            found += 1
            if found > _MOST_GROUPS:
                return
            yield folder / part, name


def _name(part: str) -> str | None:
    container = _CONTAINER.fullmatch(part)
    if container is not None:
        return container[1][:12]
    stem, dot, kind = part.rpartition(".")
    # A session of somebody who logs in is no service.
    if not dot or kind not in ("service", "scope") or part.startswith("session-"):
        return None
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), stem)


def _version_2(path: Path, name: str, machine_bytes: float | None) -> Reading | None:
    if _pairs(_text(path / "cgroup.events")).get("populated") == 0:
        return None
    usec = _pairs(_text(path / "cpu.stat")).get("usage_usec")
    used = _number(_text(path / "memory.current"))
    if used is not None:
        used = max(0.0, used - _pairs(_text(path / "memory.stat")).get("inactive_file", 0.0))
    limit = _number(_text(path / "memory.max"))
    reading = Reading(
        name=name,
        key=str(path),
        cpu_s=None if usec is None else usec / 1e6,
        mem_bytes=used,
        mem_limit_bytes=_least(limit, machine_bytes),
        block_bytes=_io_stat(_text(path / "io.stat")),
    )
    return reading if _says_anything(reading) else None


def _version_1(root: Path, inner: Path, name: str, machine_bytes: float | None) -> Reading | None:
    usage = None
    for controller in ("cpuacct", "cpu,cpuacct"):
        usage = usage or _number(_text(root / controller / inner / "cpuacct.usage"))
    memory = root / "memory" / inner
    used = _number(_text(memory / "memory.usage_in_bytes"))
    if used is not None:
        cache = _pairs(_text(memory / "memory.stat")).get("total_inactive_file", 0.0)
        used = used - cache if cache < used else used
    limit = _number(_text(memory / "memory.limit_in_bytes"))
    blocks = _text(root / "blkio" / inner / "blkio.throttle.io_service_bytes")
    reading = Reading(
        name=name,
        key=str(inner),
        cpu_s=None if usage is None else usage / 1e9,
        mem_bytes=used,
        mem_limit_bytes=_least(None if limit and limit > _NO_LIMIT else limit, machine_bytes),
        block_bytes=_blkio(blocks),
    )
    return reading if _says_anything(reading) else None


def _says_anything(reading: Reading) -> bool:
    return not (reading.cpu_s is None and reading.mem_bytes is None)


def _text(path: Path) -> str | None:
    """Return a file of the kernel; None where it is not there: the controller is not enabled."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(int(text))
    except ValueError:
        # "max"
        return None


def _pairs(text: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        number = _number(value)
        if number is not None:
            found[name] = number
    return found


def _io_stat(text: str | None) -> float | None:
    """Return bytes read and written; None without the controller, 0 where nothing was."""
    if text is None:
        return None
    return float(sum(int(value) for value in re.findall(r"\b[rw]bytes=(\d+)", text)))


def _blkio(text: str | None) -> float | None:
    if text is None:
        return None
    return float(sum(int(value) for value in re.findall(r"(?m)^\S+ (?:Read|Write) (\d+)$", text)))


def _least(limit: float | None, most: float | None) -> float | None:
    return min((value for value in (limit, most) if value), default=None)
