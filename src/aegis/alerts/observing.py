"""What observations and time make of alerts, in one transaction with the messages about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis.alerts import lifecycle
from aegis.alerts.matching import choose_rule, find_silence
from aegis.alerts.models import Alert, Condition, Observed
from aegis.alerts.store import alerts as store
from aegis.alerts.store import rules as rule_store
from aegis.alerts.telling import Telling, enqueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.alerts.lifecycle import Step
    from aegis.alerts.models import Rule, Silence
    from aegis.db import Connection

__all__ = ["observe", "tick"]


@dataclass(slots=True)
class _Round:
    """One transaction's worth: what counts in it, and what came of it."""

    now: datetime
    rules: Sequence[Rule]
    silences: Sequence[Silence]
    steps: list[tuple[Alert, Step, Rule]]

    def rule_of(self, about: tuple[str, str, Mapping[str, str]]) -> Rule:
        return choose_rule(self.rules, about)

    def silence_of(self, about: tuple[str, str, Mapping[str, str]]) -> Silence | None:
        return find_silence(self.silences, about, now=self.now)


async def observe(
    conn: Connection,
    source: str,
    conditions: Sequence[Condition],
    *,
    now: datetime,
    complete: bool,
    lasting: bool,
) -> Observed:
    """Take an observation in; one source's are one after the other, whichever process makes them.

    With `complete`, what is not among `conditions` is good.
    """
    await store.lock_source(conn, source)
    this = await _round(conn, now)
    known = {alert.condition_id: alert for alert in await store.list_open(conn, source)}
    for condition in conditions:
        alert = known.pop(condition.id, None)
        if alert is None:
            alert = await _begin(conn, condition, this, lasting=lasting)
            if alert is None:
                continue
        _go_on(this, alert, condition)
    if complete:
        for alert in known.values():
            _go_on(this, alert, _gone(alert))
    silenced = await _write(conn, this)
    return Observed(
        conditions=len(conditions),
        fired=_ids(this, "fired", "silenced"),
        worsened=_ids(this, "worsened"),
        recovered=_ids(this, "recovered"),
        silenced=silenced,
    )


async def tick(conn: Connection, *, now: datetime) -> int:
    """See to what time alone brings; return to how many alerts something happened."""
    if not await store.lock_ticking(conn):
        return 0
    this = await _round(conn, now)
    for alert in await store.list_open(conn):
        about = (alert.source, alert.condition_id, alert.labels)
        rule = this.rule_of(about)
        step = lifecycle.due(alert, rule, silence=this.silence_of(about), now=now)
        if step.alert is not alert:
            this.steps.append((alert, step, rule))
    await _write(conn, this)
    return sum(step.event is not None for _, step, _ in this.steps)


async def _round(conn: Connection, now: datetime) -> _Round:
    return _Round(
        now=now,
        rules=await rule_store.list_rules(conn),
        silences=await rule_store.list_silences(conn, now=now),
        steps=[],
    )


async def _begin(
    conn: Connection, condition: Condition, this: _Round, *, lasting: bool
) -> Alert | None:
    """Write a new pending alert; the step that follows at once may let it fire."""
    about = (condition.source, condition.id, condition.labels)
    rule = this.rule_of(about)
    severity = lifecycle.begin(condition, rule)
    if severity is None:
        return None
    alert = Alert(
        id=0,
        source=condition.source,
        condition_id=condition.id,
        labels=dict(condition.labels),
        group_key=condition.group or condition.source,
        title=condition.title,
        state="pending",
        severity=severity,
        condition_state=condition.state,
        observed=condition.observed,
        threshold=condition.threshold,
        advice=condition.advice,
        link=condition.link,
        rule=rule.name,
        hold_s=rule.hold_s if condition.hold_s is None else condition.hold_s,
        lasting=lasting,
        began_at=min(condition.since or this.now, this.now),
        created_at=this.now,
        observed_at=this.now,
        unknown_since=this.now if condition.state == "unknown" else None,
        fired_at=None,
        cleared_at=None,
        resolved_at=None,
        acknowledged_at=None,
        acknowledged_by=None,
        note=None,
        marked_false_at=None,
        escalated_at=None,
        told_at=None,
    )
    return replace(alert, id=await store.insert_alert(conn, alert))


def _go_on(this: _Round, alert: Alert, condition: Condition) -> None:
    about = (condition.source, condition.id, condition.labels or alert.labels)
    rule = this.rule_of(about)
    step = lifecycle.go_on(alert, condition, rule, silence=this.silence_of(about), now=this.now)
    this.steps.append((alert, step, rule))


def _gone(alert: Alert) -> Condition:
    return Condition(
        id=alert.condition_id,
        source=alert.source,
        state="ok",
        title=alert.title,
        labels=alert.labels,
    )


async def _write(conn: Connection, this: _Round) -> int:
    """Write the steps and the messages about them; how many open alerts a silence keeps quiet."""
    tellings = [
        Telling(alert=step.alert, kind=step.tell, rule=rule)
        for _, step, rule in this.steps
        if step.alert is not None and step.tell is not None
    ]
    heard = await enqueue(conn, tellings, now=this.now)
    silenced = 0
    for before, step, _ in this.steps:
        after = step.alert
        if after is None:
            await store.delete_alert(conn, before.id)
            continue
        if step.tell is not None and after.id not in heard:
            # There is nobody to tell; as soon as there is, that is made up for.
            after = replace(after, told_at=before.told_at)
        if after != before:
            await store.update_alert(conn, after)
        if step.event is not None:
            await store.add_event(conn, after.id, step.event, at=this.now, text=after.observed)
        about = (after.source, after.condition_id, after.labels)
        silenced += after.state == "firing" and this.silence_of(about) is not None
    return silenced


def _ids(this: _Round, *events: str) -> list[int]:
    return [
        step.alert.id
        for _, step, _ in this.steps
        if step.alert is not None and step.event in events
    ]
