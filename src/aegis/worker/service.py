"""Jobs, schedules and workers as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.db.lease import notify
from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.security.audit.recording import audited, note
from aegis.worker import jobs as kind_of_jobs
from aegis.worker import planning, schedules, validate
from aegis.worker.defaults import CREATED_BY
from aegis.worker.loop import LEASE_S
from aegis.worker.models import NewJob, NewSchedule, ProviderRate
from aegis.worker.store import jobs, rates, workers
from aegis.worker.store import schedules as store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.worker.functions import Functions
    from aegis.worker.models import Job, Schedule, WorkerRow

__all__ = ["Jobs", "Schedules", "Workers"]


class Jobs:
    """Calls of registered functions, made by workers."""

    def __init__(self, db: Database, functions: Functions) -> None:
        self._db = db
        #: Registered functions; `add` one before a worker of this client starts.
        self.functions = functions

    async def enqueue(self, function: str, **fields: Any) -> Job:
        """Enqueue one call, with fields of `NewJob`, and return the job.

        With a `unique_key` that is there already, that job is returned.

        Raises:
            InvalidInput: a field is wrong, or no function has this name.
            Conflict: the unique key is that of another call.
        """
        try:
            new = NewJob(function=function, **fields)
        except TypeError as error:
            raise InvalidInput(f"A job has no such field: {error}.") from None
        made = await self.enqueue_many([new])
        if made:
            return made[0]
        assert new.unique_key is not None
        async with self._db.transaction() as conn:
            found = await jobs.find_by_unique_key(conn, new.unique_key)
        if found is None:
            return await self.enqueue(function, **fields)
        if (found.function, found.arguments) != (new.function, new.arguments):
            raise Conflict(
                f"unique_key {new.unique_key!r} is that of job {found.id}, another call; use a "
                "key of its own.",
                code="unique_key_taken",
            )
        return found

    async def enqueue_many(self, given: Sequence[NewJob]) -> Sequence[Job]:
        """Enqueue calls, all or none, and return those that are new: unique keys come once.

        Raises:
            InvalidInput: one of them cannot be; nothing was enqueued.
        """
        if len(given) > validate.MOST_JOBS:
            raise InvalidInput(
                f"{len(given):,} jobs in one call; up to {validate.MOST_JOBS:,} are taken."
            )
        for new in given:
            validate.check_job(new)
        for name in {new.function for new in given}:
            self.functions.check(name)
        if not given:
            return []
        async with self._db.transaction() as conn:
            made = await jobs.insert(conn, [_row(new) for new in given])
            if made:
                await notify(conn, kind_of_jobs.NAME)
        return made

    async def get(self, job_id: int) -> Job:
        """Return a job (`NotFound`)."""
        async with self._db.transaction() as conn:
            return await jobs.get(conn, job_id)

    async def list(
        self,
        *,
        states: Sequence[str] = (),
        function: str | None = None,
        schedule: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[Job]:
        """Return jobs, the newest first: those before the id `before`, which pages."""
        wanted = validate.check_states(states)
        validate.check_limit(limit)
        async with self._db.transaction() as conn:
            return await jobs.list_jobs(
                conn,
                states=wanted,
                function=function,
                schedule=schedule,
                before=before,
                limit=limit,
            )

    async def cancel(self, job_id: int) -> Job:
        """End a job that is not done; the worker that runs it is told to stop.

        Raises:
            NotFound: there is no such job.
            Conflict: it is done.
        """
        async with self._db.transaction() as conn:
            found = await jobs.cancel(conn, job_id)
            if found is None:
                done = await jobs.get(conn, job_id)
                raise Conflict(f"Job {job_id} is {done.state}; it cannot be cancelled.")
            await notify(conn, kind_of_jobs.NAME, lost=True)
        return found

    async def retry(self, job_id: int) -> Job:
        """Have a failed or cancelled job run anew, with all its attempts.

        Raises:
            NotFound: there is no such job.
            Conflict: it is neither failed nor cancelled.
        """
        async with self._db.transaction() as conn:
            found = await jobs.retry(conn, job_id)
            if found is None:
                other = await jobs.get(conn, job_id)
                raise Conflict(f"Job {job_id} is {other.state}; failed ones can be retried.")
            await notify(conn, kind_of_jobs.NAME)
        return found

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are `due`, wait for `later`, and are `running`."""
        async with self._db.transaction() as conn:
            return await jobs.count_states(conn)


