"""Hours in which maintenance works. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["closes_at"]


def closes_at(window: str, now: datetime) -> datetime | None:
    """Return when the window that is open at `now` closes, None if none is open.

    `window` is `HH:MM-HH:MM` in UTC, over midnight if it ends before it begins, or `always`, which
    closes a day later.
    """
    there = now.astimezone(UTC)
    if window == "always":
        return there + timedelta(days=1)
    begin, end = (_minutes(part) for part in window.split("-"))
    length = (end - begin) % 1_440 or 1_440
    passed = (there.hour * 60 + there.minute - begin) % 1_440
    if passed >= length:
        return None
    return there.replace(second=0, microsecond=0) + timedelta(minutes=length - passed)


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)
