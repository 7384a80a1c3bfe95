"""The words of a text and what readings of them are made of. Pure; for `dates` and its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.memory.dates.periods import Period

__all__ = ["Choice", "Reading", "Words", "choice", "one"]


class Choice(NamedTuple):
    """One thing that time words may mean; times without a zone."""

    since: datetime
    until: datetime
    #: Above 0 and at most 1.
    certainty: float


class Reading(NamedTuple):
    """What some words mean, the likeliest first, and the place behind them."""

    choices: list[Choice]
    end: int


class Words:
    """The words of a text in lower case; behind the last one there are empty ones."""

    def __init__(self, words: Sequence[str], written: Sequence[str]) -> None:
        self._words = words
        self._written = written

    def at(self, place: int) -> str:
        """Return the word at `place`, '' outside the text."""
        return self._words[place] if 0 <= place < len(self._words) else ""

    def number(self, place: int, digits: int = 2) -> int | None:
        """Return the number of at most `digits` digits at `place`, None for anything else."""
        word = self.at(place)
        return int(word) if word.isascii() and word.isdigit() and len(word) <= digits else None

    def year(self, place: int) -> int | None:
        """Return the year at `place`: four digits, 1900 to 2199."""
        number = self.number(place, 4)
        return number if number is not None and 1900 <= number < 2200 else None

    def capital(self, place: int) -> bool:
        """Return whether the word at `place` is written with a capital letter."""
        return 0 <= place < len(self._words) and self._written[place][:1].isupper()


def choice(period: Period | None, certainty: float) -> list[Choice]:
    """Return a period as the only choice, nothing for none or an empty one."""
    if period is None or period[0] >= period[1]:
        return []
    return [Choice(*period, certainty)]


def one(period: Period | None, certainty: float, end: int) -> Reading:
    """Return a reading of one choice."""
    return Reading(choice(period, certainty), end)
