"""A transcript, read from where the last reading ended: usage, titles, tool calls, memories.

Memory is bounded whatever the file's size: lines come one by one, and what they hold is handed on
in parts. An answer that may still be going on is left for the next reading, so that it is recorded
whole and once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.fields import clean, members, text_of
from aegis.memory.importing.items import Item, Place
from aegis.memory.importing.lines import parse_object, read_lines
from aegis.memory.importing.transcripts import Conversation, finish, read_line, title_of
from aegis.memory.models import NewEpisode
from aegis.redaction import redact
from aegis.sessions.models import NewEvent
from aegis.sessions.usage import merge, message_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime
    from pathlib import Path

    from aegis.memory.importing.items import Event
    from aegis.sessions.models import Message

__all__ = ["Part", "identify", "read_parts"]

#: Lines to a part.
_PART = 1_000
#: What a message ends with; a line without one may be followed by more of it.
_ENDS = ("end_turn", "stop_sequence", "max_tokens", "refusal")
_INTERRUPTED = "[Request interrupted by user"
_MAX_TEXT, _MAX_NAME = 2_000, 200
_MAX_CALLS, _MAX_HEAD = 1_000, 1_000


@dataclass(slots=True)
class Part:
    """What some lines of a transcript hold."""

    #: Where the next reading begins: behind a whole line.
    offset: int
    #: The session that the lines name.
    session_id: str | None = None
    cwd: str | None = None
    title: str | None = None
    model: str | None = None
    #: Times of the first and the last line.
    first_at: datetime | None = None
    last_at: datetime | None = None
    #: Whether the last thing in it is that the user stopped the agent.
    interrupted: bool = False
    messages: dict[str, Message] = field(default_factory=dict[str, "Message"])
    events: list[NewEvent] = field(default_factory=list[NewEvent])
    episodes: list[NewEpisode] = field(default_factory=list[NewEpisode])
    broken: int = 0


class _Reading:
    """What is carried from line to line."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.conversation = Conversation(None)
        #: Tool calls without a result so far, by id.
        self.calls: dict[str, dict[str, Any]] = {}

    def remember(self, block: dict[str, Any]) -> None:
        while len(self.calls) >= _MAX_CALLS:
            del self.calls[next(iter(self.calls))]
        self.calls[block["id"]] = _call(block)


def identify(path: Path) -> tuple[str, datetime] | None:
    """Return the session and the time that a transcript begins with; None where it names none.

    Raises:
        InvalidInput: the file cannot be read.
    """
    for number, line in enumerate(read_lines(path)):
        try:
            parsed = parse_object(line)
            at = validate.parse_time("timestamp", text_of(parsed.get("timestamp")))
        except InvalidInput:
            if number > _MAX_HEAD:
                return None
            continue
        session_id = clean(text_of(parsed.get("sessionId")))
        if session_id and len(session_id) <= 100:
            return session_id, at
    return None


def read_parts(path: Path, *, start: int, namespace: str, final: bool) -> Generator[Part]:
    """Yield the lines of a transcript from `start`, some at a time; blocks.

    `final` also takes an answer that may be going on, and a last line that is not terminated.

    Raises:
        InvalidInput: the file cannot be read.
    """
    reading = _Reading(namespace)
    conversation = reading.conversation
    part = Part(offset=start)
    held: int | None = None
    count = 0
    before = start
    over = False
    for line in read_lines(path, start=start):
        if not line.terminated and not final:
            break
        count += 1
        place = Place(file=str(path), number=line.number)
        try:
            parsed = parse_object(line)
        except InvalidInput:
            part.broken += 1
            before = part.offset = line.end
            continue
        _look_at(part, parsed, reading)
        part.episodes += _episodes(read_line(conversation, parsed, place, line.end))
        over = _is_over(parsed) or (over and parsed.get("type") not in ("user", "assistant"))
        if conversation.answer is None:
            held = None
        elif conversation.answer.place.number == line.number:
            held = before
        before = line.end
        part.offset = line.end if held is None else held
        if count % _PART == 0:
            yield part
            part = Part(offset=part.offset)
    if final or over:
        part.episodes += _episodes(finish(conversation))
        part.offset = before
    yield part


