"""What alerts accept: conditions of any observer, rules and silences of people."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aegis.alerts.models import CONDITION_STATES, SEVERITIES
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.alerts.models import Condition, Rule

__all__ = [
    "MOST_CONDITIONS",
    "check_by",
    "check_channel",
    "check_conditions",
    "check_glob",
    "check_labels",
    "check_limit",
    "check_note",
    "check_rule",
    "check_source",
    "check_until",
]

#: Conditions of one observation.
MOST_CONDITIONS: Final = 10_000
_LONGEST_S: Final = 30 * 86_400.0
_LONGEST_SILENCE: Final = timedelta(days=366)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_LABELS: Final = 20


def check_source(source: str) -> str:
    """Return the name of who looks (`InvalidInput`)."""
    return _text("source", source, most=50)


def check_conditions(source: str, conditions: Sequence[Condition]) -> None:
    """Return if these may be observed at once (`InvalidInput`)."""
    if len(conditions) > MOST_CONDITIONS:
        raise InvalidInput(
            f"{len(conditions):,} conditions at once; up to {MOST_CONDITIONS:,} are taken."
        )
    seen: set[str] = set()
    for condition in conditions:
        name = _text("id", condition.id, most=200)
        if condition.source != source:
            raise InvalidInput(
                f"Condition {name!r} has source {condition.source!r}; it was observed by "
                f"{source!r}."
            )
        if name in seen:
            raise InvalidInput(f"Condition {name!r} is given twice; give each once.")
        seen.add(name)
        _text("title", condition.title, most=500)
        if condition.state not in CONDITION_STATES:
            raise InvalidInput(
                f"state of {name!r} is {condition.state!r}; use {', '.join(CONDITION_STATES)}."
            )
        for field in ("observed", "threshold", "advice", "link", "group"):
            value = getattr(condition, field)
            if value is not None:
                _text(field, value, most=2_000)
        check_labels(condition.labels)
        if condition.since is not None and condition.since.tzinfo is None:
            raise InvalidInput(f"since of {name!r} has no zone; give one.")
        if condition.hold_s is not None:
            _seconds("hold_s", condition.hold_s)


def check_rule(rule: Rule) -> None:
    """Return if this may be a rule (`InvalidInput`)."""
    if not _NAME.fullmatch(rule.name):
        raise InvalidInput(
            f"name of a rule is {rule.name[:70]!r}; use letters, digits, '_', '.', '-'."
        )
    check_glob("source", rule.source)
    check_glob("condition", rule.condition)
    check_labels(rule.labels)
    if rule.least_severity not in SEVERITIES:
        raise InvalidInput(f"least_severity is {rule.least_severity!r}; use warning or critical.")
    for field in ("hold_s", "clear_s", "unknown_s", "escalate_s", "remind_s", "group_s"):
        _seconds(field, getattr(rule, field))
    if abs(rule.priority) > 1_000_000:
        raise InvalidInput(f"priority is {rule.priority}; use -1000000 to 1000000.")
    if 0 < rule.remind_s < 60:
        raise InvalidInput(f"remind_s is {rule.remind_s:g}; it is 60 or more, or 0 for never.")
    for name in (*rule.channels, *rule.escalate_to):
        check_channel(name)


def check_channel(name: str) -> None:
    """Return if a channel may have this name (`InvalidInput`)."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name[:70]!r} is no name of a channel.")


def check_glob(field: str, text: str) -> str:
    """Return a pattern of names (`InvalidInput`)."""
    return _text(field, text, most=200)


def check_labels(labels: Mapping[str, Any]) -> dict[str, str]:
    """Return labels, or patterns of them (`InvalidInput`)."""
    if len(labels) > _MOST_LABELS:
        raise InvalidInput(f"{len(labels)} labels; up to {_MOST_LABELS} are taken.")
    for name, value in labels.items():
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name[:70]!r} is no name of a label.")
        if not isinstance(value, str):
            raise InvalidInput(f"label {name} is {value!r}; give text.")
        _text(f"label {name}", value, most=200)
    return dict(labels)


def check_until(until: datetime, *, now: datetime) -> datetime:
    """Return when a silence ends (`InvalidInput`)."""
    if until.tzinfo is None:
        raise InvalidInput(f"until is {until.isoformat()}; give a time with a zone.")
    if not now < until <= now + _LONGEST_SILENCE:
        raise InvalidInput(
            f"until is {until.isoformat()}; give a time within a year from now, "
            f"{now.isoformat(timespec='seconds')}."
        )
    return until.astimezone(UTC)


def check_by(by: str | None) -> str | None:
    """Return who does something (`InvalidInput`)."""
    return None if by is None else _text("by", by, most=200)


def check_note(note: str | None) -> str | None:
    """Return what somebody has to say (`InvalidInput`)."""
    return None if note is None else _text("note", note, most=2_000, lines=True)


def check_limit(limit: int) -> int:
    """Return how many rows to read (`InvalidInput`)."""
    if not 1 <= limit <= 1_000:
        raise InvalidInput(f"limit is {limit}; it is 1 to 1,000.")
    return limit


def _seconds(name: str, value: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= _LONGEST_S):
        raise InvalidInput(f"{name} is {value:g}; it is 0 to {_LONGEST_S:,.0f} seconds.")


def _text(name: str, value: object, *, most: int, lines: bool = False) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name} is {value!r}; give some text.")
    if len(value) > most:
        raise InvalidInput(f"{name} has {len(value):,} characters; up to {most:,} are taken.")
    allowed = "\n\t" if lines else ""
    if any(
        (ord(sign) < 32 and sign not in allowed)
        or ord(sign) == 127
        or 0xD800 <= ord(sign) <= 0xDFFF
        for sign in value
    ):
        raise InvalidInput(f"{name} {value[:40]!r} has a control character; remove it.")
    return value
