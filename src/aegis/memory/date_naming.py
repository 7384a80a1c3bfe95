"""Reads one name of a time: "7 May 2023", "2023-05-07", "Q3", "last Tuesday", "Christmas". Pure.

What people also say for other things needs a sign that it is a time: a preposition before "May"
and "2019", a capital letter or a year beside "march". A name without a year is every year's, the
last one before the moment of asking first.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from aegis.memory import periods
from aegis.memory.date_words import Choice, Reading, choice, one
from aegis.memory.periods import (
    HOLIDAYS,
    MONTHS,
    ORDINALS,
    SEASONS,
    TIMES_OF_DAY,
    UNITS,
    WEEKDAYS,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aegis.memory.date_words import Words
    from aegis.memory.periods import Period

__all__ = ["Naming"]

#: Certainties: written out, of the two readings of 5/6, of a bare word, of a year in passing.
_EXACT, _EITHER, _SAID, _BARE, _PASSING = 1.0, 0.5, 0.9, 0.7, 0.4
#: Of a name without a year: the last one, and each of those before it and the next.
_LAST_YEARS, _OTHER_YEARS, _YEARS_BACK = 0.8, 0.5, 9

_SUFFIXES = frozenset({"st", "nd", "rd", "th"})
_DASHES = frozenset("-/.")
#: What stands before a time rather than before a name or a verb.
_PREPOSITIONS = frozenset(
    "in during since until till by of early mid late last this next before after from between "
    "throughout around".split()
)
#: Months that are also names or verbs.
_DOUBTFUL = frozenset({"march", "april", "may", "june", "august"})
_FULL_MONTHS = frozenset(name for name in MONTHS if len(name) > 4 or name in ("june", "july", "may"))
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
_HOLIDAY_WORDS = max(map(len, HOLIDAYS))


class Naming:
    """Names of times in the words of one text, said at `at` (without a zone)."""

    def __init__(self, words: Words, at: datetime) -> None:
        self._words = words
        self._at = at
        self._rules: tuple[Callable[[int], Reading | None], ...] = (
            self._iso,
            self._numeric,
            self._day_month,
            self._part,
            self._counted,
            self._quarter,
            self._holiday,
            self.read_day,
            self._relative,
            self._decade,
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

    def _yearly(self, of_year: Callable[[int], Period | None]) -> list[Choice]:
        """Return the last one before the moment of asking, the others before it, the next one."""
        now = self._at.year
        known = [p for y in range(now + 2, now - _YEARS_BACK - 2, -1) if (p := of_year(y))]
        past = [p for p in known if p[0] <= self._at]
        coming = [p for p in known if p[0] > self._at][-1:]
        choices = [
            c
            for n, p in enumerate(islice(past, _YEARS_BACK + 1))
            for c in choice(p, _OTHER_YEARS if n else _LAST_YEARS)
        ]
        return choices + [c for p in coming for c in choice(p, _OTHER_YEARS)]

    def _with_year(
        self, end: int, of_year: Callable[[int], Period | None], *, always: bool = True
    ) -> Reading | None:
        """Return the period of the year that follows; of every year, if `always`, without one."""
        for skipped in ((), (",",), ("of",), ("in",)):
            behind = end + len(skipped)
            year = self._words.year(behind)
            if (not skipped or self._words.at(end) == skipped[0]) and year is not None:
                return one(of_year(year), _EXACT, behind + 1)
        return Reading(self._yearly(of_year), end) if always else None

    def _iso(self, place: int) -> Reading | None:
        """Read 2023-05-07, 2023/05/07 and 2023-05."""
        words = self._words
        year, dash = words.year(place), words.at(place + 1)
        month = words.number(place + 2)
        if year is None or dash not in _DASHES or month is None:
            return None
        day = words.number(place + 4)
        if words.at(place + 3) == dash and day is not None:
            return one(periods.day_of(year, month, day), _EXACT, place + 5)
        if dash != "-" or not 1 <= month <= 12 or len(words.at(place + 2)) != 2:
            return None
        return one(periods.month_of(year, month), _EXACT, place + 3)

    def _numeric(self, place: int) -> Reading | None:
        """Read 5/7/2023, either way round, and 7.5.2023."""
        words = self._words
        first, dash, second = words.number(place), words.at(place + 1), words.number(place + 2)
        year = words.year(place + 4)
        if first is None or second is None or year is None or dash not in _DASHES:
            return None
        if words.at(place + 3) != dash:
            return None
        readings = [(second, first)] if dash == "." else [(first, second), (second, first)]
        found = [p for month, day in readings if (p := periods.day_of(year, month, day))]
        certainty = _EXACT if len(set(found)) == 1 else _EITHER
        choices = [c for p in dict.fromkeys(found) for c in choice(p, certainty)]
        return Reading(choices, place + 5)

    def _day_month(self, place: int) -> Reading | None:
        """Read "7 May (2023)", "the 7th of May", "May 7th, 2023"."""
        words, lead = self._words, place
        if words.at(lead) == "the":
            lead += 1
        day = words.number(lead)
        if day is not None:
            end = lead + 1
            suffixed = words.at(end) in _SUFFIXES
            end += suffixed
            if words.at(end) == "of":
                end += 1
            elif lead > place and not suffixed:
                return None
            month, name = MONTHS.get(words.at(end)), end
            end += 1
        elif lead == place and words.at(place) in MONTHS:
            month, name, end = MONTHS[words.at(place)], place, place + 1
            end += words.at(end) == "."
            end += words.at(end) == "the"
            day, suffixed = words.number(end), words.at(end + 1) in _SUFFIXES
            end += 1 + suffixed
        else:
            return None
        if month is None or day is None or not 1 <= day <= 31:
            return None
        number = month, day
        reading = self._with_year(end, lambda y: periods.day_of(y, *number))
        # "You may 2 …" and "march 3 miles" are no dates.
        verb = words.at(name) in ("may", "march") and not words.capital(name)
        sure = suffixed or words.at(place - 1) in ("on", "since", "until", "by", "from", "before")
        if reading is None or (verb and not sure and len(reading.choices) != 1):
            return None
        return reading

    def _month(self, place: int, *, bare: bool) -> Reading | None:
        """Read "May 2023" and, where it is a time, "May"."""
        words, name = self._words, self._words.at(place)
        month = MONTHS.get(name)
        if month is None:
            return None

        def of_year(year: int) -> Period | None:
            return periods.month_of(year, month)

        dated = self._with_year(place + 1, of_year, always=False)
        if dated is not None or name not in _FULL_MONTHS:
            return dated
        before = words.at(place - 1)
        if bare or before in _PREPOSITIONS:
            certain = name not in ("may", "march") or words.capital(place) or before == "in"
        else:
            certain = name not in _DOUBTFUL
        return Reading(self._yearly(of_year), place + 1) if certain else None

    def _season(self, place: int, *, bare: bool) -> Reading | None:
        """Read "summer of 2022", "the winter"; winter is that which begins in the year."""
        first = SEASONS.get(self._words.at(place))
        if first is None:
            return None

        def of_year(year: int) -> Period | None:
            return periods.months(year, first, 3)

        dated = self._with_year(place + 1, of_year, always=False)
        if dated is not None:
            return dated
        before, two_before = self._words.at(place - 1), self._words.at(place - 2)
        signed = before in ("in", "during") or (
            before == "the" and two_before in ("in", "during", "over", "of", "since", "for")
        )
        return Reading(self._yearly(of_year), place + 1) if bare or signed else None

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
        if year is None or words.at(place + 1) in _DASHES - {"."} or words.at(place - 1) in _DASHES:
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

    def _quarter(self, place: int) -> Reading | None:
        """Read "Q3", "the third quarter of 2023", "first half of 2023"."""
        words, start = self._words, place
        if words.at(start) == "the":
            start += 1
        name, number = words.at(start), words.number(start + 1, 1)
        if name in ("q", "h") and number is not None:
            length, end = (3 if name == "q" else 6), start + 2
            if number > 12 // length or (name == "h" and words.year(end) is None):
                return None
        else:
            number = ORDINALS.get(name)
            length = {"quarter": 3, "half": 6}.get(words.at(start + 1), 0)
            end = start + 2
            if number is None or not length or number > 12 // length:
                return None
        if number < 1:
            return None
        first = (number - 1) * length + 1
        # Of a match there is a first half, too.
        always = length == 3
        return self._with_year(end, lambda y: periods.months(y, first, length), always=always)

    def _holiday(self, place: int) -> Reading | None:
        """Read "Christmas 2023", "last Easter"."""
        for length in range(_HOLIDAY_WORDS, 0, -1):
            words = tuple(self._words.at(place + n) for n in range(length))
            day = HOLIDAYS.get(words)
            if day is not None:
                return self._with_year(place + length, lambda y: periods.days(day(y)))
        return None

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
        holiday = self._holiday(place + 1)
        return None if holiday is None else Reading(holiday.choices[: 2 - turn], holiday.end)

    def _turned(
        self, place: int, of_year: Callable[[int], Period | None], turn: int
    ) -> Reading | None:
        """Return last, this or next May: "last" is over, and "this" is this year's."""
        dated = self._with_year(place + 1, of_year, always=False)
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

    def _decade(self, place: int) -> Reading | None:
        """Read "the 1990s"."""
        year = self._words.year(place)
        if year is None or year % 10 or self._words.at(place + 1) != "s":
            return None
        return one(periods.months(year, 1, 120), _SAID, place + 2)

    def _past_time_of_day(self, end: int) -> int:
        return end + (self._words.at(end) in TIMES_OF_DAY)


def _counted_from(whole: Choice, unit: str, number: int) -> Period | None:
    """Return the `number`th day, week or weekend of a period; -1 is the last."""
    length = timedelta(days=1 if unit == "day" else 7)
    since = whole.until - length if number == -1 else whole.since + (number - 1) * length
    if unit == "weekend":
        return periods.weekend_of(since)
    return since, min(since + length, whole.until)
