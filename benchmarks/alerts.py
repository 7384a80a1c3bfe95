"""Watching and telling: what detection costs, how fast messages leave, how late people hear.

Detection runs as `aegis up` does it: samples are in the database, a round reads what is new, judges
it and writes what it finds. Its floor is the detector alone over the same values, in the same run.
Messages go to a receiver that answers at once, so that the outbox is measured and not a network;
the floor is three statements of one row each, which is what a message needs at least. How late
people hear is measured with short pauses between rounds; the configured hold is printed beside it.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from aegis.alerts.models import Rule
from aegis.alerts.service import Alerts
from aegis.alerts.work import Deliveries
from aegis.metrics.models import Sample
from aegis.metrics.service import Metrics
from aegis.metrics.watch import Watch
from aegis.metrics.watching.series import JUDGED
from aegis.metrics.watching.watcher import Watcher
from benchmarks.database import migrated_database
from benchmarks.report import percentile, progress

if TYPE_CHECKING:
    import argparse

    from aegis.db import Database

__all__ = ["add_arguments", "run"]

_EVERY_S = 30
_HOLD_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--containers", type=int, default=200)
    parser.add_argument("--minutes", type=int, default=15, help="minutes that are watched")
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--alarms", type=int, default=20, help="bad samples that are timed")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    async with migrated_database() as db:
        figures = await _detect(db, args.containers, args.minutes)
    async with migrated_database() as db:
        figures |= await _send(db, args.messages)
    async with migrated_database() as db:
        figures |= await _hear(db, args.alarms)
    return figures


def _samples(names: list[str], at: datetime, rng: random.Random) -> list[Sample]:
    return [
        Sample(
            container_name=name,
            timestamp=at,
            cpu_percent=20 + rng.random() * 5,
            mem_usage_mb=500 + rng.random() * 10,
            mem_percent=50 + rng.random(),
            net_io_mb=at.timestamp() % 1e6 / 10,
            block_io_mb=at.timestamp() % 1e6 / 20,
        )
        for name in names
    ]


async def _detect(db: Database, containers: int, minutes: int) -> dict[str, float]:
    rng = random.Random(3)
    names = [f"container-{number:03}" for number in range(containers)]
    now = datetime.now(UTC) - timedelta(hours=3)
    clock = {"now": now}
    metrics = Metrics(db, now=lambda: clock["now"])
    watcher = Watcher(
        db, Alerts(db, db.settings, now=lambda: clock["now"]), now=lambda: clock["now"]
    )
    for number in range(120):
        at = now - timedelta(seconds=_EVERY_S * (120 - number))
        await metrics.record(_samples(names, at, rng))
    await watcher.round()
    spent, points = 0.0, 0
    for _ in progress(range(minutes * 60 // _EVERY_S), "Watching"):
        clock["now"] += timedelta(seconds=_EVERY_S)
        await metrics.record(_samples(names, clock["now"], rng))
        started = time.process_time()
        done = await watcher.round()
        spent += time.process_time() - started
        points += done.points
    watches = [Watch(least=least) for least in JUDGED.values() for _ in range(containers)]
    alone, judged = 0.0, 0
    for number in range(minutes * 60 // _EVERY_S):
        values = [20 + rng.random() for _ in watches]
        started = time.process_time()
        for watch, value in zip(watches, values, strict=True):
            watch.update(float(_EVERY_S * number), value)
        alone += time.process_time() - started
        judged += len(watches)
    return {
        "values_per_round": points / max(1, minutes * 60 // _EVERY_S),
        "detection_share_of_a_core_percent": 100 * spent / (60 * minutes),
        "detector_alone_share_of_a_core_percent": 100 * alone / (60 * minutes),
        "round_vs_detector_ratio": (spent / points) / (alone / judged),
    }


async def _send(db: Database, messages: int) -> dict[str, float]:
    settings = replace(db.settings, alert_channels="ops=https://alerts.example.org")
    alerts = Alerts(db, settings)

    async def taken(*_: Any) -> None: ...

    await alerts.channels.announce()
    deliveries = Deliveries(db, alerts.channels, send=taken)
    for _ in progress(range(messages), "Queueing"):
        await alerts.channels.test("ops")
    started = time.perf_counter()
    sent = await deliveries.deliver(limit=messages)
    ours = sent / (time.perf_counter() - started)
    started = time.perf_counter()
    for number in range(min(messages, 300)):
        async with db.transaction() as conn:
            await conn.execute(
                "UPDATE alert_deliveries SET token = token + 1 WHERE id = %s", [number]
            )
        async with db.transaction() as conn:
            await conn.execute("SELECT entries FROM alert_deliveries WHERE id = %s", [number])
        async with db.transaction() as conn:
            await conn.execute(
                "UPDATE alert_deliveries SET sent_at = now() WHERE id = %s", [number]
            )
    floor = min(messages, 300) / (time.perf_counter() - started)
    return {"messages_per_s": ours, "floor_per_s": floor, "messages_vs_floor_ratio": ours / floor}


async def _hear(db: Database, alarms: int) -> dict[str, float]:
    """Return how long after a bad sample its message is sent, by loops as `aegis up` has them."""
    rng = random.Random(3)
    settings = replace(db.settings, alert_channels="ops=https://alerts.example.org")
    alerts, metrics = Alerts(db, settings), Metrics(db)
    heard = asyncio.Event()

    async def taken(*_: Any) -> None:
        heard.set()

    await alerts.channels.announce()
    await alerts.put_rule(Rule(name="quick", hold_s=_HOLD_S, group_s=0, priority=9))
    names = [f"container-{number:02}" for number in range(alarms)]
    now = datetime.now(UTC)
    for number in range(720):
        at = now - timedelta(seconds=_EVERY_S * (720 - number))
        await metrics.record(_samples(names, at, rng))
    watcher, deliveries = Watcher(db, alerts), Deliveries(db, alerts.channels, send=taken)
    await watcher.round()

    async def watch() -> None:
        while True:
            await watcher.round()
            await asyncio.sleep(0.25)

    async def send() -> None:
        while True:
            await alerts.tick()
            await deliveries.deliver()
            await asyncio.sleep(0.1)

    loops = [asyncio.create_task(watch()), asyncio.create_task(send())]
    late: list[float] = []
    try:
        for name in progress(names, "Alarming"):
            heard.clear()
            at = datetime.now(UTC)
            await metrics.record([Sample(container_name=name, timestamp=at, cpu_percent=5_000.0)])
            started = time.perf_counter()
            await asyncio.wait_for(heard.wait(), 60)
            late.append(time.perf_counter() - started)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    return {
        "configured_hold_s": _HOLD_S,
        "sample_to_message_p50_s": median(late),
        "sample_to_message_p95_s": percentile(late, 95),
    }
