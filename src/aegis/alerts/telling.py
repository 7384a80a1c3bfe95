"""From what happened to alerts to messages that are due: who is told, together with what, when.

Alerts of one group that fire within `group_s` are one message; a channel that got many messages
lately gets the rest as one. In its quiet times a channel is sent only what is critical, and
afterwards all the rest as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.alerts.matching import is_severe
from aegis.alerts.message import entry_of
from aegis.alerts.quiet import from_text
from aegis.alerts.store import channels as channel_store
from aegis.alerts.store import outbox
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aegis.alerts.models import Alert, Channel, MessageKind, Rule
    from aegis.db import Connection

__all__ = ["HELD_BACK", "KIND", "Telling", "enqueue", "recipients", "when_heard"]

#: Name of the work (`aegis.db.lease.Kind`).
KIND: Final = "alerts"
#: A channel that no process has named for so long is gone.
SEEN_WITHIN: Final = timedelta(days=2)
#: So many messages to a channel in this time, and the rest comes as one.
STORM_MESSAGES: Final = 20
STORM_WITHIN: Final = timedelta(minutes=10)
_STORM_PAUSE: Final = {True: timedelta(seconds=60), False: timedelta(minutes=5)}
#: Group of what a quiet time holds back.
HELD_BACK: Final = "quiet"
#: Alerts of one message.
_MOST_ENTRIES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """An alert of which people have to be told."""

    alert: Alert
    kind: MessageKind
    rule: Rule


def recipients(telling: Telling, known: Sequence[Channel]) -> list[Channel]:
    """Return the channels that are told: those that the rule names, or all."""
    rule, alert = telling.rule, telling.alert
    wanted: set[str] | None = set(rule.channels) or None
    if telling.kind == "escalated":
        wanted = set(rule.escalate_to) or None
    elif alert.escalated_at is not None and wanted is not None:
        # Who was woken hears how it went on.
        wanted = wanted | set(rule.escalate_to) if rule.escalate_to else None
    return [
        channel
        for channel in known
        if (wanted is None or channel.name in wanted)
        and is_severe(alert.severity, channel.least_severity)
    ]


def when_heard(channel: Channel, now: datetime, *, critical: bool) -> datetime:
    """Return when a channel may be sent something: now, or when its quiet time ends."""
    if critical or channel.quiet is None:
        return now
    try:
        return from_text(channel.quiet).until(now) or now
    except InvalidInput:
        # A zone that another machine knows: to be told too early is better than never.
        return now


async def enqueue(conn: Connection, tellings: Iterable[Telling], *, now: datetime) -> set[int]:
    """Make messages due, in the transaction that changed the alerts; ids of alerts somebody hears.

    Of what nobody hears, for want of a channel, the caller must not say that it was told.
    """
    wanted = list(tellings)
    if not wanted:
        return set()
    known = await channel_store.list_channels(conn, seen_since=now - SEEN_WITHIN)
    batches: dict[tuple[str, str], list[Telling]] = {}
    heard: set[int] = set()
    by_name = {channel.name: channel for channel in known}
    for telling in wanted:
        for channel in recipients(telling, known):
            batches.setdefault((channel.name, telling.alert.group_key), []).append(telling)
            heard.add(telling.alert.id)
    for (name, group), batch in sorted(batches.items(), key=lambda item: item[0]):
        await _put(conn, by_name[name], group, batch, now=now)
    if batches:
        await outbox.notify(conn, KIND)
    return heard


async def _put(
    conn: Connection, channel: Channel, group: str, batch: Sequence[Telling], *, now: datetime
) -> None:
    critical = any(telling.alert.severity == "critical" for telling in batch)
    wait = timedelta(seconds=min(telling.rule.group_s for telling in batch))
    heard_at = when_heard(channel, now, critical=critical)
    next_at = max(now + wait, heard_at)
    if heard_at > now:
        # What a night brings is one message in the morning, not one a group.
        group = HELD_BACK
    entries = [entry_of(telling.alert, telling.kind, at=now) for telling in batch]
    for at in range(0, len(entries), _MOST_ENTRIES):
        part = entries[at : at + _MOST_ENTRIES]
        if await outbox.add_entries(
            conn,
            channel=channel.name,
            group_key=group,
            entries=part,
            critical=critical,
            next_at=next_at,
            most=_MOST_ENTRIES,
        ):
            continue
        recent = await outbox.count_recent(conn, channel.name, since=now - STORM_WITHIN)
        key, due = group, next_at
        if recent >= STORM_MESSAGES and group != HELD_BACK:
            key, due = "*", max(next_at, now + _STORM_PAUSE[critical])
            if await outbox.add_entries(
                conn,
                channel=channel.name,
                group_key=key,
                entries=part,
                critical=critical,
                next_at=due,
                most=_MOST_ENTRIES,
            ):
                continue
        await outbox.insert_delivery(
            conn,
            channel=channel.name,
            group_key=key,
            entries=part,
            critical=critical,
            next_at=due,
            now=now,
        )
