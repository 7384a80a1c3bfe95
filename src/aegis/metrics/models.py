"""What containers use: samples as they come in, and points of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["METRICS", "Chart", "Kept", "Latest", "Metric", "Point", "Sample", "Source"]

#: What is measured of a container. `net_io_mb` and `block_io_mb` are counters: what has passed
#: since the container started; a chart shows what passed in each interval.
Metric = Literal["cpu_percent", "mem_usage_mb", "mem_percent", "net_io_mb", "block_io_mb"]
METRICS: tuple[Metric, ...] = (
    "cpu_percent",
    "mem_usage_mb",
    "mem_percent",
    "net_io_mb",
    "block_io_mb",
)
#: Where a chart reads from.
Source = Literal["samples", "1m", "15m", "1h"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement of one container; None is not measured, which is no zero."""

    #: 1 to 100 characters.
    container_name: str
    timestamp: datetime
    #: 100 is one whole core.
    cpu_percent: float | None = None
    mem_usage_mb: float | None = None
    #: Of the container's limit.
    mem_percent: float | None = None
    #: Since the container started.
    net_io_mb: float | None = None
    block_io_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest sample of a container."""

    container_name: str
    timestamp: datetime
    cpu_percent: float | None
    mem_usage_mb: float | None
    mem_percent: float | None
    net_io_mb: float | None
    block_io_mb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One interval of a chart; an interval without samples has no point."""

    at: datetime
    samples: int
    #: Mean and greatest; of a counter, what passed in the interval, twice.
    value: float | None
    highest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One metric of one container over time."""

    container_name: str
    metric: Metric
    since: datetime
    until: datetime
    #: Seconds of an interval; 0 where each point is a sample.
    step_s: int
    source: Source
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a round of upkeep did."""

    #: Partitions by name.
    created: Sequence[str]
    dropped: Sequence[str]
    #: Minutes that were rolled up, late ones counted again.
    minutes: int
    #: Roll-ups reach up to here; None while there are no samples.
    done_until: datetime | None
