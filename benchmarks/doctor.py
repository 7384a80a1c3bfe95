"""`aegis doctor` on a large database: 500 tables with their indexes, and gigabytes of real rows.

Rows are spread as they are in life: a few tables hold most of them, hundreds are small. Each table
has a primary key and two further indexes. The yardstick is measured in the same run: the time of
as many `SELECT 1` as the checks send statements, each in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from aegis.ops.health import Health
from aegis.ops.maintenance import Maintenance
from aegis.ops.stats import Stats
from benchmarks.database import migrated_database
from benchmarks.report import progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator

    from aegis.db import Database

__all__ = ["add_arguments", "run"]

_ROW_BYTES = 520


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    async with migrated_database() as db:
        await _fill(db, args.tables, int(args.gigabytes * (1 << 30)))
        figures = {"database_gb": await _size(db) / (1 << 30), "tables": args.tables}
        started = time.perf_counter()
        taken = await Stats(db).snapshot()
        figures["snapshot_s"] = time.perf_counter() - started
        figures["snapshot_relations"] = taken.relations
        health = Health(db, db.settings)
        await health.check()
        wholes: list[float] = []
        for _ in progress(range(args.rounds), "Checking"):
            started = time.perf_counter()
            await health.check()
            wholes.append(time.perf_counter() - started)
        figures["doctor_s"] = median(wholes)
        figures["doctor_max_s"] = max(wholes)
        figures |= await _statements(health)
        started = time.perf_counter()
        await Maintenance(db, db.settings).plan()
        figures["maintenance_plan_s"] = time.perf_counter() - started
        figures["select_1_s"] = await _floor(db, int(figures["statements"]))
        figures["doctor_vs_select_1_ratio"] = figures["doctor_s"] / figures["select_1_s"]
    return figures


async def _fill(db: Database, tables: int, size: int) -> None:
    """Fill tables whose sizes halve from one to the next, down to small ones."""
    shares = [1.0 / (n + 1) for n in range(tables)]
    # Indexes take about a third beside the rows.
    rows = [int(size * 0.86 * share / sum(shares) / _ROW_BYTES) + 10 for share in shares]
    for number in progress(range(tables), "Filling"):
        name = sql.Identifier(f"bench_{number:03}")
        async with db.connection() as conn:
            await conn.execute("SET statement_timeout = 0")
            await conn.execute("SET synchronous_commit = off")
            await conn.execute(
                sql.SQL(
                    "CREATE TABLE {} (id bigint PRIMARY KEY, customer_id text, at timestamptz, "
                    "kind smallint, body text)"
                ).format(name)
            )
            await conn.execute(
                sql.SQL(
                    """
                    INSERT INTO {}
                    SELECT n, 'customer-' || n %% 1000, now() - n * INTERVAL '1 second', n %% 7,
                           repeat(md5(n::text), 13)
                    FROM generate_series(1, %(rows)s) AS n
                    """
                ).format(name),
                {"rows": rows[number]},
            )
            for columns in ("customer_id, at", "at"):
                await conn.execute(
                    sql.SQL("CREATE INDEX ON {} ({})").format(name, sql.SQL(columns))
                )
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await conn.execute("VACUUM ANALYZE")


async def _size(db: Database) -> int:
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT pg_database_size(current_database())")
        row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def _statements(health: Health) -> dict[str, float]:
    """Run the checks once more, and time each statement that is sent."""
    taken: list[tuple[float, str]] = []
    async with _timing(taken):
        await health.check()
    slowest = max(taken)
    return {
        "statements": len(taken),
        "statement_max_ms": 1_000 * slowest[0],
        "statements_over_200_ms": sum(1 for seconds, _ in taken if seconds > 0.2),
    }


@asynccontextmanager
async def _timing(taken: list[tuple[float, str]]) -> AsyncGenerator[None]:
    """Note how long each statement takes from here."""
    before = psycopg.AsyncConnection.execute

    async def timed(self: Any, query: Any, params: Any = None, **more: Any) -> Any:
        started = time.perf_counter()
        try:
            return await before(self, query, params, **more)
        finally:
            taken.append((time.perf_counter() - started, str(query)[:80]))

    psycopg.AsyncConnection.execute = timed
    try:
        yield
    finally:
        psycopg.AsyncConnection.execute = before


async def _floor(db: Database, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        async with db.transaction() as conn:
            await conn.execute("SELECT 1")
    return time.perf_counter() - started
