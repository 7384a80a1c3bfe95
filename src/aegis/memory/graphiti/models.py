"""What a synchronisation with Graphiti is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Failure", "Forgotten", "Pending", "SyncState", "Synced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An episode that Graphiti does not have as it is now."""

    id: int
    #: None for a row that only others write.
    timestamp: datetime | None
    #: When it happened, or when it was recorded where nobody said.
    at: datetime
    event_type: str
    summary: str
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An episode that Graphiti did not take (`graphiti_failures`)."""

    episode_id: int
    attempts: int
    error: str
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How far a namespace is."""

    synced: int
    #: Without those that failed.
    pending: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a synchronisation did."""

    pushed: int
    #: Episodes that Graphiti did not take this time; `retry` tries them again.
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What became of the copies that an erasure named."""

    removed: int
    #: Not in the graph, or not any more.
    absent: int
