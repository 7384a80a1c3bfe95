"""`aegis memory sync …`: copies of memory in other systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Option
from aegis.cli.options import AsJson, Namespace
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.memory.graphiti import Synced

__all__ = ["app"]

app = App("Copies of memory in other systems.")


@app.add
def graphiti(
    retry: Annotated[bool, Option("--retry", help="Try again what was not taken.")] = False,
    limit: Annotated[int | None, Option(help="At most so many episodes.")] = None,
    status: Annotated[bool, Option("--status", help="Only say how far it is.")] = False,
    erased: Annotated[
        int | None, Option(help="Only take the copies out that this erasure named.")
    ] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Push episodes that are new or changed into the graph of AEGIS_GRAPHITI_URL."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json

    if erased is not None:
        gone = with_client(lambda a: a.memory.graphiti.forget(erased), namespace=namespace)
        if as_json:
            show_json(gone)
        else:
            line(f"Removed {gone.removed:,} copies; {gone.absent:,} were not there.")
        return
    done: Any = None
    if not status:
        with counting("Pushing") as seen:

            async def work(client: Aegis) -> Synced:
                return await client.memory.graphiti.sync(retry=retry, limit=limit, on_progress=seen)

            done = with_client(work, namespace=namespace)

    async def look(client: Aegis) -> tuple[Any, Any]:
        sync = client.memory.graphiti
        return await sync.state(), await sync.failures(limit=20)

    state, failures = with_client(look, namespace=namespace)
    if as_json:
        show_json({"run": done, "state": state, "failures": failures})
        return
    if done is not None:
        line(f"Pushed {done.pushed:,} episodes; {done.failed:,} were not taken.")
    line(f"{state.synced:,} synced, {state.pending:,} pending, {state.failed:,} failed.")
    _show_failures(failures)


def _show_failures(failures: Any) -> None:
    from aegis.cli.render import clip, table, when
    from aegis.wire.plain import plain

    if failures:
        table(
            ["episode", "attempts", "last tried", "why"],
            [
                [
                    str(f["episode_id"]),
                    str(f["attempts"]),
                    when(f["failed_at"]),
                    clip(f["error"], 300),
                ]
                for f in plain(failures)
            ],
            wide="why",
            empty="",
        )
