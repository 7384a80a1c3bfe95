"""Figures of the database as one object: views of now, snapshots, what happened in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.ops.stats import advising, counters, planning, slow_plans, statements, views
from aegis.ops.stats.deltas import between, slope_per_day
from aegis.ops.stats.history import intervals, regressions
from aegis.ops.stats.models import Growth, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection, Database
    from aegis.ops.stats.models import (
        Advice,
        Interval,
        Plan,
        Regression,
        SlowPlan,
        StatementInterval,
    )
    from aegis.ops.stats.views import View

__all__ = ["KEEP_DAYS", "Stats"]

KEEP_DAYS: Final = 30
#: Sizes are taken less often than counters: they change less, and are many.
_RELATIONS_EVERY: Final = timedelta(hours=6)
_SNAPSHOT_MS: Final = 60_000


class Stats:
    """Figures of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def view(self, name: str, *, limit: int = 50) -> View:
        """Return one of the views by name (`views.VIEWS`), such as `tables` or `locks`.

        Raises:
            InvalidInput: there is no such view.
            Unavailable: it needs an extension that is not there.
        """
        if not 1 <= limit <= 10_000:
            raise InvalidInput(f"limit is {limit}; it is 1 to 10,000.")
        async with self._db.transaction() as conn:
            return await views.read(conn, name, limit=limit)

    async def snapshot(self, *, now: datetime | None = None) -> Snapshot:
        """Store the counters as they are, and drop what is older than `KEEP_DAYS`.

        Raises:
            Conflict: another process is taking one.
        """
        moment = now or datetime.now(UTC)
        async with self._db.transaction() as conn:
            if not await counters.lock_snapshots(conn):
                raise Conflict("Another process is taking a snapshot.", code="snapshot_running")
            await conn.execute(
                "SELECT set_config('statement_timeout', %(ms)s, true)", {"ms": str(_SNAPSHOT_MS)}
            )
            place = await statements.find_schema(conn)
            read = await _read(conn, place)
            last = await counters.last_with_relations(conn)
            whole = last is None or read.taken_at - last >= _RELATIONS_EVERY
            number = await counters.insert_snapshot(conn, read, with_relations=whole)
            relations = await counters.insert_relations(conn, number) if whole else 0
            changed = 0 if place is None else await statements.store_changed(conn, number, place)
        async with self._db.transaction() as conn:
            dropped = await counters.drop_old(conn, moment - timedelta(days=KEEP_DAYS))
        return Snapshot(
            taken_at=read.taken_at, relations=relations, statements=changed, dropped=dropped
        )

    async def interval(self, *, hours: float = 3.0) -> Interval:
        """Return what happened since the snapshot of `hours` ago, or the oldest one.

        Raises:
            NotFound: there is no snapshot yet.
        """
        async with self._db.transaction() as conn:
            return await interval(conn, hours=hours)

    async def statements(
        self, *, hours: float = 24.0, limit: int = 50
    ) -> Sequence[StatementInterval]:
        """Return what each statement did in the last `hours`, the most time first.

        Raises:
            NotFound: there is no snapshot yet.
        """
        since = datetime.now(UTC) - timedelta(hours=_positive("hours", hours))
        async with self._db.transaction() as conn:
            kept, begun = await _kept(conn, since)
        return intervals(kept, since=since, begun_at=begun)[:limit]

    async def regressions(
        self, *, hours: float = 24.0, ratio: float = 2.0, least_ms: float = 1.0
    ) -> Sequence[Regression]:
        """Return statements that take `ratio` times as long as before the last `hours`."""
        since = datetime.now(UTC) - timedelta(hours=_positive("hours", hours))
        async with self._db.transaction() as conn:
            kept, begun = await _kept(conn, since - timedelta(days=KEEP_DAYS))
        return regressions(kept, since=since, begun_at=begun, ratio=ratio, least_ms=least_ms)

    async def growth(self, *, days: int = KEEP_DAYS) -> Sequence[Growth]:
        """Return how the database and what is large in it grow, the fastest first."""
        since = datetime.now(UTC) - timedelta(days=days)
        async with self._db.transaction() as conn:
            return await growth(conn, since)

    async def plans(self, *, limit: int = 10) -> Sequence[Plan]:
        """Return how the statements that take most time would be executed; none is executed.

        Raises:
            Unavailable: pg_stat_statements is not there.
        """
        async with self._db.transaction() as conn:
            return await planning.plans(conn, limit=limit)

    async def record_plans(self, *, slower_than_ms: int, analyze: bool = False) -> None:
        """Have new connections log the plan of each statement that takes so long.

        Raises:
            InvalidInput: the milliseconds are out of range.
            Unavailable: it takes a superuser, and auto_explain on the server.
        """
        async with self._db.transaction() as conn:
            await slow_plans.record(conn, slower_than_ms=slower_than_ms, analyze=analyze)

    async def stop_recording_plans(self) -> None:
        """Have no more plans logged; `Unavailable` where that takes another role."""
        async with self._db.transaction() as conn:
            await slow_plans.turn_off(conn)

    async def recorded_plans(self, *, limit: int = 10) -> Sequence[SlowPlan]:
        """Return what the server's log has of plans, the slowest statement first.

        Raises:
            Unavailable: the log cannot be read from here.
        """
        async with self._db.transaction() as conn:
            return await slow_plans.recorded(conn, limit=limit)

    async def advice(self, *, limit: int = 20, least_gain: float = 0.1) -> Sequence[Advice]:
        """Return indexes that the planner would use, by what they gain.

        Raises:
            Unavailable: hypopg or pg_stat_statements is not installed.
        """
        async with self._db.transaction() as conn:
            return await advising.advice(conn, limit=limit, least_gain=least_gain)


