"""What metrics accept: names, times and figures from containers, agents and the network."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from aegis.errors import InvalidInput
from aegis.metrics.models import METRICS, Metric

__all__ = [
    "AHEAD",
    "MOST_SAMPLES",
    "check_figure",
    "check_metric",
    "check_name",
    "check_points",
    "check_span",
    "check_time",
]

#: Samples of one call.
MOST_SAMPLES: Final = 100_000
#: How far ahead of the clock here a sample's may be.
AHEAD: Final = timedelta(hours=1)
_MOST_NAME: Final = 100
#: Nothing is this large; sums of what is below stay finite.
_MOST: Final = 1e15
_MOST_POINTS: Final = 5_000
_LONGEST: Final = timedelta(days=3_660)


def check_name(name: object) -> str:
    """Return a container's name (`InvalidInput`)."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"container_name is {name!r}; give the container's name.")
    if len(name) > _MOST_NAME:
        raise InvalidInput(
            f"container_name has {len(name)} characters; up to {_MOST_NAME} are kept: {name[:40]!r}"
        )
    if any(ord(sign) < 32 or ord(sign) == 127 or 0xD800 <= ord(sign) <= 0xDFFF for sign in name):
        raise InvalidInput(f"container_name {name[:40]!r} has a control character; remove it.")
    return name


def check_metric(name: str) -> Metric:
    """Return the metric of this name (`InvalidInput`)."""
    for metric in get_args(Metric):
        if metric == name:
            return metric
    raise InvalidInput(f"metric is {name[:40]!r}; use one of {', '.join(METRICS)}.")


def check_time(at: datetime, name: str, *, now: datetime, keep_days: int) -> None:
    """Return if samples of this time are taken (`InvalidInput`)."""
    if not isinstance(at, datetime) or at.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"timestamp of {name!r} is {at!r}; give a time with a zone.")
    if at > now + AHEAD:
        raise InvalidInput(
            f"timestamp {at.isoformat()} of {name!r} lies ahead of "
            f"{now.isoformat(timespec='seconds')}; set the clock of the machine that sends it."
        )
    if at < now - timedelta(days=keep_days):
        raise InvalidInput(
            f"timestamp {at.isoformat()} of {name!r} is older than the {keep_days} days that are "
            "kept."
        )


def check_figure(metric: str, value: object) -> float | None:
    """Return a figure as it is stored; one that is not finite was not measured (`InvalidInput`)."""
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidInput(f"{metric} is {value!r}; give a number, or leave it out.")
    # Compared first: a whole number may be too large to be a float at all.
    if 0 <= value <= _MOST:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    raise InvalidInput(f"{metric} is {str(value)[:40]}; it is 0 or more, and up to {_MOST:g}.")


def check_span(
    since: datetime | None, until: datetime | None, *, now: datetime
) -> tuple[datetime, datetime]:
    """Return the time that a chart shows, the last day by default (`InvalidInput`)."""
    until = now if until is None else until
    since = until - timedelta(days=1) if since is None else since
    for name, at in (("since", since), ("until", until)):
        if at.tzinfo is None:
            raise InvalidInput(f"{name} is {at.isoformat()}; give a time with a zone.")
    if since >= until:
        raise InvalidInput(
            f"since {since.isoformat()} is not before until {until.isoformat()}; swap them."
        )
    if until - since > _LONGEST:
        raise InvalidInput(f"since to until is {(until - since).days:,} days; up to ten years.")
    return since.astimezone(UTC), until.astimezone(UTC)


def check_points(points: int) -> int:
    """Return how many points a chart may have (`InvalidInput`)."""
    if not 10 <= points <= _MOST_POINTS:
        raise InvalidInput(f"points is {points}; it is 10 to {_MOST_POINTS:,}.")
    return points
