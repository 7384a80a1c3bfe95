"""When a channel is quiet: times of the day, on days of the week, in a time zone. Pure.

Written `22:00-07:00`, or `mon-fri@22:00-07:00` and `sat,sun@00:00-24:00`; a time past midnight
belongs to the day on which it begins. Clocks that are put forward or back are those of the zone:
quiet until seven is until seven there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Quiet", "Window", "from_text", "parse_quiet"]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIMES: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d-(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)")
_MOST_WINDOWS: Final = 14
_WHOLE_DAY: Final = 1_440


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One time of the day. `end` is the next day's where it is not after `begin`."""

    #: Minutes of the day, up to 1440.
    begin: int
    end: int
    #: Days on which it begins, 0 for Monday.
    days: frozenset[int]

    def __str__(self) -> str:
        days = "" if len(self.days) == 7 else f"{','.join(_DAYS[d] for d in sorted(self.days))}@"
        begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (self.begin, self.end))
        return f"{days}{begin}-{end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """When only critical alerts are sent."""

    windows: Sequence[Window]
    zone: str

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet time that lasts at `now` is over; None where it is not quiet."""
        ends = self._end_of(now)
        if ends is None:
            return None
        # A night that a weekend follows is one quiet time. Always quiet is told after a week.
        for _ in range(2 * _MOST_WINDOWS):
            later = self._end_of(ends)
            if later is None or later - now > timedelta(days=7):
                break
            ends = later
        return ends

    def _end_of(self, now: datetime) -> datetime | None:
        zone = ZoneInfo(self.zone)
        today = now.astimezone(zone).date()
        found: list[datetime] = []
        for day in (today - timedelta(days=1), today):
            for window in self.windows:
                if day.weekday() not in window.days:
                    continue
                after = 0 if window.end > window.begin else 1
                ends = _at(day + timedelta(days=after), window.end, zone)
                if _at(day, window.begin, zone) <= now < ends:
                    found.append(ends)
        return max(found, default=None)

    def __str__(self) -> str:
        return " ".join([*map(str, self.windows), self.zone])


def parse_quiet(windows: Sequence[str], zone: str = "UTC") -> Quiet:
    """Return quiet times as people write them (`InvalidInput`)."""
    if len(windows) > _MOST_WINDOWS:
        raise InvalidInput(f"quiet names {len(windows)} times; up to {_MOST_WINDOWS} are taken.")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"zone {zone[:40]!r} is not known; use such as Europe/Berlin.") from None
    return Quiet(windows=[_window(text) for text in windows], zone=zone)


def from_text(text: str) -> Quiet:
    """Return the quiet times that `str` wrote (`InvalidInput`)."""
    *windows, zone = text.split() or [""]
    return parse_quiet(windows, zone)


def _window(text: str) -> Window:
    days, at, times = text.rpartition("@")
    if not _TIMES.fullmatch(times):
        raise InvalidInput(f"quiet is {text[:30]!r}; use 22:00-07:00, or mon-fri@22:00-07:00.")
    begin, end = (60 * int(clock[:2]) + int(clock[3:]) for clock in (times[:5], times[6:]))
    if begin == end:
        raise InvalidInput(f"quiet is {text[:30]!r}; write 00:00-24:00 for all day.")
    return Window(begin=begin, end=end, days=_days(days, text) if at else frozenset(range(7)))


def _days(text: str, whole: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise InvalidInput(f"quiet is {whole[:30]!r}; days are {', '.join(_DAYS)}, or mon-fri.")
        begin = _DAYS.index(first)
        span = (_DAYS.index(last) - begin) % 7 if dash else 0
        days |= {(begin + number) % 7 for number in range(span + 1)}
    return frozenset(days)


def _at(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return a time of a day there, in UTC: differences in a zone ignore that clocks change."""
    day += timedelta(days=minute // _WHOLE_DAY)
    minute %= _WHOLE_DAY
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    return local.astimezone(UTC)
