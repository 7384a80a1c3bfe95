"""`/v1/jobs`, `/v1/schedules` and `/v1/workers`: what workers do, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Answer, Body
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.worker.models import JOB_STATES, JobState, Missed

__all__ = ["router"]

router = Router(prefix="/v1", tags=["jobs"], dependencies=[KnownParameters])

_States = Annotated[list[str] | None, Query(json_schema_extra={"enum": list(JOB_STATES)})]


class JobBody(Body):
    """A call that a worker is to make."""

    function: str = Field(description="Registered name of the function.")
    arguments: dict[str, Any] = Field({}, description="What it is called with.")
    key: str | None = Field(None, description="Of one key, one job runs at a time.")
    provider: str | None = Field(None, description="Whose rate limit counts.")
    priority: int = Field(4, description="0 to 9; higher first.")
    due_at: OptionalTime = Field(None, description="Not before; now if left out.")
    max_attempts: int = 5
    timeout_s: int | None = Field(None, description="Seconds that an attempt may take.")
    unique_key: str | None = Field(None, description="With it the job is there once.")


class JobAnswer(Answer):
    """A job."""

    id: int
    function: str
    arguments: dict[str, Any]
    key: str | None
    provider: str | None
    priority: int
    state: JobState
    due_at: datetime
    attempts: int
    max_attempts: int
    timeout_s: int | None
    token: int
    lease_owner: str | None
    lease_until: datetime | None
    unique_key: str | None
    schedule: str | None
    planned_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    result: Any


class JobPage(Answer):
    """Jobs, the newest first."""

    items: list[JobAnswer]
    #: What `before` is for the next page; None at the end.
    next_before: int | None


class ScheduleBody(Body):
    """A function and when it is to be called."""

    cron: str = Field(description="Five fields, or six with seconds in front.")
    function: str = Field(description="Registered name of the function.")
    arguments: dict[str, Any] = Field({}, description="What it is called with.")
    timezone: str = Field("UTC", description="IANA name of the zone of the fields.")
    priority: int = Field(4, description="Of its jobs, 0 to 9; higher first.")
    max_attempts: int = 1
    timeout_s: int | None = None
    missed: Missed = Field("latest", description="What becomes of times with no worker.")
    grace_s: int = Field(60, description="Seconds after which a time counts as missed.")
    jitter_s: int = Field(0, description="Due up to so many seconds late.")


class NewScheduleBody(ScheduleBody):
    """A new schedule."""

    name: str


class ScheduleAnswer(Answer):
    """A schedule."""

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
    next_at: datetime | None
    last_planned_at: datetime | None
    skipped: int
    created_by: str
    created_at: datetime
    changed_at: datetime | None


class Schedules(Answer):
    """All schedules, by name."""

    items: list[ScheduleAnswer]


class WorkerAnswer(Answer):
    """A process that runs work."""

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
    alive: bool


class JobCounts(Answer):
    """Jobs that are not done."""

    due: int
    later: int
    running: int


class WorkersAnswer(Answer):
    """Workers, the newest first, and what waits for them."""

    items: list[WorkerAnswer]
    jobs: JobCounts


class RateBody(Body):
    """How often all workers together may ask a provider."""

    per_minute: float = Field(description="Calls a minute, above 0.")
    burst: int = Field(1, description="Calls that may come at once after a pause.")


class RateAnswer(Answer):
    """How often all workers together may ask a provider."""

    provider: str
    per_minute: float
    burst: int


class Rates(Answer):
    """All rates, by provider."""

    items: list[RateAnswer]


@router.post("/jobs", status_code=201, response_model=JobAnswer)
async def enqueue_job(client: ClientOf, body: JobBody) -> Any:
    """Have a worker call a function; with a `unique_key` that is there, return that job."""
    given = body.model_dump()
    return answer(await client.jobs.enqueue(given.pop("function"), **given), 201)


@router.get("/jobs", response_model=JobPage)
async def list_jobs(
    client: ClientOf,
    state: _States = None,
    function: str | None = None,
    schedule: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Any:
    """List jobs, the newest first."""
    items = await client.jobs.list(
        states=state or (), function=function, schedule=schedule, before=before, limit=limit
    )
    next_before = items[-1].id if len(items) == limit else None
    return answer({"items": items, "next_before": next_before})


@router.get("/jobs/{job_id}", response_model=JobAnswer)
async def get_job(client: ClientOf, job_id: int) -> Any:
    """Return one job."""
    return answer(await client.jobs.get(job_id))


@router.post("/jobs/{job_id}/cancel", response_model=JobAnswer)
async def cancel_job(client: ClientOf, job_id: int) -> Any:
    """End a job that is not done; the worker that runs it is told to stop."""
    return answer(await client.jobs.cancel(job_id))


@router.post("/jobs/{job_id}/retry", response_model=JobAnswer)
async def retry_job(client: ClientOf, job_id: int) -> Any:
    """Run a failed or cancelled job anew."""
    return answer(await client.jobs.retry(job_id))


@router.get("/schedules", response_model=Schedules)
async def list_schedules(client: ClientOf) -> Any:
    """List the schedules, by name."""
    return answer({"items": await client.schedules.list()})


@router.post("/schedules", status_code=201, response_model=ScheduleAnswer)
async def add_schedule(client: ClientOf, body: NewScheduleBody) -> Any:
    """Add a schedule."""
    return answer(await client.schedules.add(**body.model_dump()), 201)


@router.get("/schedules/{name}", response_model=ScheduleAnswer)
async def get_schedule(client: ClientOf, name: str) -> Any:
    """Return one schedule."""
    return answer(await client.schedules.get(name))


@router.put("/schedules/{name}", response_model=ScheduleAnswer)
async def put_schedule(client: ClientOf, name: str, body: ScheduleBody) -> Any:
    """Add a schedule, or replace the one of this name; paused it stays paused."""
    return answer(await client.schedules.add(name=name, replace=True, **body.model_dump()))


@router.delete("/schedules/{name}", status_code=204)
async def remove_schedule(client: ClientOf, name: str) -> Response:
    """Remove a schedule; the jobs that it made stay."""
    await client.schedules.remove(name)
    return Response(status_code=204)


@router.post("/schedules/{name}/pause", response_model=ScheduleAnswer)
async def pause_schedule(client: ClientOf, name: str) -> Any:
    """Plan nothing until it is resumed."""
    return answer(await client.schedules.pause(name))


@router.post("/schedules/{name}/resume", response_model=ScheduleAnswer)
async def resume_schedule(client: ClientOf, name: str) -> Any:
    """Go on with the next time from now."""
    return answer(await client.schedules.resume(name))


@router.post("/schedules/{name}/run", status_code=201, response_model=JobAnswer)
async def run_schedule(client: ClientOf, name: str) -> Any:
    """Enqueue a job of it now; its times stay as they are."""
    return answer(await client.schedules.run(name), 201)


@router.get("/schedules/{name}/history", response_model=JobPage)
async def schedule_history(client: ClientOf, name: str, limit: int = 20) -> Any:
    """List the jobs that a schedule made, the newest first."""
    items = await client.schedules.history(name, limit=limit)
    return answer({"items": items, "next_before": None})


@router.get("/workers", response_model=WorkersAnswer)
async def list_workers(
    client: ClientOf, gone: Annotated[bool, Query(description="Also those that are gone.")] = False
) -> Any:
    """List the workers that live, and count the jobs that are not done."""
    items = await client.workers.list(all_of_them=gone)
    return answer({"items": items, "jobs": await client.jobs.counts()})


@router.get("/workers/rates", response_model=Rates)
async def list_rates(client: ClientOf) -> Any:
    """List how often each provider may be asked."""
    return answer({"items": await client.workers.rates()})


@router.put("/workers/rates/{provider}", response_model=RateAnswer)
async def set_rate(client: ClientOf, provider: str, body: RateBody) -> Any:
    """Set how often all workers together may ask a provider."""
    return answer(await client.workers.set_rate(provider, body.per_minute, burst=body.burst))


@router.delete("/workers/rates/{provider}", status_code=204)
async def lift_rate(client: ClientOf, provider: str) -> Response:
    """Let a provider be asked as often as there is work for it."""
    await client.workers.set_rate(provider, None)
    return Response(status_code=204)
