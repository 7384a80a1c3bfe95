"""Events into the database: each once, in the order they came, a batch in one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.sessions import lifecycle, spool
from aegis.sessions.events import read_record
from aegis.sessions.store import recording as store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aegis.db import Connection, Database
    from aegis.sessions.models import NewEvent, SessionRow

__all__ = ["apply_events", "drain", "record_events"]

_BATCH = 500
_LOOK_S = 0.05


async def record_events(db: Database, events: Sequence[NewEvent]) -> int:
    """Record events and return how many were new."""
    async with db.transaction() as conn:
        return await apply_events(conn, events)


async def apply_events(conn: Connection, events: Sequence[NewEvent]) -> int:
    """Record events and what follows from them for their sessions; return how many were new."""
    if not events:
        return 0
    parents = [(e.parent, e.namespace, e.at, None) for e in events if e.parent is not None]
    own = [(e.session_id, e.namespace, e.at, e.parent) for e in events]
    await store.insert_sessions(conn, [*parents, *own])
    rows = await store.lock_sessions(conn, sorted({e.session_id for e in events}))
    new = await store.insert_events(conn, events, rows)
    count = len(new)
    changed: dict[str, SessionRow] = {}
    for event in events:
        row = changed.get(event.session_id, rows[event.session_id])
        if (row.id, event.key) in new:
            # The same key twice in a batch is one event.
            new.discard((row.id, event.key))
            changed[event.session_id] = lifecycle.after(row, event)
    await store.save_rows(conn, list(changed.values()))
    return count


async def drain(db: Database, folder: Path, *, wait_s: float) -> int | None:
    """Write everything that waits in the spool and return how many events were written.

    None where somebody else drains and goes on for longer than `wait_s`. What the database cannot
    take now stays; what no database can take is put aside.

    Raises:
        AegisError: the database is not there; nothing is lost.
    """
    if await anyio.to_thread.run_sync(spool.is_empty, folder):
        return 0
    until = anyio.current_time() + wait_s
    while True:
        with spool.drain_lock(folder) as ours:
            if ours:
                return await _drain(db, folder)
        if anyio.current_time() >= until:
            return None
        await anyio.sleep(_LOOK_S)


async def _drain(db: Database, folder: Path) -> int:
    written = 0
    while True:
        path = await anyio.to_thread.run_sync(spool.claim, folder)
        if path is None:
            return written
        batches = spool.read_batches(path, _BATCH)
        while (lines := await anyio.to_thread.run_sync(next, batches, None)) is not None:
            written += await _write(db, folder, lines)
        path.unlink(missing_ok=True)


async def _write(db: Database, folder: Path, lines: Sequence[bytes]) -> int:
    accepted: list[tuple[bytes, NewEvent]] = []
    for line in lines:
        try:
            accepted.append((line, read_record(_parse(line))))
        except InvalidInput as error:
            spool.reject(folder, line, error.message)
    try:
        return await record_events(db, [event for _, event in accepted])
    except InvalidInput:
        return await _write_alone(db, folder, accepted)


async def _write_alone(
    db: Database, folder: Path, accepted: Sequence[tuple[bytes, NewEvent]]
) -> int:
    """Find out which event it is that PostgreSQL refuses."""
    written = 0
    for line, event in accepted:
        try:
            written += await record_events(db, [event])
        except InvalidInput as error:
            spool.reject(folder, line, error.message)
    return written


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput("The line is not JSON; it may have been torn by a crash.") from None
