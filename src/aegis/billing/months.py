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

__all__ = [
    "LATE_MONTHS",
    "Segment",
    "before",
    "days_left",
    "days_of",
    "next_month",
    "read_month",
    "segments",
]

#: Days from one to before another; None for no end.
Days = tuple[date, date | None]

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


def segments(
    month: date, subscriptions: Iterable[Subscription], without: Sequence[Days] = ()
) -> Sequence[Segment]:
    """Return the days of a month by plan, in order, without those that somebody else prices.

    Subscriptions of a customer never overlap, nor do the days `without`, which are in order.
    """
    end = next_month(month)
    found: list[Segment] = []
    for one in sorted(subscriptions, key=lambda s: s.starts_on):
        begins, ends = max(one.starts_on, month), min(one.ends_on or end, end)
        for number, (first, last) in enumerate(days_left(begins, ends, without)):
            whole = first == month and last == end
            found.append(
                Segment(
                    plan=one.plan,
                    begins_on=first,
                    ends_on=last,
                    part=Decimal(1) if whole else _part(one.proration, again=number > 0),
                )
            )
    return found


def days_left(begins: date, ends: date, without: Sequence[Days]) -> list[tuple[date, date]]:
    """Return the days from one to before another that are not `without`, which is in order."""
    left: list[tuple[date, date]] = []
    for first, last in without:
        if first >= ends:
            break
        if first > begins:
            left.append((begins, first))
        begins = ends if last is None else max(begins, last)
    if begins < ends:
        left.append((begins, ends))
    return left


def _part(proration: Proration, *, again: bool) -> Decimal | None:
    if proration == "daily":
        return None
    # All of a month once, in however many parts it comes.
    return Decimal(1) if proration == "full" and not again else Decimal(0)
