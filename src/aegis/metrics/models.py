"""What containers use: samples as they come in, and points of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "ANOMALY_STATUSES",
    "METRICS",
    "RULE_KINDS",
    "Anomaly",
    "AnomalyStatus",
    "Chart",
    "Kept",
    "Latest",
    "Metric",
    "MetricRule",
    "Point",
    "RuleKind",
    "RuleSeverity",
    "Sample",
    "Source",
    "Start",
    "Watched",
]

#: What is measured of a container. `net_io_mb` and `block_io_mb` are counters: what has passed
#: since the container started; a chart shows what passed in each interval.
Metric = Literal[
    "cpu_percent", "mem_usage_mb", "mem_percent", "net_io_mb", "block_io_mb", "disk_percent"
]
METRICS: tuple[Metric, ...] = (
    "cpu_percent",
    "mem_usage_mb",
    "mem_percent",
    "net_io_mb",
    "block_io_mb",
    "disk_percent",
)
#: Where a chart reads from.
Source = Literal["samples", "1m", "5m", "15m", "1h"]
AnomalyStatus = Literal["open", "acknowledged", "resolved"]
ANOMALY_STATUSES: tuple[AnomalyStatus, ...] = ("open", "acknowledged", "resolved")
#: A value beyond a limit; its change in a minute; seconds without a sample.
RuleKind = Literal["threshold", "rate", "absence"]
RULE_KINDS: tuple[RuleKind, ...] = ("threshold", "rate", "absence")
RuleSeverity = Literal["warning", "critical"]


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
    #: Of the file system, of machines.
    disk_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A container was started."""

    container_name: str
    started_at: datetime
    #: Starts since the one before: more where they came too fast to be seen one by one.
    starts: int = 1


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
    disk_percent: float | None


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
    #: Minutes that were rolled up and are new or different; late ones are counted again.
    minutes: int
    #: Roll-ups reach up to here; None while there are no samples.
    done_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One incident of one series, as `infra_anomaly_alerts` keeps it."""

    id: int
    host: str | None
    container_name: str | None
    metric: str
    #: `spike`, `drop`, `level_shift`, `unseasonal`, `flatline`, `leak`, `restart_loop`, `silence`.
    kind: str
    severity: str
    status: str
    observed: float | None
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    score: float | None
    explanation: str
    evidence: Mapping[str, Any] | None
    started_at: datetime
    ended_at: datetime | None
    acknowledged_at: datetime | None
    marked_false_at: datetime | None
    #: The first of those that began at about the same time; None for itself.
    first_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """A rule by hand, beside the detector."""

    name: str
    kind: RuleKind
    #: Glob of containers' names.
    container: str = "*"
    #: What is measured; of no matter for `absence`.
    metric: str = "cpu_percent"
    #: Whether values above the limit are bad, or those below it.
    above: bool = True
    #: The limit: of the metric, of its change in a minute, or seconds of silence.
    value: float
    #: Seconds that it has to last.
    for_s: float = 60.0
    severity: RuleSeverity = "warning"
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one round of watching did."""

    #: Another process watches; nothing was done.
    elsewhere: bool = False
    samples: int = 0
    points: int = 0
    #: Anomalies that began, and that ended.
    opened: int = 0
    ended: int = 0
    #: Samples up to here were judged.
    until: datetime | None = None
