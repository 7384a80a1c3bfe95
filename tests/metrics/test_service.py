"""Samples in, roll-ups behind a watermark, charts out, and what is old goes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from aegis.db import fetch_value
from aegis.errors import InvalidInput
from aegis.metrics.rendering import render
from aegis.metrics.service import Metrics
from aegis.metrics.store import partitions, samples
from tests.metrics.conftest import NOW, sample

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.metrics.models import Chart

pytestmark = pytest.mark.servers("18", "16")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def value(db: Database, query: Any) -> Any:
    async with db.transaction() as conn:
        return await fetch_value(conn, query)


async def chart(metrics: Metrics, metric: str = "cpu_percent", *, points: int = 30) -> Chart:
    return await metrics.chart("web", metric, since=NOW - HOUR, until=NOW + MINUTE, points=points)


async def test_samples_lie_in_the_partition_of_their_day(metrics: Metrics, db: Database) -> None:
    ahead = Metrics(db, now=lambda: NOW + 2 * DAY)
    await ahead.record(
        [replace(sample(), timestamp=NOW + 2 * DAY), replace(sample(), timestamp=NOW + DAY)]
    )
    await metrics.record([sample(), sample(ago=40 * DAY - 15 * DAY)])
    held = await value(
        db,
        """
        SELECT string_agg(tableoid::regclass::text || ' ' || timestamp::date, ', ' ORDER BY id)
        FROM container_metrics
        WHERE timestamp > now()
        """,
    )
    day = (NOW + DAY).date()
    assert f"container_metrics_p{day:%Y%m%d} {day}" in held
    assert await value(db, "SELECT count(*) FROM container_metrics") == 4
    assert await value(db, "SELECT count(*) FROM container_metrics_default") == 0


async def test_the_seed_s_insert_runs_and_rows_without_a_partition_move_into_it(
    metrics: Metrics, db: Database
) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO container_metrics (container_name, cpu_percent, timestamp)
            VALUES ('web', 1, NULL), ('web', 2, now() + INTERVAL '3 days'), ('web', 3, DEFAULT)
            """
        )
    assert await value(db, "SELECT count(*) FROM container_metrics_default") == 3
    await Metrics(db).keep()
    assert await value(db, "SELECT count(*) FROM container_metrics_default") == 1
    assert await value(db, "SELECT sum(cpu_percent) FROM container_metrics") == 6
    await metrics.keep()
    assert await value(db, "SELECT count(*) FROM container_metrics") == 3


async def test_samples_of_days_past_that_others_wrote_get_their_partition(
    metrics: Metrics, db: Database
) -> None:
    day = NOW - 3 * DAY
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO container_metrics (container_name, cpu_percent, timestamp) "
            "VALUES ('web', 5, %(at)s)",
            {"at": day},
        )
    assert partitions.name_of("container_metrics", day.date()) in (await metrics.keep()).created
    assert await value(db, "SELECT count(*) FROM container_metrics_default") == 0
    found = await metrics.chart("web", since=day - HOUR, until=day + HOUR)
    assert [point.value for point in found.points] == [5.0]


async def test_a_chart_shows_means_peaks_and_gaps(metrics: Metrics) -> None:
    await metrics.record(
        [
            sample(ago=20 * MINUTE, cpu=10.0),
            sample(ago=20 * MINUTE - timedelta(seconds=15), cpu=30.0),
            sample(ago=5 * MINUTE, cpu=None),
            sample("other", ago=20 * MINUTE, cpu=99.0),
        ]
    )
    await metrics.keep()
    found = await chart(metrics)
    assert (found.source, found.step_s) == ("5m", 300)
    assert [(p.samples, p.value, p.highest) for p in found.points] == [
        (2, 20.0, 30.0),
        (1, None, None),
    ]
    exact = await chart(metrics, points=1_000)
    assert (exact.source, [p.value for p in exact.points]) == ("samples", [10.0, 30.0, None])


