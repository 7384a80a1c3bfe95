"""The rules by which `dates` reads time words. Pure.

A rule looks at the words from a place on and returns what they mean and where they end, or None.
Every rule looks at a bounded number of words. The first rule that fits wins, so what is written
longer comes first: "two weeks before 5 May" before "5 May".
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from aegis.memory.dates import periods
from aegis.memory.dates.naming import NAME_BEGINNINGS, Naming
from aegis.memory.dates.periods import MONTHS, NUMBERS, TIMES_OF_DAY, UNITS
from aegis.memory.dates.words import Choice, Reading, Words, choice, one

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

__all__ = ["BEGINNINGS", "Reader", "Reading"]

#: Certainties: what is said outright, what an open end leaves, the day that something is told on.
_SAID, _OPEN, _ANCHOR = 0.9, 0.5, 0.5
#: How far "before Christmas" and "since May" reach.
_OPEN_DAYS = 366
_BEFORE = frozenset({"before", "until", "till", "by"})
_AFTER = frozenset({"after", "since", "following"})
#: Words that a time begins with; at any other word there is nothing to look for.
BEGINNINGS = (
    frozenset(["between", "from", "the", "last", "past", "previous"])
    | _BEFORE
    | _AFTER
    | NUMBERS.keys()
    | {unit for unit in UNITS if not unit.endswith("s")}
    | NAME_BEGINNINGS
)
_FOLLOWING = BEGINNINGS.union(UNITS, TIMES_OF_DAY)
#: Of these only with such a word or a number behind them.
_LEADING = frozenset({"the", "from", "between", "last", "past", "previous"}) | _BEFORE | _AFTER
_BEHIND_NUMBERS = frozenset({"of", "st", "nd", "rd", "th", "-", "/", "."}).union(UNITS, MONTHS)
_ENDS = frozenset(".,?!;:)")


class _Length(NamedTuple):
    """A number of units, such as "two weeks"."""

    number: int
    unit: str
    end: int


class Reader:
    """Reads the words of one text, in lower case and as written, said at `at` (without a zone)."""

    def __init__(self, words: Sequence[str], written: Sequence[str], at: datetime) -> None:
        self._words = Words(words, written)
        self._naming = Naming(self._words, at)
        self._at = at
        self._rules: tuple[Callable[[int], Reading | None], ...] = (
            self._naming.read_day,
            self._between,
            self._week_of,
            self._length_from,
            self._recent,
            self._open,
            self._naming.read,
        )

    def read(self, place: int) -> Reading | None:
        """Return what the words from `place` on mean, None where they name no time."""
        if not self._may_begin(place):
            return None
        for rule in self._rules:
            reading = rule(place)
            if reading is not None and reading.choices:
                return reading
        return None

    def _may_begin(self, place: int) -> bool:
        """Return whether a time may begin here; spares most words all the rules."""
        word = self._words.at(place)
        if word.isdigit():
            return len(word) == 4 or self._words.at(place + 1) in _BEHIND_NUMBERS
        if word not in BEGINNINGS:
            return False
        following = self._words.at(place + 1)
        if word in NUMBERS:
            return following in UNITS or following in ("couple", "few", "of")
        if word in _LEADING:
            return following in _FOLLOWING or following.isdigit()
        return True

    def _between(self, place: int) -> Reading | None:
        """Read "between March and June (2023)" and "from 3 May to 5 May"."""
        word = self._words.at(place)
        if word not in ("between", "from"):
            return None
        first = self._naming.read_bare(place + 1)
        if first is None:
            return None
        joint = self._words.at(first.end)
        wanted = ("and",) if word == "between" else ("to", "until", "till", "through")
        if joint not in wanted:
            return None
        second = self._naming.read_bare(first.end + 1)
        if second is None:
            return None
        pairs = [(a, b) for a in first.choices for b in second.choices if a.since < b.until]
        if not pairs:
            return None
        # Without years of their own the two are in the same one, or the shorter way apart; where
        # only the second has one ("between March and June 2023"), it is that of both.
        a, b = min(pairs, key=lambda p: (-p[0].certainty * p[1].certainty, p[1].until - p[0].since))
        if len(second.choices) == 1 and len(first.choices) > 1:
            a, b = min(pairs, key=lambda p: p[1].until - p[0].since)
        certainty = min(_SAID, max(a.certainty, b.certainty))
        return Reading([Choice(a.since, b.until, certainty)], second.end)

    def _length_from(self, place: int) -> Reading | None:
        """Read "two weeks ago", "two weeks before 5 May" and "the day after Christmas"."""
        length = self._length(place)
        if length is None:
            return None
        count, unit, end = length
        word = self._words.at(end)
        if word == "ago":
            return one(periods.ago(self._at, unit, count), _SAID, end + 1)
        if word in ("earlier", "prior", "later") and self._words.at(end + 1) in ("than", "to"):
            end += 1
        elif word not in ("before", "after"):
            alone = word in ("earlier", "prior", "previously") and self._ends(end + 1)
            return one(periods.ago(self._at, unit, count), _OPEN, end + 1) if alone else None
        anchor = self._naming.read_bare(end + 1)
        if anchor is None:
            if word == "before" and self._ends(end + 1):
                return one(periods.ago(self._at, unit, count), _OPEN, end + 1)
            return None
        sign = -1 if word in ("after", "later") else 1
        day = anchor.choices[0]
        period = periods.ago(day.since, unit, sign * count)
        # What happened then is often told on the day that is named.
        choices = choice(period, min(_SAID, day.certainty))
        choices.append(Choice(day.since, day.until, _ANCHOR * day.certainty))
        return Reading(choices, anchor.end)

    def _recent(self, place: int) -> Reading | None:
        """Read "the last two weeks", "past few days"."""
        if self._words.at(place) not in ("last", "past", "previous"):
            return None
        length = self._length(place + 1, plural=True)
        if length is None:
            return None
        start = periods.shifted(self._at, length.unit, -length.number)
        until = _plus(self._at, timedelta(seconds=1))
        if start is None or until is None:
            return None
        return Reading([Choice(start, until, _SAID)], length.end)

    def _week_of(self, place: int) -> Reading | None:
        """Read "the week of 12 June", "last weekend before 10 April", "the week before Easter"."""
        if self._words.at(place) in ("the", "last", "previous"):
            place += 1
        unit = self._words.at(place)
        if unit not in ("day", "week", "weekend", "month", "year"):
            return None
        word = self._words.at(place + 1)
        if word not in ("of", "before", "after", "following"):
            return None
        anchor = self._naming.read_bare(place + 2)
        if anchor is None:
            return None
        day = anchor.choices[0]
        if word == "of":
            period = periods.unit_of(day.since, unit)
            return one(period, min(_SAID, day.certainty), anchor.end)
        if unit == "weekend" and word == "before":
            period = periods.unit_of(day.since, unit, -1)
        elif unit == "weekend":
            period = periods.unit_of(day.since, unit, 1 if day.since.weekday() >= 5 else 0)
        else:
            period = self._beside(day, unit, before=word == "before")
        choices = choice(period, min(_SAID, day.certainty))
        choices.append(Choice(day.since, day.until, _ANCHOR * day.certainty))
        return Reading(choices, anchor.end)

    def _beside(self, day: Choice, unit: str, *, before: bool) -> periods.Period | None:
        """Return the unit that ends where `day` begins, or begins where it ends."""
        start = day.since if before else day.until
        other = periods.shifted(start, unit, -1 if before else 1)
        if other is None:
            return None
        return (other, start) if before else (start, other)

    def _open(self, place: int) -> Reading | None:
        """Read "before Christmas 2023", "since May", "by 5 July"."""
        word = self._words.at(place)
        if word not in _BEFORE and word not in _AFTER:
            return None
        anchor = self._naming.read_bare(place + 1)
        if anchor is None:
            return None
        day = anchor.choices[0]
        certainty = _OPEN * day.certainty
        reach = timedelta(days=_OPEN_DAYS)
        if word in _BEFORE:
            since = _plus(day.since, -reach)
            until = day.until if word == "by" else day.since
            bounds = None if since is None else (since, until)
        else:
            since = day.since if word == "since" else day.until
            until = _plus(since, reach)
            now = _plus(self._at, timedelta(seconds=1))
            if until is not None and now is not None and now > since:
                until = min(until, now)
            bounds = None if until is None else (since, until)
        choices = choice(bounds, certainty)
        choices.append(Choice(day.since, day.until, certainty))
        return Reading(choices, anchor.end)

    def _length(self, place: int, *, plural: bool = False) -> _Length | None:
        """Read "two weeks", "a couple of days", "the day", "10 days"."""
        at, count = place, None
        word = self._words.at(at)
        if word == "the":
            count = 1
        elif word.isdigit() and len(word) <= 4:
            count = int(word)
        elif word in NUMBERS:
            count = NUMBERS[word]
            if word == "a" and self._words.at(at + 1) in ("couple", "few"):
                at += 1
                count = NUMBERS[self._words.at(at)]
            if self._words.at(at + 1) == "of":
                at += 1
        name = self._words.at(at + 1)
        if count is None or name not in UNITS or (plural and not name.endswith("s")):
            return None
        return _Length(count, UNITS[name], at + 2)

    def _ends(self, place: int) -> bool:
        word = self._words.at(place)
        return word == "" or word in _ENDS


def _plus(moment: datetime, length: timedelta) -> datetime | None:
    try:
        return moment + length
    except OverflowError:
        return None
