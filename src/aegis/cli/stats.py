"""`aegis db stats`: what the database looks like, now and over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Option
from aegis.cli.options import AsJson, Limit
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis

__all__ = ["app"]

app = App("Figures of the database: views of now, and what happened over time.")

_WIDE = ("query", "waiting_query", "index", "table", "tablename", "name", "size")
#: What each view shows, for the list of commands.
_VIEWS = {
    "size": "Show the size of the database.",
    "tables": "List tables by size, indexes and TOAST included.",
    "active": "Count the statements that run now.",
    "cache": "Show the share of table blocks found in the cache, since the counters began.",
    "slow": "List the ten slowest statements by their mean (pg_stat_statements).",
    "indexes": "List indexes by size, with how often they were scanned.",
    "connections": "Count connections by user, program and state.",
    "running": "List the statements that run now.",
    "locks": "List who waits for whom.",
    "bloat": "Estimate what tables waste.",
    "index-bloat": "Estimate what B-trees waste.",
    "vacuum": "List tables by dead rows, with when they were vacuumed and analyzed.",
    "progress": "Show how far vacuums, index builds and copies are.",
    "sequences": "List sequences, the fullest first.",
    "replication": "List replicas and slots.",
}


def _view_command(name: str, about: str) -> None:
    def show(limit: Limit = 50, as_json: AsJson = False) -> None:
        async def work(client: Aegis) -> Any:
            return await client.stats.view(name, limit=limit)

        view = with_client(work)
        _show(view.columns, view.rows, as_json=as_json, name=name)

    show.__name__ = name
    show.__doc__ = about
    app.add(show)


for _name, _about in _VIEWS.items():
    _view_command(_name, _about)


@app.add
def snapshot(as_json: AsJson = False) -> None:
    """Store the counters as they are now; `aegis up` does it each hour."""
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Any:
        return await client.stats.snapshot()

    taken = with_client(work)
    if as_json:
        show_json(taken)
        return
    line(
        f"{taken.relations:,} tables and indexes, {taken.statements:,} statements stored; "
        f"{taken.dropped:,} old snapshots dropped."
    )


@app.add
def statements(
    hours: Annotated[float, Option(help="Of the last so many hours.")] = 24.0,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show what statements took, the most time first; a reset in between does not matter."""

    async def work(client: Aegis) -> Any:
        return await client.stats.statements(hours=hours, limit=limit)

    _show_items(with_client(work), ("calls", "total_ms", "mean_ms", "rows", "query"), as_json)


@app.add
def regressions(
    hours: Annotated[float, Option(help="The last so many hours against the time before.")] = 24.0,
    ratio: Annotated[float, Option(help="How many times slower counts.")] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Show statements that have become slower."""

    async def work(client: Aegis) -> Any:
        return await client.stats.regressions(hours=hours, ratio=ratio)

    _show_items(with_client(work), ("ratio", "before_ms", "mean_ms", "calls", "query"), as_json)


@app.add
def growth(
    days: Annotated[int, Option(help="By the last so many days.")] = 30, as_json: AsJson = False
) -> None:
    """Show how the database, its tables and indexes grow, with what they will be in 30 days."""

    async def work(client: Aegis) -> Any:
        return await client.stats.growth(days=days)

    columns = ("kind", "object", "size_bytes", "per_day_bytes", "in_30_days_bytes", "readings")
    _show_items(with_client(work), columns, as_json)


@app.add
def plans(limit: Limit = 5, as_json: AsJson = False) -> None:
    """Show how this role's statements that take most time are executed, whatever their values."""
    from aegis.cli.render import line, show_json, style
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.stats.plans(limit=limit)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    for item in items:
        line(style(" ".join(item["query"].split())[:500], "bold"))
        for text in item["plan"] or [f"no plan: {item['why_not']}"]:
            line(f"    {text}")


@app.add
def record_plans(
    slower_than: Annotated[
        int | None, Option("--slower-than", metavar="MS", help="From so many milliseconds on.")
    ] = None,
    analyze: Annotated[
        bool, Option("--analyze", help="With the rows and blocks of each step.")
    ] = False,
    off: Annotated[bool, Option("--off", help="Stop.")] = False,
) -> None:
    """Have the server log the plans of slow statements (auto_explain), from the next connection."""
    from aegis.cli.render import line
    from aegis.errors import InvalidInput

    if off == (slower_than is not None):
        raise InvalidInput("Say either --slower-than MS or --off.")

    async def work(client: Aegis) -> None:
        if slower_than is None:
            await client.stats.stop_recording_plans()
        else:
            await client.stats.record_plans(slower_than_ms=slower_than, analyze=analyze)

    with_client(work)
    done = "logs no more plans" if slower_than is None else f"logs plans from {slower_than} ms on"
    line(f"The server {done}, on connections made from now on.")


@app.add
def recorded_plans(limit: Limit = 5, as_json: AsJson = False) -> None:
    """Show the plans that the server's log has, the slowest statement first."""
    from aegis.cli.render import line, show_json, style
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return await client.stats.recorded_plans(limit=limit)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    for item in items:
        line(style(" ".join(item["query"].split())[:500], "bold"))
        line(f"    {item['milliseconds']:,.1f} ms, the slowest of {item['times']:,}")
        for text in item["plan"]:
            line(f"    {text}")
    if not items:
        line("The log has no plan: `aegis db stats record-plans --slower-than 500` starts that.")


@app.add
def advice(
    limit: Limit = 20,
    gain: Annotated[float, Option(help="Least gain, as a share of the cost.")] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Advise indexes, with what the planner gains by each; needs hypopg."""

    async def work(client: Aegis) -> Any:
        return await client.stats.advice(limit=limit, least_gain=gain)

    _show_items(with_client(work), ("gain", "cost_before", "cost_after", "index"), as_json)


def _show_items(found: Sequence[Any], columns: Sequence[str], as_json: bool) -> None:
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    items: list[dict[str, Any]] = plain(found)
    if as_json:
        show_json({"items": items})
        return
    _show(columns, [[item[c] for c in columns] for item in items], as_json=False, name="")


def _show(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool, name: str
) -> None:
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    if as_json:
        items = [dict(zip(columns, plain(list(row)), strict=True)) for row in rows]
        show_json({"view": name, "items": items})
        return
    table(
        list(columns),
        [
            [_cell(column, value) for column, value in zip(columns, row, strict=True)]
            for row in rows
        ],
        wide=next((c for c in _WIDE if c in columns), columns[-1]),
        empty="Nothing to show.",
    )


def _cell(column: str, value: Any) -> str:
    from aegis.ops.health.looking import size

    if value is None:
        return ""
    if column.endswith("_bytes"):
        return size(float(value))
    if isinstance(value, float):
        return f"{value:,.2f}"
    return " ".join(str(value).split())[:300]
