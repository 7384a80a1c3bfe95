"""Bodies and answers about usage. What a value may be is the domain's to say."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from aegis.api.shapes import Answer, Shape
from aegis.usage.models import Granularity

__all__ = [
    "Archive",
    "EventBatch",
    "EventBody",
    "EventPage",
    "Partition",
    "Partitions",
    "ReconcileBody",
    "Reconciled",
    "Recorded",
    "Report",
    "UsageEvent",
]


class EventBody(Shape):
    """A call that was made elsewhere."""

    event_id: Any = Field(description="The sender's id, the same when sent again.")
    customer_id: Any = Field(None, description="Who pays; the key's customer if left out.")
    api_key_id: Any = Field(None, description="Id of the key that was used.")
    endpoint: Any = Field(description="Template of the path: /v1/things/{id}.")
    method: Any = Field(description="HTTP method, in capitals.")
    status_code: Any = Field(description="100 to 599.")
    response_time_ms: Any = Field(None, description="Milliseconds until the answer.")
    tokens_used: Any = Field(0, description="Tokens of language models.")
    cost_usd: Any = Field("0", description="US dollars, up to six digits behind the point.")
    created_at: Any = Field(
        None, description="When it was made: at most 35 days ago, 5 minutes ahead; now if left out."
    )


class EventBatch(Shape):
    """Calls that were made elsewhere: all of them are recorded, or none."""

    events: list[Any] = Field(description="1 to 10,000 objects, each as for a single event.")
    partial: bool = Field(False, description="Record what can be accepted, and name the rest.")


class ReconcileBody(Shape):
    """What to compare, and whether to put it right."""

    month: str | None = Field(None, description="Such as 2026-05; all if left out.")
    fix: bool = False


class Rejection(Answer):
    """Why a line was refused."""

    line: int
    event_id: str | None
    message: str


class Recorded(Answer):
    """What became of events; every one is in one of the three."""

    recorded: int
    duplicates: int
    rejected: list[Rejection]


class Sums(Answer):
    """Calls of one group in one span."""

    at: datetime
    group: str | None
    calls: int
    errors: int
    tokens: int
    #: US dollars, exact.
    cost_usd: str
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Report(Answer):
    """Sums; the span is that of the question, widened to whole hours or days."""

    since: datetime
    until: datetime
    granularity: Granularity
    items: list[Sums]


class UsageEvent(Answer):
    """One call, as stored."""

    id: int
    event_id: str | None
    customer_id: str
    api_key_id: str | None
    endpoint: str
    method: str
    status_code: int
    response_time_ms: int | None
    tokens_used: int | None
    cost_usd: str | None
    created_at: datetime
    recorded_at: datetime | None
    source: str | None


class EventPage(Answer):
    """A page of events, newest first."""

    items: list[UsageEvent]
    next_cursor: str | None


class Partition(Answer):
    """A month of events in the database."""

    month: date
    name: str
    rows: int | None
    size_bytes: int
    attached: bool


class Archive(Answer):
    """A file that holds a month's events."""

    month: date
    state: Literal["exported", "dropped"]
    path: str
    rows: int
    size_bytes: int
    sha256: str
    digest: str
    exported_at: datetime
    dropped_at: datetime | None


class Partitions(Answer):
    """Months in the database, and months in files."""

    items: list[Partition]
    archives: list[Archive]


class Difference(Answer):
    """A row of sums that is not what its events add up to."""

    table: str
    at: datetime
    customer_id: str
    api_key_id: str | None
    endpoint: str
    method: str
    calls: int
    calls_of_events: int
    cost_usd: str
    cost_usd_of_events: str


class Reconciled(Answer):
    """What a comparison of events and sums found."""

    months: list[date]
    events: int
    differences: list[Difference]
    fixed: bool
