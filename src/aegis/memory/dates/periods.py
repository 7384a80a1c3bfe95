"""Days, weeks, months, seasons as half-open periods of local time, and the words for them. Pure.

Periods are naive datetimes in the zone of whoever asks; `dates` gives them that zone. Weeks begin
on Monday, seasons are those of the northern hemisphere and whole months, holidays are the ones
that an English sentence names most. What lies outside the years 1 to 9999 is None.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import TypeAlias

__all__ = [
    "HOLIDAYS",
    "MONTHS",
    "NUMBERS",
    "ORDINALS",
    "SEASONS",
    "TIMES_OF_DAY",
    "UNITS",
    "WEEKDAYS",
    "Period",
    "ago",
    "day_of",
    "days",
    "month_of",
    "months",
    "part_of",
    "shifted",
    "unit_of",
    "weekend_of",
    "year_of",
]

#: Since, inclusive, and until, exclusive.
Period: TypeAlias = tuple[datetime, datetime]

_MONTH_NAMES = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
#: Names and abbreviations, 1 to 12.
MONTHS = (
    {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
    | {name[:3]: number for number, name in enumerate(_MONTH_NAMES, 1)}
    | {"sept": 9}
)
WEEKDAYS = {
    name: number
    for number, name in enumerate(
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    )
}
NUMBERS = {
    name: number
    for number, name in enumerate(
        [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ],
        1,
    )
} | {"a": 1, "an": 1, "couple": 2, "few": 3, "several": 4}
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "1st": 1, "2nd": 2, "3rd": 3}
UNITS = {
    plural: name
    for name in ("minute", "hour", "day", "week", "weekend", "month", "quarter", "year")
    for plural in (name, name + "s")
}
#: First month.
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
#: From hour to hour of the day; after 24 it is the next one.
TIMES_OF_DAY = {"morning": (5, 12), "afternoon": (12, 18), "evening": (17, 24), "night": (18, 30)}


def _easter(year: int) -> date:
    """Return Easter Sunday (Meeus, Jones and Butcher's Gregorian computus)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    n = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * n) // 451
    month, day = divmod(h + n - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _thanksgiving(year: int) -> date:
    first = date(year, 11, 1)
    return first + timedelta(days=(3 - first.weekday()) % 7 + 21)


#: Words of a holiday, and its day in a year.
HOLIDAYS: dict[tuple[str, ...], Callable[[int], date]] = {
    ("new", "year", "eve"): lambda y: date(y, 12, 31),
    ("new", "years", "eve"): lambda y: date(y, 12, 31),
    ("new", "year", "day"): lambda y: date(y, 1, 1),
    ("new", "years", "day"): lambda y: date(y, 1, 1),
    ("christmas", "eve"): lambda y: date(y, 12, 24),
    ("christmas", "day"): lambda y: date(y, 12, 25),
    ("christmas",): lambda y: date(y, 12, 25),
    ("boxing", "day"): lambda y: date(y, 12, 26),
    ("halloween",): lambda y: date(y, 10, 31),
    ("valentine", "day"): lambda y: date(y, 2, 14),
    ("valentines", "day"): lambda y: date(y, 2, 14),
    ("independence", "day"): lambda y: date(y, 7, 4),
    ("thanksgiving",): _thanksgiving,
    ("good", "friday"): lambda y: _easter(y) - timedelta(days=2),
    ("easter", "monday"): lambda y: _easter(y) + timedelta(days=1),
    ("easter",): _easter,
}


def days(first: date, count: float = 1) -> Period | None:
    """Return `count` days from `first` on."""
    try:
        start = datetime.combine(first, time())
        return start, start + timedelta(days=count)
    except OverflowError:
        return None


def day_of(year: int, month: int, day: int) -> Period | None:
    """Return one day; None where there is no such day."""
    try:
        return days(date(year, month, day))
    except ValueError:
        return None


def months(year: int, first: int, count: int) -> Period | None:
    """Return `count` months from the `first` (1 is January; 13 the next year's) on."""
    start, end = _month_start(year, first), _month_start(year, first + count)
    return None if start is None or end is None else (start, end)


def month_of(year: int, month: int) -> Period | None:
    """Return one month."""
    return months(year, month, 1)


def year_of(year: int) -> Period | None:
    """Return one year."""
    return months(year, 1, 12)


def weekend_of(moment: datetime) -> Period | None:
    """Return Saturday and Sunday of the week that `moment` is in."""
    week = unit_of(moment, "week")
    return None if week is None else _moved((week[0], week[0]), 5, 7)


def unit_of(moment: datetime, unit: str, offset: int = 0) -> Period | None:
    """Return the calendar's day, week, weekend, month, quarter or year, `offset` of them away."""
    day = datetime.combine(moment.date(), time())
    if unit == "day":
        return _moved((day, day), offset, offset + 1)
    if unit in ("week", "weekend"):
        first = -day.weekday() + 7 * offset
        return _moved((day, day), first + (5 if unit == "weekend" else 0), first + 7)
    if unit == "month":
        return months(day.year, day.month + offset, 1)
    if unit == "quarter":
        return months(day.year, (day.month - 1) // 3 * 3 + 1 + 3 * offset, 3)
    if unit == "year":
        return year_of(day.year + offset)
    return None


def ago(moment: datetime, unit: str, count: int) -> Period | None:
    """Return when it was `count` units before `moment` (after, if negative), as people mean it.

    Days are exact; of weeks and more, half a unit either side is meant as well.
    """
    if unit in ("minute", "hour"):
        length = timedelta(minutes=1) if unit == "minute" else timedelta(hours=1)
        point = _plus(moment, -count * length)
        slack = max(abs(count) // 4, 1) * length
        return None if point is None else _around(point, slack)
    point = shifted(moment, unit, -count)
    if point is None:
        return None
    day = datetime.combine(point.date(), time())
    if unit == "day":
        return _moved((day, day), 0, 1)
    if unit in ("week", "weekend"):
        return _moved((day, day), -3, 4)
    if unit in ("month", "quarter"):
        return _moved((day, day), -15, 16)
    return year_of(day.year)


def shifted(moment: datetime, unit: str, count: int) -> datetime | None:
    """Return `moment` moved by `count` units."""
    if abs(count) > 200_000:
        return None
    if unit in ("minute", "hour"):
        return _plus(moment, count * timedelta(**{unit + "s": 1}))
    if unit in ("day", "week", "weekend"):
        return _plus(moment, timedelta(days=count * (1 if unit == "day" else 7)))
    step = {"month": 1, "quarter": 3, "year": 12}[unit]
    month = moment.month - 1 + count * step
    year, month = moment.year + month // 12, month % 12 + 1
    for last in (moment.day, 30, 29, 28):
        try:
            return moment.replace(year=year, month=month, day=last)
        except ValueError:
            continue
    return None


def part_of(period: Period, part: str) -> Period:
    """Return the early, middle or late third of a period."""
    third = (period[1] - period[0]) / 3
    first = {"early": 0, "mid": 1, "late": 2}[part]
    return period[0] + first * third, period[1] - (2 - first) * third


def _month_start(year: int, month: int) -> datetime | None:
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return datetime(year, month, 1) if 1 <= year <= 9999 else None  # noqa: DTZ001 (see above)


def _moved(period: Period, since_days: int, until_days: int) -> Period | None:
    since = _plus(period[0], timedelta(days=since_days))
    until = _plus(period[1], timedelta(days=until_days))
    return None if since is None or until is None else (since, until)


def _around(point: datetime, slack: timedelta) -> Period | None:
    since, until = _plus(point, -slack), _plus(point, slack)
    return None if since is None or until is None else (since, until)


def _plus(moment: datetime, length: timedelta) -> datetime | None:
    try:
        return moment + length
    except OverflowError:
        return None
