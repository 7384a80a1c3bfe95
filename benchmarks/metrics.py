"""Container metrics at size: samples in, roll-ups, the chart of a day, and a day that goes.

Containers sample every 15 seconds for some days; 50 of them for 30 days are 8.6 million rows. The
floor of taking samples in is PostgreSQL itself: a COPY of the same rows, rendered beforehand, into
a plain table with the same columns and indexes, as text and in binary. All are measured in turns.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Literal

from psycopg.sql import SQL

from aegis.metrics.models import Sample
from aegis.metrics.rendering import BEGIN, END, render, sort
from aegis.metrics.service import Metrics
from benchmarks.database import migrated_database
from benchmarks.report import percentile, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from aegis.db import Database

__all__ = ["add_arguments", "run"]

_EVERY_S = 15
_BATCH = 50_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--charts", type=int, default=200, help="charts that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="times that taking in is measured")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    now = datetime.now(UTC).replace(microsecond=0)
    names = [f"container-{number:02}" for number in range(args.containers)]
    async with migrated_database() as db:
        figures = await _take_in(db, names, now, args.rounds)
        await _fill(db, names, now, args.days)
        metrics = Metrics(db, keep_days=args.days, now=lambda: now)
        started = time.perf_counter()
        done = await metrics.keep()
        figures["rollup_s"] = time.perf_counter() - started
        figures["minutes"] = done.minutes
        started = time.perf_counter()
        await metrics.keep()
        figures["rollup_again_ms"] = 1_000 * (time.perf_counter() - started)
        async with db.connection() as conn:
            await conn.execute("VACUUM ANALYZE")
            cursor = await conn.execute("SELECT count(*) FROM container_metrics")
            row = await cursor.fetchone()
            figures["rows"] = row[0] if row else 0
        figures |= await _charts(metrics, names, now, args.charts)
        figures["select_1.p50_ms"] = await _nothing(db, args.charts)
        figures |= await _retention(db, args.days, now)
    return figures


def _samples(names: list[str], begin: datetime, count: int) -> list[Sample]:
    rng = random.Random(7)
    return [
        Sample(
            container_name=names[number % len(names)],
            timestamp=begin + timedelta(seconds=_EVERY_S * (number // len(names))),
            cpu_percent=rng.random() * 100,
            mem_usage_mb=500 + rng.random(),
            mem_percent=rng.random() * 100,
            net_io_mb=number / 10,
            block_io_mb=number / 20,
        )
        for number in range(count)
    ]


async def _take_in(db: Database, names: list[str], now: datetime, rounds: int) -> dict[str, float]:
    given = _samples(names, now - timedelta(hours=4), _BATCH)
    days = sort(given, now=now, keep_days=30).days
    binary = [BEGIN, *(part for day in days for part in render(days[day], size=1_000)), END]
    lines = _text(given)
    async with db.connection() as conn:
        await conn.execute(
            """
            CREATE TABLE plain (LIKE container_metrics INCLUDING DEFAULTS);
            CREATE UNIQUE INDEX ON plain (id, timestamp);
            CREATE INDEX ON plain (container_name, timestamp DESC);
            CREATE INDEX ON plain USING brin (timestamp) WITH (pages_per_range = 16)
            """
        )
    metrics = Metrics(db, now=lambda: now)
    ours: list[float] = []
    raw: dict[str, list[float]] = {"text": [], "binary": []}
    for _ in progress(range(rounds), "Taking in"):
        await _empty(db)
        started = time.perf_counter()
        await metrics.record(given)
        ours.append(len(given) / (time.perf_counter() - started))
        raw["text"].append(len(given) / await _copy(db, "text", lines))
        raw["binary"].append(len(given) / await _copy(db, "binary", binary))
    async with db.connection() as conn:
        await conn.execute("DROP TABLE plain")
    await _empty(db)
    return {
        "ingest_per_s": median(ours),
        "copy_per_s": median(raw["text"]),
        "copy_binary_per_s": median(raw["binary"]),
        "ingest_vs_copy_ratio": median(ours) / median(raw["text"]),
        "ingest_vs_binary_copy_ratio": median(ours) / median(raw["binary"]),
    }


async def _empty(db: Database) -> None:
    async with db.connection() as conn:
        await conn.execute("TRUNCATE container_metrics, metric_late_hours")
        await conn.execute("CHECKPOINT")


def _text(given: list[Sample]) -> list[str]:
    """Return the samples as COPY's text, 1,000 at a time."""
    lines = [
        f"{one.container_name}\t{one.timestamp.isoformat()}\t{one.cpu_percent}\t{one.mem_usage_mb}"
        f"\t{one.mem_percent}\t{one.net_io_mb}\t{one.block_io_mb}\t\\N\n"
        for one in given
    ]
    return ["".join(lines[at : at + 1_000]) for at in range(0, len(lines), 1_000)]


