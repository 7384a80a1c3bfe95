"""Transcripts into the database, a part at a time, each in one transaction.

Memories of a part are recorded before its offset is: a reading that was cut off is done again, and
their keys keep them single. Two readers of one file meet at the offset, and one gives up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.sessions.recording import apply_events
from aegis.sessions.remembering import remember
from aegis.sessions.store import reading as store
from aegis.sessions.store import recording, sweeping
from aegis.sessions.store import usage as usage_store
from aegis.sessions.transcript import read_parts

if TYPE_CHECKING:
    from aegis.memory import Memory
    from aegis.memory.models import NewEpisode
    from aegis.sessions.models import SessionRow
    from aegis.sessions.transcript import Part

__all__ = ["Read", "read_transcript"]


@dataclass(slots=True)
class Read:
    """What a reading found."""

    #: False where the file is gone, or is none.
    found: bool = False
    events: int = 0
    messages: int = 0
    remembered: int = 0
    broken: int = 0


async def read_transcript(memory: Memory, session_id: str, *, final: bool) -> Read:
    """Read what was added to a session's transcript since it was last read.

    `final` also takes what may be going on still: for sessions that have ended.
    """
    db = memory.database
    async with db.transaction() as conn:
        await sweeping.clear_due(conn, session_id)
        row = await store.find_row(conn, session_id)
    read = Read()
    start = None if row is None else await anyio.to_thread.run_sync(_start_of, row)
    if row is None or start is None:
        return read
    read.found = True
    path = Path(row.transcript_path or "")
    parts = read_parts(path, start=start, namespace=row.namespace, final=final)
    expected = row.transcript_offset
    try:
        while (part := await anyio.to_thread.run_sync(next, parts, None)) is not None:
            if ":" not in row.session_id:
                read.remembered += await remember(memory, row, _new(part, row, start))
            if not await _save(memory, session_id, part, expected, read):
                return read
            expected = part.offset
    except InvalidInput:
        # It was there a moment ago; what has been read of it is saved.
        return read
    finally:
        parts.close()
    return read


def _start_of(row: SessionRow) -> int | None:
    """Return where to begin, None where there is no such file."""
    path = Path(row.transcript_path or "")
    if not path.is_absolute() or path.suffix != ".jsonl" or not path.is_file():
        return None
    # A file that became shorter was written anew.
    return row.transcript_offset if path.stat().st_size >= row.transcript_offset else 0


def _new(part: Part, row: SessionRow, start: int) -> list[NewEpisode]:
    """Return the part's episodes; in a file that is read anew, those that were not read before."""
    if start or row.transcript_at is None:
        return part.episodes
    at = row.transcript_at
    return [e for e in part.episodes if e.timestamp is None or e.timestamp > at]


async def _save(memory: Memory, session_id: str, part: Part, expected: int, read: Read) -> bool:
    """Write what a part holds; False where somebody else has read it meanwhile."""
    async with memory.database.transaction() as conn:
        row = (await recording.lock_sessions(conn, [session_id])).get(session_id)
        if row is None or row.transcript_offset != expected:
            return False
        if row.source != "hook":
            own = [replace(e, session_id=session_id, namespace=row.namespace) for e in part.events]
            read.events += await apply_events(conn, own)
            row = (await recording.lock_sessions(conn, [session_id]))[session_id]
        read.broken += part.broken
        read.messages += await usage_store.add_usage(conn, row.id, list(part.messages.values()))
        await usage_store.sum_usage(conn, row.id)
        await recording.save_rows(conn, [_after(row, part)])
    return True


def _after(row: SessionRow, part: Part) -> SessionRow:
    times = [at for at in (row.last_event_at, part.last_at) if at is not None]
    return replace(
        row,
        title=part.title or row.title,
        model=part.model or row.model,
        cwd=row.cwd or part.cwd,
        turn="interrupted" if part.interrupted and row.turn == "working" else row.turn,
        last_event_at=max(times) if times and row.status == "running" else row.last_event_at,
        transcript_offset=part.offset,
        transcript_at=max(
            (at for at in (row.transcript_at, part.last_at) if at is not None), default=None
        ),
    )
