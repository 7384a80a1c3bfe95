"""The worker: jobs claimed and finished, how soon one begins, what it costs to wait, and history.

Single jobs, that is, each enqueued job is one call of a function that does nothing. procrastinate
does the same number on the same server in the same run, with the same concurrency; both in turns.
Latency is from just before the commit that enqueues a job to the function's first line, on an idle
worker. Idle cost is counted by the server (transactions of the database) and by the process
(processor time). History is a million finished jobs beside the same work, against a database
without them on the same server, in turns.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.client import Aegis
from aegis.config import load_settings
from aegis.db import Database, migrate
from aegis.worker.defaults import ensure_defaults
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker
from aegis.worker.models import NewJob
from benchmarks.database import server
from benchmarks.report import Outcome, percentile, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Iterator

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of one round of ours")
    parser.add_argument("--peer-jobs", type=int, default=1_000, help="jobs of one of the other's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--wakes", type=int, default=200, help="latencies that are measured")
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--history", type=int, default=1_000_000, help="finished jobs")
    parser.add_argument("--run-history", action="store_true", help="run them, do not insert them")
    parser.add_argument("--without-peer", action="store_true")


def run(args: argparse.Namespace) -> Outcome:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> Outcome:
    figures: dict[str, float] = {}
    failures: dict[str, str] = {}
    with server() as dsn:
        await asyncio.to_thread(migrate.upgrade, dsn)
        async with await Database.open(dsn, load_settings({})) as db:
            client = Aegis(db, None, load_settings({}))
            counter = Counter(client)
            ours: list[float] = []
            theirs: list[float] = []
            for _ in progress(range(args.rounds), "Jobs"):
                ours.append(await counter.throughput(args.jobs, args.concurrency))
                if not args.without_peer:
                    theirs.append(await _procrastinate(dsn, args.peer_jobs, args.concurrency))
            figures["jobs_per_s"] = median(ours)
            if theirs:
                figures["procrastinate.jobs_per_s"] = median(theirs)
                figures["vs_procrastinate_ratio"] = median(ours) / median(theirs)
            figures |= await _latency(client, counter, args.wakes)
            figures |= await _idle(client, args.idle_s)
            figures |= await _history(dsn, args)
            figures |= await _account(client, counter)
            if figures["lost"] or figures["twice"]:
                failures["jobs"] = f"{figures['lost']:g} lost, {figures['twice']:g} run twice"
    return Outcome(figures=figures, failures=failures)


class Counter:
    """A client with a function that counts its calls by job."""

    def __init__(self, client: Aegis) -> None:
        self.client = client
        self.calls: dict[int, int] = {}
        self.done = asyncio.Event()
        self.wanted = 0
        self.count = 0
        self.at = 0.0

        async def count(_: Any, arguments: dict[str, Any]) -> None:
            self.at = time.perf_counter()
            number = arguments["n"]
            self.calls[number] = self.calls.get(number, 0) + 1
            self.count += 1
            if self.count >= self.wanted:
                self.done.set()

        client.functions.add("count", count)

    def next(self, jobs: int) -> Iterator[list[NewJob]]:
        """Yield so many jobs of which each has a number of its own, in parts."""
        first = len(self.calls)
        self.count, self.wanted = 0, jobs
        self.done.clear()
        for at in range(first, first + jobs, 10_000):
            yield [
                NewJob(function="count", arguments={"n": n})
                for n in range(at, min(at + 10_000, first + jobs))
            ]

    async def throughput(self, jobs: int, concurrency: int) -> float:
        """Return jobs a second, from the worker's start until all are recorded as done."""
        for given in self.next(jobs):
            await self.client.jobs.enqueue_many(given)
        began = time.perf_counter()
        async with _working(self.client, concurrency=concurrency):
            await self.done.wait()
            while (await self.client.jobs.counts())["running"]:  # noqa: ASYNC110 (a table)
                await asyncio.sleep(0.005)
            took = time.perf_counter() - began
        return jobs / took


@asynccontextmanager
async def _working(client: Aegis, **options: Any) -> AsyncGenerator[Worker]:
    worker = Worker(client.db, kinds_of(client, client.functions), **options)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task


async def _latency(client: Aegis, counter: Counter, wakes: int) -> dict[str, float]:
    found: list[float] = []
    async with _working(client):
        await asyncio.sleep(2)
        for _ in range(wakes):
            ((job,),) = counter.next(1)
            began = time.perf_counter()
            await client.jobs.enqueue(job.function, arguments=job.arguments)
            await counter.done.wait()
            found.append(1_000 * (counter.at - began))
            await asyncio.sleep(0.05)
    return {"wake.p50_ms": percentile(found, 50), "wake.p95_ms": percentile(found, 95)}


async def _idle(client: Aegis, seconds: float) -> dict[str, float]:
    """Measure a worker with nothing to do, then one with the default schedules alone."""
    figures = await _cost(client, seconds, "idle")
    await ensure_defaults(client.db, client.settings)
    figures |= await _cost(client, seconds, "idle_with_schedules")
    for schedule in await client.schedules.list():
        await client.schedules.remove(schedule.name)
    return figures