async def _copy(
    db: Database, how: Literal["text", "binary"], parts: Sequence[str] | Sequence[bytes]
) -> float:
    async with db.connection() as conn:
        await conn.execute("TRUNCATE plain")
        await conn.execute("CHECKPOINT")
    started = time.perf_counter()
    async with (
        db.transaction() as conn,
        conn.cursor() as cursor,
        cursor.copy(
            SQL(
                """
                COPY plain (container_name, timestamp, cpu_percent, mem_usage_mb, mem_percent,
                            net_io_mb, block_io_mb, disk_percent)
                FROM STDIN (FORMAT {})
                """
            ).format(SQL(how))
        ) as copy,
    ):
        for part in parts:
            await copy.write(part)
    return time.perf_counter() - started


async def _fill(db: Database, names: list[str], now: datetime, days: int) -> None:
    """Fill the table by the server itself, a day's partition at a time."""
    from aegis.metrics.keeping import ensure_days

    wanted = [(now - timedelta(days=number)).date() for number in range(days, -1, -1)]
    await ensure_days(db, "container_metrics", wanted)
    for day in progress(wanted, "Filling"):
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        async with db.connection() as conn:
            await conn.execute("SET statement_timeout = 0")
            await conn.execute(
                """
                INSERT INTO container_metrics (
                    container_name, timestamp, cpu_percent, mem_usage_mb, mem_percent, net_io_mb,
                    block_io_mb
                )
                SELECT name, at, random() * 100, 500 + random(), random() * 100,
                       extract(epoch FROM at) / 10, extract(epoch FROM at) / 20
                FROM generate_series(
                    greatest(%(begin)s, %(oldest)s),
                    least(%(begin)s + INTERVAL '1 day' - INTERVAL '1 second', %(now)s),
                    INTERVAL '15 seconds'
                ) AS at
                CROSS JOIN unnest(%(names)s::text[]) AS name
                """,
                {
                    "begin": begin,
                    "oldest": now - timedelta(days=days),
                    "now": now,
                    "names": names,
                },
            )
            await conn.execute("DELETE FROM metric_late_hours")


async def _charts(
    metrics: Metrics, names: list[str], now: datetime, count: int
) -> dict[str, float]:
    rng = random.Random(3)
    figures: dict[str, float] = {}
    for label, span in (("day", timedelta(days=1)), ("month", timedelta(days=29))):
        taken: list[float] = []
        for _ in range(count):
            started = time.perf_counter()
            await metrics.chart(rng.choice(names), "cpu_percent", since=now - span, until=now)
            taken.append(1_000 * (time.perf_counter() - started))
        figures[f"chart_{label}.p50_ms"] = percentile(taken, 50)
        figures[f"chart_{label}.p95_ms"] = percentile(taken, 95)
    return figures


async def _nothing(db: Database, count: int) -> float:
    """Return the time of the least that can be asked: what a busy machine adds to a chart."""
    taken: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        async with db.connection() as conn:
            await conn.execute("SELECT 1")
        taken.append(1_000 * (time.perf_counter() - started))
    return percentile(taken, 50)


async def _retention(db: Database, days: int, now: datetime) -> dict[str, float]:
    from aegis.metrics.store import partitions

    old = partitions.name_of("container_metrics", (now - timedelta(days=max(1, days - 1))).date())
    started = time.perf_counter()
    async with db.transaction() as conn:
        await partitions.lock(conn)
        known = await partitions.list_partitions(conn, "container_metrics")
        await partitions.drop(conn, old if old in known else min(known))
    return {"drop_day_ms": 1_000 * (time.perf_counter() - started)}
