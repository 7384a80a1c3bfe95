"""`aegis schedule`: functions that are called at times that a cron expression says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit, Yes
from aegis.cli.running import confirm, json_object, named, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App(help="Functions that workers call at times that a cron expression says.")

Name = Annotated[str, Argument(metavar="NAME", help="The schedule, by name.")]


@app.add
def list_(as_json: AsJson = False) -> None:
    """List the schedules."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.schedules.list()

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["name", "cron", "zone", "next", "last", "missed", "skipped", "by", "function"],
        [
            [
                item["name"],
                item["cron"],
                item["timezone"],
                "paused" if item["paused"] else when(item["next_at"]) or "never",
                when(item["last_planned_at"]),
                item["missed"],
                f"{item['skipped']:,}",
                item["created_by"],
                item["function"],
            ]
            for item in items
        ],
        wide="function",
        empty="There is no schedule.",
    )


@app.add
def add(
    name: Name,
    cron: Annotated[
        str, Argument(metavar="CRON", help="Five fields in quotes, or six with seconds in front.")
    ],
    function: Annotated[str, Argument(metavar="FUNCTION", help="A registered function.")],
    arguments: Annotated[
        str | None, Option(help="What it is called with: a JSON object, or @FILE.")
    ] = None,
    timezone: Annotated[str, Option(help="IANA name of the zone of the fields.")] = "UTC",
    missed: Annotated[
        str, Option(help="What becomes of times with no worker: all, latest or skip.")
    ] = "latest",
    grace_s: Annotated[int, Option(help="Seconds after which a time counts as missed.")] = 60,
    jitter_s: Annotated[int, Option(help="Due up to so many seconds late.")] = 0,
    priority: Annotated[int, Option(help="Of its jobs, 0 to 9; higher first.")] = 4,
    max_attempts: Annotated[int, Option(help="Of its jobs.")] = 1,
    timeout_s: Annotated[int | None, Option(help="Seconds that an attempt may take.")] = None,
    replace: Annotated[bool, Option(help="Replace the one of this name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Call a function at times that a cron expression says."""
    from aegis.cli.render import line, show_json, when
    from aegis.wire.plain import plain

    given = json_object("arguments", arguments)

    async def work(client: Aegis) -> Any:
        return await client.schedules.add(
            name,
            cron,
            function,
            replace=replace,
            timezone=timezone,
            missed=missed,
            grace_s=grace_s,
            jitter_s=jitter_s,
            priority=priority,
            max_attempts=max_attempts,
            **named(arguments=given, timeout_s=timeout_s),
        )

    made: dict[str, Any] = plain(with_client(work))
    if as_json:
        show_json(made)
        return
    line(f"{made['name']}: {made['function']}, next at {when(made['next_at'])}.")


@app.add
def remove(name: Name, yes: Yes = False) -> None:
    """Remove a schedule; the jobs that it made stay."""
    from aegis.cli.render import line

    confirm(f"The schedule {name} will be removed.", yes=yes)

    async def work(client: Aegis) -> None:
        await client.schedules.remove(name)

    with_client(work)
    line(f"{name} is removed.")


@app.add
def pause(name: Name) -> None:
    """Plan nothing until it is resumed; times that pass meanwhile are not made up for."""
    from aegis.cli.render import line

    async def work(client: Aegis) -> None:
        await client.schedules.pause(name)

    with_client(work)
    line(f"{name} is paused.")


@app.add
def resume(name: Name) -> None:
    """Go on with a paused schedule, at its next time from now."""
    from aegis.cli.render import line, when

    async def work(client: Aegis) -> Any:
        return await client.schedules.resume(name)

    made = with_client(work)
    line(f"{name}: next at {when(made.next_at.isoformat()) if made.next_at else 'never'}.")


@app.add
def run(name: Name, as_json: AsJson = False) -> None:
    """Have a worker run it now, paused or not; its times stay as they are."""
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Any:
        return await client.schedules.run(name)

    job = with_client(work)
    if as_json:
        show_json(job)
        return
    line(f"Job {job.id} is enqueued; `aegis jobs show {job.id}` tells how it goes.")


@app.add
def history(name: Name, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the jobs that a schedule made, the newest first."""
    from aegis.cli.jobs import show_jobs
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.schedules.history(name, limit=limit)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    show_jobs(items, empty=f"{name} has not run.")
