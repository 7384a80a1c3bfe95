"""How a session's state follows from what happens in it. Pure.

    running ──SessionEnd, or silence──▶ completed | failed | interrupted | abandoned
       ▲───────────────any event──────────────────────────┘

`turn` is what the end is judged by: a session that ends between two prompts is completed, one
whose last answer failed has failed, one that the user stopped is interrupted; one that fell silent
in the middle of its work is abandoned.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.sessions.models import NewEvent, SessionRow, Status, Turn

__all__ = ["BY_ITSELF", "SILENCE", "after", "closed", "judge"]

SILENCE = "silence"
_TOOLS = ("PostToolUse", "PostToolUseFailure")
_WORK = ("UserPromptSubmit", "PreToolUse", "PostToolUse", "SubagentStart")
#: After these a transcript has lines worth reading.
_READABLE = ("Stop", "StopFailure", "SubagentStop", "PreCompact", "SessionEnd")
_MAX_COMMAND = 2_000
#: Sources of prompts that nobody typed: loops, schedules and polls repeat the same for hours.
BY_ITSELF = ("system", "loop_wakeup", "schedule_wakeup", "poll_event")
#: Two hooks are told of the same start.
_SAME_START = timedelta(seconds=10)


def after(row: SessionRow, event: NewEvent) -> SessionRow:
    """Return the session as it is after `event`, which it has not seen before."""
    row = _known(row, event)
    counts = replace(
        row,
        prompts=row.prompts + _asks(event),
        tool_calls=row.tool_calls + (event.event in _TOOLS),
        tool_failures=row.tool_failures + (event.event in _TOOLS and event.failed),
        resumes=row.resumes + _resumes(row, event),
    )
    if event.source == "transcript" and row.source == "hook":
        return counts
    ends = event.event == "SessionEnd" or (event.event == "SubagentStop" and _is_agent(row))
    turn = _turn(row.turn, event)
    changed = replace(
        counts,
        turn=turn,
        started_at=min(row.started_at, event.at),
        last_event_at=max(row.last_event_at or event.at, event.at),
        transcript_due=row.transcript_due or event.event in _READABLE,
    )
    if not ends:
        # Whatever was said of its end before, it goes on.
        return replace(changed, status="running", ended_at=None, end_reason=None)
    reason = (event.details or {}).get("reason")
    return closed(
        changed,
        status=judge(turn, silent=False),
        at=event.at,
        reason=str(reason) if reason else event.event,
    )


def closed(row: SessionRow, *, status: Status, at: datetime, reason: str) -> SessionRow:
    """Return the session, ended; never before it began, whatever the clock did."""
    return replace(row, status=status, ended_at=max(row.started_at, at), end_reason=reason)


def judge(turn: Turn, *, silent: bool) -> Status:
    """Return how a session has ended that stands at `turn`; `silent` where nothing said so."""
    if turn == "working":
        return "abandoned" if silent else "interrupted"
    return "completed" if turn == "idle" else turn


def _turn(turn: Turn, event: NewEvent) -> Turn:
    if event.interrupted:
        return "interrupted"
    if event.event in _WORK or event.event == "PostToolUseFailure":
        return "working"
    if event.event == "StopFailure":
        return "failed"
    if event.event in ("Stop", "SubagentStop"):
        return "idle"
    return turn


def _resumes(row: SessionRow, event: NewEvent) -> int:
    if event.event != "SessionStart" or (event.details or {}).get("source") != "resume":
        return 0
    repeated = row.status == "running" and (
        row.last_event_at is not None
        and row.resumes > 0
        and abs(event.at - row.last_event_at) < _SAME_START
    )
    return 0 if repeated else 1


def _asks(event: NewEvent) -> bool:
    """Return whether somebody asks for something; an agent that wakes itself up asks nothing."""
    source = (event.details or {}).get("source")
    return event.event == "UserPromptSubmit" and source not in BY_ITSELF


def _known(row: SessionRow, event: NewEvent) -> SessionRow:
    """Return the row with what the event says of the session itself."""
    first_prompt = event.text if _asks(event) and event.text else None
    return replace(
        row,
        user_id=row.user_id or event.user_id,
        command=row.command or (first_prompt and first_prompt[:_MAX_COMMAND]),
        title=event.title or row.title,
        model=event.model or row.model,
        cwd=row.cwd or event.cwd,
        agent_type=row.agent_type or event.agent_type,
        transcript_path=event.transcript_path or row.transcript_path,
        source="hook" if "hook" in (event.source, row.source) else event.source,
    )


def _is_agent(row: SessionRow) -> bool:
    return row.agent_type is not None or ":" in row.session_id
