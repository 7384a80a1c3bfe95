"""Times of a cron expression in a zone; pure: no clock is read here.

Over a change of the clocks it is as Debian's cron has it: a time of day that is left out comes
right after the gap, one that comes twice counts once, and jobs of every hour or minute go by time
that passed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check", "next_after", "times_after"]

_SAMPLE = datetime(2026, 1, 1, tzinfo=UTC)


def check(expression: str, timezone: str) -> None:
    """Refuse an expression or a zone that is none, or that never comes (`InvalidInput`)."""
    if not isinstance(expression, str) or len(expression) > 200 or not expression.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput("cron is no cron expression; write one such as '0 2 * * *'.")
    zone(timezone)
    if next_after(expression, timezone, _SAMPLE) is None:
        raise InvalidInput(f"cron is {expression!r}, a time that never comes.", code="cron_invalid")


def next_after(expression: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first time after `after`, in UTC; None where none comes."""
    return next(times_after(expression, timezone, after), None)


def times_after(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Yield the times after `after`, in order, in UTC (`InvalidInput`)."""
    from cronsim import CronSim, CronSimError

    try:
        times = CronSim(expression, after.astimezone(zone(timezone)))
    except CronSimError as error:
        raise InvalidInput(
            f"cron is {expression[:200]!r}: {error}. Write minute, hour, day of the month, month "
            "and day of the week, such as '0 2 * * *'.",
            code="cron_invalid",
        ) from None
    last = after
    while True:
        try:
            at = next(times).astimezone(UTC)
        except (StopIteration, OverflowError, ValueError):
            return
        # A time of day that comes twice counts once.
        if at > last:
            last = at
            yield at


def zone(name: str) -> ZoneInfo:
    """Return a zone by its IANA name (`InvalidInput`)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise InvalidInput(
            f"timezone is {name!r:.80}; use an IANA name such as UTC or Europe/Berlin.",
            code="timezone_unknown",
        ) from None
