"""`aegis worker`: run due work; which workers there are, and what waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]


def run(
    concurrency: Annotated[
        int | None, Option(help="How much runs at once; AEGIS_WORKER_CONCURRENCY otherwise.")
    ] = None,
    kind: Annotated[
        list[str] | None, Option("--kind", help="Run this kind alone; may be repeated.")
    ] = None,
) -> None:
    """Run due work of every kind until it is stopped: schedules, jobs and what else there is.

    Any number of workers may run, on any number of machines. SIGTERM and Ctrl-C stop: what runs
    has AEGIS_WORKER_GRACE_S seconds to finish, and is handed back to the others then.
    """
    from aegis.cli.render import note
    from aegis.config import load_settings
    from aegis.serve.working import run_worker
    from aegis.wire.log import log_to_stderr

    log_to_stderr()
    settings = load_settings(worker_concurrency=concurrency)
    run_worker(
        settings,
        kinds=frozenset(kind or ()),
        on_ready=lambda worker: note(f"Worker {worker} works. Ctrl-C stops."),
    )
    note("The worker has stopped.")


app = App(help="Run due work, and see who does.", default=run)


@app.add
def list_(
    all_of_them: Annotated[
        bool, Option("--all", help="Also those of the last week that are gone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the workers that live."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.workers.list(all_of_them=all_of_them)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["worker", "host", "pid", "state", "running", "done", "started", "seen", "kinds"],
        [
            [
                item["id"],
                item["host"],
                str(item["pid"]),
                _state(item),
                f"{item['running']}/{item['concurrency']}",
                f"{item['done']:,}",
                when(item["started_at"]),
                when(item["seen_at"]),
                ", ".join(item["kinds"]),
            ]
            for item in items
        ],
        wide="kinds",
        empty="No worker runs; `aegis worker` and `aegis up` start one.",
    )


@app.add
def status(as_json: AsJson = False) -> None:
    """Show how many workers live and how much waits for them."""
    from aegis.cli.render import pairs, show_json

    async def work(client: Aegis) -> dict[str, Any]:
        alive = await client.workers.list()
        return {
            "workers": len(alive),
            "places": sum(worker.concurrency for worker in alive),
            "jobs": await client.jobs.counts(),
        }

    found = with_client(work)
    if as_json:
        show_json(found)
        return
    jobs = found["jobs"]
    pairs(
        [
            ("workers", f"{found['workers']}, {found['places']} places"),
            ("due", f"{jobs['due']:,}"),
            ("running", f"{jobs['running']:,}"),
            ("later", f"{jobs['later']:,}"),
        ]
    )


@app.add
def rates(as_json: AsJson = False) -> None:
    """List how often all workers together may ask each provider."""
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.workers.rates()

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["provider", "per minute", "at once"],
        [[item["provider"], f"{item['per_minute']:g}", str(item["burst"])] for item in items],
        wide="provider",
        empty="No provider has a rate; `aegis worker rate NAME --per-minute N` sets one.",
    )


@app.add
def rate(
    provider: Annotated[str, Argument(help="As research and jobs call it, such as perplexity.")],
    per_minute: Annotated[
        float | None, Option(help="Calls a minute, of all workers together.")
    ] = None,
    burst: Annotated[int, Option(help="Calls that may come at once after a pause.")] = 1,
    lift: Annotated[bool, Option("--lift", help="Take the rate away.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set how often a provider may be asked, or lift it."""
    from aegis.cli.render import note, show_json
    from aegis.errors import InvalidInput
    from aegis.wire.plain import plain

    if (per_minute is None) is not lift:
        raise InvalidInput("Give either --per-minute or --lift.")

    async def work(client: Aegis) -> Any:
        return await client.workers.set_rate(provider, per_minute, burst=burst)

    found: Any = plain(with_client(work))
    if as_json:
        show_json(found or {"provider": provider, "per_minute": None, "burst": None})
        return
    said = "no rate" if found is None else f"{found['per_minute']:g} a minute, {burst} at once"
    note(f"{provider}: {said}.")


def _state(item: dict[str, Any]) -> str:
    if item["alive"]:
        return "works"
    return "stopped" if item["stopped_at"] else "lost"
