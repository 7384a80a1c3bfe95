"""A whole series through the detector, strictly in order: a point is judged before the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput
from aegis.metrics.detector import RATIO
from aegis.metrics.drift import Drift, Trend
from aegis.metrics.watch import Incident, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Detection", "detect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What was found in a series."""

    #: Points that were judged, and those that could not be: not finite, late, or repeated.
    points: int
    ignored: int
    #: In order of their beginning; the last one may still last.
    incidents: Sequence[Incident]
    #: The rise towards the limit at the end of the series; None without a limit, or without one.
    drift: Drift | None


def detect(
    points: Iterable[tuple[float, float]],
    *,
    ratio: float = RATIO,
    least: float = 0.0,
    limit: float | None = None,
) -> Detection:
    """Return the incidents among `points`, pairs of Unix seconds and value.

    `ratio` is how many times farther than ever before a value must be; deviations under `least`
    never matter; `limit` is a value that a slow rise must not reach.

    Raises:
        InvalidInput: a parameter out of range.
    """
    if not (math.isfinite(ratio) and ratio >= 1):
        raise InvalidInput(f"ratio is {ratio:g}; it is 1 or more, {RATIO:g} by default.")
    if not (math.isfinite(least) and least >= 0):
        raise InvalidInput(f"least is {least:g}; it is 0 or more, in the unit of the values.")
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise InvalidInput(f"limit is {limit:g}; it is above 0, in the unit of the values.")
    watch = Watch(ratio=ratio, least=least)
    trend = None if limit is None else Trend(limit=limit)
    found: dict[int, Incident] = {}
    drift: Drift | None = None
    for at, value in points:
        incident = watch.update(at, value)
        if incident is not None:
            found[incident.number] = incident
        if trend is not None:
            drift = trend.update(at, value) or (drift if trend.drifting else None)
    if watch.incident is not None:
        found[watch.incident.number] = watch.incident
    return Detection(
        points=watch.detector.seen,
        ignored=watch.detector.ignored,
        incidents=tuple(found.values()),
        drift=drift,
    )
