"""A circuit breaker: what fails again and again is left alone for a while. Pure; time is given."""

from __future__ import annotations

__all__ = ["Breaker"]


class Breaker:
    """Closed, open after `failures` in a row, and half-open once it has rested `rest_s` seconds.

    Half-open lets one caller try; the others wait for another rest, so that one that never says
    how it went keeps nothing open for ever.
    """

    def __init__(self, *, failures: int = 3, rest_s: float = 30.0) -> None:
        self.rest_s = rest_s
        self._failures = failures
        self._failed = 0
        self._resting_until: float | None = None

    def rests(self, now: float) -> bool:
        """Return whether a call would be refused now; changes nothing."""
        return self._resting_until is not None and now < self._resting_until

    def admits(self, now: float) -> bool:
        """Return whether to call now; whoever is admitted says how it went."""
        if self._resting_until is None:
            return True
        if now < self._resting_until:
            return False
        self._resting_until = now + self.rest_s
        return True

    def succeeded(self) -> None:
        """Close it."""
        self._failed = 0
        self._resting_until = None

    def failed(self, now: float) -> None:
        """Count a failure; opens it when that was one too many, or the trial of half-open."""
        self._failed += 1
        if self._failed >= self._failures:
            self._resting_until = now + self.rest_s
