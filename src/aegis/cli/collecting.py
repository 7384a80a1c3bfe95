"""`aegis metrics collect|watch|anomalies`: measuring, and what is found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import Option
from aegis.cli.options import AsJson, Limit
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.metrics.collect import Collected

__all__ = ["anomalies", "collect", "watch"]

#: Seconds between the two readings of --once: processor use needs two.
_BETWEEN_S = 1.0


def collect(
    source: Annotated[str, Option(help="auto, docker, cgroup, prometheus or process.")] = "auto",
    once: Annotated[bool, Option("--once", help="Measure once, and end.")] = False,
    every: Annotated[str, Option(help="Time between measurements, such as 15s.")] = "15s",
    as_json: Annotated[bool, Option("--json", help="One JSON document a round.")] = False,
) -> None:
    """Measure containers, services and the machine, and store it; `aegis up` does it, too."""
    import asyncio

    from aegis.cli.alerts import duration
    from aegis.errors import InvalidInput

    pause = duration("--every", every)
    if not 1 <= pause <= 3_600:
        raise InvalidInput(f"--every is {every!r}; use 1s to 1h.")

    async def work(client: Aegis) -> Collected:
        collector = await client.telemetry.open_collector(source)
        loop = asyncio.get_running_loop()
        try:
            await collector.prime()
            due = loop.time() + (_BETWEEN_S if once else pause)
            while True:
                await asyncio.sleep(max(0.0, due - loop.time()))
                done = await collector.collect()
                _show_round(done, as_json=as_json, once=once)
                if once:
                    return done
                due = max(due + pause, loop.time())
        finally:
            await collector.aclose()

    done = with_client(work)
    if done.problems and not done.samples:
        import click

        raise click.exceptions.Exit(1)


def watch(as_json: AsJson = False) -> None:
    """Judge what came since the last time; `aegis up` does it by itself."""
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Any:
        try:
            return await client.telemetry.watch(once=True)
        finally:
            await client.telemetry.aclose()

    done = with_client(work)
    if as_json:
        show_json(done)
        return
    if done.elsewhere:
        line("Another process watches.")
        return
    line(
        f"{done.samples:,} samples, {done.points:,} values judged; {done.opened} anomalies began, "
        f"{done.ended} ended."
    )


def anomalies(
    container: Annotated[str | None, Option(help="Of this container alone.")] = None,
    all_: Annotated[bool, Option("--all", help="Those that are over, too.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what was found to be unusual, the newest first."""
    from aegis.cli.render import show_json, table, when
    from aegis.metrics.models import ANOMALY_STATUSES
    from aegis.wire.plain import plain

    statuses = ANOMALY_STATUSES if all_ else ANOMALY_STATUSES[:2]

    async def work(client: Aegis) -> Any:
        return plain(
            await client.telemetry.anomalies(
                statuses=statuses, container_name=container, limit=limit
            )
        )

    items: list[dict[str, Any]] = with_client(work)
    if as_json:
        show_json({"items": items})
        return
    table(
        ["id", "began", "ended", "container", "metric", "kind", "severity", "status", "what"],
        [
            [
                str(item["id"]),
                when(item["started_at"][:19] + "+00:00"),
                when(item["ended_at"][:19] + "+00:00") if item["ended_at"] else "lasts",
                item["container_name"] or item["host"] or "",
                item["metric"],
                item["kind"],
                item["severity"],
                "false" if item["marked_false_at"] else item["status"],
                item["explanation"],
            ]
            for item in items
        ],
        wide="what",
        empty="Nothing unusual.",
    )


def _show_round(done: Collected, *, as_json: bool, once: bool) -> None:
    from aegis.cli.render import line, note, show_json, table
    from aegis.wire.plain import plain

    if as_json:
        show_json(done)
        return
    for problem in done.problems:
        note(f"{done.source} cannot be read: {problem}")
    if once:
        table(
            ["container", "cpu %", "memory MB", "memory %", "network MB", "disk MB", "disk %"],
            [
                [
                    sample["container_name"],
                    *(
                        "-" if sample[name] is None else f"{sample[name]:,.2f}"
                        for name in (
                            "cpu_percent",
                            "mem_usage_mb",
                            "mem_percent",
                            "net_io_mb",
                            "block_io_mb",
                            "disk_percent",
                        )
                    ),
                ]
                for sample in plain(done.samples)
            ],
            wide="container",
            empty="Nothing was measured.",
        )
    waits = f", {done.waiting} wait for the database" if done.waiting else ""
    line(f"{done.source}: {len(done.samples)} measured, {done.recorded} stored{waits}.")
