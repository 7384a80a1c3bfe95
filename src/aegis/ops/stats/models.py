"""Counters, what happened between two readings of them, and advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "Advice",
    "Counters",
    "Growth",
    "Interval",
    "Plan",
    "Regression",
    "SlowPlan",
    "Snapshot",
    "StatementFigures",
    "StatementInterval",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The database's counters at one moment; they begin at the last reset."""

    taken_at: datetime
    server_started_at: datetime
    stats_reset_at: datetime | None
    statements_reset_at: datetime | None
    database_bytes: int
    connections: int
    heap_hit: int
    heap_read: int
    index_hit: int
    index_read: int
    commits: int
    rollbacks: int
    deadlocks: int
    temp_bytes: int
    checksum_failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What happened between two readings."""

    since: datetime
    until: datetime
    #: False where counters were reset meanwhile: then it is what happened since the reset.
    whole: bool
    heap_hit: int
    heap_read: int
    index_hit: int
    index_read: int
    commits: int
    rollbacks: int
    deadlocks: int
    temp_bytes: int
    checksum_failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFigures:
    """Counters of one statement at one moment."""

    query_id: int
    calls: int
    total_ms: float
    rows: int
    blocks_hit: int
    blocks_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementInterval:
    """What one statement did between two readings."""

    query_id: int
    query: str
    calls: int
    total_ms: float
    mean_ms: float
    rows: int
    blocks_hit: int
    blocks_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A statement that has become slower."""

    query_id: int
    query: str
    #: Mean of the recent interval and of the time before, milliseconds.
    mean_ms: float
    before_ms: float
    #: How many times slower.
    ratio: float
    calls: int
    calls_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a snapshot stored."""

    taken_at: datetime
    relations: int
    statements: int
    #: Snapshots that were too old.
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How a table, an index or the database grows."""

    object: str
    kind: str
    size_bytes: int
    #: Bytes a day, by the median of the slopes of its past; negative where it shrinks.
    per_day_bytes: float
    #: Its size in 30 days if it goes on so.
    in_30_days_bytes: float
    #: How many readings, over how many days, that rests on.
    readings: int
    days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a statement would be executed, whatever its values are."""

    query_id: int
    query: str
    plan: Sequence[str]
    #: Why there is no plan; None where there is one.
    why_not: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowPlan:
    """How a statement was executed when it was slow; of several times, the slowest."""

    query: str
    milliseconds: float
    #: How many plans of this statement the log has.
    times: int
    plan: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """An index that the planner would use, and what it would gain."""

    query_id: int
    query: str
    index: str
    cost_before: float
    cost_after: float
    #: 1 less the ratio of costs: 0.9 is a tenth of the cost.
    gain: float
    #: Estimated size of the index.
    size_bytes: int
