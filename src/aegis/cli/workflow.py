"""`aegis workflow`: workflows as data; running and telling executions is in `executions.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit, Yes
from aegis.cli.running import confirm, read_text, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App(help="Workflows: durable work that is data, and its executions.")

Name = Annotated[str, Argument(metavar="NAME", help="The workflow, by name.")]
Version = Annotated[int | None, Option("--version", help="Its version; the newest otherwise.")]


@app.add
def save(
    file: Annotated[
        str, Argument(metavar="FILE", help="YAML or JSON; `-` is standard input.")
    ] = "",
    example: Annotated[
        str | None, Option(help="Save an example that comes with Aegis instead of a file.")
    ] = None,
    name: Annotated[str | None, Option(help="Another name than the one inside.")] = None,
    check: Annotated[bool, Option(help="Only say what is wrong; save nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save a workflow as its newest version; what is there already makes no other."""
    from aegis.cli.render import line, show_json

    text = _text(file, example)
    if check:
        from aegis.workflows import definitions

        graph = definitions.read(text, name=name)
        line(f"{graph.name} is good: {len(graph.nodes)} node(s), {len(graph.edges)} edge(s).")
        return

    async def work(client: Aegis) -> Any:
        return await client.workflows.save(text, name=name)

    saved, new = with_client(work)
    if as_json:
        show_json({"name": saved.name, "version": saved.version, "new": new})
        return
    line(f"{saved.name} version {saved.version} {'is saved' if new else 'says the same'}.")


