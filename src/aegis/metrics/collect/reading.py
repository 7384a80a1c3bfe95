"""What a source reads of a container at one moment, and samples made of two such moments."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from aegis.metrics.models import Sample, Start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Rates", "Reading", "Round", "Source"]

_MB: Final = 1_000_000.0
#: Readings farther apart say nothing about now.
_LONGEST_S: Final = 600.0
_MOST_NAME: Final = 100
_MOST_STARTS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters and sizes of one container; None is what could not be measured."""

    #: What it is called, and what it is, which stays when it is renamed.
    name: str
    key: str
    #: Seconds that all processors have worked for it.
    cpu_s: float | None = None
    #: Seconds that the clock of `cpu_s` has gone, where it is not the wall's: Docker's system time
    #: divided by the number of processors.
    clock_s: float | None = None
    mem_bytes: float | None = None
    mem_limit_bytes: float | None = None
    #: Since the container started.
    net_bytes: float | None = None
    block_bytes: float | None = None
    #: Share of the file system in use, of machines.
    disk_percent: float | None = None
    #: When it was started, Unix seconds, and how often it was restarted because it had ended.
    started_at: float | None = None
    restarts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of reading."""

    #: Unix seconds.
    at: float
    readings: Sequence[Reading]
    #: What could not be read, by what it is about: told once for as long as it lasts.
    problems: dict[str, str] = field(default_factory=dict[str, str])


class Source(Protocol):
    """Something that can be read."""

    @property
    def name(self) -> str:
        """`docker`, `cgroup`, `prometheus` or `process`."""
        ...

    async def read(self) -> Round:
        """Read everything once. It raises nothing of what is to be expected: see `problems`."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class Rates:
    """Samples of readings: processor use needs the reading before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, Reading]] = {}
        #: Starts that the newest round showed.
        self.starts: list[Start] = []

    def samples(self, this: Round) -> list[Sample]:
        """Return a sample of each reading, one a name."""
        found: dict[str, Sample] = {}
        now: dict[str, tuple[float, Reading]] = {}
        self.starts = []
        for reading in this.readings:
            before = self._before.get(reading.key)
            now[reading.key] = (this.at, reading)
            sample = _sample(this.at, reading, _cpu(this.at, reading, before))
            # Two of one name would be one series that jumps between them.
            name = sample.container_name
            if name in found:
                continue
            found[name] = sample
            start = _start(this.at, reading, before)
            if start is not None:
                self.starts.append(start)
        self._before = now
        return list(found.values())


def _start(at: float, reading: Reading, before: tuple[float, Reading] | None) -> Start | None:
    """Return the start that a reading shows; one that is known already does no harm."""
    known = None if before is None else before[1]
    if reading.started_at is None:
        # A counter that fell: that is all that some sources say.
        fell = known is not None and (known.cpu_s or 0.0) > (reading.cpu_s or math.inf)
        began, number = at, 1
        if not fell:
            return None
    else:
        if known is not None and known.started_at is not None:
            # Docker's time has more digits than are kept.
            if reading.started_at <= known.started_at + 0.001:
                return None
            number = max(1, (reading.restarts or 0) - (known.restarts or 0))
        else:
            number = 1
        began = reading.started_at
    return Start(
        container_name=fit_name(reading.name),
        started_at=datetime.fromtimestamp(began, UTC),
        starts=min(number, _MOST_STARTS),
    )


def _cpu(at: float, reading: Reading, before: tuple[float, Reading] | None) -> float | None:
    """Return percent of one processor since the reading before; None where that says nothing."""
    if before is None or reading.cpu_s is None or before[1].cpu_s is None:
        return None
    used = reading.cpu_s - before[1].cpu_s
    passed = at - before[0]
    if reading.clock_s is not None:
        if before[1].clock_s is None:
            return None
        passed = reading.clock_s - before[1].clock_s
    # A counter that fell began anew; a clock that stood or went back measures nothing.
    if used < 0 or passed <= 0 or not 0 < at - before[0] <= _LONGEST_S:
        return None
    return 100 * used / passed


def _sample(at: float, reading: Reading, cpu: float | None) -> Sample:
    limit, used = reading.mem_limit_bytes, reading.mem_bytes
    return Sample(
        container_name=fit_name(reading.name),
        timestamp=datetime.fromtimestamp(at, UTC),
        cpu_percent=cpu,
        mem_usage_mb=_mb(used),
        mem_percent=100 * used / limit if used is not None and limit else None,
        net_io_mb=_mb(reading.net_bytes),
        block_io_mb=_mb(reading.block_bytes),
        disk_percent=reading.disk_percent,
    )


def fit_name(name: str) -> str:
    """Return a name as samples may have it: no control characters, the end kept if it is long."""
    clean = "".join(
        sign if sign.isprintable() and not 0xD800 <= ord(sign) <= 0xDFFF else "?" for sign in name
    ).strip()
    return clean[-_MOST_NAME:] or "?"


def _mb(value: float | None) -> float | None:
    return None if value is None or value < 0 else value / _MB


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
