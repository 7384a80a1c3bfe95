"""`aegis jobs`: calls of registered functions, made by workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit
from aegis.cli.running import json_object, maybe_time, named, with_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis

__all__ = ["app", "show_jobs"]

app = App(help="Calls of functions that workers make.")

Id = Annotated[int, Argument(metavar="ID", help="The job, by id.")]


@app.add
def list_(
    state: Annotated[
        list[str] | None,
        Option(help="waiting, running, completed, failed or cancelled; may be repeated."),
    ] = None,
    function: Annotated[str | None, Option(help="Calls of this function.")] = None,
    before: Annotated[int | None, Option(help="Older than this id, for the next page.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.jobs.list(
            states=state or (), function=function, before=before, limit=limit
        )

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    show_jobs(items, empty="There is no job.")


@app.add
def add(
    function: Annotated[str, Argument(metavar="FUNCTION", help="A registered function.")],
    arguments: Annotated[
        str | None, Option(help="What it is called with: a JSON object, or @FILE.")
    ] = None,
    key: Annotated[str | None, Option(help="Of one key, one job runs at a time.")] = None,
    provider: Annotated[str | None, Option(help="Whose rate limit counts.")] = None,
    priority: Annotated[int, Option(help="0 to 9; higher first.")] = 4,
    due_at: Annotated[str | None, Option(help="Not before this time.")] = None,
    max_attempts: Annotated[int, Option(help="Fails for good after so many.")] = 5,
    timeout_s: Annotated[int | None, Option(help="Seconds that an attempt may take.")] = None,
    unique_key: Annotated[str | None, Option(help="With it the job is there once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have a worker call a function."""
    from aegis.cli.render import line, show_json

    given = json_object("arguments", arguments)
    due = maybe_time("due_at", due_at)

    async def work(client: Aegis) -> Any:
        return await client.jobs.enqueue(
            function,
            priority=priority,
            max_attempts=max_attempts,
            **named(
                arguments=given,
                key=key,
                provider=provider,
                due_at=due,
                timeout_s=timeout_s,
                unique_key=unique_key,
            ),
        )

    job = with_client(work)
    if as_json:
        show_json(job)
        return
    line(f"Job {job.id} is {job.state}.")


@app.add
def show(job_id: Id, as_json: AsJson = False) -> None:
    """Show one job."""
    from aegis.cli.render import pairs, show_json
    from aegis.wire.plain import json_text, plain

    async def work(client: Aegis) -> Any:
        return await client.jobs.get(job_id)

    found: dict[str, Any] = plain(with_client(work))
    if as_json:
        show_json(found)
        return
    pairs(
        [
            (name, json_text(value) if isinstance(value, dict | list) else value)
            for name, value in found.items()
            if value is not None
        ]
    )


@app.add
def cancel(job_id: Id) -> None:
    """End a job that is not done."""
    from aegis.cli.render import line

    async def work(client: Aegis) -> None:
        await client.jobs.cancel(job_id)

    with_client(work)
    line(f"Job {job_id} is cancelled.")


@app.add
def retry(job_id: Id) -> None:
    """Run a failed or cancelled job anew."""
    from aegis.cli.render import line

    async def work(client: Aegis) -> None:
        await client.jobs.retry(job_id)

    with_client(work)
    line(f"Job {job_id} is waiting.")


@app.add
def functions(as_json: AsJson = False) -> None:
    """List the functions that jobs and schedules may call."""
    from aegis.cli.render import line, show_json
    from aegis.worker.functions import Functions

    names = Functions().names()
    if as_json:
        show_json({"items": names})
        return
    for name in names:
        line(name)


def show_jobs(items: Sequence[dict[str, Any]], *, empty: str) -> None:
    """Print jobs as a table."""
    from aegis.cli.render import table, when

    table(
        ["id", "function", "state", "attempts", "due", "started", "finished", "error"],
        [
            [
                str(item["id"]),
                item["function"],
                item["state"],
                f"{item['attempts']}/{item['max_attempts']}",
                when(item["due_at"]),
                when(item["started_at"]),
                when(item["finished_at"]),
                item["error"] or "",
            ]
            for item in items
        ],
        wide="error",
        empty=empty,
    )
