"""The machine and our own process, from `/proc`."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.metrics.collect.reading import Reading, Round

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Machine", "Process", "memory", "read_machine"]

_SECTOR: Final = 512
#: What carries the bytes of others once more: loops, bridges, device mappers, parts of disks.
_NO_DISK: Final = re.compile(r"loop|ram|zram|dm-|md|sr|fd")
#: Images that are full by their nature.
_NO_DISK_TYPES: Final = frozenset({"squashfs", "iso9660", "erofs", "devtmpfs"})
_PART: Final = re.compile(r"(?:(?:s|h|v|xv)d[a-z]+\d+|(?:nvme|mmcblk).*p\d+)")
_NO_CARD: Final = re.compile(r"lo$|veth|docker|br-|virbr|cni|flannel|cali|tap")


#: File systems of a machine that are series, besides the one at the root.
_MOST_DISKS: Final = 20
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class Machine:
    """The machine alone: its own figures, and how full its file systems are."""

    name = "machine"

    def __init__(self, proc: Path = Path("/proc"), host: str = "") -> None:
        self._proc = proc
        self._host = f"host/{host or socket.gethostname()}"

    async def read(self) -> Round:
        """Read the machine, in a thread: a disk may make one wait."""
        return await asyncio.to_thread(self._read)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _read(self) -> Round:
        readings = read_machine(self._proc, name=self._host)
        problems = {} if readings else {"host": f"{self._proc}/stat cannot be read"}
        return Round(at=time.time(), readings=readings, problems=problems)


class Process:
    """Our own process, where nothing else can be read."""

    name = "process"

    def __init__(self, proc: Path = Path("/proc"), label: str = "aegis") -> None:
        self._proc = proc
        self._label = label

    async def read(self) -> Round:
        """Read the process's figures."""
        own = self._proc / "self"
        pages = _words(own / "statm")
        used = None
        if len(pages) > 1 and pages[1].isdigit():
            used = float(pages[1]) * os.sysconf("SC_PAGE_SIZE")
        whole = memory(self._proc)
        reading = Reading(
            name=self._label,
            key=f"process {os.getpid()}",
            cpu_s=time.process_time(),
            mem_bytes=used,
            mem_limit_bytes=None if whole is None else whole[1],
            block_bytes=_own_io(own / "io"),
        )
        return Round(at=time.time(), readings=[reading])

    async def aclose(self) -> None:
        """Nothing is open."""


def read_machine(
    proc: Path, *, name: str, statvfs: Callable[[str], os.statvfs_result] = os.statvfs
) -> list[Reading]:
    """Return the figures of the whole machine, and of its other file systems by their folder.

    Nothing where there is no `/proc/stat`.
    """
    first = _words(proc / "stat")
    if not first or first[0] != "cpu":
        return []
    # user nice system idle iowait irq softirq steal; guests are in user and nice already.
    ticks = [float(word) for word in first[1:9] if word.isdigit()]
    busy = sum(ticks) - sum(ticks[3:5])
    used = memory(proc)
    host = Reading(
        name=name,
        key="host",
        cpu_s=busy / os.sysconf("SC_CLK_TCK"),
        mem_bytes=None if used is None else used[0],
        mem_limit_bytes=None if used is None else used[1],
        net_bytes=_network(proc / "net" / "dev"),
        block_bytes=_disks(proc / "diskstats"),
        disk_percent=_full("/", statvfs),
    )
    others = (
        Reading(name=f"{name}:{folder}", key=f"disk {folder}", disk_percent=_full(folder, statvfs))
        for folder in _folders(proc / "self" / "mounts")
    )
    return [host, *(one for one in others if one.disk_percent is not None)]


def _folders(path: Path) -> list[str]:
    """Return where other local disks are mounted, a disk once; not what is mounted over a file."""
    found: dict[str, str] = {}
    at_root: set[str] = set()
    for line in _text(path).splitlines():
        words = [_OCTAL.sub(lambda code: chr(int(code[1], 8)), word) for word in line.split()]
        if len(words) < 3 or not words[0].startswith("/dev/") or words[2] in _NO_DISK_TYPES:
            continue
        device, folder = words[:2]
        if folder == "/":
            at_root.add(device)
        elif len(folder) < len(found.get(device, folder + " ")) and Path(folder).is_dir():
            found[device] = folder
    return sorted(folder for disk, folder in found.items() if disk not in at_root)[:_MOST_DISKS]


def _full(folder: str, statvfs: Callable[[str], os.statvfs_result]) -> float | None:
    """Return percent in use as `df` has it: of what others than root may fill."""
    try:
        found = statvfs(folder)
    except OSError:
        return None
    used = found.f_blocks - found.f_bfree
    whole = used + found.f_bavail
    return 100 * used / whole if whole > 0 else None


def memory(proc: Path) -> tuple[float, float] | None:
    """Return bytes in use, and bytes there are, of the machine."""
    found = dict(re.findall(r"(?m)^(MemTotal|MemAvailable):\s+(\d+) kB", _text(proc / "meminfo")))
    if len(found) < 2:
        return None
    whole, free = (1_024.0 * int(found[key]) for key in ("MemTotal", "MemAvailable"))
    return whole - free, whole


def _network(path: Path) -> float | None:
    total, seen = 0, False
    for line in _text(path).splitlines():
        name, colon, figures = line.partition(":")
        words = figures.split()
        if not colon or len(words) < 9 or _NO_CARD.match(name.strip()):
            continue
        total += int(words[0]) + int(words[8])
        seen = True
    return float(total) if seen else None


def _disks(path: Path) -> float | None:
    sectors, seen = 0, False
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) < 10 or _NO_DISK.match(words[2]) or _PART.fullmatch(words[2]):
            continue
        sectors += int(words[5]) + int(words[9])
        seen = True
    return float(sectors * _SECTOR) if seen else None


def _own_io(path: Path) -> float | None:
    found = re.findall(r"(?m)^(?:read|write)_bytes: (\d+)$", _text(path))
    return float(sum(map(int, found))) if found else None


def _words(path: Path) -> list[str]:
    lines = _text(path).splitlines()
    return lines[0].split() if lines else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
