"""Old transcripts as sessions: streamed, and again without doubling anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio.to_thread

from aegis.memory.importing.lines import find_files
from aegis.sessions.models import SessionImport
from aegis.sessions.reading import Read, read_transcript
from aegis.sessions.store import recording
from aegis.sessions.transcript import identify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aegis.memory import Memory

__all__ = ["import_transcripts"]


async def import_transcripts(
    memory: Memory,
    path: Path,
    *,
    namespace: str,
    on_progress: Callable[[int, int], object] | None,
) -> SessionImport:
    """Import the transcripts at `path`, sub-agents' included; sessions come before their agents.

    Raises:
        InvalidInput: there are none.
    """
    files = await anyio.to_thread.run_sync(_find, path)
    files.sort(key=lambda file: (_agent_of(file) is not None, str(file)))
    total = Read()
    sessions = 0
    for number, file in enumerate(files, 1):
        name = await _prepare(memory, file, namespace)
        if name is not None:
            sessions += 1
            read = await read_transcript(memory, name, final=True)
            total.events += read.events
            total.messages += read.messages
            total.remembered += read.remembered
            total.broken += read.broken
        if on_progress is not None:
            on_progress(number, len(files))
    return SessionImport(
        path=str(path),
        files=len(files),
        sessions=sessions,
        events=total.events,
        messages=total.messages,
        remembered=total.remembered,
        broken=total.broken,
    )


async def _prepare(memory: Memory, file: Path, namespace: str) -> str | None:
    """Make the session of a file ready to be read; return its id, None where it names none."""
    found = await anyio.to_thread.run_sync(identify, file)
    if found is None:
        return None
    session_id, at = found
    agent = _agent_of(file)
    parent = None if agent is None else session_id
    own = session_id if agent is None else f"{session_id}:{agent}"
    if len(own) > 100:
        return None
    firsts = [(own, namespace, at, parent)]
    if parent is not None:
        firsts.insert(0, (parent, namespace, at, None))
    async with memory.database.transaction() as conn:
        await recording.insert_sessions(conn, firsts)
        row = (await recording.lock_sessions(conn, [own]))[own]
        known = replace(
            row,
            source=row.source or "transcript",
            last_event_at=row.last_event_at or at,
            agent_type=row.agent_type or (agent and "agent"),
            # One that is imported from a copy goes on where it is.
            transcript_path=row.transcript_path or str(file),
        )
        if known.transcript_path != str(file) and known.transcript_offset == 0:
            known = replace(known, transcript_path=str(file))
        await recording.save_rows(conn, [known])
    return own


def _find(path: Path) -> list[Path]:
    return find_files(path.expanduser().absolute(), ".jsonl")


def _agent_of(file: Path) -> str | None:
    name = file.stem
    if name.startswith("agent-"):
        return name.removeprefix("agent-")
    return name if file.parent.name == "subagents" else None
