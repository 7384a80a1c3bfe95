"""Usage as values. Field = column, where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from pathlib import Path

__all__ = [
    "GRANULARITIES",
    "GROUPS",
    "ORDERS",
    "Archive",
    "Difference",
    "Event",
    "EventRecord",
    "Granularity",
    "Group",
    "Order",
    "Partition",
    "Reconciled",
    "Recorded",
    "Rejection",
    "Report",
    "Retained",
    "Sums",
]

Granularity = Literal["hour", "day", "month", "all"]
Group = Literal["none", "customer", "key", "endpoint"]
Order = Literal["calls", "errors", "tokens", "cost_usd"]

GRANULARITIES: Final[tuple[Granularity, ...]] = ("hour", "day", "month", "all")
GROUPS: Final[tuple[Group, ...]] = ("none", "customer", "key", "endpoint")
ORDERS: Final[tuple[Order, ...]] = ("calls", "errors", "tokens", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One call, to be written."""

    #: The sender's, unique for the customer.
    event_id: str
    customer_id: str
    #: None for a call without a key of ours.
    api_key_id: str | None
    #: Template of the path, not the path: `/v1/things/{id}`.
    endpoint: str
    method: str
    status_code: int
    #: Milliseconds; None where nobody measured them.
    response_time_ms: int | None
    tokens_used: int
    cost_usd: Decimal
    created_at: datetime
    #: v1, middleware, events or import.
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One call, as stored; what other programs left out is None."""

    id: int
    event_id: str | None
    customer_id: str
    api_key_id: str | None
    endpoint: str
    method: str
    status_code: int
    response_time_ms: int | None
    tokens_used: int | None
    cost_usd: Decimal | None
    created_at: datetime
    recorded_at: datetime | None
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a line of a batch was refused."""

    #: From 1.
    line: int
    #: None if the line named none.
    event_id: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a batch; every line is in one of the three."""

    recorded: int
    #: Known by their ids already, or twice in the batch; not counted again.
    duplicates: int
    rejected: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Calls of one group in one span."""

    #: Beginning of the span, UTC.
    at: datetime
    #: Customer, key or endpoint with its method; None if not asked for, or calls without a key.
    group: str | None
    calls: int
    #: Answered with a status of 400 or above.
    errors: int
    tokens: int
    cost_usd: Decimal
    #: Milliseconds, of calls that have them; percentiles are at most 5 % off.
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer to a question about usage."""

    #: What was summed: the question's span, widened to whole hours, or to whole days (UTC).
    since: datetime
    until: datetime
    granularity: Granularity
    items: Sequence[Sums]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A month of events."""

    month: date
    name: str
    #: As the server estimates; None before it has looked.
    rows: int | None
    size_bytes: int
    #: False while it is on its way out.
    attached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A file that holds a month's events."""

    month: date
    state: Literal["exported", "dropped"]
    path: Path
    rows: int
    size_bytes: int
    sha256: str
    digest: str
    exported_at: datetime
    dropped_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What a round of housekeeping did."""

    #: Months whose partitions were made.
    made: Sequence[date] = ()
    #: Months whose events left the database, into files unless they were empty.
    dropped: Sequence[date] = ()
    #: Ids that no sender can use again.
    forgotten_ids: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row of sums that is not what its events add up to."""

    table: Literal["usage_hourly", "usage_daily"]
    at: datetime
    customer_id: str
    api_key_id: str | None
    endpoint: str
    method: str
    #: As in the sums, and as the events say.
    calls: int
    calls_of_events: int
    cost_usd: Decimal
    cost_usd_of_events: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a comparison of events and sums found."""

    months: Sequence[date]
    #: Events that were added up.
    events: int
    #: At most 1,000 are listed.
    differences: Sequence[Difference] = field(default_factory=tuple)
    fixed: bool = False
