"""Rounds of watching: new samples through the detectors, and what they find into the database.

A round reads in one transaction, thinks in none, and writes in another, together with the alerts.
What could not be written waits for the next round; what a process that died had not written is
found again from the saved states.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import socket
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput
from aegis.metrics.models import Watched
from aegis.metrics.store import anomalies as anomaly_store
from aegis.metrics.store import starts as start_store
from aegis.metrics.store import watching as store
from aegis.metrics.watching import overview
from aegis.metrics.watching import rules as hand
from aegis.metrics.watching.finding import SOURCE, Finding
from aegis.metrics.watching.series import JUDGED, Container

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.alerts.models import Condition
    from aegis.alerts.service import Alerts
    from aegis.db import Connection, Database
    from aegis.metrics.models import MetricRule
    from aegis.metrics.store.anomalies import FalseAlarm
    from aegis.metrics.store.watching import Row

__all__ = ["Watcher"]

_log = logging.getLogger("aegis.metrics")

_LEASE_S: Final = 120.0
#: Samples may be committed so late, and are judged all the same.
_OVERLAP: Final = timedelta(minutes=2)
#: What is learned from where there is no state yet, and what one step reads.
_LEARN: Final = timedelta(hours=24)
_CHUNK: Final = timedelta(hours=1)
#: Time between two saves of the states.
_SAVE_EVERY: Final = timedelta(minutes=10)
#: A container that is silent for so long is forgotten.
_FORGET: Final = timedelta(days=2)
#: Containers that are watched: some 200 MB. More names than that are no containers.
_MOST_CONTAINERS: Final = 5_000
#: A pattern that was marked as false is left out for so long.
_FALSE_FOR: Final = timedelta(days=14)
#: Samples may come so long after the watcher before it is said that none do.
_LATECOMERS: Final = timedelta(seconds=60)
#: A start is noted with the next sample, or when the database is back.
_STARTS_BEFORE: Final = timedelta(minutes=15)
_PART: Final = 5_000
_METRICS: Final = tuple(JUDGED)


class Watcher:
    """Watches the metrics of one database; one process does at a time.

    One that is not `patient` has no next round: what is not measured now is missed now.
    """

    def __init__(
        self,
        db: Database,
        alerts: Alerts,
        *,
        now: Callable[[], datetime] | None = None,
        patient: bool = True,
    ) -> None:
        self._patient = patient
        self._db = db
        self._alerts = alerts
        self._now = now
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._containers: dict[str, Container] | None = None
        self._until: datetime | None = None
        self._saved_at: datetime | None = None
        self._changed: set[str] = set()
        #: What is still to be written, the newest of each.
        self._findings: dict[str, Finding] = {}
        self._ruled: dict[str, str] = {}
        self._learning = False
        #: Times of rounds, and the newest sample that was written by then.
        self._ids: deque[tuple[datetime, int]] = deque()
        #: Whether what is open in the tables was compared with what the states say lasts.
        self._settled = False
        self._left_out = 0
        #: Whether anything is, if that is known; since when rounds have seen that nothing is.
        self._measured: bool | None = None
        self._silent_from: datetime | None = None
        self._round_at: datetime | None = None

    async def round(self) -> Watched:
        """Judge what came since the last round; at most one process at a time does.

        Raises:
            Unavailable: the database does not answer; the next round makes up for it.
        """
        samples = points = opened = ended = 0
        if not self._containers and not await self._anything():
            # Nobody measures: that costs a look, and no write.
            return Watched()
        while True:
            async with self._db.transaction() as conn:
                now = await self._time(conn)
                lease = await store.take(conn, self._owner, lease_s=_LEASE_S)
                if lease is None:
                    self._containers = None
                    return Watched(elsewhere=True)
                if self._containers is None or not lease.mine:
                    await self._load(conn, lease.done_until, now)
                if now < self._since():
                    await self._put_back(conn, now)
                since, until = self._span(now)
                rows = await self._read(conn, since, until, now)
                starts = await start_store.list_between(
                    conn, since=_first(rows, since) - _STARTS_BEFORE, until=until
                )
                rules = await store.list_rules(conn)
                false = await anomaly_store.list_false(conn, since=now - _FALSE_FOR)
            # In a thread: a day that is made up for must not stop what else is served.
            found = await asyncio.to_thread(self._judge, rows, starts)
            samples += len(rows)
            points += found
            self._until = until
            caught_up = until >= now
            self._measured = self._is_measured(now) if caught_up else None
            if caught_up:
                self._look_for_silence(now)
                self._end_learning()
            new, over = await self._write(rules, false, now, caught_up=caught_up)
            opened, ended = opened + new, ended + over
            if caught_up:
                return Watched(
                    samples=samples, points=points, opened=opened, ended=ended, until=until
                )

    async def aclose(self) -> None:
        """Save the states and let another process watch."""
        if self._containers is None:
            return
        async with self._db.transaction() as conn:
            if await store.hold(conn, self._owner):
                await self._save(conn)
                await store.let_go(conn, self._owner)
        self._containers = None

    async def _anything(self) -> bool:
        async with self._db.transaction() as conn:
            return await store.any_samples(conn, since=await self._time(conn) - _LEARN)

    def _since(self) -> datetime:
        assert self._until is not None
        return self._until - _OVERLAP

    def _span(self, now: datetime) -> tuple[datetime, datetime]:
        assert self._until is not None
        return self._since(), max(self._until, min(now, self._until + _CHUNK))

    async def _put_back(self, conn: Connection, now: datetime) -> None:
        """Go on at `now`: the clock was put back, and what is measured from now on is new."""
        assert self._containers is not None
        _log.warning("metrics.clock_put_back", extra={"from": str(self._until), "to": str(now)})
        newest = await store.newest_id(conn)
        for container in self._containers.values():
            container.put_back(now.timestamp(), after_id=newest)
            self._changed.add(container.name)
        self._until = self._saved_at = now
        self._ids.clear()

    async def _read(
        self, conn: Connection, since: datetime, until: datetime, now: datetime
    ) -> list[Row]:
        """Return samples that are new, before them those that waited, such as for the database."""
        rows = await store.list_samples(conn, since=since, until=until)
        if not self._ids:
            self._ids.append((now - _OVERLAP, await store.newest_id(conn)))
        # Numbers are given before they are committed: the newest of a while ago.
        while len(self._ids) > 1 and self._ids[1][0] <= now - _OVERLAP:
            self._ids.popleft()
        after = self._ids[0][1]
        late = await store.list_late(conn, after_id=after, since=since - _LEARN, until=since)
        newest = max((row[0] for row in (*late, *rows)), default=after)
        self._ids.append((now, max(newest, self._ids[-1][1])))
        return late + rows

    async def _load(self, conn: Connection, done: datetime | None, now: datetime) -> None:
        containers: dict[str, Container] = {}
        for saved in await store.list_states(conn):
            try:
                one = Container.from_bytes(saved.container_name, saved.state)
            except InvalidInput as error:
                _log.warning("metrics.state_unreadable", extra={"why": error.message})
                continue
            containers[one.name] = one
        self._containers = containers
        self._learning = done is None
        self._until = max(done or now - _LEARN, now - _LEARN)
        self._saved_at = now
        self._changed, self._findings, self._ruled = set(), {}, {}
        self._ids.clear()
        self._settled = False

    def _judge(
        self,
        rows: Sequence[Row],
        starts: Sequence[tuple[str, float, int]],
    ) -> int:
        assert self._containers is not None
        points, told = 0, iter(starts)
        start = next(told, None)
        left_out = 0
        for number, name, at, *values in rows:
            while start is not None and start[1] <= at:
                self._take_start(*start)
                start = next(told, None)
            container = self._container(name)
            if container is None:
                left_out += 1
                continue
            if number <= container.after_id:
                continue
            before = container.last_at
            for finding in container.update(at, dict(zip(_METRICS, values, strict=True))):
                self._findings[finding.incident] = finding
            if container.last_at != before:
                points += container.points
                self._changed.add(name)
        for late in (start, *told):
            if late is not None:
                self._take_start(*late)
        if left_out and not self._left_out:
            _log.warning("metrics.too_many_containers", extra={"watched": _MOST_CONTAINERS})
        self._left_out = left_out
        return points

    def _container(self, name: str) -> Container | None:
        assert self._containers is not None
        found = self._containers.get(name)
        if found is None and len(self._containers) < _MOST_CONTAINERS:
            found = self._containers[name] = Container(name)
        return found

    def _take_start(self, name: str, at: float, number: int) -> None:
        assert self._containers is not None
        container = self._containers.get(name)
        if container is None:
            # Its first sample follows; the next round reads this start again.
            return
        for finding in container.started(at, number):
            self._findings[finding.incident] = finding
            self._changed.add(name)

    def _is_measured(self, now: datetime) -> bool | None:
        """Return whether anything is measured; None where that is not known yet.

        After a start, a machine's sleep or an outage of the database, this may be here before the
        samples are.
        """
        assert self._containers is not None
        before, self._round_at = self._round_at, now
        if overview.is_measured(self._containers.values(), now.timestamp()):
            self._silent_from = None
            return True
        if not self._patient:
            return False
        if self._silent_from is None or before is None or now - before > _OVERLAP:
            self._silent_from = now
        return None if now - self._silent_from < _LATECOMERS else False

    def _look_for_silence(self, now: datetime) -> None:
        assert self._containers is not None
        # Who fell silent when all others did is not missed by itself.
        newest = overview.newest_at(self._containers.values())
        oldest = self._oldest(now)
        for container in self._containers.values():
            found: list[Finding] = []
            if self._measured:
                found = container.silence(newest)
                if container.is_gone(newest):
                    found += container.end(loops=False)
            if container.last_at < oldest:
                found += container.end(loops=True)
            for finding in found:
                self._findings[finding.incident] = finding
                self._changed.add(container.name)

    def _oldest(self, now: datetime) -> float:
        """Return since when a container must have been silent to be forgotten.

        Where nothing is measured all may come back, with what was learned of them.
        """
        assert self._containers is not None
        alive = overview.is_alive(self._containers.values(), now.timestamp())
        return (now - _FORGET).timestamp() if alive else -math.inf

    def _end_learning(self) -> None:
        """Of what was learned from, only what still lasts is told."""
        if not self._learning:
            return
        assert self._containers is not None
        self._learning = False
        self._findings = {
            finding.incident: finding
            for container in self._containers.values()
            for finding in container.open_findings()
        }

    async def _write(
        self,
        rules: Sequence[MetricRule],
        false: Sequence[FalseAlarm],
        now: datetime,
        *,
        caught_up: bool,
    ) -> tuple[int, int]:
        assert self._containers is not None
        if self._learning:
            self._findings = {}
        findings = [one for one in self._findings.values() if not overview.was_false(one, false)]
        ruled = self._rules_now(rules, now) if caught_up else []
        opened = 0
        async with self._db.transaction() as conn:
            if not await store.hold(conn, self._owner):
                self._containers = None
                return 0, 0
            for finding in findings:
                opened += await anomaly_store.put(conn, finding)
            conditions = {one.condition_id: one.condition() for one in findings}
            conditions |= {one.id: one for one in ruled}
            if self._measured is not None and self._containers:
                told_of = overview.nothing_measured(self._containers.values(), now.timestamp())
                conditions[told_of.id] = told_of
            if self._measured and not self._settled:
                conditions = await self._settle(conn, rules) | conditions
            told = list(conditions.values())
            for at in range(0, len(told), _PART):
                await self._alerts.observe_in(conn, SOURCE, told[at : at + _PART], lasting=True)
            if self._saved_at is None or now - self._saved_at >= _SAVE_EVERY:
                await self._save(conn)
                self._saved_at = now
        self._findings = {}
        self._settled = self._settled or self._measured is True
        self._ruled.update({one.id: one.state for one in ruled})
        return opened, sum(one.ended_at is not None for one in findings)

    async def _settle(self, conn: Connection, rules: Sequence[MetricRule]) -> dict[str, Condition]:
        """After a start, end what is open in the tables and lasts nowhere: its state was lost."""
        assert self._containers is not None
        each = self._containers.values()
        lasting = [finding for container in each for finding in container.open_findings()]
        await anomaly_store.end_others(conn, [one.incident for one in lasting])
        known = {one.condition_id for one in lasting} | hand.ids(rules, each)
        alerts = await self._alerts.open_in(conn, SOURCE)
        return {one.id: one for one in overview.stale(alerts, known, rules)}

    def _rules_now(self, rules: Sequence[MetricRule], now: datetime) -> list[Condition]:
        """Return how rules stand, where that changed; what was bad is told each time anew."""
        assert self._containers is not None
        each = self._containers.values()
        found = hand.evaluate(rules, each, now=now.timestamp(), measured=self._measured)
        return [one for one in found if one.state != "ok" or self._ruled.get(one.id) != one.state]

    async def _save(self, conn: Connection) -> None:
        assert self._containers is not None
        assert self._until is not None
        oldest = self._oldest(self._until)
        gone = [name for name, one in self._containers.items() if one.last_at < oldest]
        for name in gone:
            del self._containers[name]
            self._changed.discard(name)
        if gone:
            await store.forget_states(conn, gone)
        states = {name: self._containers[name].to_bytes() for name in self._changed}
        if states:
            await store.save_states(conn, states)
        await store.set_done(conn, self._until)
        self._changed = set()

    async def _time(self, conn: Connection) -> datetime:
        return await store.clock(conn) if self._now is None else self._now()


def _first(rows: Sequence[Row], since: datetime) -> datetime:
    return min(since, datetime.fromtimestamp(rows[0][2], UTC)) if rows else since
