"""Months, and which days of one a customer spent on which plan. Pure."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aegis.billing.models import Proration, Subscription

__all__ = ["LATE_MONTHS", "Segment", "before", "days_of", "next_month", "read_month", "segments"]

#: A run looks this many months back for usage that came late, which takes 35 days at most.
LATE_MONTHS: Final = 3
_MONTH: Final = re.compile(r"(20[0-9]{2}|21[0-9]{2})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Days of one month on one plan."""

    plan: str
    begins_on: date
    #: First day that is no longer of it.
    ends_on: date
    #: Share of the month's subscription; None for that of its days.
    part: Decimal | None


def read_month(value: Any) -> date:
    """Return the first day of a month written as `2026-10`, or of a date (`InvalidInput`)."""
    if isinstance(value, date):
        value = value.isoformat()[:7]
    if not isinstance(value, str) or not _MONTH.fullmatch(value):
        raise InvalidInput(f"month is {value!r:.60}; write it as 2026-10.")
    return date(int(value[:4]), int(value[5:]), 1)


def next_month(month: date) -> date:
    """Return the first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def before(month: date, count: int) -> date:
    """Return the first day of the month `count` months before."""
    number = month.year * 12 + month.month - 1 - count
    return date(number // 12, number % 12 + 1, 1)


def days_of(month: date) -> int:
    """Return how many days a month has."""
    return calendar.monthrange(month.year, month.month)[1]


def segments(month: date, subscriptions: Iterable[Subscription]) -> Sequence[Segment]:
    """Return the days of a month by plan, in order; subscriptions of a customer never overlap."""
    end = next_month(month)
    found: list[Segment] = []
    for one in sorted(subscriptions, key=lambda s: s.starts_on):
        begins, ends = max(one.starts_on, month), min(one.ends_on or end, end)
        if begins < ends:
            whole = begins == month and ends == end
            found.append(
                Segment(
                    plan=one.plan,
                    begins_on=begins,
                    ends_on=ends,
                    part=Decimal(1) if whole else _part(one.proration),
                )
            )
    return found


def _part(proration: Proration) -> Decimal | None:
    if proration == "daily":
        return None
    return Decimal(1) if proration == "full" else Decimal(0)
