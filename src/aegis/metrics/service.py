"""Metrics of containers as one object: samples in, what is the newest, charts, upkeep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput
from aegis.metrics import check, keeping, steps
from aegis.metrics.models import Chart
from aegis.metrics.rendering import render, sort
from aegis.metrics.store import charts, partitions, samples
from aegis.metrics.store import starts as start_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Database
    from aegis.metrics.models import Kept, Latest, Sample, Start

__all__ = ["Metrics"]

#: Samples that are rendered at a time, about 80 KB.
_PART = 1_000


def _clock() -> datetime:
    return datetime.now(UTC)


class Metrics:
    """Metrics of one database. `now` is the clock, for those who test."""

    def __init__(
        self, db: Database, *, keep_days: int = 30, now: Callable[[], datetime] = _clock
    ) -> None:
        self._db = db
        self._keep_days = keep_days
        self._now = now

    async def record(self, given: Sequence[Sample], *, starts: Sequence[Start] = ()) -> int:
        """Store samples and starts of containers, all or none; return how many samples.

        A figure that is not finite counts as not measured. Samples may come in any order and late;
        the same sample twice is stored twice.

        Raises:
            InvalidInput: a sample cannot be; nothing was stored.
        """
        if len(given) > check.MOST_SAMPLES:
            raise InvalidInput(
                f"{len(given):,} samples in one call; up to {check.MOST_SAMPLES:,} are taken, "
                "send parts."
            )
        found = sort(given, now=self._now(), keep_days=self._keep_days)
        if not found.days and not starts:
            return 0
        days = sorted(found.days)
        places = await keeping.ensure_days(self._db, "container_metrics", days)
        async with self._db.transaction() as conn:
            for day in days:
                await samples.copy_samples(conn, places[day], render(found.days[day], size=_PART))
            if found.late_hours:
                await samples.note_late(conn, found.late_hours)
            if starts:
                await start_store.note(conn, starts)
        return len(given)

    async def latest(self, *, hours: float = 24.0, limit: int = 1_000) -> Sequence[Latest]:
        """Return the newest sample of each container seen in the last `hours`, by name."""
        if not 0 < hours <= 24 * 400:
            raise InvalidInput(f"hours is {hours:g}; it is above 0 and up to {24 * 400:,}.")
        if not 1 <= limit <= 10_000:
            raise InvalidInput(f"limit is {limit}; it is 1 to 10,000.")
        now = self._now()
        async with self._db.transaction() as conn:
            return await samples.list_latest(
                conn,
                since=now - timedelta(hours=hours),
                # What a clock that was wrong wrote lies farther ahead.
                until=now + check.AHEAD,
                limit=limit,
            )

    async def chart(
        self,
        container_name: str,
        metric: str = "cpu_percent",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        points: int = 500,
    ) -> Chart:
        """Return one metric of a container in about `points` points at most, of the last day.

        Short times are read from samples, longer ones from the roll-up that is fine enough.

        Raises:
            InvalidInput: an unknown metric, or a time that is none.
        """
        check.check_name(container_name)
        chosen = check.check_metric(metric)
        begin, end = check.check_span(since, until, now=self._now())
        plan = steps.choose(
            (end - begin).total_seconds(),
            points=check.check_points(points),
            age_s=(self._now() - begin).total_seconds(),
            keep_days=self._keep_days,
        )
        # One statement, and no transaction around it: its two round trips cost as much again.
        async with self._db.connection() as conn:
            if plan.source == "samples":
                found = await charts.list_samples(
                    conn, container_name=container_name, metric=chosen, since=begin, until=end
                )
            else:
                found = await charts.list_points(
                    conn,
                    source=plan.source,
                    container_name=container_name,
                    metric=chosen,
                    since=begin,
                    until=end,
                    step_s=plan.step_s,
                )
        return Chart(
            container_name=container_name,
            metric=chosen,
            since=begin,
            until=end,
            step_s=plan.step_s,
            source=plan.source,
            points=found,
        )

    async def keep(self) -> Kept:
        """Do the upkeep: make days ahead, roll up, drop what is older than is kept.

        Safe to call at any time, by several processes, and after any pause.
        """
        return await keeping.keep(self._db, now=self._now(), keep_days=self._keep_days)

    async def partitions(self) -> Sequence[str]:
        """Return the partitions of samples by name."""
        async with self._db.transaction() as conn:
            return sorted(await partitions.list_partitions(conn, "container_metrics"))
