"""Samples checked and put into COPY's binary format, by the day whose partition takes them.

Half of taking samples in was writing numbers as text here and reading them there: in binary, five
figures are one call. What many samples share, a name and a time, is checked and rendered once.
First all times are looked at, for the days whose partitions are needed; figures are rendered in
parts, while the server works on the part before. Pure.
Format: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Binary Format)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import TYPE_CHECKING, Final

from aegis.metrics import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from aegis.metrics.models import Sample

__all__ = ["BEGIN", "END", "Sorted", "render", "sort"]

#: What a COPY in binary begins and ends with: signature, flags and an empty extension; no row.
BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END: Final = b"\xff\xff"
#: Samples older than this are late: the roll-up of their minute may have been made.
_LATE: Final = timedelta(minutes=4)
_MOST: Final = 1e15
#: Columns of a row; a length before each value, -1 for NULL.
_HEAD: Final = Struct("!hi")
_TIME: Final = Struct("!iq")
_FIVE: Final = Struct("!ididididid")
_ONE: Final = Struct("!id")
_NULL: Final = b"\xff\xff\xff\xff"
_COLUMNS: Final = 8
#: PostgreSQL counts microseconds from here.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Samples by their day, and what their times mean for the roll-ups."""

    #: In the order in which they came.
    days: dict[date, list[Sample]]
    #: Starts of hours that have to be rolled up again, in order.
    late_hours: Sequence[datetime]


def sort(samples: Sequence[Sample], *, now: datetime, keep_days: int) -> Sorted:
    """Return the samples by the day of their times.

    Raises:
        InvalidInput: a time cannot be.
    """
    days: dict[date, list[Sample]] = {}
    late: set[datetime] = set()
    times: dict[datetime, list[Sample]] = {}
    for sample in samples:
        known = times.get(sample.timestamp)
        if known is None:
            check.check_time(sample.timestamp, sample.container_name, now=now, keep_days=keep_days)
            at = sample.timestamp.astimezone(UTC)
            known = times[sample.timestamp] = days.setdefault(at.date(), [])
            if at < now - _LATE:
                late.add(at.replace(minute=0, second=0, microsecond=0))
        known.append(sample)
    return Sorted(days=days, late_hours=sorted(late))


def render(samples: Sequence[Sample], *, size: int) -> Iterator[bytes]:
    """Yield rows for COPY, `size` samples at a time: the columns of `store.samples` behind `id`.

    Raises:
        InvalidInput: a name or a figure cannot be.
    """
    names: dict[str, bytes] = {}
    times: dict[datetime, bytes] = {}
    rows: list[bytes] = []
    for sample in samples:
        name = names.get(sample.container_name)
        if name is None:
            text = check.check_name(sample.container_name).encode()
            name = names[sample.container_name] = _HEAD.pack(_COLUMNS, len(text)) + text
        at = times.get(sample.timestamp)
        if at is None:
            passed = (sample.timestamp - _EPOCH) // _MICROSECOND
            at = times[sample.timestamp] = _TIME.pack(8, passed)
        rows.append(name + at + _figures(sample))
        if len(rows) == size:
            yield b"".join(rows)
            rows = []
    if rows:
        yield b"".join(rows)


def _figures(sample: Sample) -> bytes:
    cpu, used, share = sample.cpu_percent, sample.mem_usage_mb, sample.mem_percent
    net, block = sample.net_io_mb, sample.block_io_mb
    disk = _NULL if sample.disk_percent is None else _figure("disk_percent", sample.disk_percent)
    if (
        (type(cpu) is float and 0 <= cpu <= _MOST)
        and (type(used) is float and 0 <= used <= _MOST)
        and (type(share) is float and 0 <= share <= _MOST)
        and (type(net) is float and 0 <= net <= _MOST)
        and (type(block) is float and 0 <= block <= _MOST)
    ):
        return _FIVE.pack(8, cpu, 8, used, 8, share, 8, net, 8, block) + disk
    others = (
        ("cpu_percent", cpu),
        ("mem_usage_mb", used),
        ("mem_percent", share),
        ("net_io_mb", net),
        ("block_io_mb", block),
    )
    return b"".join(_figure(metric, value) for metric, value in others) + disk


def _figure(metric: str, value: float | None) -> bytes:
    checked = check.check_figure(metric, value)
    return _NULL if checked is None else _ONE.pack(8, checked)
