"""When a memory expires: what its recorder says, else the policy that says most. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.models import IMPORTANCE, NewEpisode, NewFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "ACTIONS",
    "Action",
    "Policy",
    "check_policy",
    "parse_ttl",
    "policy_for",
    "with_expiry",
]

#: What the sweep does with what expired.
Action = Literal["archive", "delete"]
ACTIONS: tuple[Action, ...] = ("archive", "delete")

#: Longer ones are a mistake: a hundred years.
_LONGEST = timedelta(days=36_525)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_557_600}
_TTL = re.compile(r"(\d{1,12})\s*([smhdwy])")

New = TypeVar("New", NewEpisode, NewFact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long memories of a kind live (`memory_policies`)."""

    namespace: str
    #: Of this type only; empty for any.
    event_type: str
    #: Of this importance only; empty for any.
    importance: str
    #: Seconds from its recording on.
    ttl_s: int
    #: What the sweep does with them then.
    action: Action
    set_at: datetime


def parse_ttl(name: str, value: Any) -> timedelta:
    """Return a time to live: a `timedelta`, or a number with its unit, such as `90s` or `30d`.

    Units are s, m, h, d, w and y (365.25 days).

    Raises:
        InvalidInput: it is neither, is not above zero, or is longer than a hundred years.
    """
    if isinstance(value, timedelta):
        ttl = value
    else:
        found = _TTL.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise InvalidInput(
                f"{name} is {value!r:.60}; write a number and a unit (s, m, h, d, w, y), such as "
                "30d."
            )
        seconds = int(found[1]) * _UNITS[found[2]]
        ttl = min(timedelta(seconds=min(seconds, 2**40)), _LONGEST * 2)
    if not timedelta(0) < ttl <= _LONGEST:
        raise InvalidInput(f"{name} is {value!s:.60}; it must be above 0 and up to 100 years.")
    return ttl


def with_expiry(item: New, policies: Sequence[Policy], now: datetime) -> New:
    """Return the item with its `expires_at`, and without `ttl`.

    A policy counts from the recording: what was exported keeps the time it was first recorded.

    Raises:
        InvalidInput: both `ttl` and `expires_at` are given, or `ttl` is none.
    """
    if item.ttl is not None:
        if item.expires_at is not None:
            raise InvalidInput("ttl and expires_at are both given; one of them is enough.")
        return replace(item, expires_at=now + parse_ttl("ttl", item.ttl), ttl=None)
    if item.expires_at is not None or not isinstance(item, NewEpisode) or not policies:
        return item
    policy = policy_for(policies, event_type=item.event_type, importance=item.importance)
    if policy is None:
        return item
    expires_at = (item.created_at or now) + timedelta(seconds=policy.ttl_s)
    return cast("New", replace(item, expires_at=expires_at))


def policy_for(policies: Iterable[Policy], *, event_type: str, importance: str) -> Policy | None:
    """Return the policy that speaks of most: type and importance, type, importance, neither."""
    fitting = [
        p for p in policies if p.event_type in ("", event_type) and p.importance in ("", importance)
    ]
    return max(fitting, key=lambda p: (p.event_type != "", p.importance != ""), default=None)


def check_policy(*, event_type: Any, importance: Any, action: Any) -> None:
    """Accept what a policy is about and does (`InvalidInput`)."""
    if event_type is not None:
        validate.check_text("event_type", event_type, most=validate.MAX_EVENT_TYPE)
    if importance is not None:
        validate.check_choice("importance", importance, IMPORTANCE)
    validate.check_choice("action", action, ACTIONS)
