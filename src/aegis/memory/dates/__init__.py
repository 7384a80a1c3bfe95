"""The times that a text names, as half-open intervals, seen from the moment it was said. Pure.

`understand("What did we do last May?", at)` is May of this year or the last. Only English is
understood; text in another language names no time. Nothing here looks at a clock.

The text is cut into words once and read from left to right by rules that look at a bounded number
of words, so that the time it takes grows with the length of the text and nothing else; of a long
text only the beginning is read. Where words mean several times (a month without a year, 5/6/2023)
all of them are told, the likelier with more certainty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aegis.memory.dates.periods import (
    HOLIDAYS,
    MONTHS,
    SEASONS,
    TIMES_OF_DAY,
    UNITS,
    WEEKDAYS,
)
from aegis.memory.dates.reading import BEGINNINGS, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.dates.reading import Reading

__all__ = ["TimeSpan", "names_time", "understand"]

#: No more of a text is read, and no more spans are told.
_MOST_CHARACTERS, _MOST_SPANS = 2_000, 24

#: A text without a digit and without any of these names no time; looking for them is all that most
#: texts cost.
_TELLING = frozenset[str]().union(
    MONTHS,
    SEASONS,
    WEEKDAYS,
    UNITS,
    TIMES_OF_DAY,
    {"yesterday", "today", "tomorrow", "tonight"},
    {words[0] for words in HOLIDAYS},
    "0123456789",
)
_WORD = re.compile(r"[a-z]+|[0-9]")
_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+|[-/.,:?!;()]")
_POSSESSIVE = re.compile(r"['’]s?(?![^\W\d_])")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpan:
    """A time that a text names: from `since`, inclusive, until `until`, exclusive."""

    since: datetime
    until: datetime
    #: How likely the text means it, above 0 and at most 1.
    certainty: float
    #: What the text says.
    words: str

    def __str__(self) -> str:
        """Return the span as people read it: `2023-05-01 to 2023-05-31 (last May)`."""
        if any((t.hour, t.minute) != (0, 0) for t in (self.since, self.until)):
            return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} ({self.words})"
        first, last = self.since.date(), self.until.date() - timedelta(days=1)
        days = f"{first}" if first >= last else f"{first} to {last}"
        return f"{days} ({self.words})"


def names_time(text: str) -> bool:
    """Return whether `text` may name a time; False is certain, and quickly told."""
    words = _WORD.findall(text[:_MOST_CHARACTERS].lower())
    return not _TELLING.isdisjoint(words)


def understand(text: str, at: datetime) -> list[TimeSpan]:
    """Return the times that `text`, said at `at` (with a zone), names; the most certain first."""
    text = text[:_MOST_CHARACTERS]
    if not names_time(text):
        return []
    # "Valentine's", "New Year's" and "last week's" say what they say without the ending.
    flat = _POSSESSIVE.sub(lambda match: " " * len(match[0]), text)
    tokens = list(_TOKEN.finditer(flat))
    written = [token[0] for token in tokens]
    lower = [word.lower() for word in written]
    reader = Reader(lower, written, at.replace(tzinfo=None))
    spans: list[TimeSpan] = []
    place = 0
    while place < len(tokens) and len(spans) < _MOST_SPANS:
        # Most words begin no time, and are not worth a call.
        begins = lower[place] in BEGINNINGS or lower[place].isdigit()
        reading = reader.read(place) if begins else None
        if reading is None:
            place += 1
            continue
        words = text[tokens[place].start() : tokens[reading.end - 1].end()]
        spans += _spans(reading, at, " ".join(words.split()))
        place = reading.end
    return sorted(_distinct(spans), key=lambda span: -span.certainty)[:_MOST_SPANS]


def _spans(reading: Reading, at: datetime, words: str) -> list[TimeSpan]:
    return [
        TimeSpan(
            since=choice.since.replace(tzinfo=at.tzinfo),
            until=choice.until.replace(tzinfo=at.tzinfo),
            certainty=choice.certainty,
            words=words,
        )
        for choice in reading.choices
    ]


def _distinct(spans: Sequence[TimeSpan]) -> list[TimeSpan]:
    """Return each interval once, with the greatest certainty of it."""
    best: dict[tuple[datetime, datetime], TimeSpan] = {}
    for span in spans:
        key = (span.since, span.until)
        if key not in best or best[key].certainty < span.certainty:
            best[key] = span
    return list(best.values())