async def _cost(client: Aegis, seconds: float, name: str) -> dict[str, float]:
    async with _working(client):
        # Polling has backed off by then.
        await asyncio.sleep(min(seconds, 40))
        statements, cpu, began = await _statements(client), time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        cpu = time.process_time() - cpu
        took = time.perf_counter() - began
        statements = await _statements(client) - statements
    return {
        # The look itself is one transaction.
        f"{name}.transactions_per_s": (statements - 1) / took,
        f"{name}.cpu_percent": 100 * cpu / took,
    }


async def _statements(client: Aegis) -> int:
    async with client.db.connection() as conn:
        # Sessions tell of what they did when they end a transaction, and once a second at most.
        await asyncio.sleep(1.2)
        cursor = await conn.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
        row = await cursor.fetchone()
        return row[0] if row else 0


async def _history(dsn: str, args: argparse.Namespace) -> dict[str, float]:
    """Measure the same in turns on two databases of one server: one has a long history."""
    claims: tuple[list[float], list[float]] = ([], [])
    speeds: tuple[list[float], list[float]] = ([], [])
    figures: dict[str, float] = {"history.jobs": args.history}
    async with _database(dsn, "without") as empty, _database(dsn, "with_history") as full:
        pair = (Counter(empty), Counter(full))
        if args.run_history:
            figures["history.run_per_s"] = await pair[1].throughput(args.history, args.concurrency)
            account = await _account(full, pair[1])
            figures |= {f"history.{name}": value for name, value in account.items()}
        else:
            await _insert_history(full, args.history)
        for client in (empty, full):
            async with client.db.connection() as conn:
                await conn.execute("SET statement_timeout = 0")
                await conn.execute("VACUUM ANALYZE jobs")
        for _ in progress(range(max(args.rounds, 3)), "History"):
            await _claim_in_turns((empty, full), claims)
            for counter, speed in zip(pair, speeds, strict=True):
                speed.append(await counter.throughput(args.jobs // 4, args.concurrency))
    figures["history.claim_ms"] = median(claims[1])
    figures["history.claim_ratio"] = median(claims[1]) / median(claims[0])
    figures["history.jobs_ratio"] = median(speeds[1]) / median(speeds[0])
    return figures


@asynccontextmanager
async def _database(dsn: str, name: str) -> AsyncGenerator[Aegis]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = make_conninfo(dsn, dbname=name)
    await asyncio.to_thread(migrate.upgrade, url)
    async with await Database.open(url, load_settings({})) as db:
        yield Aegis(db, None, load_settings({}))


async def _claim_in_turns(
    clients: tuple[Aegis, Aegis], times: tuple[list[float], list[float]]
) -> None:
    """Add the times of claims of one job among 500 that are due, here and there by turns."""

    async def claimed(_: Any, __: dict[str, Any]) -> None:
        return None

    for client in clients:
        client.functions.add("claimed", claimed)
        await client.jobs.enqueue_many([NewJob(function="claimed") for _ in range(500)])
    kinds = [kinds_of(client, client.functions)[1] for client in clients]
    for number in range(400):
        for kind, found in zip(kinds, times, strict=True):
            began = time.perf_counter()
            claims = await kind.claim("bench", limit=1, lease_s=60)
            took = 1_000 * (time.perf_counter() - began)
            assert len(claims) == 1
            if number >= 50:
                found.append(took)
    for client in clients:
        async with client.db.connection() as conn:
            await conn.execute("DELETE FROM jobs WHERE function = 'claimed'")


async def _insert_history(client: Aegis, jobs: int) -> None:
    async with client.db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await conn.execute(
            """
            INSERT INTO jobs (function, arguments, state, created_at, finished_at, attempts, token)
            SELECT 'history', '{}', 'completed', now() - n * INTERVAL '1 s',
                   now() - n * INTERVAL '1 s', 1, 1
            FROM generate_series(1, %s) AS n
            """,
            [jobs],
        )


async def _account(client: Aegis, counter: Counter) -> dict[str, float]:
    async with client.db.connection() as conn:
        cursor = await conn.execute(
            "SELECT count(*) FROM jobs WHERE function = 'count' AND state = 'completed'"
        )
        row = await cursor.fetchone()
    completed = row[0] if row else 0
    return {
        "jobs": len(counter.calls),
        "lost": len(counter.calls) - completed,
        "twice": sum(1 for calls in counter.calls.values() if calls != 1),
    }


async def _procrastinate(dsn: str, jobs: int, concurrency: int) -> float:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
    done = asyncio.Event()
    count = 0

    @app.task(name="count", queue="default")
    async def task(n: int) -> None:  # noqa: ARG001
        nonlocal count
        count += 1
        if count >= jobs:
            done.set()

    async with app.open_async():
        with psycopg.connect(dsn) as conn:
            there = conn.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
        if there == (None,):
            await app.schema_manager.apply_schema_async()
        given: list[Any] = [{"n": n} for n in range(jobs)]
        await task.batch_defer_async(*given)
        began = time.perf_counter()
        worker = asyncio.create_task(
            app.run_worker_async(
                concurrency=concurrency,
                wait=True,
                install_signal_handlers=False,
                shutdown_graceful_timeout=10,
            )
        )
        await done.wait()
        while await _doing(dsn):  # noqa: ASYNC110 (a table)
            await asyncio.sleep(0.005)
        took = time.perf_counter() - began
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return jobs / took


async def _doing(dsn: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        cursor = await conn.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        )
        row = await cursor.fetchone()
        return row[0] if row else 0
