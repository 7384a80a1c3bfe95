"""Which times of a schedule become jobs now, and which is the next; pure.

Invariant: the times that are planned only go forward, so none is planned twice; and what a clock
that was wrong once left in the future is brought back by `next_from`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.worker import cron

if TYPE_CHECKING:
    from aegis.worker.models import NewSchedule, Schedule

__all__ = ["MOST_AT_ONCE", "Plan", "due_at", "next_from", "plan"]

#: Missed times of one schedule that are planned at once; the rest is in the next round.
MOST_AT_ONCE: Final = 100
#: Missed times that are counted one by one; a schedule of seconds may have missed a million.
_MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What one schedule comes to at one moment."""

    #: Times that become jobs, the earliest first.
    times: tuple[datetime, ...]
    #: Times that are passed over.
    skipped: int
    #: The last of both; None where nothing was due.
    last: datetime | None
    next_at: datetime | None


def plan(schedule: Schedule, now: datetime, *, busy: bool = False) -> Plan:
    """Return what `schedule` comes to at `now`.

    `busy` says that a job of it is not done: then none is added, unless every time counts.
    """
    if schedule.next_at is None or schedule.next_at > now:
        return Plan(times=(), skipped=0, last=None, next_at=schedule.next_at)
    due, next_at = _due(schedule, now)
    last = due[-1]
    if schedule.missed == "all":
        return Plan(times=tuple(due), skipped=0, last=last, next_at=next_at)
    late = now - last > timedelta(seconds=schedule.grace_s)
    if busy or (schedule.missed == "skip" and late):
        return Plan(times=(), skipped=len(due), last=last, next_at=next_at)
    return Plan(times=(last,), skipped=len(due) - 1, last=last, next_at=next_at)


def _due(schedule: Schedule, now: datetime) -> tuple[list[datetime], datetime | None]:
    assert schedule.next_at is not None
    due = [schedule.next_at]
    most = MOST_AT_ONCE if schedule.missed == "all" else _MOST_COUNTED
    for at in cron.times_after(schedule.cron, schedule.timezone, schedule.next_at):
        if at > now:
            return due, at
        if len(due) == most:
            if schedule.missed == "all":
                return due, at
            # Too many to count: the latest is within the last ones before now.
            return _latest(schedule, now, due)
        due.append(at)
    return due, None


def _latest(
    schedule: Schedule, now: datetime, due: list[datetime]
) -> tuple[list[datetime], datetime | None]:
    back = timedelta(seconds=1)
    while True:
        last = None
        for at in cron.times_after(schedule.cron, schedule.timezone, now - back):
            if at > now:
                if last is not None:
                    return [*due, last], at
                break
            last = at
        back *= 4


def next_from(schedule: Schedule | NewSchedule, now: datetime) -> datetime | None:
    """Return when a schedule comes next, seen from `now` alone: for new, changed, resumed ones."""
    return cron.next_after(schedule.cron, schedule.timezone, now)


def due_at(schedule: Schedule, planned: datetime) -> datetime:
    """Return when the job of a time is due: later by the jitter, the same for whoever asks."""
    if not schedule.jitter_s:
        return planned
    digest = hashlib.blake2b(f"{schedule.name}\0{planned.isoformat()}".encode(), digest_size=8)
    share = int.from_bytes(digest.digest()) / 2**64
    return planned + timedelta(seconds=share * schedule.jitter_s)