class Schedules:
    """Functions that are called at the times that a cron expression says."""

    def __init__(self, db: Database, functions: Functions) -> None:
        self._db = db
        self._functions = functions

    async def add(
        self, name: str, cron: str, function: str, *, replace: bool = False, **fields: Any
    ) -> Schedule:
        """Add a schedule, with fields of `NewSchedule`, or replace the one of this name.

        Raises:
            InvalidInput: a field is wrong, or no function has this name.
            Conflict: there is a schedule of this name, and it is not to be replaced.
        """
        try:
            new = NewSchedule(name=name, cron=cron, function=function, **fields)
        except TypeError as error:
            raise InvalidInput(f"A schedule has no such field: {error}.") from None
        validate.check_schedule(new)
        self._functions.check(function)
        async with audited(self._db) as conn:
            at = planning.next_from(new, await store.now(conn))
            made = await store.add(conn, new, next_at=at, replace=replace)
            if made is None:
                raise Conflict(f"There is a schedule {name!r}; replace it, or use another name.")
            if made.paused:
                made = await store.set_paused(conn, name, paused=True, next_at=None) or made
            await notify(conn, schedules.NAME)
            note(
                conn,
                "schedules.add",
                "schedule",
                name,
                cron=cron,
                function=function,
                paused=made.paused,
                replace=replace,
            )
        return made

    async def get(self, name: str) -> Schedule:
        """Return a schedule by name (`NotFound`)."""
        async with self._db.transaction() as conn:
            return _found(await store.find(conn, name), name)

    async def list(self) -> Sequence[Schedule]:
        """Return all schedules by name."""
        async with self._db.transaction() as conn:
            return await store.list_schedules(conn)

    async def remove(self, name: str) -> None:
        """Remove a schedule (`NotFound`); jobs that it made stay."""
        async with audited(self._db) as conn:
            if not await store.remove(conn, name, default_by=CREATED_BY):
                _found(None, name)
            note(conn, "schedules.remove", "schedule", name)

    async def pause(self, name: str) -> Schedule:
        """Plan nothing until it is resumed; times that pass meanwhile are not missed."""
        async with audited(self._db) as conn:
            paused = _found(await store.set_paused(conn, name, paused=True, next_at=None), name)
            note(conn, "schedules.pause", "schedule", name)
            return paused

    async def resume(self, name: str) -> Schedule:
        """Go on with the next time from now (`NotFound`)."""
        async with audited(self._db) as conn:
            schedule = _found(await store.find(conn, name, lock=True), name)
            if not schedule.paused:
                return schedule
            at = planning.next_from(schedule, await store.now(conn))
            await notify(conn, schedules.NAME)
            note(conn, "schedules.resume", "schedule", name)
            return _found(await store.set_paused(conn, name, paused=False, next_at=at), name)

    async def run(self, name: str) -> Job:
        """Enqueue a job of it now, paused or not; its times stay as they are (`NotFound`)."""
        async with self._db.transaction() as conn:
            schedule = _found(await store.find(conn, name), name)
            made = await jobs.insert(conn, [schedules.job_of(schedule, planned=None, due_at=None)])
            await notify(conn, kind_of_jobs.NAME)
        return made[0]

    async def history(self, name: str, *, limit: int = 20) -> Sequence[Job]:
        """Return the jobs that a schedule made, the newest first; also of one that is gone."""
        validate.check_limit(limit)
        async with self._db.transaction() as conn:
            return await jobs.list_jobs(
                conn,
                states=validate.check_states(()),
                function=None,
                schedule=name,
                before=None,
                limit=limit,
            )


class Workers:
    """The processes that run work, and the rates that they share."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, *, all_of_them: bool = False) -> Sequence[WorkerRow]:
        """Return the workers that live; `all_of_them` with those of the last week."""
        async with self._db.transaction() as conn:
            return await workers.list_workers(conn, alive_s=LEASE_S, all_of_them=all_of_them)

    async def rates(self) -> Sequence[ProviderRate]:
        """Return the rates of providers."""
        async with self._db.transaction() as conn:
            return await rates.list_rates(conn)

    async def set_rate(
        self, provider: str, per_minute: float | None, *, burst: int = 1
    ) -> ProviderRate | None:
        """Set how often all workers together may ask a provider; None lifts the rate.

        Raises:
            InvalidInput: the rate cannot be.
        """
        async with audited(self._db) as conn:
            if per_minute is None:
                await rates.delete_rate(conn, provider)
                note(conn, "workers.rate", "provider", provider, per_minute=None)
                return None
            rate = ProviderRate(provider=provider, per_minute=per_minute, burst=burst)
            validate.check_rate(rate)
            await rates.set_rate(conn, rate)
            note(conn, "workers.rate", "provider", provider, per_minute=per_minute, burst=burst)
        return rate


def _found(schedule: Schedule | None, name: str) -> Schedule:
    if schedule is None:
        raise NotFound(f"There is no schedule {name[:100]!r}; `aegis schedule list` shows them.")
    return schedule


def _row(new: NewJob) -> dict[str, Any]:
    return {
        "function": new.function,
        "arguments": new.arguments,
        "key": new.key,
        "provider": new.provider,
        "priority": new.priority,
        "due_at": None if new.due_at is None else new.due_at.isoformat(),
        "max_attempts": new.max_attempts,
        "timeout_s": new.timeout_s,
        "unique_key": new.unique_key,
        "schedule": None,
        "planned_at": None,
    }
