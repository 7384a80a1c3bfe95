"""What happened between two readings of counters, resets and crashes included. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from aegis.ops.stats.models import Interval, StatementFigures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.ops.stats.models import Counters

__all__ = ["between", "slope_per_day", "statement_between"]

_NAMES: Final = (
    "heap_hit", "heap_read", "index_hit", "index_read", "commits", "rollbacks", "deadlocks",
    "temp_bytes", "checksum_failures",
)  # fmt: skip
_DAY_S: Final = 86_400.0
#: Pairs of readings that a slope is the median of; more say no more.
_MOST_POINTS: Final = 200


def between(before: Counters, now: Counters) -> Interval:
    """Return what happened from `before` to `now`.

    Counters that were reset, or lost in a crash, begin anew: then what they show is all that is
    known to have happened since.
    """
    kept = before.stats_reset_at == now.stats_reset_at and all(
        getattr(now, name) >= getattr(before, name) for name in _NAMES
    )
    figures = {name: getattr(now, name) - (getattr(before, name) if kept else 0) for name in _NAMES}
    since = before.taken_at if kept else max(
        before.taken_at, now.stats_reset_at or before.taken_at
    )  # fmt: skip
    return Interval(since=since, until=now.taken_at, whole=kept, **figures)


def statement_between(
    before: StatementFigures | None, now: StatementFigures, *, reset: bool
) -> StatementFigures:
    """Return what a statement did since `before`; all of `now` where it is new or began anew."""
    if before is None or reset or now.calls < before.calls or now.total_ms < before.total_ms:
        return now
    return StatementFigures(
        query_id=now.query_id,
        calls=now.calls - before.calls,
        total_ms=now.total_ms - before.total_ms,
        rows=max(0, now.rows - before.rows),
        blocks_hit=max(0, now.blocks_hit - before.blocks_hit),
        blocks_read=max(0, now.blocks_read - before.blocks_read),
    )


def slope_per_day(points: Sequence[tuple[datetime, float]]) -> float | None:
    """Return growth a day as the median of the slopes of all pairs (Theil and Sen).

    A single jump, such as a bulk load or a VACUUM FULL, does not move it. None for fewer than
    three readings, or less than a day of them.
    """
    points = sorted(points)
    if len(points) > _MOST_POINTS:
        step = len(points) / _MOST_POINTS
        points = [points[int(n * step)] for n in range(_MOST_POINTS - 1)] + [points[-1]]
    if len(points) < 3 or (points[-1][0] - points[0][0]).total_seconds() < _DAY_S:
        return None
    slopes = [
        (b - a) / ((at_b - at_a).total_seconds() / _DAY_S)
        for n, (at_a, a) in enumerate(points)
        for at_b, b in points[n + 1 :]
        if at_b > at_a
    ]
    return median(slopes)