@app.add
def list_(
    archived: Annotated[bool, Option(help="Also those that are archived.")] = False,
    after: Annotated[str | None, Option(help="The last name of the page before.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List workflows by name, each with its newest version."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.workflows.list(archived=archived, after=after, limit=limit)

    found = with_client(work)
    items: list[dict[str, Any]] = [
        {
            "name": one.name,
            "version": one.version,
            "status": one.status,
            "nodes": len(one.graph.nodes),
            "saved_at": plain(one.created_at),
            "description": one.graph.description,
        }
        for one in found
    ]
    if as_json:
        show_json({"items": items})
        return
    table(
        ["name", "version", "status", "nodes", "saved", "description"],
        [
            [
                item["name"],
                str(item["version"]),
                item["status"],
                str(item["nodes"]),
                when(item["saved_at"]),
                " ".join(item["description"].split()),
            ]
            for item in items
        ],
        wide="description",
        empty="There is no workflow; `aegis workflow save --example nightly-memory-review` "
        "saves one.",
    )


@app.add
def show(name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Show a version as YAML; what comes out can be saved."""
    _export(name, version, as_json)


@app.add
def export(name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Write a version as YAML; what comes out can be saved."""
    _export(name, version, as_json)


@app.add
def versions(name: Name, as_json: AsJson = False) -> None:
    """List the versions of a workflow, the newest first."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.workflows.versions(name)

    items = [
        {"version": d.version, "status": d.status, "saved_at": plain(d.created_at)}
        for d in with_client(work)
    ]
    if as_json:
        show_json({"items": items})
        return
    table(
        ["version", "status", "saved"],
        [[str(i["version"]), i["status"], when(i["saved_at"])] for i in items],
        wide="status",
        empty="There is none.",
    )


@app.add
def diff(
    name: Name,
    old: Annotated[int, Argument(metavar="OLD", help="A version.")],
    new: Annotated[int | None, Option("--new", help="Another one; the newest otherwise.")] = None,
) -> None:
    """Show how two versions differ."""
    from aegis.cli.render import line, note

    async def work(client: Aegis) -> str:
        return await client.workflows.diff(name, old, new)

    text = with_client(work)
    if text:
        line(text)
    else:
        note("They say the same.")


@app.add
def graph(
    name: Name,
    version: Version = None,
    execution: Annotated[
        str | None, Option(help="Colour the nodes as this execution went through them.")
    ] = None,
    out: Annotated[Path | None, Option(help="Write to this file.")] = None,
) -> None:
    """Draw a workflow as a Mermaid flowchart."""
    from aegis.cli.render import line, note

    async def work(client: Aegis) -> str:
        from aegis.workflows.mermaid import mermaid

        number, states = version, None
        if execution is not None:
            found = await client.workflows.execution(execution)
            number = number or found.execution.version
            states = _states(found.execution, await client.workflows.history(execution))
        return mermaid((await client.workflows.get(name, number)).graph, states=states)

    text = with_client(work)
    if out is None:
        line(text.rstrip("\n"))
        return
    out.write_text(text, encoding="utf-8")
    note(f"{out} is written.")


@app.add
def archive(name: Name, version: Version = None) -> None:
    """Start no more executions of a workflow, or of one version; those that run go on."""
    from aegis.cli.render import note

    async def work(client: Aegis) -> None:
        await client.workflows.archive(name, version)

    with_client(work)
    note(f"{name} is archived; `aegis workflow activate` takes it back.")


@app.add
def activate(name: Name, version: Version = None) -> None:
    """Take `archive` back."""
    from aegis.cli.render import note

    async def work(client: Aegis) -> None:
        await client.workflows.activate(name, version)

    with_client(work)
    note(f"{name} is active.")


@app.add
def delete(name: Name, yes: Yes = False) -> None:
    """Delete a workflow with all its versions, if it was never started."""
    from aegis.cli.render import note

    confirm(f"{name} and all its versions will be deleted.", yes=yes)

    async def work(client: Aegis) -> None:
        await client.workflows.delete(name)

    with_client(work)
    note(f"{name} is deleted.")


@app.add
def types(as_json: AsJson = False) -> None:
    """List the types of nodes that this installation knows."""
    from aegis.cli.render import note, show_json, table
    from aegis.workflows.nodes.registry import failures, node_types

    items: list[dict[str, Any]] = [
        {
            "type": kind.name,
            "runs": kind.runs,
            "parameters": list(getattr(kind, "params", {})),
            "what": getattr(kind, "doc", ""),
        }
        for kind in node_types().values()
    ]
    if as_json:
        show_json({"items": items, "failures": failures()})
        return
    table(
        ["type", "runs", "what"],
        [[item["type"], item["runs"], item["what"]] for item in items],
        wide="what",
        empty="There is none.",
    )
    for name, why in failures().items():
        note(f"{name} could not be loaded: {why}")


@app.add
def examples(as_json: AsJson = False) -> None:
    """List the examples that come with Aegis."""
    from aegis.cli.render import line, show_json
    from aegis.workflows.examples import examples as names

    if as_json:
        show_json({"items": names()})
        return
    for name in names():
        line(name)


@app.add
def reader(
    role: Annotated[str, Option(help="Name of the role.")] = "aegis_reader",
    table: Annotated[
        list[str] | None,
        Option("--table", help="A table it may read; may be repeated. Memory alone otherwise."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Make the role that SQL nodes read with, and show its address once.

    A second call gives it a new password and only the tables that are named then.
    """
    from aegis.cli.render import line, note

    confirm(f"Role {role} gets a new password and may read {_tables(table)}.", yes=yes)

    async def work(client: Aegis) -> str:
        from aegis.workflows.reader import make_reader

        return await make_reader(client.db, role=role, tables=table or ())

    address = with_client(work)
    note("Set this where workers run; it is not shown again:")
    line(f"AEGIS_WORKFLOWS_SQL_URL={address}")


for _name in (
    *("run", "executions", "status", "watch", "history", "signal", "approve", "pause", "resume"),
    *("cancel", "retry", "fork"),
):
    app.add_later(_name, f"aegis.cli.executions:{_name}")


def _text(file: str, example: str | None) -> str:
    from aegis.errors import InvalidInput

    if (example is None) == (not file):
        raise InvalidInput("Name a file, or an example with --example; one of them.")
    if example is not None:
        from aegis.workflows.examples import example as text_of

        return text_of(example)
    if file == "-":
        return read_text("FILE", file)
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}.") from None


def _export(name: str, version: int | None, as_json: bool) -> None:
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Any:
        return await client.workflows.get(name, version)

    found = with_client(work)
    from aegis.workflows.reading import json_of, to_yaml

    if as_json:
        show_json(
            {"name": found.name, "version": found.version, "status": found.status}
            | {"graph": json_of(found.graph)}
        )
        return
    line(to_yaml(found.graph).rstrip("\n"))


def _states(execution: Any, steps: Any) -> dict[str, str]:
    states: dict[str, str] = {}
    for step in steps:
        if step.status in ("completed", "failed"):
            states[step.node] = step.status
    if execution.status in ("running", "interrupted") and execution.current_node:
        states[execution.current_node] = "current"
    return states


def _tables(tables: list[str] | None) -> str:
    return ", ".join(tables) if tables else "the tables of memory"
