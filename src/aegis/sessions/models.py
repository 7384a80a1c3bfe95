"""What sessions are made of; field = column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

__all__ = [
    "SOURCES",
    "STATUSES",
    "TURNS",
    "Message",
    "ModelPrice",
    "NewEvent",
    "Session",
    "SessionDetail",
    "SessionEvent",
    "SessionImport",
    "SessionRow",
    "Source",
    "Status",
    "Swept",
    "ToolUse",
    "TouchedFile",
    "Turn",
]

Status = Literal["running", "completed", "failed", "interrupted", "abandoned"]
STATUSES: tuple[Status, ...] = ("running", "completed", "failed", "interrupted", "abandoned")
#: Where the conversation stands: what a session that falls silent has come to.
Turn = Literal["idle", "working", "failed", "interrupted"]
TURNS: tuple[Turn, ...] = ("idle", "working", "failed", "interrupted")
Source = Literal["hook", "transcript"]
SOURCES: tuple[Source, ...] = ("hook", "transcript")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event as a hook or a transcript has it."""

    #: The same for the same event, however often it comes.
    key: str
    event: str
    at: datetime
    #: Of the agent; a sub-agent's is its session's and its own, `SESSION:AGENT`.
    session_id: str
    namespace: str
    parent: str | None = None
    source: Source = "hook"
    user_id: str | None = None
    agent_type: str | None = None
    cwd: str | None = None
    model: str | None = None
    title: str | None = None
    transcript_path: str | None = None
    tool: str | None = None
    path: str | None = None
    failed: bool = False
    interrupted: bool = False
    text: str | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session or a sub-agent's part of one."""

    session_id: str
    #: Of a sub-agent: the session that started it.
    parent: str | None
    agent_type: str | None
    namespace: str
    user_id: str | None
    #: One of `STATUSES`; anything where plain SQL wrote the row.
    status: str
    turn: Turn
    source: Source | None
    #: The first prompt.
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
    #: At list prices; None where no message has a price.
    cost_usd: float | None
    #: Messages whose model has no price.
    unpriced_messages: int
    transcript_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """How often a session called a tool."""

    tool: str
    calls: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedFile:
    """A file that a session's tools touched."""

    path: str
    #: The tools, in alphabetical order.
    tools: list[str]
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session with what it did."""

    session: Session
    tools: list[ToolUse]
    #: The most touched first, 1,000 at most.
    files: list[TouchedFile]
    agents: list[Session]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
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
    #: Ids of the memories that it was answered with.
    recalled: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one message of a model cost, in tokens."""

    #: `message.id`, else `requestId`, else the line's `uuid`.
    key: str
    at: datetime
    model: str
    input_tokens: int
    output_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cache_read_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did."""

    #: Events written out of the spool.
    drained: int
    #: Transcripts read.
    read: int
    #: Episodes recorded.
    remembered: int
    #: Sessions closed, by session id.
    closed: list[str]
    #: Events of sessions that ended, older than they are kept, that were dropped.
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a model costs from a time on, USD for a million tokens."""

    #: Beginning of the model's name.
    model: str
    valid_from: datetime
    input_usd: Decimal
    output_usd: Decimal
    cache_write_5m_usd: Decimal
    cache_write_1h_usd: Decimal
    cache_read_usd: Decimal
    #: When it was looked up; None where nobody said.
    known_on: date | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionImport:
    """What became of an import of transcripts."""

    path: str
    files: int
    sessions: int
    #: New ones of each.
    events: int
    messages: int
    remembered: int
    #: Lines that could not be read.
    broken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session's row, as what happens next is worked out from it."""

    id: UUID
    session_id: str
    namespace: str
    status: str
    turn: Turn
    source: Source | None
    started_at: datetime
    last_event_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    user_id: str | None
    command: str | None
    title: str | None
    model: str | None
    cwd: str | None
    agent_type: str | None
    transcript_path: str | None
    transcript_offset: int
    transcript_at: datetime | None
    transcript_due: bool
    resumes: int
    prompts: int
    tool_calls: int
    tool_failures: int
