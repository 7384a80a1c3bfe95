"""Samples checked and put into COPY's text format, by the day whose partition takes them.

What many samples share, a name and a time, is checked and rendered once. Pure.
Escapes: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Text Format)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from aegis.metrics import check

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

    from aegis.metrics.models import Sample

__all__ = ["Rendered", "render"]

#: Samples older than this are late: the roll-up of their minute may have been made.
_LATE: Final = timedelta(minutes=4)
_NULL: Final = r"\N"
_MOST: Final = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Lines for COPY, and what their times mean for the roll-ups."""

    #: Columns behind `id`, a line a sample, in the order in which they came.
    days: dict[date, list[str]]
    #: Starts of hours that have to be rolled up again, in order.
    late_hours: Sequence[datetime]


def render(samples: Iterable[Sample], *, now: datetime, keep_days: int) -> Rendered:
    """Return the samples as COPY takes them.

    Raises:
        InvalidInput: a sample cannot be.
    """
    days: dict[date, list[str]] = {}
    late: set[datetime] = set()
    names: dict[str, str] = {}
    times: dict[datetime, tuple[str, list[str]]] = {}
    for sample in samples:
        name = names.get(sample.container_name)
        if name is None:
            checked = check.check_name(sample.container_name)
            name = names[checked] = checked.replace("\\", "\\\\")
        known = times.get(sample.timestamp)
        if known is None:
            check.check_time(sample.timestamp, sample.container_name, now=now, keep_days=keep_days)
            at = sample.timestamp.astimezone(UTC)
            known = times[sample.timestamp] = (at.isoformat(), days.setdefault(at.date(), []))
            if at < now - _LATE:
                late.add(at.replace(minute=0, second=0, microsecond=0))
        text, lines = known
        lines.append(
            f"{name}\t{text}\t{_figure('cpu_percent', sample.cpu_percent)}"
            f"\t{_figure('mem_usage_mb', sample.mem_usage_mb)}"
            f"\t{_figure('mem_percent', sample.mem_percent)}"
            f"\t{_figure('net_io_mb', sample.net_io_mb)}"
            f"\t{_figure('block_io_mb', sample.block_io_mb)}\n"
        )
    return Rendered(days=days, late_hours=sorted(late))


def _figure(metric: str, value: float | None) -> str:
    if value is None:
        return _NULL
    if type(value) is float and 0 <= value <= _MOST:
        return repr(value)
    checked = check.check_figure(metric, value)
    return _NULL if checked is None else repr(checked)
