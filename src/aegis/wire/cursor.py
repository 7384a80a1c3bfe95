"""Cursors: where a page of a list ended, in a form that nobody is tempted to take apart.

Each order that a list may be in is a `Paging`, which all faces share: it reads the cursor of a
request, and makes the page that answers it.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from aegis.errors import InvalidInput
from aegis.memory.validate import check_text, check_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BY_ID",
    "BY_OFFSET",
    "DUE_DECISIONS",
    "EPISODES",
    "EVENTS",
    "EXECUTIONS",
    "RESEARCH_JOBS",
    "SESSIONS",
    "Paging",
]

Place = TypeVar("Place")
Key = TypeVar("Key")


class Paging(Generic[Place]):
    """The order of a list: the place where a page starts, and the one behind its last row."""

    def __init__(
        self,
        first: Place,
        read: Callable[[Any], Place],
        behind: Callable[[Sequence[Any], Place], Any],
    ) -> None:
        """Begin at `first`; `behind` says what the next cursor holds, None for no further page."""
        self._first = first
        self._read = read
        self._behind = behind

    def at(self, cursor: str | None) -> Place:
        """Return the place that a cursor holds, the first one for none (`InvalidInput`)."""
        if cursor is None:
            return self._first
        # binascii.Error, UnicodeError and JSONDecodeError are all ValueErrors.
        try:
            text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
            return self._read(json.loads(text))
        except (ValueError, TypeError, AttributeError, RecursionError, InvalidInput):
            shown = cursor if len(cursor) <= 40 else cursor[:39] + "…"
            raise InvalidInput(
                f"cursor is {shown!r}; use the next_cursor of the page before, unchanged.",
                code="cursor_invalid",
            ) from None

    def page(
        self, rows: Sequence[Any], limit: int | None, cursor: str | None = None
    ) -> dict[str, Any]:
        """Return the `rows` found at `cursor`, with the cursor of the next page.

        `next_cursor` is None on the last page: one that is not full, or one without a limit.
        """
        following = None
        if limit is not None and len(rows) >= limit:
            following = self._behind(rows, self.at(cursor))
        return {"items": rows, "next_cursor": None if following is None else _encode(following)}


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _number(end: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < end:
            raise ValueError
        return value

    return read


def _name(value: Any) -> str:
    check_text("cursor", value, most=100)
    return value


def _by_time(
    time: Callable[[Any], datetime | None], read_key: Callable[[Any], Key], key: str = "id"
) -> Paging[tuple[datetime, Key] | None]:
    """Return the order of rows by a time, and by their key where that is the same.

    Rows of other programs may have no time; they come last, in one page.
    """

    def read(place: Any) -> tuple[datetime, Key]:
        at, last = place
        when = datetime.fromisoformat(at)
        check_time("cursor", when)
        return when, read_key(last)

    def behind(rows: Sequence[Any], _: object) -> Any:
        when = time(rows[-1])
        return None if when is None else [when.isoformat(), getattr(rows[-1], key)]

    return Paging(None, read, behind)


EPISODES: Final = _by_time(attrgetter("timestamp"), _number(2**31))
DUE_DECISIONS: Final = _by_time(lambda row: row.review_at or row.created_at, _number(2**31))
EVENTS: Final = _by_time(attrgetter("created_at"), _number(2**63))
SESSIONS: Final = _by_time(attrgetter("started_at"), _name, "session_id")
EXECUTIONS: Final = _by_time(attrgetter("started_at"), _name)
RESEARCH_JOBS: Final = _by_time(attrgetter("created_at"), lambda value: str(UUID(value)))
BY_ID: Final = Paging(0, _number(2**31), lambda rows, _: rows[-1].id)
#: For lists whose order has nothing that could be remembered.
BY_OFFSET: Final = Paging(0, _number(2**31), lambda rows, offset: offset + len(rows))
