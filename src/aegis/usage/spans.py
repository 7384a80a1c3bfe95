"""Months, and the spans that questions are about. Pure: the time is handed in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aegis.usage.models import Granularity

__all__ = ["add_months", "choose", "month_of", "widen"]

#: Up to so many days are shown by hour, by day; longer ones by month.
_BY_HOUR: Final = timedelta(days=3)
_BY_DAY: Final = timedelta(days=93)


def month_of(at: datetime) -> date:
    """Return the first day of the month, UTC."""
    utc = at.astimezone(UTC)
    return date(utc.year, utc.month, 1)


def add_months(month: date, count: int) -> date:
    """Return the first day of the month `count` months later."""
    months = month.year * 12 + month.month - 1 + count
    return date(months // 12, months % 12 + 1, 1)


def choose(since: datetime, until: datetime) -> Granularity:
    """Return how finely a span is shown if nobody said."""
    span = until - since
    if span <= _BY_HOUR:
        return "hour"
    return "day" if span <= _BY_DAY else "month"


def widen(since: datetime, until: datetime, granularity: Granularity) -> tuple[datetime, datetime]:
    """Return the whole hours, or for anything else the whole days, that hold the span; UTC."""
    step = timedelta(hours=1) if granularity == "hour" else timedelta(days=1)
    first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    last = until.astimezone(UTC)
    whole = last.replace(minute=0, second=0, microsecond=0)
    if granularity != "hour":
        first, whole = first.replace(hour=0), whole.replace(hour=0)
    return first, whole if whole == last else whole + step
