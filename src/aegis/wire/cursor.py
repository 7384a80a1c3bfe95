"""Cursors: where a page of a list ended, in a form that nobody is tempted to take apart."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from aegis.errors import InvalidInput
from aegis.memory.validate import check_id, check_text, check_time

__all__ = [
    "after_decision",
    "after_offset",
    "before_episode",
    "before_job",
    "before_session",
    "next_after",
    "next_due",
    "next_execution",
    "next_job",
    "next_offset",
    "next_page",
    "next_session",
]


def next_page(rows: list[Any], limit: int) -> str | None:
    """Return the cursor behind the last of `rows` (`timestamp`, `id`), None on the last page."""
    if len(rows) < limit:
        return None
    return _encode([rows[-1].timestamp.isoformat(), rows[-1].id])


def next_due(rows: list[Any], limit: int) -> str | None:
    """Return the cursor behind the last of these decisions, None on the last page."""
    if len(rows) < limit:
        return None
    return _encode([(rows[-1].review_at or rows[-1].created_at).isoformat(), rows[-1].id])


def next_after(rows: list[Any], limit: int) -> str | None:
    """Return the cursor behind the last of `rows`, which are in order of `id`; None at the end.

    `after_offset` reads it.
    """
    return None if len(rows) < limit else _encode(rows[-1].id)


def before_episode(cursor: str | None) -> tuple[datetime, int] | None:
    """Return the time and id that a cursor of `next_page` holds (`InvalidInput`)."""
    return _time_and_id(cursor)


def after_decision(cursor: str | None) -> tuple[datetime, int] | None:
    """Return the time and id that a cursor of `next_due` holds (`InvalidInput`)."""
    return _time_and_id(cursor)


def next_session(rows: list[Any], limit: int) -> str | None:
    """Return the cursor behind the last of these sessions, None on the last page."""
    if len(rows) < limit:
        return None
    return _encode([rows[-1].started_at.isoformat(), rows[-1].session_id])


def next_execution(rows: list[Any], limit: int) -> str | None:
    """Return the cursor behind the last of these executions, None on the last page.

    `before_session` reads it. Rows of other programs may have no time; they come last, in one page.
    """
    if len(rows) < limit or rows[-1].started_at is None:
        return None
    return _encode([rows[-1].started_at.isoformat(), rows[-1].id])


def before_session(cursor: str | None) -> tuple[datetime, str] | None:
    """Return the start and session id that a cursor of `next_session` holds (`InvalidInput`)."""
    if cursor is None:
        return None
    try:
        at, session_id = _decode(cursor)
        when = datetime.fromisoformat(at)
        check_time("cursor", when)
        check_text("cursor", session_id, most=100)
    except (ValueError, TypeError, InvalidInput):
        raise _not_ours(cursor) from None
    return when, session_id


def next_job(rows: list[Any], limit: int) -> str | None:
    """Return the cursor behind the last of these research jobs, None on the last page."""
    if len(rows) < limit:
        return None
    return _encode([rows[-1].created_at.isoformat(), rows[-1].id])


def before_job(cursor: str | None) -> tuple[datetime, str] | None:
    """Return the time and id that a cursor of `next_job` holds (`InvalidInput`)."""
    if cursor is None:
        return None
    try:
        at, job_id = _decode(cursor)
        when = datetime.fromisoformat(at)
        check_time("cursor", when)
        return when, str(UUID(job_id))
    except (ValueError, TypeError, AttributeError, InvalidInput):
        raise _not_ours(cursor) from None


def _time_and_id(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    try:
        at, row_id = _decode(cursor)
        when = datetime.fromisoformat(at)
        check_time("cursor", when)
        check_id("cursor", row_id)
    except (ValueError, TypeError, InvalidInput):
        raise _not_ours(cursor) from None
    return when, row_id


def next_offset(rows: list[Any], limit: int, offset: int) -> str | None:
    """Return the cursor behind a page that began at `offset`, None on the last page."""
    return None if len(rows) < limit else _encode(offset + limit)


def after_offset(cursor: str | None) -> int:
    """Return the offset that a cursor of `next_offset` holds, 0 for none (`InvalidInput`)."""
    if cursor is None:
        return 0
    try:
        offset = _decode(cursor)
    except ValueError:
        raise _not_ours(cursor) from None
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < 2**31:
        raise _not_ours(cursor)
    return offset


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _decode(cursor: str) -> Any:
    # binascii.Error, UnicodeError and JSONDecodeError are all ValueErrors.
    try:
        return json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except RecursionError:
        raise _not_ours(cursor) from None


def _not_ours(cursor: str) -> InvalidInput:
    shown = cursor if len(cursor) <= 40 else cursor[:39] + "…"
    return InvalidInput(
        f"cursor is {shown!r}; use the next_cursor of the page before, unchanged.",
        code="cursor_invalid",
    )
