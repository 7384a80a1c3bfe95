"""Usage: every accepted call is one event, and one part of the sums that bills are made from.

Owns `api_usage_events` with its partitions, `usage_hourly`, `usage_daily`, `usage_event_ids` and
`usage_archives`. Invariant: the sums are what the events add up to, at every commit; an event is
counted once, however often it is sent.
"""

from aegis.usage.models import (
    Archive,
    Difference,
    Event,
    EventRecord,
    Partition,
    Reconciled,
    Recorded,
    Rejection,
    Report,
    Retained,
    Sums,
)
from aegis.usage.service import Usage

__all__ = [
    "Archive",
    "Difference",
    "Event",
    "EventRecord",
    "Partition",
    "Reconciled",
    "Recorded",
    "Rejection",
    "Report",
    "Retained",
    "Sums",
    "Usage",
]
