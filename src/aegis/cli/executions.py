"""`aegis workflow run|status|watch|…`: executions, and what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import Argument, Option
from aegis.cli.following import end, follow, place, short, working_here
from aegis.cli.options import AsJson, Cursor, Limit, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, json_object, with_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis
    from aegis.workflows.execution import Execution

__all__ = [
    "approve",
    "cancel",
    "executions",
    "fork",
    "history",
    "pause",
    "resume",
    "retry",
    "run",
    "signal",
    "status",
    "watch",
]

Id = Annotated[str, Argument(metavar="ID", help="The execution, by id.")]
Input = Annotated[str | None, Option("--input", help="Input: a JSON object, or @FILE.")]
Set = Annotated[
    list[str] | None,
    Option("--set", help="One value of the input, `name=value`; JSON or text. May be repeated."),
]


def run(
    name: Annotated[str, Argument(metavar="NAME", help="The workflow, by name.")],
    input: Input = None,
    set_: Set = None,
    key: Annotated[str | None, Option(help="What makes a second start the same start.")] = None,
    version: Annotated[int | None, Option(help="Its version; the newest active otherwise.")] = None,
    priority: Annotated[int, Option(help="-10 to 10, higher first.")] = 0,
    deadline: Annotated[str | None, Option(help="It fails if it has not ended by then.")] = None,
    wait: Annotated[
        bool, Option(help="Watch it to its end; where no worker lives, run it here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a workflow; with --wait the exit status is 1 where it fails."""
    from aegis.cli.render import line, show_json
    from aegis.cli.running import maybe_time

    given = _input(input, set_)
    until = maybe_time("deadline", deadline)

    async def work(client: Aegis) -> Execution:
        started = await client.workflows.start(
            name, given, key=key, version=version, priority=priority, deadline=until
        )
        if not wait:
            return started
        async with working_here(client):
            return await follow(client, started.id, after=0, as_json=as_json)

    found = with_client(work)
    if not wait:
        if as_json:
            show_json(found)
            return
        line(found.id)
        return
    end(found)


