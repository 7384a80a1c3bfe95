"""Rows of jobs, schedules, workers and rates, and what a caller gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "JOB_STATES",
    "MISSED",
    "Job",
    "JobState",
    "Missed",
    "NewJob",
    "NewSchedule",
    "ProviderRate",
    "Schedule",
    "WorkerRow",
]

JobState = Literal["waiting", "running", "completed", "failed", "cancelled"]
JOB_STATES: Final = get_args(JobState)
#: What becomes of times that passed with no worker to see them.
Missed = Literal["all", "latest", "skip"]
MISSED: Final = get_args(Missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A call to be made."""

    #: Registered name.
    function: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    #: Of one key, one job runs at a time.
    key: str | None = None
    #: Whose rate limit counts.
    provider: str | None = None
    #: 0 to 9; higher first.
    priority: int = 4
    #: Not before; now if left out.
    due_at: datetime | None = None
    max_attempts: int = 5
    #: Seconds that one attempt may take.
    timeout_s: int | None = None
    #: Enqueued again with it, it is the same job as long as that is kept.
    unique_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A call: waiting, under way, or history."""

    id: int
    function: str
    arguments: dict[str, Any]
    key: str | None
    provider: str | None
    priority: int
    state: JobState
    due_at: datetime
    #: Times that it was begun and not handed back.
    attempts: int
    max_attempts: int
    timeout_s: int | None
    #: Fencing token.
    token: int
    #: The worker that runs it, or ran it last.
    lease_owner: str | None
    lease_until: datetime | None
    unique_key: str | None
    schedule: str | None
    #: The time of the schedule that it stands for.
    planned_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A function and when it is to be called."""

    name: str
    #: Five fields, or six with seconds in front.
    cron: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    #: IANA name of the zone that the fields are in.
    timezone: str = "UTC"
    priority: int = 4
    max_attempts: int = 1
    timeout_s: int | None = None
    missed: Missed = "latest"
    #: A time counts as missed when it is so many seconds ago.
    grace_s: int = 60
    #: Its jobs are due up to so many seconds late.
    jitter_s: int = 0
    created_by: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A function that is called at the times that a cron expression says."""

    id: int
    name: str
    cron: str
    timezone: str
    function: str
    arguments: dict[str, Any]
    priority: int
    max_attempts: int
    timeout_s: int | None
    missed: Missed
    grace_s: int
    jitter_s: int
    paused: bool
    #: None where there is none, or while it is paused.
    next_at: datetime | None
    last_planned_at: datetime | None
    #: Times that were passed over: missed, or the job before was not done.
    skipped: int
    created_by: str
    created_at: datetime
    changed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A process that runs work."""

    #: The incarnation: a process that starts again is another.
    id: str
    host: str
    pid: int
    kinds: list[str]
    concurrency: int
    running: int
    done: int
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    #: Seen a moment ago, and not stopped.
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRate:
    """How often all workers together may ask a provider."""

    provider: str
    per_minute: float
    #: Calls that may come at once after a pause.
    burst: int
