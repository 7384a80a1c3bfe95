"""The scheduler, as a kind whose claim plans: it has no pieces of work of its own, it makes jobs.

Exactly once: the row of a schedule is locked while its times become jobs, in one transaction with
the next time; and an index lets each planned time have one job, whatever happens.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from aegis.db.lease import Claim, notify
from aegis.errors import InvalidInput
from aegis.worker import jobs, planning
from aegis.worker.store import jobs as store_of_jobs
from aegis.worker.store import schedules as store

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.worker.models import Job, Schedule

__all__ = ["NAME", "SchedulesKind", "job_of", "plan_due"]

_log = logging.getLogger("aegis.worker")

NAME: Final = "schedules"
#: Schedules that are planned in one transaction.
_MOST: Final = 100
#: Rounds between looks at whether a next time is too far away, as after a clock that was wrong.
_LOOK_EVERY: Final = 20


class SchedulesKind:
    """The kind `schedules`."""

    name = NAME

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rounds = 0

    async def claim(
        self,
        owner: str,  # noqa: ARG002
        *,
        limit: int,  # noqa: ARG002
        lease_s: float,  # noqa: ARG002
        without_keys: Collection[str] = (),  # noqa: ARG002
    ) -> list[Claim]:
        """Plan what is due; there is nothing to run."""
        await plan_due(self._db, look_ahead=self._rounds % _LOOK_EVERY == 0)
        self._rounds += 1
        return []

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:  # noqa: ARG002
        """Nothing is held."""
        return set()

    async def release(self, claims: Sequence[Claim]) -> None:
        """Nothing is held."""

    async def run(self, claim: Claim) -> None:
        """Nothing is run."""

    async def next_due(self) -> float | None:
        """Return seconds until the next time of a schedule."""
        async with self._db.transaction() as conn:
            return await store.seconds_to_next(conn)


async def plan_due(db: Database, *, look_ahead: bool = False) -> list[Job]:
    """Make jobs of the times that have come, and return them."""
    async with db.transaction() as conn:
        due = await store.list_due(conn, limit=_MOST)
        ahead = await store.list_ahead(conn) if look_ahead else []
        if not due and not ahead:
            return []
        now = await store.now(conn)
        for schedule in ahead:
            await _bring_back(conn, schedule, now)
        made: list[Job] = []
        for schedule in due:
            made += await _plan(conn, schedule, now)
        if made:
            await notify(conn, jobs.NAME)
    return made


async def _plan(conn: Connection, schedule: Schedule, now: datetime) -> list[Job]:
    busy = schedule.missed != "all" and await store.has_job(conn, schedule.name)
    try:
        planned = planning.plan(schedule, now, busy=busy)
    except InvalidInput as error:
        # Plain SQL may have written anything; the others go on.
        told = {"schedule": schedule.name, "code": error.code, "why": error.message}
        _log.warning("worker.schedule_broken", extra=told)
        await store.put_next(conn, schedule.id, None)
        return []
    made: list[Job] = []
    if planned.times:
        rows = [
            job_of(schedule, planned=at, due_at=planning.due_at(schedule, at))
            for at in planned.times
        ]
        made = await store_of_jobs.insert(conn, rows)
    await store.move(
        conn,
        schedule.id,
        next_at=planned.next_at,
        last=planned.last,
        skipped=planned.skipped + len(planned.times) - len(made),
    )
    if planned.skipped:
        told: dict[str, Any] = {"schedule": schedule.name, "times": planned.skipped, "busy": busy}
        _log.info("worker.times_skipped", extra=told)
    return made


async def _bring_back(conn: Connection, schedule: Schedule, now: datetime) -> None:
    try:
        nearest = planning.next_from(schedule, now)
    except InvalidInput:
        return
    if nearest != schedule.next_at:
        _log.warning("worker.schedule_moved", extra={"schedule": schedule.name})
        await store.put_next(conn, schedule.id, nearest)


def job_of(
    schedule: Schedule, *, planned: datetime | None, due_at: datetime | None
) -> dict[str, Any]:
    """Return the row of a schedule's job; `planned` is None for one that is run by hand."""
    return {
        "function": schedule.function,
        "arguments": schedule.arguments,
        # Two runs of one schedule never overlap.
        "key": f"schedule:{schedule.name}",
        "provider": None,
        "priority": schedule.priority,
        "due_at": None if due_at is None else due_at.isoformat(),
        "max_attempts": schedule.max_attempts,
        "timeout_s": schedule.timeout_s,
        "unique_key": None,
        "schedule": schedule.name,
        "planned_at": None if planned is None else planned.isoformat(),
    }