async def test_a_counter_shows_what_passed_and_a_restart_is_no_loss(metrics: Metrics) -> None:
    counts = [100.0, 160.0, 220.0, 5.0, 65.0]
    await metrics.record(
        [sample(ago=(5 - n) * 5 * MINUTE, net=count) for n, count in enumerate(counts)]
    )
    await metrics.keep()
    found = await chart(metrics, "net_io_mb")
    # Of the first it is not known what passed before.
    assert [p.value for p in found.points] == [None, 60.0, 60.0, 5.0, 60.0]
    hour = await metrics.chart(
        "web", "net_io_mb", since=NOW - 29 * DAY, until=NOW + HOUR, points=500
    )
    assert (hour.source, sum(p.value or 0 for p in hour.points)) == ("1h", 185.0)


async def test_late_samples_and_those_of_others_are_rolled_up_again(
    metrics: Metrics, db: Database
) -> None:
    await metrics.record([sample(ago=40 * MINUTE, cpu=10.0)])
    await metrics.keep()
    await metrics.record([sample(ago=40 * MINUTE, cpu=30.0)])
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO container_metrics (container_name, cpu_percent, timestamp) "
            "VALUES ('web', 80, %(at)s)",
            {"at": NOW - 40 * MINUTE},
        )
    await metrics.keep()
    (point,) = (await chart(metrics)).points
    assert (point.samples, point.value, point.highest) == (3, 40.0, 80.0)
    assert await value(db, "SELECT count(*) FROM metric_late_hours") == 0


async def test_samples_that_are_committed_during_a_roll_up_are_not_lost(
    metrics: Metrics, db: Database
) -> None:
    await metrics.record([sample(ago=30 * DAY / 2)])
    await metrics.keep()
    late = sample(ago=DAY, cpu=50.0)
    day = late.timestamp.date()
    (place,) = (await _places(db, day)).values()
    async with db.transaction() as conn:
        await samples.copy_samples(conn, place, render([late], size=10))
        hour = late.timestamp.replace(minute=0, second=0)
        await samples.note_late(conn, [hour])
        # It has not been committed: the roll-up cannot see it, and must not count it as done.
        await metrics.keep()
    await metrics.keep()
    found = await metrics.chart("web", since=NOW - DAY - HOUR, until=NOW, points=500)
    assert [p.value for p in found.points] == [50.0]


async def _places(db: Database, day: Any) -> dict[Any, str]:
    from aegis.metrics.keeping import ensure_days

    return await ensure_days(db, "container_metrics", [day])


async def test_upkeep_by_many_at_once_is_as_by_one(db: Database) -> None:
    workers = [Metrics(db, now=lambda: NOW) for _ in range(4)]
    await asyncio.gather(
        *(w.record([sample(f"c{n}", ago=n * HOUR)]) for n, w in enumerate(workers))
    )
    await asyncio.gather(*(worker.keep() for worker in workers))
    assert await value(db, "SELECT sum(samples) FROM container_metrics_1m") == 4
    assert await value(db, "SELECT sum(samples) FROM container_metrics_1h") == 4


async def test_what_is_old_goes_with_its_partition_and_hours_stay(db: Database) -> None:
    before = Metrics(db, now=lambda: NOW)
    await before.record([sample(), sample(ago=2 * HOUR)])
    await before.keep()
    later = Metrics(db, now=lambda: NOW + 33 * DAY)
    # Whoever was away so long, or whose clock jumped, drops nothing at the first look.
    assert (await later.keep()).dropped == []
    kept = await later.keep()
    assert partitions.name_of("container_metrics", NOW.date()) in kept.dropped
    assert await value(db, "SELECT count(*) FROM container_metrics") == 0
    assert await value(db, "SELECT count(*) FROM container_metrics_1m") == 0
    assert await value(db, "SELECT sum(samples) FROM container_metrics_1h") == 2
    assert (await later.keep()).dropped == []


