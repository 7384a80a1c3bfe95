"""How close memories are to the times that a question names. Pure.

Two measures, 0 to 1: `when`, of the time that a memory is from, and `told`, of the times that its
text names ("we moved in yesterday"), read as said when the memory was recorded. Neither is a
filter: a question that mentions a date may be about anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from aegis.memory.dates import names_time, understand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.dates import TimeSpan

__all__ = ["Closeness", "measure"]

_DAY_S = 86_400.0
#: Things are told when they happened or in the days after, seldom before: the distance in days, on
#: either side of an interval, at which closeness has fallen to 1/e…
_AFTER_DAYS, _BEFORE_DAYS = 3.0, 1.0
#: …and so much longer: by a share of the interval's own length, and days at most.
_SLACK, _MOST_SLACK_DAYS = 0.15, 30.0
#: Less than this is as good as nothing.
_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Closeness:
    """Of one memory, how well its time and its text fit the question's times."""

    when: float = 0.0
    told: float = 0.0
    #: The question's time that fits best, in words; '' where none does.
    detail: str = ""


def measure(
    spans: Sequence[TimeSpan],
    times: Sequence[float | None],
    texts: Sequence[str],
    zone: tzinfo | None,
) -> list[Closeness]:
    """Return the closeness of each memory, given its time (seconds since 1970) and its text."""
    asked = [(s.since.timestamp(), s.until.timestamp(), s) for s in spans]
    return [_closeness(asked, time, text, zone) for time, text in zip(times, texts, strict=True)]


def _closeness(
    asked: Sequence[tuple[float, float, TimeSpan]],
    time: float | None,
    text: str,
    zone: tzinfo | None,
) -> Closeness:
    if time is None or not math.isfinite(time):
        return Closeness()
    when, told, best = 0.0, 0.0, ""
    own = _told_spans(text, time, zone)
    for since, until, span in asked:
        here = span.certainty * _near(time, since, until)
        there = span.certainty * max(
            (c * _overlap(a, b, since, until) for a, b, c in own), default=0
        )
        if max(here, there) > max(when, told):
            best = str(span)
        when, told = max(when, here), max(told, there)
    when, told = (value if value >= _LEAST else 0.0 for value in (when, told))
    return Closeness(when, told, best if when or told else "")


def _near(time: float, since: float, until: float) -> float:
    if since <= time < until:
        return 1.0
    slack = min(_SLACK * (until - since) / _DAY_S, _MOST_SLACK_DAYS)
    if time >= until:
        return math.exp(-(time - until) / _DAY_S / (_AFTER_DAYS + slack))
    return math.exp(-(since - time) / _DAY_S / (_BEFORE_DAYS + slack))


def _told_spans(text: str, time: float, zone: tzinfo | None) -> list[tuple[float, float, float]]:
    if not text or not names_time(text):
        return []
    try:
        at = datetime.fromtimestamp(time, zone or UTC)
    except (ValueError, OverflowError, OSError):
        return []
    return [(s.since.timestamp(), s.until.timestamp(), s.certainty) for s in understand(text, at)]


def _overlap(since: float, until: float, other_since: float, other_until: float) -> float:
    """Return the root of the share of both intervals' union that is in both."""
    both = min(until, other_until) - max(since, other_since)
    if both <= 0:
        return 0.0
    return math.sqrt(both / (max(until, other_until) - min(since, other_since)))
