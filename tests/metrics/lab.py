"""A watcher whose clock follows the samples that are written."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aegis.alerts.service import Alerts
from aegis.metrics.models import Sample
from aegis.metrics.service import Metrics
from aegis.metrics.telemetry import Telemetry, marked
from aegis.metrics.watching.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.metrics.models import Anomaly, Watched

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=20)


class Lab:
    """A watcher whose clock follows the samples that are written."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.settings = settings
        self.now = START
        self.alerts = Alerts(db, settings, now=self.clock)
        self.alerts.on_mark("metrics", marked)
        self.metrics = Metrics(db, now=self.clock)
        self.telemetry = Telemetry(db, self.metrics, self.alerts, settings)
        self.watcher = self.new_watcher()
        self.rng = random.Random(5)

    def clock(self) -> datetime:
        return self.now

    def new_watcher(self) -> Watcher:
        return Watcher(self.db, self.alerts, now=self.clock)

    async def run(
        self, minutes: float, *, names: Sequence[str] = ("web",), **figures: float | None
    ) -> None:
        """Write samples each 30 seconds; processor use swings around 20 unless it is given."""
        given: list[Sample] = []
        for _ in range(int(minutes * 2)):
            self.now += timedelta(seconds=30)
            for name in names:
                cpu = figures.get("cpu", 20 + self.rng.random() * 4)
                given.append(
                    Sample(
                        container_name=name,
                        timestamp=self.now,
                        cpu_percent=cpu,
                        mem_percent=figures.get("mem"),
                        net_io_mb=figures.get("net"),
                    )
                )
        await self.metrics.record(given)

    async def watch(self) -> Watched:
        return await self.watcher.round()

    async def all_alerts(self) -> dict[str, str]:
        """Let time pass until what is over is over; states of alerts by condition."""
        self.now += timedelta(minutes=3)
        await self.alerts.tick()
        return {one.condition_id: one.state for one in await self.alerts.list()}

    async def found(self, **how: Any) -> Sequence[Anomaly]:
        return await self.telemetry.anomalies(**how)
