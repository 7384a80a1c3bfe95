"""What maintenance finds, plans and does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "RUN_STATES",
    "TASKS",
    "Done",
    "IndexNeed",
    "Needs",
    "Outcome",
    "Partitioned",
    "Progress",
    "RunState",
    "Step",
    "TableNeed",
    "Task",
]

Task = Literal["drop-index", "reindex", "vacuum", "freeze", "analyze", "vacuum-full"]
TASKS: tuple[Task, ...] = ("drop-index", "reindex", "vacuum", "freeze", "analyze", "vacuum-full")
RunState = Literal["running", "done", "failed", "deferred", "interrupted"]
RUN_STATES: tuple[RunState, ...] = ("running", "done", "failed", "deferred", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNeed:
    """A table, and what its counters say."""

    schema: str
    name: str
    size_bytes: int
    live_rows: int
    dead_rows: int
    #: Rows changed since the last ANALYZE, and inserted since the last VACUUM.
    changed_rows: int
    inserted_rows: int
    #: Share of autovacuum_freeze_max_age that the oldest row's transaction has: 1.0 is due.
    freeze_age: float
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    #: Whether it has an index of vectors.
    vectors: bool
    #: Share of it that is estimated to be empty; None where it is small or not known.
    bloat: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexNeed:
    """An index, and what is known of it."""

    schema: str
    name: str
    table: str
    method: str
    valid: bool
    #: Left behind by REINDEX CONCURRENTLY: its name ends in `_ccnew` or `_ccold`.
    leftover: bool
    size_bytes: int
    #: Share that is estimated to be empty; None where that is not known.
    bloat: float | None
    #: Rows of its table updated and deleted since the counters began.
    churn: int
    live_rows: int
    #: The same when it was last rebuilt; None where that is not known.
    churn_before: int | None
    rebuilt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioned:
    """A table that is parted by time: how far ahead, and what does it."""

    table: str
    partitions: int
    #: Partitions that follow the present one without a gap; None if there is none for now.
    ahead: int | None
    oldest: datetime | None
    newest: datetime | None
    size_bytes: int
    #: Whether rows without a partition of their own are taken in by a default one.
    default: bool
    #: The command that makes partitions ahead and drops old ones; None for a table of others.
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What was found."""

    tables: Sequence[TableNeed]
    indexes: Sequence[IndexNeed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do."""

    task: Task
    schema: str
    #: The table or index.
    name: str
    reason: str
    #: The higher, the sooner.
    urgency: float
    size_bytes: int
    #: Rows updated and deleted so far, to be kept with the run.
    churn: int | None = None

    @property
    def object(self) -> str:
        """Schema and name, as history has them."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is."""

    object: str
    task: Task
    phase: str
    done: int
    #: 0 where it is not known.
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step that was taken, as history keeps it."""

    id: int
    task: Task
    object: str
    reason: str
    command: str
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    before_bytes: int | None
    after_bytes: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    done: int
    failed: int
    #: Somebody held a lock, or an old transaction was in the way: next time.
    deferred: int
    #: Steps that the window had no time for.
    left: int
    #: Runs of a process that ended meanwhile.
    interrupted: int
    #: Bytes given back.
    freed_bytes: int
