"""Bounds of partitions by time, as PostgreSQL prints them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ahead_of", "parse_bound"]

_BOUND = re.compile(r"FOR VALUES FROM \((MINVALUE|'[^']*')\) TO \((MAXVALUE|'[^']*')\)")
_LOWEST = datetime.min.replace(tzinfo=UTC)
_HIGHEST = datetime.max.replace(tzinfo=UTC)


def parse_bound(text: str) -> tuple[datetime, datetime] | None:
    """Return from and to (exclusive) of a range in UTC, None for a default partition."""
    match = _BOUND.fullmatch(text)
    if match is None:
        return None
    return _moment(match[1]), _moment(match[2])


def ahead_of(bounds: Sequence[str], now: datetime) -> int | None:
    """Return how many partitions follow that of `now` without a gap; None if it has none."""
    ranges = sorted(r for r in map(parse_bound, bounds) if r is not None)
    present = next((n for n, (begin, end) in enumerate(ranges) if begin <= now < end), None)
    if present is None:
        return None
    ahead, edge = 0, ranges[present][1]
    for begin, end in ranges[present + 1 :]:
        if begin != edge:
            break
        ahead, edge = ahead + 1, end
    # One that never ends covers whatever comes.
    return 1_000 if edge == _HIGHEST else ahead


def _moment(text: str) -> datetime:
    if text == "MINVALUE":
        return _LOWEST
    if text == "MAXVALUE":
        return _HIGHEST
    raw = text.strip("'").removesuffix(" BC")
    # PostgreSQL writes `+00` where Python before 3.11 wanted `+00:00`.
    moment = datetime.fromisoformat(raw)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
