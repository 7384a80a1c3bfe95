"""Alerts of one database as one object: `client.alerts`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.alerts import observing, validate
from aegis.alerts.channels import Channels
from aegis.alerts.models import ALERT_STATES, Condition
from aegis.alerts.store import alerts as store
from aegis.alerts.store import channels as channel_store
from aegis.alerts.store import outbox
from aegis.alerts.store import rules as rule_store
from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.security.audit.recording import audited
from aegis.security.audit.recording import note as log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aegis.alerts.models import (
        Alert,
        AlertEvent,
        Observed,
        Rule,
        Silence,
    )
    from aegis.config import Settings
    from aegis.db import Connection, Database

    #: Called in the transaction that acknowledges an alert, or marks it as false.
    Marked = Callable[[Connection, Alert], Awaitable[None]]

__all__ = ["OPEN", "Alerts"]

OPEN: Final = ALERT_STATES[:3]
#: How long an alert that was marked as false is kept quiet.
_FALSE_FOR: Final = timedelta(days=14)
#: A message to a channel whose address nobody knows is given up after this time.
_UNKNOWN_FOR: Final = timedelta(days=3)
_BATCH: Final = 1_000
#: Failures in a row from which a channel is an alert.
_FAILURES: Final = 5


class Alerts:
    """What people have to be told. `now` is the clock, for those who test; else the server's."""

    def __init__(
        self, db: Database, settings: Settings, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._db = db
        self._settings = settings
        self._now = now
        self._marked: dict[str, Marked] = {}
        #: Ways to people, and what waits to be sent.
        self.channels = Channels(db, settings, now=now)

    def on_mark(self, source: str, told: Marked) -> None:
        """Let the domain behind `source` hear when one of its alerts is taken on, or was false."""
        self._marked[source] = told

    async def observe(
        self,
        source: str,
        conditions: Sequence[Condition],
        *,
        complete: bool = False,
        lasting: bool = False,
    ) -> Observed:
        """Take an observation in: alerts fire, get worse and are over, and people are told.

        `complete`: what is not among the conditions is good. `lasting`: the source tells changes
        only, so a bad condition lasts until it says otherwise; else it fires when it is observed
        to be bad again after its time. Observations of a source come one after the other.

        Raises:
            InvalidInput: a condition cannot be; nothing was changed.
            Unavailable: the database does not answer; observe again later, nothing is lost.
        """
        validate.check_source(source)
        validate.check_conditions(source, conditions)
        async with self._db.transaction() as conn:
            return await self.observe_in(
                conn, source, conditions, complete=complete, lasting=lasting
            )

    async def observe_in(
        self,
        conn: Connection,
        source: str,
        conditions: Sequence[Condition],
        *,
        complete: bool = False,
        lasting: bool = False,
    ) -> Observed:
        """Do the same in the caller's transaction, with what else it writes."""
        validate.check_source(source)
        validate.check_conditions(source, conditions)
        return await observing.observe(
            conn,
            source,
            conditions,
            now=await self._time(conn),
            complete=complete,
            lasting=lasting,
        )

    async def open_in(self, conn: Connection, source: str) -> Sequence[Alert]:
        """Return a source's alerts that are not over, locked, in the caller's transaction."""
        await store.lock_source(conn, source)
        return await store.list_open(conn, source)

    async def tick(self) -> int:
        """See to what time alone brings: lasting conditions fire, alerts are escalated.

        Any number of processes may do it; one at a time does. Returns to how many alerts
        something happened.
        """
        async with self._db.transaction() as conn:
            if not await store.any_open(conn):
                return 0
            return await observing.tick(conn, now=await self._time(conn))

    async def check_channels(self) -> Observed:
        """Let channels whose messages do not arrive be alerts themselves, told over the others."""
        conditions = [
            Condition(
                id=f"channel:{channel.name}",
                source="alerts",
                state="ok" if channel.failures < _FAILURES else "warning",
                title=f"Messages to channel {channel.name} do not arrive",
                observed=f"{channel.failures} failures in a row",
                threshold=f"{_FAILURES}",
                advice=f"{channel.last_error or ''} See: aegis alerts deliveries".strip(),
                since=channel.failed_at,
            )
            for channel in await self.channels.list()
        ]
        return await self.observe("alerts", conditions, complete=True)

    async def list(
        self,
        *,
        states: Sequence[str] = OPEN,
        source: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[Alert]:
        """Return alerts, the newest first; those that are not over unless `states` says so."""
        validate.check_limit(limit)
        for state in states:
            if state not in ALERT_STATES:
                raise InvalidInput(f"state is {state!r}; use {', '.join(ALERT_STATES)}.")
        async with self._db.transaction() as conn:
            return await store.list_alerts(
                conn, states=states, source=source, before=before, limit=limit
            )

    async def get(self, alert_id: int) -> Alert:
        """Return an alert (`NotFound`)."""
        async with self._db.transaction() as conn:
            return await store.get_alert(conn, alert_id)

    async def history(
        self, alert_id: int | None = None, *, before: int | None = None, limit: int = 100
    ) -> Sequence[AlertEvent]:
        """Return what happened, to one alert or to all, the newest first."""
        validate.check_limit(limit)
        async with self._db.transaction() as conn:
            return await store.list_events(conn, alert_id=alert_id, before=before, limit=limit)

    async def acknowledge(
        self, alert_id: int, *, by: str | None = None, note: str | None = None
    ) -> Alert:
        """Take an alert on: it is neither escalated nor told again, until it gets worse.

        Raises:
            NotFound: there is no such alert.
            Conflict: it is over.
        """
        validate.check_by(by)
        validate.check_note(note)
        async with self._db.transaction() as conn:
            now = await self._time(conn)
            alert = await self._open_alert(conn, alert_id)
            if alert.acknowledged_at is not None and note is None:
                return alert
            taken = replace(
                alert,
                acknowledged_at=alert.acknowledged_at or now,
                acknowledged_by=by or alert.acknowledged_by,
                note=note or alert.note,
            )
            await store.update_alert(conn, taken)
            await store.add_event(conn, alert_id, "acknowledged", at=now, by=by, text=note)
            await self._tell_source(conn, taken)
            return taken

    async def mark_false(
        self, alert_id: int, *, by: str | None = None, note: str | None = None
    ) -> Alert:
        """Say that an alert was none: it is over, and the same is kept quiet for two weeks.

        Raises:
            NotFound: there is no such alert.
            Conflict: it was marked already.
        """
        validate.check_by(by)
        validate.check_note(note)
        async with audited(self._db) as conn:
            now = await self._time(conn)
            alert = await store.get_alert(conn, alert_id, lock=True)
            if alert.marked_false_at is not None:
                raise Conflict(f"Alert {alert_id} was marked as false already.")
            marked = replace(
                alert,
                marked_false_at=now,
                note=note or alert.note,
                state="resolved",
                resolved_at=alert.resolved_at or now,
            )
            await store.update_alert(conn, marked)
            await store.add_event(conn, alert_id, "marked_false", at=now, by=by, text=note)
            await self._tell_source(conn, marked)
            if not self._knows_better(marked):
                await rule_store.insert_silence(
                    conn,
                    source=_literal(alert.source),
                    condition=_literal(alert.condition_id),
                    labels={},
                    until=now + _FALSE_FOR,
                    reason=f"alert {alert_id} was marked as false",
                    by=by,
                    now=now,
                )
            log(conn, "alerts.mark_false", "alert", alert_id, source=alert.source)
            return marked

    async def silence(
        self,
        *,
        source: str = "*",
        condition: str = "*",
        labels: Mapping[str, str] | None = None,
        until: datetime | None = None,
        seconds: float | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Silence:
        """Tell nobody of alerts that these globs fit, until a time or for some seconds.

        They are kept and listed; those that still fire when the silence ends are told then.

        Raises:
            InvalidInput: it would fit everything for more than a day, or the time is none.
        """
        validate.check_glob("source", source)
        validate.check_glob("condition", condition)
        wanted = validate.check_labels(labels or {})
        validate.check_note(reason)
        validate.check_by(by)
        if (until is None) == (seconds is None):
            raise InvalidInput("Say how long: either until or seconds.")
        async with audited(self._db) as conn:
            now = await self._time(conn)
            if until is None:
                try:
                    until = now + timedelta(seconds=seconds or 0.0)
                except (OverflowError, ValueError):
                    raise InvalidInput(f"seconds is {seconds}; up to a year is taken.") from None
            until = validate.check_until(until, now=now)
            everything = source == "*" and condition == "*" and not wanted
            if everything and until > now + timedelta(days=1):
                raise InvalidInput(
                    "This would silence everything for more than a day; name a source, a "
                    "condition or a label."
                )
            made = await rule_store.insert_silence(
                conn,
                source=source,
                condition=condition,
                labels=wanted,
                until=until,
                reason=reason,
                by=by,
                now=now,
            )
            log(
                conn,
                "alerts.silence",
                "silence",
                made.id,
                source=source,
                condition=condition,
                labels=wanted,
                until=until,
            )
            return made

    async def unsilence(self, silence_id: int) -> None:
        """End a silence now (`NotFound`)."""
        async with audited(self._db) as conn:
            if not await rule_store.end_silence(conn, silence_id, now=await self._time(conn)):
                raise NotFound(f"There is no silence {silence_id} in force.")
            log(conn, "alerts.unsilence", "silence", silence_id)

    async def silences(self, *, ended: bool = False) -> Sequence[Silence]:
        """Return the silences in force; with `ended` those of the past, too."""
        async with self._db.transaction() as conn:
            now = await self._time(conn)
            return await rule_store.list_silences(conn, now=None if ended else now)

    async def rules(self) -> Sequence[Rule]:
        """Return the rules, those that count first at the top."""
        async with self._db.transaction() as conn:
            return await rule_store.list_rules(conn)

    async def put_rule(self, rule: Rule) -> None:
        """Write a rule, in place of one of the same name (`InvalidInput`)."""
        validate.check_rule(rule)
        async with audited(self._db) as conn:
            known = {channel.name for channel in await channel_store.list_channels(conn)}
            named = {*rule.channels, *rule.escalate_to}
            unknown = sorted(named - known - set(self.channels.addresses))
            if unknown:
                raise InvalidInput(
                    f"There is no channel {unknown[0]!r}; AEGIS_ALERT_CHANNELS names them."
                )
            await rule_store.put_rule(conn, rule)
            log(
                conn,
                "alerts.rule_put",
                "alert_rule",
                rule.name,
                source=rule.source,
                channels=rule.channels,
            )

    async def delete_rule(self, name: str) -> None:
        """Delete a rule (`NotFound`)."""
        async with audited(self._db) as conn:
            if not await rule_store.delete_rule(conn, name):
                raise NotFound(f"There is no rule {name!r}; `aegis alerts rules list` shows them.")
            log(conn, "alerts.rule_delete", "alert_rule", name)

    async def keep(self) -> int:
        """Delete alerts that were over long ago, and their messages; return how many alerts."""
        async with self._db.transaction() as conn:
            now = await self._time(conn)
            before = now - timedelta(days=self._settings.alert_keep_days)
            await outbox.end_unknown(conn, before=now - _UNKNOWN_FOR)
            await outbox.delete_old(conn, before=before)
        total = 0
        while True:
            async with self._db.transaction() as conn:
                count = await store.delete_old(conn, before=before, limit=_BATCH)
            total += count
            if count < _BATCH:
                return total

    async def _open_alert(self, conn: Connection, alert_id: int) -> Alert:
        alert = await store.get_alert(conn, alert_id, lock=True)
        if alert.state == "resolved":
            raise Conflict(f"Alert {alert_id} is over since {alert.resolved_at}.")
        return alert

    async def _tell_source(self, conn: Connection, alert: Alert) -> None:
        told = self._marked.get(alert.source)
        if told is not None:
            await told(conn, alert)

    def _knows_better(self, alert: Alert) -> bool:
        """Whether the domain itself keeps the same quiet: it wrote down which incident this is."""
        return alert.source in self._marked and "incident" in alert.labels

    async def _time(self, conn: Connection) -> datetime:
        return await store.clock(conn) if self._now is None else self._now()


def _literal(text: str) -> str:
    """Return a glob that fits this text alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)
