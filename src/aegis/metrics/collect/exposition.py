"""Prometheus's text format, and what cAdvisor and node_exporter call what we measure. Pure.

Format: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.metrics.collect.reading import Reading, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["NAMES", "Series", "parse_text", "readings_of"]

_LINE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{.*\})?\s*(\S+)(?:\s+(-?\d+))?\s*")
_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_MOST_LINE: Final = 20_000

_CPU: Final = ("container_cpu_usage_seconds_total",)
_MEMORY: Final = ("container_memory_working_set_bytes", "container_memory_usage_bytes")
_LIMIT: Final = ("container_spec_memory_limit_bytes",)
_NET: Final = ("container_network_receive_bytes_total", "container_network_transmit_bytes_total")
_BLOCK: Final = (
    "container_fs_reads_bytes_total",
    "container_fs_writes_bytes_total",
    "container_blkio_device_usage_total",
)
_NODE: Final = (
    "node_cpu_seconds_total",
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_disk_read_bytes_total",
    "node_disk_written_bytes_total",
)
#: Bytes of file systems: there are, root alone may still use, anybody may.
_FILES: Final = (
    "node_filesystem_size_bytes",
    "node_filesystem_free_bytes",
    "node_filesystem_avail_bytes",
)
_PROCESS: Final = ("process_cpu_seconds_total", "process_resident_memory_bytes")
#: Every name that is of use.
NAMES: Final = (*_CPU, *_MEMORY, *_LIMIT, *_NET, *_BLOCK, *_NODE, *_FILES, *_PROCESS)
_WANTED: Final = frozenset(NAMES)
#: Not work: waiting, and the guests' time, which user and nice hold already.
_IDLE: Final = frozenset({"idle", "iowait", "guest", "guest_nice"})
#: cAdvisor says "no limit" with 0, or with a number near 2**63.
_NO_LIMIT: Final = float(1 << 60)
_NO_CARD: Final = re.compile(r"lo$|veth|docker|br-|virbr|cni|flannel|cali|tap")
#: Images that are full by their nature; file systems of one machine that are series.
_NO_FILES: Final = frozenset({"squashfs", "iso9660", "erofs", "devtmpfs"})
_MOST_FILES: Final = 20
_NO_DISK: Final = re.compile(r"loop|ram|zram|dm-|md|sr|fd")


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a name, its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse_text(text: str) -> Iterator[Series]:
    """Yield the series of use; a line that is none of the format is left out."""
    for line in text.splitlines():
        if not line or line[0] == "#" or len(line) > _MOST_LINE:
            continue
        # Most of what is scraped is of no use: look at the name before anything else.
        if line[: _end_of_name(line)] not in _WANTED:
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        labels = _labels(found[2])
        value = _value(found[3])
        if labels is not None and value is not None:
            yield Series(found[1], labels, value)


def readings_of(series: Iterable[Series], *, target: str) -> list[Reading]:
    """Return a reading of each container, of the machine, or of the process behind `target`."""
    kept = [one for one in series if math.isfinite(one.value)]
    groups: dict[str, list[Series]] = defaultdict(list)
    for one in kept:
        if one.name.startswith("container_"):
            name = _container(one.labels)
            if name is not None:
                groups[name].append(one)
    readings = [_of_container(name, found) for name, found in groups.items()]
    hosts: dict[str, list[Series]] = defaultdict(list)
    for one in kept:
        if one.name.startswith("node_"):
            hosts[one.labels.get("instance", target)].append(one)
    for name, found in hosts.items():
        readings += _of_node(name, found)
    if not readings:
        processes: dict[str, list[Series]] = defaultdict(list)
        for one in kept:
            job = one.labels.get("job")
            at = one.labels.get("instance", target)
            processes[f"{job}/{at}" if job else at].append(one)
        readings = [_of_process(name, found) for name, found in processes.items()]
    return readings


def _container(labels: Mapping[str, str]) -> str | None:
    """Return a container's name: Docker's, or Kubernetes' pod and container."""
    pod = labels.get("pod") or labels.get("pod_name")
    container = labels.get("container") or labels.get("container_name")
    if pod:
        # Without a container it is the pod's sum, which only the network is counted in.
        if container == "POD":
            return None
        space = labels.get("namespace", "")
        return "/".join(part for part in (space, pod, container) if part)
    return labels.get("name") or None


