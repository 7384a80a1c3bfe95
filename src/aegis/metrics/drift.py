"""Slow rises that no single value shows: a memory leak, a disk that fills, and when it is full.

Means of half hours are kept for a day. They drift when nearly every one is above those before
(Mann and Kendall's tau), and the slope that half of all pairs exceed (Theil and Sen) says how
fast; both ignore a few wild values. Pure, of fixed size.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUCKET_S", "Drift", "Trend"]

#: Seconds of a bucket, and how many are kept.
BUCKET_S: Final = 1_800.0
_KEPT: Final = 48
#: Buckets that a drift must have lasted.
_LEAST: Final = 12
#: Agreement among pairs from which a series drifts, and under which it no longer does.
_DRIFTS: Final = 0.8
_STOPS: Final = 0.4
#: A rise over the buckets under this share of the limit is nothing to act on.
_LEAST_RISE: Final = 0.02
#: A limit that is farther away in time is not worth an alert.
HORIZON_S: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A rise towards a limit."""

    #: Unix seconds of the first bucket of the rise.
    started_at: float
    #: Mean of the newest bucket.
    value: float
    per_hour: float
    limit: float
    #: When the limit is reached if it goes on so, Unix seconds.
    full_at: float


class Trend:
    """The last day of one series in half hours; `limit` is what it must not reach."""

    __slots__ = ("_buckets", "_count", "_drifting", "_limit", "_slot", "_sum")

    def __init__(self, *, limit: float) -> None:
        self._limit = limit
        self._buckets: list[tuple[float, float]] = []
        self._slot = -1
        self._sum = 0.0
        self._count = 0
        self._drifting = False

    def update(self, at: float, value: float) -> Drift | None:
        """Take a value; return the drift that its half hour, when it ends, shows."""
        if not (math.isfinite(at) and math.isfinite(value)):
            return None
        slot = int(at // BUCKET_S)
        if slot < self._slot:
            return None
        found = None
        if slot > self._slot >= 0:
            found = self._end_bucket(slot)
        self._slot = slot
        self._sum += value
        self._count += 1
        return found

    @property
    def drifting(self) -> bool:
        """Return whether the last half hour that ended belongs to a drift."""
        return self._drifting

    def put_back(self, at: float) -> None:
        """Go on at `at`, which lies before the newest value: half hours after it never were."""
        slot = int(at // BUCKET_S)
        if slot >= self._slot:
            return
        self._buckets = [bucket for bucket in self._buckets if bucket[0] < slot * BUCKET_S]
        self._slot, self._sum, self._count = slot, 0.0, 0

    def _end_bucket(self, slot: int) -> Drift | None:
        if self._count:
            self._buckets.append((self._slot * BUCKET_S, self._sum / self._count))
            del self._buckets[:-_KEPT]
        self._sum, self._count = 0.0, 0
        if slot - self._slot > _LEAST:
            # After a long pause the way up is not known.
            self._buckets.clear()
        # The longest stretch first: a leak since yesterday is told as such.
        for length in (len(self._buckets), _KEPT // 2, _LEAST):
            found = self._look(self._buckets[-length:]) if length >= _LEAST else None
            if found is not None:
                self._drifting = True
                return found
        if agreement(self._buckets[-_LEAST:]) < _STOPS:
            self._drifting = False
        return None

    def _look(self, buckets: list[tuple[float, float]]) -> Drift | None:
        if len(buckets) < _LEAST or agreement(buckets) < _DRIFTS:
            return None
        slope = slope_of(buckets)
        at, value = buckets[-1]
        rise = slope * (at - buckets[0][0])
        if slope <= 0 or rise < _LEAST_RISE * self._limit or value >= self._limit:
            return None
        left_s = (self._limit - value) / slope
        if left_s > HORIZON_S:
            return None
        return Drift(
            started_at=buckets[0][0],
            value=value,
            per_hour=slope * 3_600,
            limit=self._limit,
            full_at=at + left_s,
        )

    def state(self) -> dict[str, object]:
        """Return everything as JSON takes it, for `restored`."""
        return {
            "limit": self._limit,
            "buckets": [list(bucket) for bucket in self._buckets],
            "slot": self._slot,
            "sum": self._sum,
            "count": self._count,
            "drifting": self._drifting,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Trend:
        """Return the trend that `state` was called on (`KeyError`, `TypeError`)."""
        found = cls(limit=state["limit"])
        found._buckets = [(at, mean) for at, mean in state["buckets"]]
        found._slot = state["slot"]
        found._sum = state["sum"]
        found._count = state["count"]
        found._drifting = state["drifting"]
        return found


def agreement(buckets: list[tuple[float, float]]) -> float:
    """Return Kendall's tau of values against time: 1 always rising, 0 neither, -1 falling."""
    pairs = len(buckets) * (len(buckets) - 1) // 2
    if pairs == 0:
        return 0.0
    up = sum(
        (later[1] > earlier[1]) - (later[1] < earlier[1])
        for number, later in enumerate(buckets)
        for earlier in buckets[:number]
    )
    return up / pairs


def slope_of(buckets: list[tuple[float, float]]) -> float:
    """Return the median slope of all pairs, per second; 0 without a pair."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for number, later in enumerate(buckets)
        for earlier in buckets[:number]
    ]
    return statistics.median(slopes) if slopes else 0.0
