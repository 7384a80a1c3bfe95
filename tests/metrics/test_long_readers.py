"""Somebody reads everything for hours: days are made, samples come, and what is old goes later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.db import Database, fetch_value
from aegis.metrics.service import Metrics
from aegis.metrics.store import partitions
from tests.metrics.conftest import NOW, sample

if TYPE_CHECKING:
    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
async def hasty(dsn: str, settings: Settings) -> Database:
    return await Database.open(dsn, replace(settings, lock_timeout_ms=300), min_size=1)


async def test_old_days_wait_for_the_reader_and_nothing_waits_for_old_days(
    dsn: str, hasty: Database
) -> None:
    async with hasty as db:
        before = Metrics(db, now=lambda: NOW)
        await before.record([sample()])
        await before.keep()
        later = NOW + 33 * DAY
        metrics = Metrics(db, now=lambda: later)
        newest = partitions.name_of("container_metrics", (later + 3 * DAY).date())
        old = partitions.name_of("container_metrics", (NOW + 2 * DAY).date())
        # The days before were measured: what is old may go.
        for days in (2, 1):
            await metrics.record([replace(sample(), timestamp=later - days * DAY)])
        await Metrics(db, now=lambda: later - DAY + MINUTE).keep()
        with psycopg.connect(dsn) as reader:
            reader.execute("SELECT count(*) FROM container_metrics")
            await metrics.record([replace(sample(), timestamp=later - 5 * MINUTE)])
            kept = await metrics.keep()
            # The fault took effect: what is old could not go, the newest day could not be made.
            assert [name for name in kept.dropped if "_1m_" not in name] == []
            assert kept.minutes > 0
            async with db.transaction() as conn:
                known = await partitions.list_partitions(conn, "container_metrics")
            assert old in known
            assert newest not in known
            await metrics.record([replace(sample(), timestamp=later - 4 * MINUTE)])
            reader.rollback()
        kept = await metrics.keep()
        assert old in kept.dropped
        async with db.transaction() as conn:
            known = await partitions.list_partitions(conn, "container_metrics")
            assert newest in known
            rows = "SELECT count(*) FROM container_metrics WHERE timestamp >= %(at)s"
            assert await fetch_value(conn, rows, {"at": later - DAY + MINUTE}) == 2