def _of_container(name: str, found: list[Series]) -> Reading:
    limit = _sum(found, _LIMIT[0])
    memory = _sum(found, _MEMORY[0])
    blocks = [_sum(found, one) for one in _BLOCK[:2]]
    used = total(blocks)
    return Reading(
        name=name,
        key=name,
        cpu_s=_cpu(found),
        mem_bytes=_sum(found, _MEMORY[1]) if memory is None else memory,
        mem_limit_bytes=limit if limit and limit < _NO_LIMIT else None,
        net_bytes=total(_sum(found, one) for one in _NET),
        block_bytes=_blkio(found) if used is None else used,
    )


def _cpu(found: list[Series]) -> float | None:
    """Return the seconds of all processors; `cpu="total"` is their sum already."""
    mine = [one for one in found if one.name == _CPU[0]]
    whole = [one.value for one in mine if one.labels.get("cpu") == "total"]
    return total(whole or [one.value for one in mine])


def _blkio(found: list[Series]) -> float | None:
    return total(
        one.value
        for one in found
        if one.name == _BLOCK[2] and one.labels.get("operation") in ("Read", "Write")
    )


def _of_node(name: str, found: list[Series]) -> list[Reading]:
    """Return the machine with its root, then its other local disks."""
    full = _full(found)
    host = _of_host(name, found, full.pop("/", None))
    return [
        host,
        *(
            Reading(name=f"host/{name}:{mount}", key=f"host/{name}:{mount}", disk_percent=percent)
            for mount, percent in sorted(full.items())[:_MOST_FILES]
        ),
    ]


def _full(found: list[Series]) -> dict[str, float]:
    """Return percent in use of local disks by where they are mounted, a disk once, as `df` does."""
    sizes: dict[str, dict[str, float]] = defaultdict(dict)
    devices: dict[str, str] = {}
    for one in found:
        mount, device = one.labels.get("mountpoint", ""), one.labels.get("device", "")
        local = device.startswith("/dev/") and one.labels.get("fstype") not in _NO_FILES
        if one.name in _FILES and mount and local:
            sizes[mount][one.name] = one.value
            # Mounted in several places, it is the disk of the shortest.
            if len(mount) < len(devices.get(device, mount + " ")):
                devices[device] = mount
    full: dict[str, float] = {}
    for mount in devices.values():
        size, free, left = (sizes[mount].get(name) for name in _FILES)
        if size is None or free is None or left is None or size - free + left <= 0:
            continue
        full[mount] = 100 * (size - free) / (size - free + left)
    return full


def _of_host(name: str, found: list[Series], full: float | None) -> Reading:
    whole = _sum(found, _NODE[1])
    free = _sum(found, _NODE[2])
    cards = [one for one in found if not _NO_CARD.match(one.labels.get("device", ""))]
    disks = [one for one in found if not _NO_DISK.match(one.labels.get("device", ""))]
    return Reading(
        name=f"host/{name}",
        key=f"host/{name}",
        cpu_s=total(
            one.value
            for one in found
            if one.name == _NODE[0] and one.labels.get("mode") not in _IDLE
        ),
        mem_bytes=None if whole is None or free is None else whole - free,
        mem_limit_bytes=whole,
        net_bytes=total(_sum(cards, one) for one in _NODE[3:5]),
        block_bytes=total(_sum(disks, one) for one in _NODE[5:7]),
        disk_percent=full,
    )


def _of_process(name: str, found: list[Series]) -> Reading:
    return Reading(
        name=name,
        key=name,
        cpu_s=_sum(found, _PROCESS[0]),
        mem_bytes=_sum(found, _PROCESS[1]),
    )


def _sum(found: Iterable[Series], name: str) -> float | None:
    return total(one.value for one in found if one.name == name)


def _end_of_name(line: str) -> int:
    brace, blank = line.find("{"), line.find(" ")
    ends = [at for at in (brace, blank) if at >= 0]
    return min(ends, default=len(line))


def _labels(text: str | None) -> dict[str, str] | None:
    inner = (text or "{}")[1:-1].strip()
    found: dict[str, str] = {}
    at = 0
    while at < len(inner):
        one = _LABEL.match(inner, at)
        if one is None:
            return None
        found[one[1]] = re.sub(r"\\.", lambda sign: _ESCAPES.get(sign[0], sign[0][1]), one[2])
        at = one.end()
    return found


def _value(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