async def test_figures_that_cannot_be_do_not_stop_the_roll_up(
    metrics: Metrics, db: Database
) -> None:
    at = NOW - 10 * MINUTE
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO container_metrics (container_name, cpu_percent, net_io_mb, timestamp)
            VALUES ('web', 'NaN', 1e300, %(at)s), ('web', 'Infinity', 'NaN', %(at)s),
                   ('web', -1e308, 1e308, %(at)s), ('web', 7, 1, 'infinity'),
                   ('web', 7, 1, '-infinity'), ('web', 7, 1, %(at)s)
            """,
            {"at": at},
        )
    await metrics.keep()
    (point,) = (await chart(metrics)).points
    assert (point.samples, point.value) == (4, 7.0)


async def test_a_figure_that_is_not_finite_was_not_measured(metrics: Metrics, db: Database) -> None:
    assert await metrics.record([sample(cpu=math.nan), sample(cpu=math.inf)]) == 2
    assert await value(db, "SELECT count(cpu_percent) FROM container_metrics") == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"container_name": ""}, "container_name is ''"),
        ({"container_name": "a" * 101}, "101 characters"),
        ({"container_name": "a\tb"}, "control character"),
        ({"container_name": "\ud800"}, "control character"),
        ({"timestamp": NOW.replace(tzinfo=None)}, "a time with a zone"),
        ({"timestamp": NOW + 2 * HOUR}, "ahead of"),
        ({"timestamp": NOW - 31 * DAY}, "older than the 30 days"),
        ({"cpu_percent": -1.0}, "cpu_percent is -1.0"),
        ({"net_io_mb": 1e16}, "net_io_mb is 1e"),
        ({"mem_percent": 10**400}, "mem_percent is 1000"),
        ({"cpu_percent": True}, "cpu_percent is True"),
        ({"cpu_percent": "5"}, "cpu_percent is '5'"),
    ],
)
async def test_a_sample_that_cannot_be_is_refused_and_all_with_it(
    metrics: Metrics, db: Database, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await metrics.record([sample(), replace(sample(), **wrong)])
    assert await value(db, "SELECT count(*) FROM container_metrics") == 0


async def test_names_with_signs_of_copy_come_back_as_they_were(metrics: Metrics) -> None:
    name = "a\\b\\N 'c' \u00e4"
    await metrics.record([sample(name), sample("b")])
    assert [one.container_name for one in await metrics.latest()] == sorted([name, "b"])


async def test_the_newest_of_each_container_is_found_before_and_after_a_roll_up(
    metrics: Metrics,
) -> None:
    await metrics.record([sample(ago=HOUR, cpu=1.0), sample(ago=MINUTE, cpu=2.0)])
    assert [one.cpu_percent for one in await metrics.latest()] == [2.0]
    await metrics.keep()
    await metrics.record([sample("db", ago=MINUTE, cpu=5.0)])
    found = [(one.container_name, one.cpu_percent) for one in await metrics.latest()]
    assert found == [("db", 5.0), ("web", 2.0)]
    assert await metrics.latest(hours=0.001) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "ram"}, "use one of cpu_percent"),
        ({"points": 3}, "points is 3"),
        ({"since": NOW, "until": NOW}, "is not before"),
        ({"since": NOW - 4_000 * DAY}, "ten years"),
        ({"since": NOW.replace(tzinfo=None)}, "with a zone"),
    ],
)
async def test_a_chart_of_nothing_is_refused(
    metrics: Metrics, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await metrics.chart("web", **wrong)


async def test_a_day_that_is_missing_is_made_by_one_of_many(db: Database) -> None:
    day = (datetime.now(UTC) + 9 * DAY).date()
    found = await asyncio.gather(*(_places(db, day) for _ in range(5)))
    assert {place[day] for place in found} == {partitions.name_of("container_metrics", day)}


async def test_a_round_that_finds_nothing_new_writes_no_row(metrics: Metrics, db: Database) -> None:
    await metrics.record([sample(ago=number * MINUTE) for number in range(30)])
    assert (await metrics.keep()).minutes >= 30
    rows = "SELECT array_agg(ctid || xmin::text ORDER BY bucket) FROM container_metrics_1m"
    async with db.transaction() as conn:
        before = await fetch_value(conn, rows)
    assert (await metrics.keep()).minutes == 0
    async with db.transaction() as conn:
        assert await fetch_value(conn, rows) == before
    # And what has changed is written.
    await metrics.record([sample(ago=MINUTE, cpu=99.0)])
    assert (await metrics.keep()).minutes == 1


async def test_roll_ups_go_on_at_once_when_the_clock_was_put_back(db: Database) -> None:
    ahead = Metrics(db, now=lambda: NOW + 400 * DAY)
    await ahead.record([replace(sample(cpu=99.0), timestamp=NOW + 400 * DAY)])
    await ahead.keep()
    metrics = Metrics(db, now=lambda: NOW)
    await metrics.record([sample(ago=number * MINUTE) for number in range(3)])
    await metrics.keep()
    shown = await metrics.chart("web", since=NOW - DAY, until=NOW + MINUTE, points=100)
    assert (shown.source, sum(point.samples for point in shown.points)) == ("15m", 3)
    # And the newest is not the one that lies a year ahead.
    assert [one.cpu_percent for one in await metrics.latest()] == [10.0]


async def test_clock_put_back_by_less_than_an_hour_leaves_no_hole(db: Database) -> None:
    ahead = Metrics(db, now=lambda: NOW + 50 * MINUTE)
    await ahead.record([replace(sample(), timestamp=NOW + 50 * MINUTE)])
    await ahead.keep()
    for passed in range(0, 60, 5):
        at = NOW + passed * MINUTE
        metrics = Metrics(db, now=lambda at=at: at)
        await metrics.record([replace(sample("other"), timestamp=at)])
        await metrics.keep()
    found = await Metrics(db, now=lambda: NOW + HOUR).chart(
        "other", since=NOW - HOUR, until=NOW + 2 * HOUR, points=100
    )
    assert found.source != "samples"
    assert sum(point.samples for point in found.points) == 12


async def test_clock_that_jumps_ahead_drops_nothing_that_is_not_old(db: Database) -> None:
    for ago in range(20, -1, -1):
        metrics = Metrics(db, now=lambda at=NOW - ago * DAY: at)
        await metrics.record([sample(ago=ago * DAY)])
        await metrics.keep()
    for ahead in (20 * DAY, 400 * DAY):
        wrong = Metrics(db, now=lambda at=NOW + ahead: at)
        for step in range(3):
            await wrong.keep()
            await wrong.record(
                [replace(sample("odd"), timestamp=NOW + ahead + step * timedelta(seconds=1))]
            )
            assert (await wrong.keep()).dropped == []
    right = Metrics(db, now=lambda: NOW)
    await right.keep()
    rows = "SELECT count(*) FROM {} WHERE container_name = 'web'"
    for table in ("container_metrics", "container_metrics_5m", "container_metrics_15m"):
        assert await value(db, sql.SQL(rows).format(sql.Identifier(table))) == 21


async def test_who_measures_each_day_lets_the_oldest_go(db: Database) -> None:
    for day in range(5):
        metrics = Metrics(db, keep_days=2, now=lambda at=NOW + day * DAY: at)
        await metrics.record([replace(sample(), timestamp=NOW + day * DAY)])
        await metrics.keep()
        await metrics.keep()
    days = await value(db, "SELECT array_agg(timestamp::date ORDER BY 1) FROM container_metrics")
    assert days == [(NOW + day * DAY).date() for day in (2, 3, 4)]
    assert await value(db, "SELECT count(*) FROM container_metrics_1h") == 5