async def interval(conn: Connection, *, hours: float) -> Interval:
    """Return what happened since the snapshot of `hours` ago, or the oldest (`NotFound`)."""
    now = datetime.now(UTC)
    before = await counters.find_before(conn, now - timedelta(hours=_positive("hours", hours)))
    if before is None:
        oldest = await counters.list_snapshots(conn, now - timedelta(hours=hours))
        if not oldest:
            raise NotFound("There is no snapshot yet: `aegis db stats snapshot` takes one.")
        before = oldest[0]
    return between(before, await _read(conn, await statements.find_schema(conn)))


async def growth(conn: Connection, since: datetime) -> list[Growth]:
    """Return how the database and what is large in it grow, the fastest first."""
    found: list[Growth] = []
    snapshots = await counters.list_snapshots(conn, since)
    points = [(s.taken_at, float(s.database_bytes)) for s in snapshots]
    whole = _growth("", "database", points)
    by_object: dict[tuple[str, str], list[tuple[datetime, float]]] = {}
    for name, kind, at, count in await counters.list_sizes(conn, since):
        by_object.setdefault((name, kind), []).append((at, float(count)))
    for (name, kind), past in by_object.items():
        one = _growth(name, kind, past)
        if one is not None:
            found.append(one)
    found.sort(key=lambda g: -g.per_day_bytes)
    return found if whole is None else [whole, *found]


def _growth(name: str, kind: str, points: list[tuple[datetime, float]]) -> Growth | None:
    slope = slope_per_day(points)
    if slope is None:
        return None
    points.sort()
    size = points[-1][1]
    return Growth(
        object=name,
        kind=kind,
        size_bytes=int(size),
        per_day_bytes=slope,
        in_30_days_bytes=max(0.0, size + 30 * slope),
        readings=len(points),
        days=(points[-1][0] - points[0][0]).total_seconds() / 86_400,
    )


async def _read(conn: Connection, place: Any) -> Any:
    reset = None if place is None else await statements.stats_reset(conn, place)
    return await counters.now_counters(conn, statements_reset_at=reset)


async def _kept(conn: Connection, since: datetime) -> tuple[list[statements.Kept], datetime]:
    """Return what is kept of statements since then, with what they count now."""
    begun = await counters.first_snapshot(conn)
    if begun is None:
        raise NotFound("There is no snapshot yet: `aegis db stats snapshot` takes one.")
    kept = await statements.list_kept(conn, since=since)
    place = await statements.find_schema(conn)
    if place is not None:
        kept += await statements.list_now(conn, place)
        kept.sort(key=lambda k: (k.query_id, k.taken_at))
    return kept, begun


def _positive(name: str, value: float) -> float:
    if not 0 < value <= 24 * 400:
        raise InvalidInput(f"{name} is {value:g}; it is above 0 and up to {24 * 400:,}.")
    return value