def _episodes(events: Iterator[Event]) -> list[NewEpisode]:
    return [
        event.value
        for event in events
        if isinstance(event, Item) and isinstance(event.value, NewEpisode)
    ]


def _look_at(part: Part, line: dict[str, Any], reading: _Reading) -> None:
    for name, title in title_of(line):
        if name == "customTitle" or part.title is None or name == "aiTitle":
            part.title = clean(title)[:_MAX_NAME]
            reading.conversation.title = part.title
    message = message_of(line)
    if message is not None:
        part.messages[message.key] = merge(part.messages.get(message.key), message)
        part.model = message.model
    try:
        at = validate.parse_time("timestamp", text_of(line.get("timestamp")))
    except InvalidInput:
        return
    part.first_at = min(part.first_at or at, at)
    part.last_at = max(part.last_at or at, at)
    session_id = text_of(line.get("sessionId"))
    if not session_id or len(session_id) > 100:
        return
    part.session_id = part.session_id or clean(session_id)
    part.cwd = part.cwd or clean(text_of(line.get("cwd")))[:1_000] or None
    body: Any = line.get("message")
    if isinstance(body, dict) and line.get("type") in ("user", "assistant"):
        said = cast("dict[str, Any]", body)
        part.events += _happened(line, said, at, reading)
        part.interrupted = _first_text(said.get("content")).startswith(_INTERRUPTED)


def _happened(
    line: dict[str, Any], message: dict[str, Any], at: datetime, reading: _Reading
) -> Iterator[NewEvent]:
    """Yield the events that a line tells of, keyed as a hook would have keyed them."""
    session_id = clean(text_of(line.get("sessionId")))

    def event(name: str, key: str, **more: Any) -> NewEvent:
        return NewEvent(
            key=clean(key)[:300],
            event=name,
            at=at,
            session_id=session_id,
            namespace=reading.namespace,
            source="transcript",
            cwd=clean(text_of(line.get("cwd")))[:1_000] or None,
            **more,
        )

    content: Any = message.get("content")
    if line["type"] == "assistant":
        for block in members(content):
            if block.get("type") == "tool_use" and text_of(block.get("id")):
                reading.remember(block)
        if _is_over(line):
            yield event("Stop", f"line:{text_of(line.get('uuid'))}")
        return
    for block in members(content):
        call = reading.calls.pop(text_of(block.get("tool_use_id")), None)
        if block.get("type") == "tool_result" and call is not None:
            failed = block.get("is_error") is True
            name = "PostToolUseFailure" if failed else "PostToolUse"
            yield event(name, f"tool:{block['tool_use_id']}", failed=failed, **call)
    text = _first_text(content)
    own_words = line.get("isMeta") is not True and not text.startswith(("<", "[Request", "Caveat:"))
    if text and own_words and text_of(line.get("uuid")):
        said = redact(clean(text)[:_MAX_TEXT])
        yield event("UserPromptSubmit", f"line:{line['uuid']}", text=said)


def _call(block: dict[str, Any]) -> dict[str, Any]:
    given: Any = block.get("input")
    taken = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    path = next((p for n in ("file_path", "notebook_path", "path") if (p := _of(taken, n))), None)
    command = _of(taken, "command")
    return {
        "tool": clean(text_of(block.get("name")))[:_MAX_NAME] or "tool",
        "path": path and path[:1_000],
        "text": redact(command[:_MAX_TEXT]) if command else None,
    }


def _of(taken: dict[str, Any], name: str) -> str | None:
    return clean(text_of(taken.get(name))) or None


def _first_text(content: Any) -> str:
    if isinstance(content, str):
        return content.strip()
    texts = (text_of(b.get("text")).strip() for b in members(content) if b.get("type") == "text")
    return next((text for text in texts if text), "")


def _is_over(line: dict[str, Any]) -> bool:
    message: Any = line.get("message")
    return (
        line.get("type") == "assistant"
        and isinstance(message, dict)
        and cast("dict[str, Any]", message).get("stop_reason") in _ENDS
    )
