"""Events written a second beside a raw COPY, what metering adds to a call, and dropping a month.

`record` is `client.usage.record`: validation, ids that count once, sums by hour and day, durable.
`copy` is a COPY of the same rows into a plain table with the same columns and indexes, durable per
batch too: what the disk and the indexes cost alone. `copy_events` is a COPY into the events' own
partitions, with their sums and without ids. All in the same run. Over HTTP, one route that
does nothing is asked bare, and behind the check of keys and the meter, in turns; in one process and
without a network, so that what is measured is what they add.
"""

from __future__ import annotations

import asyncio
import functools
import random
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString

from aegis.config import load_settings
from aegis.db import Database
from aegis.keys import Keys
from aegis.usage import Usage
from aegis.usage.spans import add_months, month_of
from benchmarks.database import server
from benchmarks.report import percentile, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from aegis.config import Settings

__all__ = ["add_arguments", "run"]

_PLAIN = """
CREATE TABLE plain_events (
    id bigserial PRIMARY KEY, customer_id varchar(100) NOT NULL, endpoint varchar(200) NOT NULL,
    method varchar(10) NOT NULL, status_code integer NOT NULL, response_time_ms integer,
    tokens_used integer, cost_usd numeric(10, 6), created_at timestamptz, api_key_id uuid,
    event_id varchar(200)
);
CREATE INDEX ON plain_events (api_key_id);
CREATE INDEX ON plain_events (customer_id);
CREATE INDEX ON plain_events (created_at DESC)
"""
_COLUMNS: Final[LiteralString] = (
    "(event_id, customer_id, endpoint, method, status_code, response_time_ms, tokens_used, "
    "cost_usd, created_at) FROM STDIN"
)
_INTO_PLAIN: Final[LiteralString] = "COPY plain_events " + _COLUMNS
_INTO_EVENTS: Final[LiteralString] = "COPY api_usage_events " + _COLUMNS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--events", type=int, default=200_000, help="to write each way")
    parser.add_argument("--batch", type=int, default=5_000, help="events a transaction")
    parser.add_argument("--senders", type=int, default=2, help="batches under way at once")
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--calls", type=int, default=1_000, help="over HTTP, each way")
    parser.add_argument("--month", type=int, default=1_000_000, help="events of the month dropped")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    from aegis.db import migrate

    with server() as dsn, tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(migrate.upgrade, dsn)
        settings = load_settings({}, data_dir=Path(folder), embedder="none", statement_timeout_ms=0)
        async with await Database.open(dsn, settings) as db:
            figures = await _ingest(db, settings, args)
            figures |= await _overhead(db, settings, args.calls)
            figures |= await _drop(db, settings, args.month)
    return figures


def _events(first: int, count: int, customers: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {
            "event_id": f"event-{first + n:012d}",
            "customer_id": f"customer {random.randrange(customers)}",
            "endpoint": f"/v1/things/{random.randrange(5)}",
            "method": "GET",
            "status_code": 200 if random.random() < 0.97 else 500,
            "response_time_ms": int(random.lognormvariate(3, 1)),
            "tokens_used": random.randrange(2_000),
            "cost_usd": "0.000125",
            "created_at": now - timedelta(seconds=random.randrange(3_600)),
        }
        for n in range(count)
    ]


async def _ingest(db: Database, settings: Settings, args: argparse.Namespace) -> dict[str, float]:
    usage = Usage(db, settings)
    batches = [
        _events(first, args.batch, args.customers) for first in range(0, args.events, args.batch)
    ]
    async with db.connection() as conn:
        await conn.execute(_PLAIN)
        await conn.execute("CHECKPOINT")
    copied = await _timed(batches, args.senders, functools.partial(_copy, db, _INTO_PLAIN))
    async with db.connection() as conn:
        await conn.execute("CHECKPOINT")
    recorded = await _timed(batches, args.senders, usage.record)
    again = await _timed(batches[:4], args.senders, usage.record)
    total = args.events
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT sum(calls) FROM usage_daily")
        row: Any = await cursor.fetchone()
        assert row[0] == total, row
    async with db.connection() as conn:
        await conn.execute("CHECKPOINT")
    counted = await _timed(batches, args.senders, functools.partial(_copy, db, _INTO_EVENTS))
    return {
        "ingest.copy_events.per_s": total / counted,
        "ingest.record_vs_copy_events.ratio": counted / recorded,
        "ingest.record.per_s": total / recorded,
        "ingest.copy.per_s": total / copied,
        "ingest.record_vs_copy.ratio": copied / recorded,
        "ingest.duplicates.per_s": min(4 * args.batch, total) / again,
    }


