"""`aegis maintenance`: what the database needs, what is done about it, and what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Option
from aegis.cli.options import AsJson, Limit, Yes
from aegis.cli.running import confirm, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.ops.maintenance.models import Outcome, Progress, Step

__all__ = ["app"]

app = App("Vacuum, analyze and rebuild what needs it, without blocking writers.")


@app.add
def plan(as_json: AsJson = False) -> None:
    """Show what would be done now, in this order, and how far ahead partitions are."""
    from aegis.cli.render import line, show_json, table
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> dict[str, Any]:
        return {
            "window": client.settings.maintenance_window,
            "steps": await client.maintenance.plan(),
            "partitioned": await client.maintenance.partitions(),
        }

    found: dict[str, Any] = plain(with_client(work))
    if as_json:
        show_json(found)
        return
    table(
        ["task", "object", "size", "why"],
        [
            [s["task"], f"{s['schema']}.{s['name']}", _size(s["size_bytes"]), s["reason"]]
            for s in found["steps"]
        ],
        wide="why",
        empty="Nothing needs maintenance.",
    )
    table(
        ["parted table", "partitions", "ahead", "from", "until", "size", "kept by"],
        [
            [
                p["table"],
                str(p["partitions"]),
                "none for now" if p["ahead"] is None else str(p["ahead"]),
                (p["oldest"] or "")[:10],
                (p["newest"] or "")[:10],
                _size(p["size_bytes"]),
                p["command"] or "",
            ]
            for p in found["partitioned"]
        ],
        wide="kept by",
        empty="No table is parted by time.",
    )
    line(f"`aegis up` works in {found['window']} (UTC); `aegis maintenance run --now` at once.")


@app.add
def run(
    now: Annotated[bool, Option("--now", help="Outside AEGIS_MAINTENANCE_WINDOW, too.")] = False,
    full: Annotated[
        str | None, Option(help="Rewrite this table alone, with VACUUM FULL, which locks it.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Do what the plan says; one process at a time, steps that cannot get a lock wait for later."""
    import click

    from aegis.cli.render import line, show_json

    if full is not None:
        confirm(
            f"{full} will be rewritten; nobody can read or write it until that is done.", yes=yes
        )

    async def work(client: Aegis) -> Outcome:
        if full is not None:
            return await client.maintenance.rewrite(full, anyway=now, tell=_tell)
        return await client.maintenance.run(outside_window=now, tell=_tell)

    outcome = with_client(work)
    if as_json:
        show_json(outcome)
    else:
        line(
            f"{outcome.done} done, {outcome.failed} failed, {outcome.deferred} put off, "
            f"{outcome.left} left; {_size(outcome.freed_bytes)} given back."
        )
        if outcome.interrupted:
            line(f"{outcome.interrupted} run(s) of a process that ended meanwhile.")
    if outcome.failed:
        raise click.exceptions.Exit(1)


@app.add
def history(
    object_: Annotated[
        str | None, Option("--object", help="Of this table or index, with its schema.")
    ] = None,
    limit: Limit = 30,
    as_json: AsJson = False,
) -> None:
    """Show what was done, the newest first."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.maintenance.history(limit=limit, object=object_)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["began", "task", "object", "state", "size", "why"],
        [
            [
                when(i["started_at"]),
                i["task"],
                i["object"],
                i["state"],
                _change(i["before_bytes"], i["after_bytes"]),
                i["error"] or i["reason"],
            ]
            for i in items
        ],
        wide="why",
        empty="Nothing was done yet.",
    )


def _tell(what: Step | Progress) -> None:
    from aegis.cli.render import note
    from aegis.ops.maintenance.models import Step

    if isinstance(what, Step):
        note(f"{what.task} {what.object}: {what.reason}")
    elif what.of:
        note(f"  {what.phase}: {100 * what.done // what.of} %")


def _change(before: int | None, after: int | None) -> str:
    if before is None or after is None or before == after:
        return "" if before is None else _size(before)
    return f"{_size(before)} → {_size(after)}"


def _size(count: int) -> str:
    from aegis.ops.health.looking import size

    return size(count)
