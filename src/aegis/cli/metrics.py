"""`aegis metrics`: what containers use, and what is unusual about any series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Since, Until
from aegis.cli.running import maybe_time, with_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aegis.client import Aegis
    from aegis.metrics.detecting import Detection
    from aegis.metrics.models import Chart, Kept, Latest, Point

__all__ = ["app"]

app = App(help="What containers use, and what is unusual about it.")


_BARS = " ▁▂▃▄▅▆▇█"


@app.add
def show(
    hours: Annotated[float, Option(help="Containers seen within so many hours.")] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Show each container's newest figures."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Sequence[Latest]:
        return await client.metrics.latest(hours=hours)

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        [
            "container",
            "measured",
            "cpu %",
            "memory MB",
            "memory %",
            "network MB",
            "disk MB",
            "disk %",
        ],
        [
            [
                item["container_name"],
                when(item["timestamp"]),
                _figure(item["cpu_percent"]),
                _figure(item["mem_usage_mb"]),
                _figure(item["mem_percent"]),
                _figure(item["net_io_mb"]),
                _figure(item["block_io_mb"]),
                _figure(item["disk_percent"]),
            ]
            for item in items
        ],
        wide="container",
        empty="No container was measured.",
    )


@app.add
def chart(
    container: Annotated[str, Argument(metavar="CONTAINER", help="The container, by name.")],
    metric: Annotated[
        str,
        Option(
            help="cpu_percent, mem_usage_mb, mem_percent, net_io_mb, block_io_mb or disk_percent."
        ),
    ] = "cpu_percent",
    since: Since = None,
    until: Until = None,
    points: Annotated[int, Option(help="How many points at most, 10 to 5000.")] = 80,
    as_json: AsJson = False,
) -> None:
    """Show one metric of a container over time, the last day unless --since says otherwise."""
    from aegis.cli.render import line, note, show_json, style, when
    from aegis.wire.plain import plain

    begin, end = maybe_time("since", since), maybe_time("until", until)

    async def work(client: Aegis) -> Chart:
        return await client.metrics.chart(container, metric, since=begin, until=end, points=points)

    found = with_client(work)
    if as_json:
        show_json(found)
        return
    shown: dict[str, Any] = plain(found)
    line(f"{style(found.container_name, 'bold')} {found.metric}")
    line(f"{when(shown['since'])} to {when(shown['until'])}, {_step(found)}")
    if not found.points:
        note("Nothing was measured in that time.")
        return
    line(_bars(found.points, found))
    values = [point.value for point in found.points if point.value is not None]
    peaks = [point.highest for point in found.points if point.highest is not None]
    if values:
        mean = sum(values) / len(values)
        line(f"lowest {_figure(min(values))}  mean {_figure(mean)}  highest {_figure(max(peaks))}")


@app.add
def keep(as_json: AsJson = False) -> None:
    """Roll samples up, make days ahead, and drop what is old; `aegis up` does it by itself."""
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Kept:
        return await client.metrics.keep()

    kept = with_client(work)
    if as_json:
        show_json(kept)
        return
    until = "" if kept.done_until is None else f", up to {kept.done_until:%Y-%m-%dT%H:%MZ}"
    line(f"{kept.minutes:,} minutes rolled up{until}.")
    line(f"{len(kept.created)} partition(s) made, {len(kept.dropped)} dropped.")


app.add_later("collect", "aegis.cli.collecting:collect")
app.add_later("watch", "aegis.cli.collecting:watch")
app.add_later("anomalies", "aegis.cli.collecting:anomalies")
app.add_later("rules", "aegis.cli.metric_rules:app")


def _figure(value: float | None) -> str:
    # Not measured is no zero.
    return "-" if value is None else f"{value:,.2f}"


def _step(found: Chart) -> str:
    return "each sample" if found.step_s == 0 else f"{found.step_s // 60} min a point"


def _bars(points: Sequence[Point], found: Chart) -> str:
    """Return a bar for each interval; one that was not measured is a dot."""
    top = max((point.value or 0.0 for point in points), default=0.0) or 1.0
    texts: list[str] = []
    before = None
    for point in points:
        if before is not None and found.step_s:
            missing = round((point.at - before).total_seconds() / found.step_s) - 1
            texts.append("·" * min(missing, 200))
        before = point.at
        share = 0.0 if point.value is None else max(point.value, 0.0) / top
        texts.append("·" if point.value is None else _BARS[min(8, int(share * 8))])
    return "".join(texts)


@app.add
def detect(
    file: Annotated[Path, Argument(metavar="FILE", help="CSV: a time and a value a line.")],
    plot: Annotated[Path | None, Option(help="Draw the series here, a PNG.")] = None,
    ratio: Annotated[
        float, Option(help="How many times farther than ever before is unusual.")
    ] = 1.55,
    least: Annotated[float, Option(help="A deviation that never matters.")] = 0.0,
    limit: Annotated[
        float | None, Option(help="A value that a slow rise must not reach, such as 100.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find what is unusual in a series; each value is judged before the next is read."""
    from aegis.cli.render import note, show_json
    from aegis.metrics.detecting import detect as run
    from aegis.metrics.series import read_csv

    kept: tuple[list[float], list[float]] = ([], [])
    points = read_csv(file)
    found = run(
        points if plot is None else _keeping(points, kept), ratio=ratio, least=least, limit=limit
    )
    if plot is not None:
        _draw(plot, kept, found, title=file.name)
    shown = _shown(found)
    if as_json:
        show_json(shown)
    else:
        _show(shown)
    if plot is not None:
        note(f"Drawn to {plot}.")


