"""What is observed, what becomes of it, and what is sent about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "ALERT_STATES",
    "CHANNEL_KINDS",
    "CONDITION_STATES",
    "DELIVERY_STATES",
    "EVENT_KINDS",
    "MESSAGE_KINDS",
    "SEVERITIES",
    "Alert",
    "AlertEvent",
    "AlertState",
    "Channel",
    "ChannelKind",
    "Condition",
    "ConditionState",
    "Delivery",
    "DeliveryState",
    "EventKind",
    "MessageKind",
    "Observed",
    "Rule",
    "Severity",
    "Silence",
]

#: `unknown`: it could not be found out, which neither raises an alert nor ends one.
ConditionState = Literal["ok", "warning", "critical", "unknown"]
CONDITION_STATES: tuple[ConditionState, ...] = ("ok", "warning", "critical", "unknown")
Severity = Literal["warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("warning", "critical")
#: `pending`: bad, but not for long enough. `recovering`: good again, but not for long enough.
AlertState = Literal["pending", "firing", "recovering", "resolved"]
ALERT_STATES: tuple[AlertState, ...] = ("pending", "firing", "recovering", "resolved")
#: What happened to an alert.
EventKind = Literal[
    "fired",
    "worsened",
    "eased",
    "recovered",
    "acknowledged",
    "marked_false",
    "escalated",
    "reminded",
    "silenced",
    "dropped",
]
EVENT_KINDS: tuple[EventKind, ...] = (
    "fired",
    "worsened",
    "eased",
    "recovered",
    "acknowledged",
    "marked_false",
    "escalated",
    "reminded",
    "silenced",
    "dropped",
)
#: What a message tells of an alert.
MessageKind = Literal["fired", "worsened", "recovered", "escalated", "reminded", "test"]
MESSAGE_KINDS: tuple[MessageKind, ...] = (
    "fired",
    "worsened",
    "recovered",
    "escalated",
    "reminded",
    "test",
)
ChannelKind = Literal["webhook", "slack", "email", "command", "apprise"]
CHANNEL_KINDS: tuple[ChannelKind, ...] = ("webhook", "slack", "email", "command", "apprise")
DeliveryState = Literal["pending", "sent", "dead"]
DELIVERY_STATES: tuple[DeliveryState, ...] = ("pending", "sent", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that was looked at, and how it stands now."""

    #: Stable within its source, such as `backup-age` or `anomaly:web:cpu_percent`; 1 to 200
    #: characters. Two observations with the same source and id are about the same thing.
    id: str
    #: Who looked, such as `doctor` or `metrics`; 1 to 50 characters.
    source: str
    state: ConditionState
    #: What it is about, in a line for people: `Backup is 31 hours old`.
    title: str
    #: What was seen, and from where on it is bad, with their units: `31 h`, `26 h`.
    observed: str | None = None
    threshold: str | None = None
    #: What to do, often a command.
    advice: str | None = None
    #: Where more is written.
    link: str | None = None
    #: What rules, silences and groups may ask for: `{"container": "web"}`.
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Since when, where the observer knows; else since it was first observed so.
    since: datetime | None = None
    #: Seconds that it has to last before it fires; what the rule says if None.
    hold_s: float | None = None
    #: Alerts of one group that fire at about the same time are one message; the source if None.
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What becomes of conditions that it fits; the fitting rule of the highest priority counts."""

    name: str
    #: Globs: `*`, `doctor`, `backup-*`.
    source: str = "*"
    condition: str = "*"
    #: Labels that a condition must have, values as globs.
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Higher first.
    priority: int = 0
    #: Less severe ones raise no alert.
    least_severity: Severity = "warning"
    #: Seconds that a condition is bad before it fires, and good before it is over.
    hold_s: float = 60.0
    clear_s: float = 120.0
    #: Seconds that a condition may be unknown; then that is a warning. 0 for never.
    unknown_s: float = 900.0
    #: Names of channels; all of them where it names none.
    channels: Sequence[str] = ()
    #: Seconds without acknowledgement until it is sent to `escalate_to`; 0 for never.
    escalate_s: float = 0.0
    escalate_to: Sequence[str] = ()
    #: Seconds between reminders while it lasts unacknowledged; 0 for none.
    remind_s: float = 0.0
    #: Seconds that the first alert of a group waits for others.
    group_s: float = 5.0
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What became of a condition from when it was first bad until it is over."""

    id: int
    source: str
    condition_id: str
    labels: Mapping[str, str]
    group_key: str
    title: str
    state: AlertState
    severity: Severity
    #: What the condition was last observed to be.
    condition_state: ConditionState
    observed: str | None
    threshold: str | None
    advice: str | None
    link: str | None
    #: Name of the rule that counted last.
    rule: str
    hold_s: float
    #: Whether it lasts until the source says otherwise; else each observation says it anew.
    lasting: bool
    began_at: datetime
    #: When it was first observed, and last.
    created_at: datetime
    observed_at: datetime
    unknown_since: datetime | None
    fired_at: datetime | None
    #: When it was observed to be good, of an alert that recovers.
    cleared_at: datetime | None
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    marked_false_at: datetime | None
    escalated_at: datetime | None
    #: When people were last told; None while a silence holds it back.
    told_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """One thing that happened to an alert."""

    id: int
    alert_id: int
    at: datetime
    kind: EventKind
    by: str | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts that it fits are kept, and nobody is told, until it ends."""

    id: int
    source: str
    condition: str
    labels: Mapping[str, str]
    until: datetime
    reason: str | None
    created_by: str | None
    created_at: datetime
    #: When it was taken back before its end.
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way to people, as the database knows it: without its address."""

    name: str
    kind: ChannelKind
    #: Scheme and host, nothing secret.
    shown: str
    least_severity: Severity
    #: Minutes of the day of the first quiet time, in its zone; both None for no such time.
    quiet_from: int | None
    quiet_until: int | None
    #: All of them with days and zone, as `alerts.quiet` writes them.
    quiet: str | None
    #: When a process that knows the address last said so.
    seen_at: datetime
    sent_at: datetime | None
    failed_at: datetime | None
    last_error: str | None
    #: In a row.
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one channel."""

    id: int
    #: The same each time that it is tried, so that a receiver can tell.
    delivery_id: str
    channel: str
    group_key: str
    state: DeliveryState
    #: What it tells: one entry an alert, in the order in which they came.
    entries: Sequence[Mapping[str, Any]]
    attempts: int
    next_at: datetime
    last_error: str | None
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one observation changed."""

    conditions: int
    #: Ids of alerts.
    fired: Sequence[int]
    worsened: Sequence[int]
    recovered: Sequence[int]
    #: Open alerts that a silence keeps from being told.
    silenced: int
