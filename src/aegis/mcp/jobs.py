"""Tools of jobs and schedules: what workers do, what failed, and what is to be done when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import (
    ADDS,
    CHANGES,
    DELETES,
    READS,
    Limit,
    MaybeTime,
    answer,
    make_tool,
    maybe_time,
    named,
    told,
)
from aegis.worker.models import JOB_STATES, MISSED

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.worker.service import Jobs, Schedules

__all__ = ["job_tools"]

Name = Annotated[str, Field(description="The schedule, by name.")]
JobId = Annotated[int, Field(description="Id of the job.")]
Arguments = Annotated[dict[str, Any] | None, Field(description="What it is called with.")]


def job_tools(jobs: Jobs, schedules: Schedules) -> list[Tool]:
    """Return the tools that work on `jobs` and `schedules`."""
    return [*_of_jobs(jobs), *_of_schedules(schedules)]


def _of_jobs(jobs: Jobs) -> list[Tool]:
    async def job_enqueue(
        function: Annotated[str, Field(description="A registered function.")],
        arguments: Arguments = None,
        key: Annotated[str | None, Field(description="One job of a key at a time.")] = None,
        priority: Annotated[int, Field(description="0 to 9; higher first.")] = 4,
        due_at: MaybeTime = None,
        unique_key: Annotated[str | None, Field(description="With it, once.")] = None,
    ) -> CallToolResult:
        """Have a worker call a registered function in the background; job_get tells how it goes.

        An unknown function is refused with the list of those that there are.
        """
        with told():
            job = await jobs.enqueue(
                function,
                priority=priority,
                **named(
                    arguments=arguments,
                    key=key,
                    due_at=maybe_time("due_at", due_at),
                    unique_key=unique_key,
                ),
            )
            return answer(job)

    async def job_list(
        state: Annotated[
            str | None,
            Field(description="Only these.", json_schema_extra={"enum": [*JOB_STATES, None]}),
        ] = None,
        function: Annotated[str | None, Field(description="Calls of this one.")] = None,
        before: Annotated[int | None, Field(description="Older than this id.")] = None,
        limit: Limit = 20,
    ) -> CallToolResult:
        """List background jobs, the newest first; state failed shows what went wrong."""
        with told():
            states = () if state is None else (state,)
            found = await jobs.list(states=states, function=function, before=before, limit=limit)
            return answer({"items": found})

    async def job_get(job_id: JobId) -> CallToolResult:
        """Show one job: its state, error or result."""
        with told():
            return answer(await jobs.get(job_id))

    async def job_cancel(job_id: JobId) -> CallToolResult:
        """End a job that is not done; the worker that runs it is told to stop."""
        with told():
            return answer(await jobs.cancel(job_id))

    async def job_retry(job_id: JobId) -> CallToolResult:
        """Run a failed or cancelled job anew, with all its attempts."""
        with told():
            return answer(await jobs.retry(job_id))

    return [
        make_tool(job_enqueue, ADDS, "Call a function in the background"),
        make_tool(job_list, READS, "Background jobs"),
        make_tool(job_get, READS, "One job"),
        make_tool(job_cancel, CHANGES, "Cancel a job"),
        make_tool(job_retry, ADDS, "Run a job anew"),
    ]


def _of_schedules(schedules: Schedules) -> list[Tool]:
    async def schedule_list() -> CallToolResult:
        """List what is called when: cron, zone, next time, paused or not."""
        with told():
            return answer({"items": await schedules.list()})

    async def schedule_add(
        name: Name,
        cron: Annotated[str, Field(description="Such as '0 2 * * *'.")],
        function: Annotated[str, Field(description="A registered function.")],
        arguments: Arguments = None,
        timezone: Annotated[str, Field(description="IANA name of the zone of cron.")] = "UTC",
        missed: Annotated[
            str,
            Field(
                description="What becomes of times with no worker.",
                json_schema_extra={"enum": [*MISSED]},
            ),
        ] = "latest",
    ) -> CallToolResult:
        """Call a registered function at the times of a cron expression."""
        with told():
            made = await schedules.add(
                name, cron, function, timezone=timezone, missed=missed,
                created_by="mcp", **named(arguments=arguments),
            )  # fmt: skip
            return answer(made)

    return [
        make_tool(schedule_list, READS, "Schedules"),
        make_tool(schedule_add, ADDS, "Add a schedule"),
        *_of_one_schedule(schedules),
    ]


def _of_one_schedule(schedules: Schedules) -> list[Tool]:
    async def schedule_pause(name: Name) -> CallToolResult:
        """Plan nothing until schedule_resume; times that pass are not made up for."""
        with told():
            return answer(await schedules.pause(name))

    async def schedule_resume(name: Name) -> CallToolResult:
        """Go on with a paused schedule at its next time from now."""
        with told():
            return answer(await schedules.resume(name))

    async def schedule_run(name: Name) -> CallToolResult:
        """Have a worker run a schedule's function now; its times stay as they are."""
        with told():
            return answer(await schedules.run(name))

    async def schedule_remove(name: Name) -> CallToolResult:
        """Remove a schedule; the jobs that it made stay."""
        with told():
            await schedules.remove(name)
            return answer({"removed": name})

    async def schedule_history(name: Name, limit: Limit = 20) -> CallToolResult:
        """Show the jobs that a schedule made, the newest first."""
        with told():
            return answer({"items": await schedules.history(name, limit=limit)})

    return [
        make_tool(schedule_pause, CHANGES, "Pause a schedule"),
        make_tool(schedule_resume, CHANGES, "Resume a schedule"),
        make_tool(schedule_run, ADDS, "Run a schedule now"),
        make_tool(schedule_remove, DELETES, "Remove a schedule"),
        make_tool(schedule_history, READS, "What a schedule did"),
    ]