async def _timed(batches: Sequence[Any], senders: int, send: Any) -> float:
    waiting = list(batches)

    async def sender() -> None:
        while waiting:
            await send(waiting.pop())

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(senders)))
    return time.perf_counter() - began


async def _copy(db: Database, statement: LiteralString, batch: Sequence[dict[str, Any]]) -> None:
    async with (
        db.transaction() as conn,
        conn.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for event in batch:
            await copy.write_row(tuple(event.values()))


async def _overhead(db: Database, settings: Settings, calls: int) -> dict[str, float]:
    import httpx2
    from fastapi import FastAPI

    from aegis.keys.asgi import ApiKeys
    from aegis.usage.asgi import Metered

    bare = FastAPI()

    @bare.get("/nothing/{number}")
    async def nothing(number: int) -> dict[str, int]:  # pyright: ignore[reportUnusedFunction]
        return {"number": number}

    keys, usage = Keys(db, settings), Usage(db, settings)
    figures: dict[str, float] = {}
    times: dict[str, list[float]] = {}
    for tier in ("enterprise", "pro"):
        key = (await keys.issue("acme", tier=tier, rate_limit=1_000_000)).key
        apps: dict[str, Any] = {
            "bare": bare,
            f"checked_{tier}": ApiKeys(bare, keys),
            f"metered_{tier}": ApiKeys(Metered(bare, usage), keys),
        }
        clients = {
            name: httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=app),
                base_url="http://bench",
                headers={"Authorization": f"Bearer {key}"},
            )
            for name, app in apps.items()
        }
        for number in progress(range(calls), f"HTTP, {tier}"):
            for name, http in clients.items():
                began = time.perf_counter()
                answered = await http.get(f"/nothing/{number}")
                times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
                assert answered.status_code == 200
        for http in clients.values():
            await http.aclose()
    for name, taken in times.items():
        figures[f"http.{name}.p50_ms"] = percentile(taken, 50)
        figures[f"http.{name}.p99_ms"] = percentile(taken, 99)
    for tier in ("enterprise", "pro"):
        figures[f"http.added_{tier}.p50_ms"] = (
            figures[f"http.metered_{tier}.p50_ms"] - figures["http.bare.p50_ms"]
        )
    return figures


async def _drop(db: Database, settings: Settings, count: int) -> dict[str, float]:
    """Fill an old month, export it, and time what its end takes while writers go on."""
    from aegis.usage.store import partitions as store

    usage = Usage(db, replace(settings, usage_keep_months=3))
    month = add_months(month_of(datetime.now(UTC)), -4)
    async with db.transaction() as conn:
        await conn.execute("SELECT aegis_usage_partition(%s)", (month,))
        await conn.execute(
            "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, "
            "response_time_ms, created_at) SELECT 'c' || n %% 100, '/x', 'GET', 200, n %% 500, "
            "%s::timestamptz + n %% 2000000 * interval '1 second' FROM generate_series(1, %s) n",
            (f"{month} 00:00:00+00", count),
        )
    taken: dict[str, float] = {}

    def timed(name: str) -> Any:
        real = getattr(store, name)

        async def work(conn: Any, table: str) -> None:
            began = time.perf_counter()
            await real(conn, table)
            taken[name] = (time.perf_counter() - began) * 1000

        return real, work

    waits: list[float] = []
    ended = asyncio.Event()

    async def write() -> None:
        number = 0
        while not ended.is_set():
            began = time.perf_counter()
            await usage.record(_events(10**9 + number * 10, 10, 10))
            waits.append((time.perf_counter() - began) * 1000)
            number += 1
            await asyncio.sleep(0.005)

    originals = {name: timed(name) for name in ("detach", "drop")}
    for name, (_, work) in originals.items():
        setattr(store, name, work)
    writer = asyncio.create_task(write())
    began = time.perf_counter()
    try:
        done = await usage.partitions.keep_house()
    finally:
        for name, (real, _) in originals.items():
            setattr(store, name, real)
        ended.set()
        await writer
    assert month in done.dropped
    return {
        "month.export_and_drop_s": time.perf_counter() - began,
        "month.detach_ms": taken["detach"],
        "month.drop_ms": taken["drop"],
        "month.detach_and_drop_ms": taken["detach"] + taken["drop"],
        "month.writer_longest_wait_ms": max(waits),
    }
