"""What is usual at this time of the day and of the week: two profiles, learned as values come.

A profile is believed only where it predicts better than the level of the last hours, so that a
series without rhythm is never measured against an accidental one. Pure: no clock, fixed size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Season"]

_DAY_S: Final = 86_400.0
_WEEK_S: Final = 7 * _DAY_S
#: Quarters of an hour in a day; hours in a week.
_DAY_SLOTS: Final = 96
_WEEK_SLOTS: Final = 168
#: Days, or weeks, that a slot must have seen before it predicts.
_LEAST_SEEN: Final = 2
#: A profile is believed while its errors stay under this share of the level's errors.
_BETTER: Final = 0.65
_ERROR_WEIGHT: Final = 1 / 288
_LEAST_WEIGHT: Final = 0.03


class Season:
    """Two profiles with the errors that decide which of them, if any, is believed."""

    __slots__ = ("_day", "_day_error", "_level_error", "_week", "_week_error")

    def __init__(self) -> None:
        self._day = _Profile(_DAY_S, _DAY_SLOTS)
        self._week = _Profile(_WEEK_S, _WEEK_SLOTS)
        self._day_error = self._week_error = self._level_error = -1.0

    def learn(self, at: float, value: float, level: float) -> float | None:
        """Return what was expected at `at`, then learn `value`; None where no profile is believed.

        `level` is the mean of the last hours, which a profile has to beat.
        """
        day, week = self._day.learn(at, value), self._week.learn(at, value)
        if day is None:
            return None
        self._level_error = _smooth(self._level_error, abs(value - level))
        self._day_error = _smooth(self._day_error, abs(value - day))
        limit = _BETTER * self._level_error
        if week is not None:
            self._week_error = _smooth(self._week_error, abs(value - week))
            if self._week_error < min(limit, _BETTER * self._day_error):
                return week
        return day if self._day_error < limit else None

    def state(self) -> list[float]:
        """Return everything as numbers, for `restore`."""
        errors = [self._day_error, self._week_error, self._level_error]
        return [*errors, *self._day.state(), *self._week.state()]

    def restore(self, numbers: Sequence[float]) -> None:
        """Take over what `state` returned."""
        self._day_error, self._week_error, self._level_error = numbers[:3]
        cut = 3 + self._day.size
        self._day.restore(numbers[3:cut])
        self._week.restore(numbers[cut:])

    @property
    def size(self) -> int:
        """Return how many numbers `state` returns."""
        return 3 + self._day.size + self._week.size


class _Profile:
    """Means by slot of one period, and in how many periods each slot was seen."""

    __slots__ = ("_last", "_means", "_period_s", "_seen", "_slots")

    def __init__(self, period_s: float, slots: int) -> None:
        self._period_s = period_s
        self._slots = slots
        self._means = [0.0] * slots
        self._seen = [0] * slots
        self._last = -1

    def learn(self, at: float, value: float) -> float | None:
        slot = int(at % self._period_s * self._slots / self._period_s) % self._slots
        seen, mean = self._seen[slot], self._means[slot]
        if slot != self._last:
            self._last = slot
            self._seen[slot] = seen + 1
        if seen == 0:
            self._means[slot] = value
            return None
        # A slot holds several samples of one period: about three are worth one.
        self._means[slot] = mean + max(_LEAST_WEIGHT, 1 / (3 * (seen + 1))) * (value - mean)
        if seen < _LEAST_SEEN:
            return None
        # What begins at ten may begin a little before or after: the nearest of three slots counts.
        best, off = mean, abs(value - mean)
        for near in (slot - 1, slot + 1 - self._slots):
            if self._seen[near] >= _LEAST_SEEN and abs(value - self._means[near]) < off:
                best = self._means[near]
                off = abs(value - best)
        return best

    @property
    def size(self) -> int:
        return 1 + 2 * self._slots

    def state(self) -> list[float]:
        return [float(self._last), *self._means, *map(float, self._seen)]

    def restore(self, numbers: Sequence[float]) -> None:
        self._last = int(numbers[0])
        self._means = list(numbers[1 : 1 + self._slots])
        self._seen = [int(number) for number in numbers[1 + self._slots :]]


def _smooth(mean: float, value: float) -> float:
    return value if mean < 0 else mean + _ERROR_WEIGHT * (value - mean)
