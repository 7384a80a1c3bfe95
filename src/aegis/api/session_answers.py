"""The answers about sessions, as OpenAPI describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aegis.api.shapes import Answer
from aegis.sessions.models import Source, Turn

__all__ = ["HookAnswer", "SessionDetail", "SessionEvents", "SessionPage", "Swept"]


class Session(Answer):
    """A session or a sub-agent's part of one."""

    session_id: str
    parent: str | None
    agent_type: str | None
    namespace: str
    user_id: str | None
    status: str
    turn: Turn
    source: Source | None
    command: str | None
    title: str | None
    model: str | None
    cwd: str | None
    started_at: datetime
    last_event_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    resumes: int
    prompts: int
    tool_calls: int
    tool_failures: int
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    cost_usd: float | None
    unpriced_messages: int
    transcript_path: str | None


class SessionPage(Answer):
    """A page of sessions, the latest start first."""

    items: list[Session]
    next_cursor: str | None


class ToolUse(Answer):
    """How often a session called a tool."""

    tool: str
    calls: int
    failures: int


class TouchedFile(Answer):
    """A file that a session's tools touched."""

    path: str
    tools: list[str]
    calls: int


class SessionDetail(Answer):
    """A session with what it did."""

    session: Session
    tools: list[ToolUse]
    files: list[TouchedFile]
    agents: list[Session]


class SessionEvent(Answer):
    """Something that happened in a session."""

    id: int
    session_id: str
    event: str
    at: datetime
    tool: str | None
    path: str | None
    failed: bool
    text: str | None
    details: dict[str, Any] | None
    recalled: list[int]


class SessionEvents(Answer):
    """Events in the order they came."""

    items: list[SessionEvent]


class HookAnswer(Answer):
    """What a hook is answered with."""

    context: str | None


class Swept(Answer):
    """What a sweep did."""

    drained: int
    read: int
    remembered: int
    closed: list[str]
    dropped: int
