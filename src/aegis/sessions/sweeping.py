"""The sweep: whatever hooks could not do, since nobody tells them when a session ends.

Drains the spool, reads transcripts that have something to read, and closes what has been silent;
before one is closed its transcript is read, which may show that it goes on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aegis.sessions import lifecycle
from aegis.sessions.reading import read_transcript
from aegis.sessions.remembering import remember_events, remember_outcome
from aegis.sessions.store import reading as store
from aegis.sessions.store import recording, sweeping

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Database
    from aegis.memory import Memory
    from aegis.sessions.models import SessionRow

__all__ = ["close_silent", "drop_events", "read_due"]

_PAGE = 100
#: Events of one transaction that drops them.
_DROPPED = 5_000


async def read_due(memory: Memory) -> tuple[int, int]:
    """Read the transcripts that are due; return how many, and how many episodes came of them."""
    read = remembered = 0
    while True:
        async with memory.database.transaction() as conn:
            rows = await sweeping.list_due(conn, limit=_PAGE)
        for row in rows:
            read += 1
            if row.status == "running":
                found = await read_transcript(memory, row.session_id, final=False)
                remembered += found.remembered
            else:
                remembered += await _finish(memory, row)
        if len(rows) < _PAGE:
            return read, remembered


async def close_silent(
    memory: Memory, *, now: datetime, idle_minutes: int
) -> tuple[list[str], int]:
    """Close sessions that have been silent; return their ids, and how many episodes came of it."""
    before = now - timedelta(minutes=idle_minutes)
    closed: list[str] = []
    remembered = 0
    async with memory.database.transaction() as conn:
        await sweeping.put_back(conn, now)
    while True:
        async with memory.database.transaction() as conn:
            rows = await sweeping.list_silent(conn, before=before, limit=_PAGE)
        for row in rows:
            found = await read_transcript(memory, row.session_id, final=True)
            remembered += found.remembered
            ended = await _close(memory, row.session_id, before)
            if ended is not None:
                closed.append(row.session_id)
                remembered += await _finish(memory, ended)
        if len(rows) < _PAGE:
            return closed, remembered


async def _close(memory: Memory, session_id: str, before: datetime) -> SessionRow | None:
    """Close a session unless it was heard of meanwhile; return its row if it is closed now."""
    async with memory.database.transaction() as conn:
        row = (await recording.lock_sessions(conn, [session_id])).get(session_id)
        last = None if row is None else row.last_event_at
        if row is None or last is None or row.status != "running" or last >= before:
            return None
        ended = lifecycle.closed(
            row,
            status=lifecycle.judge(row.turn, silent=True),
            at=last,
            reason=lifecycle.SILENCE,
        )
        ended = replace(ended, transcript_due=False)
        await recording.save_rows(conn, [ended])
    return ended


async def _finish(memory: Memory, row: SessionRow) -> int:
    """Record the rest of an ended session as memories; return how many episodes are new."""
    found = await read_transcript(memory, row.session_id, final=True)
    async with memory.database.transaction() as conn:
        latest = await store.find_row(conn, row.session_id)
    if latest is None or ":" in latest.session_id:
        return found.remembered
    remembered = found.remembered
    if not found.found:
        remembered += await remember_events(memory, latest)
    return remembered + await remember_outcome(memory, latest)


async def drop_events(db: Database, *, before: datetime) -> int:
    """Drop events of sessions that ended, older than `before`; return how many."""
    total = 0
    while True:
        async with db.transaction() as conn:
            count = await sweeping.drop_events(conn, before=before, limit=_DROPPED)
        total += count
        if count < _DROPPED:
            return total
