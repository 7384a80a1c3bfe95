"""What statements did over time, computed from kept counters. Pure."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

from aegis.ops.stats.deltas import statement_between
from aegis.ops.stats.models import Regression, StatementFigures, StatementInterval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from aegis.ops.stats.statements import Kept

__all__ = ["intervals", "regressions"]

#: A statement that ran fewer times on either side says nothing.
_LEAST_CALLS: Final = 20


def intervals(
    kept: Sequence[Kept], *, since: datetime, begun_at: datetime
) -> list[StatementInterval]:
    """Return what each statement did from `since` on, the most time first.

    `kept` is by statement and time; a reading from before `since` is where counting begins.
    `begun_at` is when the first snapshot was taken: what it saw had happened before.
    """
    found: list[StatementInterval] = []
    for query_id, readings in _by_statement(kept):
        steps = [figures for at, figures in _steps(readings, begun_at) if at >= since]
        total = _sum(query_id, steps)
        if total.calls:
            found.append(_interval(total, readings[-1].query))
    return sorted(found, key=lambda s: -s.total_ms)


def regressions(
    kept: Sequence[Kept], *, since: datetime, begun_at: datetime, ratio: float, least_ms: float
) -> list[Regression]:
    """Return statements whose mean since `since` is `ratio` times that of the time before.

    Only what takes `least_ms` now, and was called often enough on both sides, the worst first.
    """
    found: list[Regression] = []
    for query_id, readings in _by_statement(kept):
        steps = _steps(readings, begun_at)
        recent = _sum(query_id, [figures for at, figures in steps if at >= since])
        before = _sum(query_id, [figures for at, figures in steps if at < since])
        if min(recent.calls, before.calls) < _LEAST_CALLS:
            continue
        mean, past = recent.total_ms / recent.calls, before.total_ms / before.calls
        if mean < least_ms or mean < ratio * max(past, 1e-9):
            continue
        found.append(
            Regression(
                query_id=query_id,
                query=readings[-1].query,
                mean_ms=mean,
                before_ms=past,
                ratio=mean / max(past, 1e-9),
                calls=recent.calls,
                calls_before=before.calls,
            )
        )
    return sorted(found, key=lambda r: -r.ratio)


def _by_statement(kept: Sequence[Kept]) -> Iterator[tuple[int, list[Kept]]]:
    for query_id, group in groupby(kept, key=lambda k: k.query_id):
        yield query_id, list(group)


def _steps(readings: Sequence[Kept], begun_at: datetime) -> list[tuple[datetime, StatementFigures]]:
    """Return what was done up to each reading; a statement that came later began with nothing."""
    steps: list[tuple[datetime, StatementFigures]] = []
    if readings[0].taken_at > begun_at:
        steps.append((readings[0].taken_at, _figures(readings[0])))
    for before, now in pairwise(readings):
        reset = before.statements_reset_at != now.statements_reset_at
        figures = statement_between(_figures(before), _figures(now), reset=reset)
        steps.append((now.taken_at, figures))
    return steps


def _figures(kept: Kept) -> StatementFigures:
    return StatementFigures(
        query_id=kept.query_id,
        calls=kept.calls,
        total_ms=kept.total_ms,
        rows=kept.rows,
        blocks_hit=kept.blocks_hit,
        blocks_read=kept.blocks_read,
    )


def _sum(query_id: int, parts: Sequence[StatementFigures]) -> StatementFigures:
    return StatementFigures(
        query_id=query_id,
        calls=sum(p.calls for p in parts),
        total_ms=sum(p.total_ms for p in parts),
        rows=sum(p.rows for p in parts),
        blocks_hit=sum(p.blocks_hit for p in parts),
        blocks_read=sum(p.blocks_read for p in parts),
    )


def _interval(total: StatementFigures, query: str) -> StatementInterval:
    return StatementInterval(
        query_id=total.query_id,
        query=query,
        calls=total.calls,
        total_ms=total.total_ms,
        mean_ms=total.total_ms / total.calls,
        rows=total.rows,
        blocks_hit=total.blocks_hit,
        blocks_read=total.blocks_read,
    )
