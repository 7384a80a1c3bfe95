"""How an alert lives: a pure state machine, from what it was and what is seen to what it is.

    (nothing) ─bad→ pending ─lasts→ firing ─good→ recovering ─lasts→ resolved
                       └─good→ (nothing)     ←─bad─┘

Invariants: an alert fires once; while it lasts it gets worse but not better (`eased` is noted, not
told), so that a value that swings around a limit is one alert and one message; `unknown` neither
fires what is pending before `unknown_s`, nor ends what fires.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aegis.alerts.matching import is_severe

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.alerts.models import (
        Alert,
        Condition,
        EventKind,
        MessageKind,
        Rule,
        Severity,
        Silence,
    )

__all__ = ["Step", "begin", "due", "go_on"]

#: Times farther ahead than this are a clock's mistake.
_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of an alert; None is an alert that never fired and is forgotten."""

    alert: Alert | None
    event: EventKind | None = None
    #: What people are told of it, if anything.
    tell: MessageKind | None = None


def begin(condition: Condition, rule: Rule) -> Severity | None:
    """Return how severe the new alert of a condition is; None where it makes none."""
    if condition.state == "unknown":
        return (
            "warning" if rule.unknown_s > 0 and is_severe("warning", rule.least_severity) else None
        )
    if condition.state == "ok" or not is_severe(condition.state, rule.least_severity):
        return None
    return condition.state


def go_on(
    alert: Alert, condition: Condition, rule: Rule, *, silence: Silence | None, now: datetime
) -> Step:
    """Return what becomes of an open alert whose condition was observed at `now`."""
    alert = _put_back(alert, now)
    seen = _described(alert, condition, rule, now)
    if condition.state == "unknown":
        seen = replace(seen, unknown_since=alert.unknown_since or now)
        return due(seen, rule, silence=silence, now=now, looked=True)
    seen = replace(seen, unknown_since=None)
    if not is_severe(condition.state, rule.least_severity):
        return _good(seen, rule, silence, now)
    return _bad(alert, seen, condition, rule, silence, now)


def due(
    alert: Alert, rule: Rule, *, silence: Silence | None, now: datetime, looked: bool = False
) -> Step:
    """Return what time alone brings: firing, recovery, telling, escalation, a reminder.

    Without a look at its condition (`looked`), only a lasting alert fires or is over.
    """
    alert = _put_back(alert, now)
    looked = looked or alert.lasting
    if alert.state == "pending":
        return (
            _fire(alert, silence, now) if looked and _held(alert, rule, now) else Step(alert=alert)
        )
    if alert.state == "recovering":
        over = alert.cleared_at is not None and now - alert.cleared_at >= _s(rule.clear_s)
        return _over(alert, silence, now) if looked and over else Step(alert=alert)
    if alert.state != "firing" or silence is not None or alert.acknowledged_at is not None:
        return Step(alert=alert)
    if alert.told_at is None:
        # A silence held it back, or there was nobody to tell.
        return Step(alert=replace(alert, told_at=now), tell="fired")
    if (
        rule.escalate_s > 0
        and alert.escalated_at is None
        and alert.fired_at is not None
        and now - alert.fired_at >= _s(rule.escalate_s)
    ):
        escalated = replace(alert, escalated_at=now, told_at=now)
        return Step(alert=escalated, event="escalated", tell="escalated")
    if rule.remind_s > 0 and now - alert.told_at >= _s(rule.remind_s):
        return Step(alert=replace(alert, told_at=now), event="reminded", tell="reminded")
    return Step(alert=alert)


def _put_back(alert: Alert, now: datetime) -> Alert:
    """Return the alert without times that lie ahead: the clock that said them was wrong.

    Else what recovered by that clock would be over when the right one is there.
    """
    noted: dict[str, datetime | None] = {
        "began_at": alert.began_at,
        "unknown_since": alert.unknown_since,
        "fired_at": alert.fired_at,
        "cleared_at": alert.cleared_at,
        "told_at": alert.told_at,
    }
    wrong: dict[str, Any] = {
        name: now for name, at in noted.items() if at is not None and at > now + _AHEAD
    }
    return replace(alert, **wrong) if wrong else alert


def _bad(
    alert: Alert,
    seen: Alert,
    condition: Condition,
    rule: Rule,
    silence: Silence | None,
    now: datetime,
) -> Step:
    if alert.state == "pending":
        if alert.condition_state == "unknown":
            seen = replace(seen, began_at=condition.since or now)
        # What has not fired yet is as severe as it is now.
        severity: Severity = "critical" if condition.state == "critical" else "warning"
        return due(replace(seen, severity=severity), rule, silence=silence, now=now, looked=True)
    seen = replace(seen, state="firing", cleared_at=None)
    if condition.state == "critical" and alert.severity == "warning":
        # Who took on a warning did not take on this.
        worse = replace(seen, severity="critical", acknowledged_at=None, acknowledged_by=None)
        told = silence is None
        worse = replace(worse, told_at=now if told else alert.told_at)
        kind: MessageKind = "fired" if alert.told_at is None else "worsened"
        return Step(alert=worse, event="worsened", tell=kind if told else None)
    step = due(seen, rule, silence=silence, now=now, looked=True)
    eased = condition.state == "warning" and alert.condition_state == "critical"
    if step.event is None and eased:
        return replace(step, event="eased")
    return step


def _good(seen: Alert, rule: Rule, silence: Silence | None, now: datetime) -> Step:
    if seen.state == "pending":
        return Step(alert=None)
    seen = replace(seen, state="recovering", cleared_at=seen.cleared_at or now)
    return due(seen, rule, silence=silence, now=now, looked=True)


def _held(alert: Alert, rule: Rule, now: datetime) -> bool:
    if alert.condition_state == "unknown":
        since = alert.unknown_since
        return rule.unknown_s > 0 and since is not None and now - since >= _s(rule.unknown_s)
    return now - alert.began_at >= _s(alert.hold_s)


def _fire(alert: Alert, silence: Silence | None, now: datetime) -> Step:
    fired = replace(alert, state="firing", fired_at=now)
    if silence is not None:
        return Step(alert=fired, event="silenced")
    return Step(alert=replace(fired, told_at=now), event="fired", tell="fired")


def _over(alert: Alert, silence: Silence | None, now: datetime) -> Step:
    over = replace(alert, state="resolved", resolved_at=now)
    # Who was not told of it need not hear that it is over.
    told = alert.told_at is not None and silence is None
    return Step(alert=over, event="recovered", tell="recovered" if told else None)


def _described(alert: Alert, condition: Condition, rule: Rule, now: datetime) -> Alert:
    """Return the alert with what is seen of it now; what it was about stays when it is good."""
    bad = condition.state in ("warning", "critical")
    hold_s = rule.hold_s if condition.hold_s is None else condition.hold_s
    return replace(
        alert,
        labels=dict(condition.labels) if bad else alert.labels,
        title=condition.title if bad else alert.title,
        condition_state=condition.state,
        observed=alert.observed if condition.observed is None else condition.observed,
        threshold=alert.threshold if condition.threshold is None else condition.threshold,
        advice=condition.advice if bad else alert.advice,
        link=condition.link or alert.link,
        rule=rule.name,
        hold_s=hold_s,
        observed_at=now,
    )


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
