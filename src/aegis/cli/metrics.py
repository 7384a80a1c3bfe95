"""`aegis metrics`: what containers use, and what is unusual about any series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.metrics.detecting import Detection

__all__ = ["app"]

app = App(help="What containers use, and what is unusual about it.")


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
