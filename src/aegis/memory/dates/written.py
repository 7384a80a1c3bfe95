"""Reads times as they are written out: "7 May 2023", "2023-05-07", "Q3", "Christmas". Pure.

A name without a year is every year's, the last one before the moment of asking first.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from aegis.memory.dates import periods
from aegis.memory.dates.periods import HOLIDAYS, MONTHS, ORDINALS
from aegis.memory.dates.words import Reading, choice, one

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from aegis.memory.dates.periods import Period
    from aegis.memory.dates.words import Choice, Words

__all__ = ["DASHES", "Written"]

#: Certainties: written out, of the two readings of 5/6, of a decade.
_EXACT, _EITHER, _SAID = 1.0, 0.5, 0.9
#: Of a name without a year: the last one, and each of those before it and the next.
_LAST_YEARS, _OTHER_YEARS, _YEARS_BACK = 0.8, 0.5, 9

_SUFFIXES = frozenset({"st", "nd", "rd", "th"})
DASHES = frozenset("-/.")
_HOLIDAY_WORDS = max(map(len, HOLIDAYS))


class Written:
    """Written times in the words of one text, said at `at` (without a zone)."""

    def __init__(self, words: Words, at: datetime) -> None:
        self._words = words
        self._at = at

    def yearly(self, of_year: Callable[[int], Period | None]) -> list[Choice]:
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

    def with_year(
        self, end: int, of_year: Callable[[int], Period | None], *, always: bool = True
    ) -> Reading | None:
        """Return the period of the year that follows; of every year, if `always`, without one."""
        for skipped in ((), (",",), ("of",), ("in",)):
            behind = end + len(skipped)
            year = self._words.year(behind)
            if (not skipped or self._words.at(end) == skipped[0]) and year is not None:
                return one(of_year(year), _EXACT, behind + 1)
        return Reading(self.yearly(of_year), end) if always else None

    def iso(self, place: int) -> Reading | None:
        """Read 2023-05-07, 2023/05/07 and 2023-05."""
        words = self._words
        year, dash = words.year(place), words.at(place + 1)
        month = words.number(place + 2)
        if year is None or dash not in DASHES or month is None:
            return None
        day = words.number(place + 4)
        if words.at(place + 3) == dash and day is not None:
            return one(periods.day_of(year, month, day), _EXACT, place + 5)
        if dash != "-" or not 1 <= month <= 12 or len(words.at(place + 2)) != 2:
            return None
        return one(periods.month_of(year, month), _EXACT, place + 3)

    def numeric(self, place: int) -> Reading | None:
        """Read 5/7/2023, either way round, and 7.5.2023."""
        words = self._words
        first, dash, second = words.number(place), words.at(place + 1), words.number(place + 2)
        year = words.year(place + 4)
        if first is None or second is None or year is None or dash not in DASHES:
            return None
        if words.at(place + 3) != dash:
            return None
        readings = [(second, first)] if dash == "." else [(first, second), (second, first)]
        found = [p for month, day in readings if (p := periods.day_of(year, month, day))]
        certainty = _EXACT if len(set(found)) == 1 else _EITHER
        choices = [c for p in dict.fromkeys(found) for c in choice(p, certainty)]
        return Reading(choices, place + 5)

    def day_month(self, place: int) -> Reading | None:
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
        reading = self.with_year(end, lambda y: periods.day_of(y, *number))
        # "You may 2 …" and "march 3 miles" are no dates.
        verb = words.at(name) in ("may", "march") and not words.capital(name)
        sure = suffixed or words.at(place - 1) in ("on", "since", "until", "by", "from", "before")
        if reading is None or (verb and not sure and len(reading.choices) != 1):
            return None
        return reading

    def quarter(self, place: int) -> Reading | None:
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
        return self.with_year(end, lambda y: periods.months(y, first, length), always=always)

    def holiday(self, place: int) -> Reading | None:
        """Read "Christmas 2023", "last Easter"."""
        for length in range(_HOLIDAY_WORDS, 0, -1):
            words = tuple(self._words.at(place + n) for n in range(length))
            day = HOLIDAYS.get(words)
            if day is not None:
                return self.with_year(place + length, _holidays(day))
        return None

    def decade(self, place: int) -> Reading | None:
        """Read "the 1990s"."""
        year = self._words.year(place)
        if year is None or year % 10 or self._words.at(place + 1) != "s":
            return None
        return one(periods.months(year, 1, 120), _SAID, place + 2)


def _holidays(day: Callable[[int], date]) -> Callable[[int], Period | None]:
    return lambda year: periods.days(day(year)) if 1 < year < 9999 else None
