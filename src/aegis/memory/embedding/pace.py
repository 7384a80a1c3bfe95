"""How fast an endpoint may be asked: requests and tokens in any sixty seconds. Pure.

Requests are booked at the moment they may start; what is booked never exceeds the limits within a
window of sixty seconds, however it is laid. One process counts for itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Booking", "Pace"]

_WINDOW_S = 60.0


@dataclass(slots=True, kw_only=True, eq=False)
class Booking:
    """A request that may start at `at`, on the clock of who booked it."""

    at: float
    tokens: int


class Pace:
    """Bookings of the last sixty seconds and of those to come."""

    def __init__(self, *, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        """Allow so much a minute; 0 for no limit."""
        self._requests = requests_per_minute
        self._tokens = tokens_per_minute
        self._held_until = float("-inf")
        self._booked: deque[Booking] = deque()

    def book(self, tokens: int, *, now: float) -> Booking:
        """Book a request of about `tokens` for the first moment, from `now` on, that allows it.

        One that is larger than the limit of tokens goes by itself.
        """
        at = max(now, self._held_until)
        if not self._requests and not self._tokens:
            return Booking(at=at, tokens=tokens)
        while self._booked and self._booked[0].at <= now - _WINDOW_S:
            self._booked.popleft()
        if self._booked:
            at = max(at, self._booked[-1].at)
        booking = Booking(at=self._earliest(at, tokens), tokens=tokens)
        self._booked.append(booking)
        return booking

    def cancel(self, booking: Booking) -> None:
        """Forget a request that was not sent after all."""
        if booking in self._booked:
            self._booked.remove(booking)

    def hold(self, until: float) -> None:
        """Book nothing before `until`: the endpoint asked for a pause."""
        self._held_until = max(self._held_until, until)

    def _earliest(self, at: float, tokens: int) -> float:
        # Bookings are in order of time: leaving out the oldest ones makes room.
        inside = [b for b in self._booked if b.at > at - _WINDOW_S]
        used = sum(b.tokens for b in inside)
        for place, oldest in enumerate(inside):
            many = self._requests and len(inside) - place >= self._requests
            much = self._tokens and used + tokens > self._tokens
            if not many and not much:
                break
            at = max(at, oldest.at + _WINDOW_S)
            used -= oldest.tokens
        return at