def executions(
    workflow: Annotated[str | None, Option(help="Of this workflow.")] = None,
    status: Annotated[str | None, Option(help="running, completed, failed or interrupted.")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List executions, the latest started first."""
    from aegis.wire.cursor import EXECUTIONS

    chosen: Any = status
    show_page(
        EXECUTIONS,
        lambda a, before: a.workflows.executions(
            workflow=workflow, status=chosen, before=before, limit=limit
        ),
        _show_executions, limit, cursor, as_json,
    )  # fmt: skip


def _show_executions(page: dict[str, Any]) -> None:
    from aegis.cli.render import table, when

    table(
        ["id", "workflow", "status", "node", "started", "error"],
        [
            [
                item["id"],
                f"{item['workflow']} {item['version'] or ''}".strip(),
                _status(item),
                item["current_node"] or "",
                when(item["started_at"]),
                item["error"] or "",
            ]
            for item in page["items"]
        ],
        wide="error",
        empty="There is no execution.",
    )


def status(id: Id, as_json: AsJson = False) -> None:
    """Show how an execution stands, what it waits for, and what it returned."""
    from aegis.cli.render import line, pairs, show_json, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.workflows.execution(id)

    found: dict[str, Any] = plain(with_client(work))
    if as_json:
        show_json(found)
        return
    item = found["execution"]
    pairs(
        [
            ("execution", item["id"]),
            ("workflow", f"{item['workflow']}, version {item['version']}"),
            ("status", _status(item)),
            ("node", item["current_node"] or "-"),
            ("started", when(item["started_at"])),
            ("ended", when(item["completed_at"])),
            ("error", item["error"] or "-"),
        ]
    )
    for step in found["waiting"]:
        line(f"waits at {place(step)}: {short(step['input'])}")
    if item["status"] == "completed":
        line(f"output: {short(found['output'], 2_000)}")


def watch(
    id: Id,
    after: Annotated[int, Option(help="Steps above this number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Follow an execution to its end, a line a step; with --json a document a line."""

    async def work(client: Aegis) -> Execution:
        return await follow(client, id, after=after, as_json=as_json)

    end(with_client(work))


def history(
    id: Id,
    after: Annotated[int, Option(help="Steps above this number.")] = 0,
    limit: Limit = 1_000,
    as_json: AsJson = False,
) -> None:
    """List what an execution did, a row an attempt."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.workflows.history(id, after=after, limit=limit)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["step", "node", "attempt", "status", "finished", "what"],
        [
            [
                str(item["seq"]),
                place(item),
                str(item["attempt"]),
                item["status"],
                when(item["finished_at"]),
                item["error"] or short(item["output"]),
            ]
            for item in items
        ],
        wide="what",
        empty="Nothing is recorded.",
    )


def signal(
    id: Id,
    name: Annotated[str, Argument(metavar="NAME", help="Name of the signal.")],
    payload: Annotated[str | None, Option(help="What it carries: JSON, or @FILE.")] = None,
    key: Annotated[str | None, Option(help="What makes a second one the same signal.")] = None,
) -> None:
    """Tell an execution something, before or while a node waits for it."""
    from aegis.cli.render import note

    given = json_object("payload", payload)

    async def work(client: Aegis) -> bool:
        return await client.workflows.signal(id, name, given, key=key)

    note("It is told." if with_client(work) else "It was told before; nothing happens.")


def approve(
    id: Id,
    node: Annotated[str, Argument(metavar="NODE", help="The node that asks.")],
    reject: Annotated[bool, Option(help="Say no instead.")] = False,
    by: Annotated[str | None, Option(help="Who answers; your name here otherwise.")] = None,
    comment: Annotated[str | None, Option(help="Why.")] = None,
    branch: Annotated[str, Option(help="Where in fan-outs, such as each[3].")] = "",
) -> None:
    """Answer an approval that waits."""
    import getpass

    from aegis.cli.render import note

    async def work(client: Aegis) -> None:
        await client.workflows.approve(
            id,
            node,
            approved=not reject,
            by=by or getpass.getuser(),
            comment=comment,
            branch=branch,
        )

    with_client(work)
    note("It is rejected." if reject else "It is approved.")


def pause(id: Id) -> None:
    """Interrupt an execution: no further step begins."""

    async def work(client: Aegis) -> Execution:
        return await client.workflows.pause(id)

    _say(with_client(work))


def resume(id: Id, input: Input = None, set_: Set = None) -> None:
    """Go on with an interrupted execution; values given are laid over its input."""
    given = _input(input, set_)

    async def work(client: Aegis) -> Execution:
        return await client.workflows.resume(id, given)

    _say(with_client(work))


def cancel(
    id: Id,
    reason: Annotated[str | None, Option(help="Why.")] = None,
    yes: Yes = False,
) -> None:
    """End an execution and those that it started; it fails."""
    confirm(f"Execution {id} will fail now, and what it started with it.", yes=yes)

    async def work(client: Aegis) -> Execution:
        return await client.workflows.cancel(id, reason=reason)

    _say(with_client(work))


def retry(
    id: Id,
    from_node: Annotated[str | None, Option(help="Begin at this node instead.")] = None,
) -> None:
    """Run a failed execution again from where it failed."""

    async def work(client: Aegis) -> Execution:
        return await client.workflows.retry(id, from_node)

    _say(with_client(work))


def fork(
    id: Id,
    from_step: Annotated[int, Argument(metavar="STEP", help="Number of the step to run anew.")],
    input: Input = None,
    set_: Set = None,
) -> None:
    """Start another execution that shares the steps before one."""
    from aegis.cli.render import line

    given = _input(input, set_)

    async def work(client: Aegis) -> Execution:
        return await client.workflows.fork(id, from_step, given)

    line(with_client(work).id)


def _say(found: Execution) -> None:
    from aegis.cli.render import note

    note(f"{found.id} is {found.status} at {found.current_node}.")


def _input(text: str | None, values: Sequence[str] | None) -> dict[str, Any]:
    import json

    from aegis.errors import InvalidInput

    given: Any = json_object("input", text) or {}
    if not isinstance(given, dict):
        raise InvalidInput("input is no JSON object; write names and values.")
    for pair in values or ():
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InvalidInput(f"--set is {pair[:60]!r}; write name=value.")
        try:
            given[name] = json.loads(value)
        except (ValueError, RecursionError):
            given[name] = value
    return given  # pyright: ignore[reportUnknownVariableType]


def _status(item: dict[str, Any]) -> str:
    status = str(item["status"])
    return f"{status} ({item['reason']})" if item["reason"] else status