def _keeping(
    points: Iterator[tuple[float, float]], kept: tuple[list[float], list[float]]
) -> Iterator[tuple[float, float]]:
    for at, value in points:
        # A picture goes from left to right: what came late is not drawn.
        if not kept[0] or at > kept[0][-1]:
            kept[0].append(at)
            kept[1].append(value)
        yield at, value


def _draw(
    path: Path, kept: tuple[list[float], list[float]], found: Detection, *, title: str
) -> None:
    from aegis.errors import InvalidInput
    from aegis.metrics.plot import draw

    picture = draw(*kept, found.incidents, title=title)
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.") from None


def _shown(found: Detection) -> dict[str, Any]:
    """Return what was found with times for people, and a sentence on each incident."""
    from aegis.wire.plain import plain

    incidents: list[dict[str, Any]] = []
    for incident in found.incidents:
        shown: dict[str, Any] = plain(incident)
        shown["started_at"] = _time(incident.started_at)
        shown["ended_at"] = None if incident.ended_at is None else _time(incident.ended_at)
        incidents.append({**shown, "explanation": incident.explanation})
    drift: dict[str, Any] | None = plain(found.drift)
    if found.drift is not None and drift is not None:
        drift["started_at"] = _time(found.drift.started_at)
        drift["full_at"] = _time(found.drift.full_at)
    return {
        "points": found.points,
        "ignored": found.ignored,
        "incidents": incidents,
        "drift": drift,
    }


def _time(at: float) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"


def _show(found: dict[str, Any]) -> None:
    from aegis.cli.render import line, style, table, when

    table(
        ["began", "ended", "kind", "severity", "score", "what"],
        [
            [
                when(one["started_at"]),
                when(one["ended_at"]) if one["ended_at"] else "lasts",
                one["kind"],
                one["severity"],
                f"{one['score']:.1f}",
                one["explanation"],
            ]
            for one in found["incidents"]
        ],
        wide="what",
        empty="Nothing unusual.",
    )
    left_out = f", {found['ignored']:,} left out" if found["ignored"] else ""
    line(f"{found['points']:,} values judged{left_out}; {len(found['incidents'])} incident(s).")
    drift = found["drift"]
    if drift is not None:
        line(
            style("drift", "yellow")
            + f": rises by {drift['per_hour']:.3g} an hour since {when(drift['started_at'])}; "
            f"reaches {drift['limit']:g} at {when(drift['full_at'])} if it goes on so."
        )
