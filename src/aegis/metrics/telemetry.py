"""Measuring and watching, as background, scheduler and faces call it: `client.telemetry`."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput, NotFound, Unavailable
from aegis.metrics.collect import Collector, open_source
from aegis.metrics.models import ANOMALY_STATUSES
from aegis.metrics.store import anomalies as anomaly_store
from aegis.metrics.store import starts as start_store
from aegis.metrics.store import watching as store
from aegis.metrics.watching.finding import SOURCE
from aegis.metrics.watching.overview import over
from aegis.metrics.watching.rules import check_rule, prefix_of
from aegis.metrics.watching.watcher import Watcher
from aegis.security.audit.recording import audited
from aegis.security.audit.recording import note as log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.alerts.models import Alert
    from aegis.alerts.service import Alerts
    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.metrics.collect import Collected
    from aegis.metrics.models import Anomaly, MetricRule, Watched
    from aegis.metrics.service import Metrics

__all__ = ["Telemetry", "marked"]


#: Rounds without a sign of life until another process measures the machine.
_LEASE_ROUNDS: Final = 4
_LEAST_LEASE_S: Final = 60.0


class Telemetry:
    """One process's collector and watcher, opened when they are first asked."""

    def __init__(self, db: Database, metrics: Metrics, alerts: Alerts, settings: Settings) -> None:
        self._db = db
        self._metrics = metrics
        self._alerts = alerts
        self._settings = settings
        self._collector: Collector | None = None
        self._watcher: Watcher | None = None
        self._host = socket.gethostname()
        self._owner = f"{os.getpid()}:{secrets.token_hex(4)}"
        self._collects = False

    async def open_collector(self, source: str = "auto") -> Collector:
        """Return a collector of a source (`InvalidInput`, `ConfigError`); close it when done."""
        return Collector(self._metrics, await open_source(source, self._settings))

    async def collect(self) -> Collected | None:
        """Measure once with the source that the settings name; keep what the next round needs.

        None where another process measures this machine: figures of both would be one series.
        """
        if not await self._may_collect():
            await self._let_collector_go()
            return None
        if self._collector is None:
            chosen = self._settings.metrics_collect
            self._collector = await self.open_collector("auto" if chosen == "off" else chosen)
        return await self._collector.collect()

    async def _may_collect(self) -> bool:
        lease_s = max(_LEAST_LEASE_S, _LEASE_ROUNDS * self._settings.metrics_every_s)
        try:
            async with self._db.transaction() as conn:
                self._collects = await start_store.take(
                    conn, self._host, self._owner, lease_s=lease_s
                )
        except Unavailable:
            # Whoever measured goes on: samples wait for the database.
            if not self._collects:
                raise
        return self._collects

    async def _let_collector_go(self) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            await collector.aclose()

    async def watch(self, *, once: bool = False) -> Watched:
        """Judge the samples that came since the last round, and write what is found.

        With `once` no other round follows soon, such as from cron.
        """
        if self._watcher is None:
            self._watcher = Watcher(self._db, self._alerts, patient=not once)
        return await self._watcher.round()

    async def aclose(self) -> None:
        """Save what the watcher knows, and close the source."""
        watcher, self._watcher = self._watcher, None
        await self._let_collector_go()
        if watcher is not None:
            await watcher.aclose()
        if self._collects:
            self._collects = False
            async with self._db.transaction() as conn:
                await start_store.let_go(conn, self._host, self._owner)

    async def anomalies(
        self,
        *,
        statuses: Sequence[str] = ANOMALY_STATUSES,
        container_name: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[Anomaly]:
        """Return what was found to be unusual, the newest first (`InvalidInput`)."""
        if not 1 <= limit <= 1_000:
            raise InvalidInput(f"limit is {limit}; it is 1 to 1,000.")
        for status in statuses:
            if status not in ANOMALY_STATUSES:
                raise InvalidInput(f"status is {status!r}; use {', '.join(ANOMALY_STATUSES)}.")
        async with self._db.transaction() as conn:
            return await anomaly_store.list_anomalies(
                conn,
                statuses=statuses,
                container_name=container_name,
                before=before,
                limit=limit,
            )

    async def rules(self) -> Sequence[MetricRule]:
        """Return the rules by hand."""
        async with self._db.transaction() as conn:
            return await store.list_rules(conn)

    async def put_rule(self, rule: MetricRule) -> None:
        """Write a rule, in place of one of the same name (`InvalidInput`)."""
        check_rule(rule)
        async with audited(self._db) as conn:
            await store.put_rule(conn, rule)
            # Whom it fitted before it may not fit now: what is still bad is found again.
            await self._end_alerts(conn, rule.name)
            log(
                conn,
                "metrics.rule_put",
                "metric_rule",
                rule.name,
                kind=rule.kind,
                metric=rule.metric,
                severity=rule.severity,
                enabled=rule.enabled,
            )

    async def delete_rule(self, name: str) -> None:
        """Delete a rule, and end its alerts (`NotFound`)."""
        async with audited(self._db) as conn:
            if not await store.delete_rule(conn, name):
                raise NotFound(f"There is no rule {name!r}; `aegis metrics rules list` shows them.")
            await self._end_alerts(conn, name)
            log(conn, "metrics.rule_delete", "metric_rule", name)

    async def _end_alerts(self, conn: Connection, name: str) -> None:
        begin = prefix_of(name)
        ended = [
            over(alert)
            for alert in await self._alerts.open_in(conn, SOURCE)
            if alert.condition_id.startswith(begin)
        ]
        if ended:
            await self._alerts.observe_in(conn, SOURCE, ended, lasting=True)


async def marked(conn: Connection, alert: Alert) -> None:
    """Take over what somebody said to an alert of metrics: the anomaly is theirs, or was none."""
    incident = alert.labels.get("incident")
    if incident is not None:
        false = alert.marked_false_at is not None
        at = alert.marked_false_at or alert.acknowledged_at or datetime.now(UTC)
        await anomaly_store.mark(conn, incident, false=false, at=at)
