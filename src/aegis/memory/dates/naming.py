"""Reads one name of a time: all that is `written` out, and "last Tuesday", "in May". Pure.

What people also say for other things needs a sign that it is a time: a preposition before "May"
and "2019", a capital letter or a year beside "march".
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aegis.memory.dates import periods
from aegis.memory.dates.periods import (
    HOLIDAYS,
    MONTHS,
    ORDINALS,
    SEASONS,
    TIMES_OF_DAY,
    UNITS,
    WEEKDAYS,
)
from aegis.memory.dates.words import Choice, Reading, choice, one
from aegis.memory.dates.written import DASHES, Written

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aegis.memory.dates.periods import Period
    from aegis.memory.dates.words import Words

__all__ = ["NAME_BEGINNINGS", "Naming"]

#: Certainties: said outright, of a bare word, of the other of two readings, in passing.
_SAID, _BARE, _EITHER, _PASSING = 0.9, 0.7, 0.5, 0.4

#: What stands before a time rather than before a name or a verb.
_PREPOSITIONS = frozenset(
    [
        "in",
        "during",
        "since",
        "until",
        "till",
        "by",
        "of",
        "early",
        "mid",
        "late",
        "last",
        "this",
        "next",
        "before",
        "after",
        "from",
        "between",
        "throughout",
        "around",
    ]
)
#: Months that are also names or verbs.
_DOUBTFUL = frozenset({"march", "april", "may", "june", "august"})
_FULL_MONTHS = frozenset(
    name for name in MONTHS if len(name) > 4 or name in ("june", "july", "may")
)
_PARTS = {
    "early": "early",
    "beginning": "early",
    "start": "early",
    "mid": "mid",
    "middle": "mid",
    "late": "late",
    "end": "late",
}
_PAST, _NOW, _NEXT = ("last", "previous", "past"), ("this", "current"), ("next", "coming")
_RELATIVE_DAYS = {"today": 0, "tonight": 0, "yesterday": -1, "tomorrow": 1}

#: Words that a name of a time begins with, beside digits.
NAME_BEGINNINGS = frozenset({"the", "day", "q", "h"}).union(
    _PAST, _NOW, _NEXT, _RELATIVE_DAYS, _PARTS, ORDINALS, MONTHS, SEASONS, WEEKDAYS
) | {words[0] for words in HOLIDAYS}


class Naming:
    """Names of times in the words of one text, said at `at` (without a zone)."""

    def __init__(self, words: Words, at: datetime) -> None:
        self._words = words
        self._at = at
        self._written = Written(words, at)
        self._rules: tuple[Callable[[int], Reading | None], ...] = (
            self._written.iso,
            self._written.numeric,
            self._written.day_month,
            self._part,
            self._counted,
            self._written.quarter,
            self._written.holiday,
            self.read_day,
            self._relative,
            self._written.decade,
        )

    def read(self, place: int) -> Reading | None:
        """Return the time named from `place` on, in running text."""
        return self._read(place, bare=False)

    def read_bare(self, place: int) -> Reading | None:
        """Return the time named from `place` on, where a time is due: after "between", "since"."""
        if self._words.at(place) == "the":
            place += 1
        reading = self._read(place, bare=True)
        return reading if reading is not None and reading.choices else None

    def _read(self, place: int, *, bare: bool) -> Reading | None:
        for rule in self._rules:
            reading = rule(place)
            if reading is not None:
                return reading
        return (
            self._month(place, bare=bare)
            or self._season(place, bare=bare)
            or self._weekday(place, bare=bare)
            or self._year(place, bare=bare)
        )

    def _month(self, place: int, *, bare: bool) -> Reading | None:
        """Read "May 2023" and, where it is a time, "May"."""
        words, name = self._words, self._words.at(place)
        month = MONTHS.get(name)
        if month is None:
            return None

        def of_year(year: int) -> Period | None:
            return periods.month_of(year, month)

        dated = self._written.with_year(place + 1, of_year, always=False)
        if dated is not None or name not in _FULL_MONTHS:
            return dated
        before = words.at(place - 1)
        if bare or before in _PREPOSITIONS:
            certain = name not in ("may", "march") or words.capital(place) or before == "in"
        else:
            certain = name not in _DOUBTFUL
        return Reading(self._written.yearly(of_year), place + 1) if certain else None

    def _season(self, place: int, *, bare: bool) -> Reading | None:
        """Read "summer of 2022", "the winter"; winter is that which begins in the year."""
        first = SEASONS.get(self._words.at(place))
        if first is None:
            return None

        def of_year(year: int) -> Period | None:
            return periods.months(year, first, 3)

        dated = self._written.with_year(place + 1, of_year, always=False)
        if dated is not None:
            return dated
        before, two_before = self._words.at(place - 1), self._words.at(place - 2)
        signed = before in ("in", "during") or (
            before == "the" and two_before in ("in", "during", "over", "of", "since", "for")
        )
        return Reading(self._written.yearly(of_year), place + 1) if bare or signed else None

    def _weekday(self, place: int, *, bare: bool) -> Reading | None:
        """Read "on Tuesday": the last one, or today, or the next."""
        number = WEEKDAYS.get(self._words.at(place))
        if number is None or not (bare or self._words.at(place - 1) in ("on", "since", "by")):
            return None
        back = (self._at.weekday() - number) % 7
        choices = choice(periods.unit_of(self._at, "day", -back), _BARE)
        choices += choice(periods.unit_of(self._at, "day", 7 - back), _PASSING)
        return Reading(choices, self._past_time_of_day(place + 1))

    def _year(self, place: int, *, bare: bool) -> Reading | None:
        """Read "2019"; "the 2019 trip" says more about the trip than about when it is told."""
        words, year = self._words, self._words.year(place)
        if year is None or words.at(place + 1) in DASHES - {"."} or words.at(place - 1) in DASHES:
            return None
        sure = bare or words.at(place - 1) in _PREPOSITIONS | {"year", "for"}
        return one(periods.year_of(year), _SAID if sure else _PASSING, place + 1)

    def _part(self, place: int) -> Reading | None:
        """Read "early June 2023", "the end of May", "mid-July"."""
        words, start = self._words, place
        if words.at(start) == "the":
            start += 1
        part = _PARTS.get(words.at(start))
        if part is None:
            return None
        start += 1
        if words.at(start) in ("-", "of"):
            start += 1
        elif words.at(start - 1) not in ("early", "mid", "late"):
            return None
        if words.at(start) == "the":
            start += 1
        whole = (
            self._relative(start)
            or self._month(start, bare=True)
            or self._season(start, bare=True)
            or self._year(start, bare=True)
        )
        if whole is None:
            return None
        choices = [
            Choice(*periods.part_of((c.since, c.until), part), c.certainty) for c in whole.choices
        ]
        return Reading(choices, whole.end)

    def _counted(self, place: int) -> Reading | None:
        """Read "first week of June (2023)", "the last weekend of May"."""
        words, start = self._words, place
        if words.at(start) == "the":
            start += 1
        number = -1 if words.at(start) == "last" else ORDINALS.get(words.at(start))
        unit = words.at(start + 1)
        if number is None or unit not in ("day", "week", "weekend") or words.at(start + 2) != "of":
            return None
        whole = self._month(start + 3, bare=True) or self._year(start + 3, bare=True)
        if whole is None:
            # "Last week of the trip" is not last week.
            return Reading([], start + 3) if number == -1 else None
        choices = [
            new
            for c in whole.choices
            for new in choice(_counted_from(c, unit, number), c.certainty)
        ]
        return Reading(choices, whole.end)

    def read_day(self, place: int) -> Reading | None:
        """Return the day or part of a day: "the day before yesterday", "last night"."""
        words, start = self._words, place
        if words.at(start) == "the":
            start += 1
        offset, end = _RELATIVE_DAYS.get(words.at(start)), start + 1
        hours = (18, 30) if words.at(start) == "tonight" else None
        turn = (words.at(start + 1), words.at(start + 2))
        if words.at(start) == "day" and turn in (("before", "yesterday"), ("after", "tomorrow")):
            offset, end = (-2 if turn[0] == "before" else 2), start + 3
        elif words.at(start) == "this" and words.at(end) in TIMES_OF_DAY:
            offset = 0
        elif words.at(start) == "last" and words.at(end) == "night":
            offset = -1
        if offset is None:
            return None
        if words.at(end) in TIMES_OF_DAY:
            hours, end = TIMES_OF_DAY[words.at(end)], end + 1
        day = periods.unit_of(self._at, "day", offset)
        if day is None or hours is None:
            return one(day, _SAID, end)
        try:
            since, until = (day[0] + timedelta(hours=hour) for hour in hours)
        except OverflowError:
            return None
        return one((since, until), _SAID, end)

    def _relative(self, place: int) -> Reading | None:
        """Read "last week", "this month", "next Tuesday", "last May", "last summer"."""
        word, name = self._words.at(place), self._words.at(place + 1)
        turn = -1 if word in _PAST else 0 if word in _NOW else 1 if word in _NEXT else None
        if turn is None:
            return None
        end = place + 2
        if name in UNITS and name == UNITS[name] and name not in ("minute", "hour", "day"):
            return one(periods.unit_of(self._at, name, turn), _SAID, end)
        if name in WEEKDAYS:
            return Reading(self._turned_weekday(WEEKDAYS[name], turn), self._past_time_of_day(end))
        if name in _FULL_MONTHS and (word in ("last", "this", "next")):
            return self._turned(place + 1, lambda y: periods.month_of(y, MONTHS[name]), turn)
        if name in SEASONS:
            return self._turned(place + 1, lambda y: periods.months(y, SEASONS[name], 3), turn)
        holiday = self._written.holiday(place + 1)
        return None if holiday is None else Reading(holiday.choices[: 2 - turn], holiday.end)

    def _turned(
        self, place: int, of_year: Callable[[int], Period | None], turn: int
    ) -> Reading | None:
        """Return last, this or next May: "last" is over, and "this" is this year's."""
        dated = self._written.with_year(place + 1, of_year, always=False)
        if dated is not None:
            return dated
        now = self._at.year
        known = [p for y in range(now - 2, now + 3) if (p := of_year(y))]
        if turn == 0:
            return one(of_year(now), _SAID, place + 1)
        if turn > 0:
            known = [p for p in known if p[0] > self._at][:1]
        else:
            known = [p for p in known if p[1] <= self._at][:-3:-1]
        certain = (_SAID, _PASSING)
        choices = [c for p, n in zip(known, certain, strict=False) for c in choice(p, n)]
        return Reading(choices, place + 1)

    def _turned_weekday(self, number: int, turn: int) -> list[Choice]:
        monday = -self._at.weekday()
        if turn == 0:
            return choice(periods.unit_of(self._at, "day", monday + number), _SAID)
        if turn > 0:
            ahead = (number - self._at.weekday() - 1) % 7 + 1
            return choice(periods.unit_of(self._at, "day", ahead), _SAID)
        back = (self._at.weekday() - number - 1) % 7 + 1
        choices = choice(periods.unit_of(self._at, "day", -back), _SAID)
        if monday - 7 + number != -back:
            # On a Friday "last Tuesday" is three days ago, or that of last week.
            choices += choice(periods.unit_of(self._at, "day", monday - 7 + number), _EITHER)
        return choices

    def _past_time_of_day(self, end: int) -> int:
        return end + (self._words.at(end) in TIMES_OF_DAY)


def _counted_from(whole: Choice, unit: str, number: int) -> Period | None:
    """Return the `number`th day, week or weekend of a period; -1 is the last."""
    length = timedelta(days=1 if unit == "day" else 7)
    since = whole.until - length if number == -1 else whole.since + (number - 1) * length
    if unit == "weekend":
        return periods.weekend_of(since)
    return since, min(since + length, whole.until)
