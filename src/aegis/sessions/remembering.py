"""Sessions as memories: prompts, answers, failures, and what came of it in the end.

What a transcript says has the `source_id` that its import gives it, so that both together record it
once. What the agent has recorded itself is left out.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput
from aegis.memory.echoes import normalised
from aegis.memory.models import NewEpisode
from aegis.sessions.lifecycle import BY_ITSELF
from aegis.sessions.store import reading, sweeping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory import Memory
    from aegis.sessions.models import SessionEvent, SessionRow

__all__ = ["remember", "remember_events", "remember_outcome"]

_log = logging.getLogger("aegis.sessions")

_OWN = "claude:"
#: Episodes of the agent's own that are compared.
_COMPARED = 500
_KINDS = {
    "UserPromptSubmit": "user_prompt",
    "Stop": "assistant_message",
    "PostToolUseFailure": "tool_error",
}
_LISTED_FILES = 12


async def remember(memory: Memory, row: SessionRow, episodes: Sequence[NewEpisode]) -> int:
    """Record episodes of a session, without what is recorded already; return how many are new."""
    if not episodes:
        return 0
    own = await memory.list(limit=_COMPARED, since=row.started_at, namespace=row.namespace)
    said = [f" {normalised(e.summary)} " for e in own if not (e.source_id or "").startswith(_OWN)]
    new = [e for e in episodes if not _is_said(e.summary, said)]
    placed = [replace(episode, namespace=row.namespace) for episode in new]
    try:
        return (await memory.record_many(placed)).recorded
    except InvalidInput:
        return await _remember_each(memory, placed)


async def remember_events(memory: Memory, row: SessionRow) -> int:
    """Record what hooks heard and no transcript told; return how many episodes are new."""
    async with memory.database.transaction() as conn:
        events = await sweeping.list_said(
            conn, row.session_id, after=row.transcript_at, without=BY_ITSELF
        )
    return await remember(memory, row, [_episode(row, event) for event in events])


async def remember_outcome(memory: Memory, row: SessionRow) -> int:
    """Record how a session ended and what it did; nothing where it did nothing."""
    if row.prompts == 0 or row.tool_calls == 0:
        return 0
    async with memory.database.transaction() as conn:
        files = await reading.list_files(conn, row.session_id, limit=_LISTED_FILES)
        last = await sweeping.list_said(conn, row.session_id, after=None, without=BY_ITSELF)
    answers = [e.text for e in last if e.event == "Stop" and e.text]
    about = row.title or row.command or "a session"
    where = f" in {row.cwd}" if row.cwd else ""
    parts = [
        f"Session{where} {row.status}: {about[:400]}",
        f"{row.prompts} prompts, {row.tool_calls} tool calls, {row.tool_failures} failed.",
    ]
    if files:
        parts.append("Files: " + ", ".join(file.path for file in files) + ".")
    if answers:
        parts.append(f"In the end: {answers[-1][:800]}")
    episode = NewEpisode(
        event_type="session",
        summary="\n".join(parts),
        timestamp=row.ended_at or row.last_event_at,
        context={"cwd": row.cwd} if row.cwd else None,
        importance="high" if row.status in ("failed", "abandoned") else "medium",
        tags=["session"],
        session_id=row.session_id,
        # A session that goes on and ends again has another outcome.
        source_id=f"{_OWN}{row.session_id}/outcome/{row.prompts}",
        namespace=row.namespace,
    )
    return (await memory.record_many([episode])).recorded


def _episode(row: SessionRow, event: SessionEvent) -> NewEpisode:
    text = event.text or ""
    failed = event.event == "PostToolUseFailure"
    return NewEpisode(
        event_type=_KINDS[event.event],
        summary=f"{event.tool or 'tool'} failed: {text}" if failed else text,
        timestamp=event.at,
        context={"cwd": row.cwd} if row.cwd else None,
        importance="high" if failed else "medium",
        tags=["transcript"],
        session_id=row.session_id,
        source_id=f"{_OWN}{row.session_id}/event/{event.id}",
        namespace=row.namespace,
    )


async def _remember_each(memory: Memory, episodes: Sequence[NewEpisode]) -> int:
    """Record what can be: one line that cannot must not keep its transcript from being read."""
    recorded = 0
    for episode in episodes:
        try:
            recorded += (await memory.record_many([episode])).recorded
        except InvalidInput as error:
            _log.warning("sessions.not_remembered", extra={"why": error.message})
    return recorded


def _is_said(text: str, said: Sequence[str]) -> bool:
    words = f" {normalised(text)} "
    return any(words in other for other in said)
