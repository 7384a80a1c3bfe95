"""Following an execution to its end, and running it here where no worker does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.client import Aegis
    from aegis.workflows.execution import Execution

__all__ = ["end", "follow", "place", "short", "working_here"]

_COLOURS = {"completed": "green", "failed": "red", "interrupted": "yellow"}


@asynccontextmanager
async def working_here(client: Aegis) -> AsyncGenerator[None]:
    """Run executions in this process for the length of a block, where no worker lives."""
    import asyncio

    if await client.workers.list():
        yield
        return
    from aegis.cli.render import note
    from aegis.worker.kinds import kinds_of
    from aegis.worker.loop import Worker

    note("No worker lives; it is run here.")
    kinds = [k for k in kinds_of(client, client.functions) if k.name == "workflows"]
    worker = Worker(client.db, kinds, grace_s=client.settings.worker_grace_s)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def follow(client: Aegis, id: str, *, after: int, as_json: bool) -> Execution:
    """Show each change until the execution ends, and return it."""
    import json

    from aegis.cli.render import line, note, style
    from aegis.wire.plain import plain

    said = ""
    async for change in client.workflows.watch(id, after=after):
        if as_json:
            line(json.dumps(plain(change), ensure_ascii=False))
            continue
        for step in plain(change.steps):
            text = step["error"] or (short(step["input"]) if step["status"] == "waiting" else "")
            colour = style(step["status"], _COLOURS.get(step["status"], "dim"))
            line(f"{step['seq']:>4}  {place(step)}  {colour}  {text}".rstrip())
        found = change.execution
        if found.reason == "waiting" and said != f"{found.current_node}":
            said = f"{found.current_node}"
            note(f"It waits at {said}.")
    return (await client.workflows.execution(id)).execution


def end(found: Execution) -> None:
    """Say how an execution ended; the exit status is 1 where it failed."""
    import click

    from aegis.cli.render import note

    note(f"{found.id} is {found.status}" + (f": {found.error}" if found.error else "."))
    if found.status == "failed":
        raise click.exceptions.Exit(1)


def place(step: dict[str, Any]) -> str:
    """Return the node of a step with its branch."""
    return f"{step['branch']}/{step['node']}" if step["branch"] else str(step["node"])


def short(value: Any, most: int = 200) -> str:
    """Return a value on one line, cut."""
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
