"""Claude Code transcripts: prompts, answers and failed tools of each session.

The format is the program's own and changes: what is not understood is counted and passed over.
One answer is written over several lines, one content block each, under one `message.id`; they are
put together again. Thinking, tool inputs and tool results are not kept, except for the beginning
of a failed tool's call and message. Subagents' transcripts are not imported: what they found comes
back in the session's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.fields import clean, members, text_of
from aegis.memory.importing.items import BrokenItem, Item, PassedOver, Place, Source
from aegis.memory.importing.lines import file_size, find_files, parse_object, read_lines
from aegis.memory.models import NewEpisode
from aegis.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aegis.memory.importing.items import Event
    from aegis.memory.importing.lines import Line

__all__ = ["Conversation", "finish", "open_source", "read_line", "title_of"]

#: Beyond this a prompt or an answer is cut: pasted files, not words.
MAX_TEXT = 50_000
#: Of a failed tool's message and of its input.
MAX_ERROR = 2_000
MAX_PREVIEW = 200
#: Tool calls remembered until their results come.
_MAX_CALLS = 1_000

#: Prompts that the program writes itself.
_MACHINE_MADE = ("<local-command-", "<command-name>", "<command-message>", "<system-reminder>",
                 "<bash-stdout>", "<bash-stderr>", "Caveat: The messages below",
                 "[Request interrupted by user")  # fmt: skip


@dataclass(slots=True)
class _Answer:
    """An assistant's message, as far as it has been read."""

    message_id: str
    line: dict[str, Any]
    place: Place
    position: int
    model: str | None
    texts: list[str] = field(default_factory=list[str])


class Conversation:
    """What has been read of one file."""

    def __init__(self, title: str | None) -> None:
        self.title = title
        self.answer: _Answer | None = None
        #: Tool use id → name and the beginning of its input.
        self.calls: dict[str, tuple[str, str]] = {}


def open_source(path: Path) -> Source:
    """Open a transcript, a project's folder or the folder of all projects (`InvalidInput`)."""
    files = [file for file in find_files(path, ".jsonl") if not _of_subagent(file)]
    total = sum(file_size(file) for file in files)
    return Source(events=_events(files), total=total, unit="bytes")


def _of_subagent(file: Path) -> bool:
    return file.name.startswith("agent-") or file.parent.name == "subagents"


def _events(files: list[Path]) -> Iterator[Event]:
    before = 0
    for file in files:
        session = Conversation(_title(file))
        end = 0
        for line in read_lines(file):
            end = line.end
            place = Place(file=str(file), number=line.number)
            try:
                parsed = parse_object(line)
            except InvalidInput as error:
                if line.terminated:
                    yield BrokenItem(place=place, reason=str(error), position=before + end)
                else:
                    # The session is being written: the next import reads the whole line.
                    yield PassedOver(what="unfinished line", position=before + end)
                continue
            yield from read_line(session, parsed, place, before + end)
        yield from finish(session)
        before += end


def _title(file: Path) -> str | None:
    """Return the session's title: the user's own, else the program's, else the summary."""
    found: dict[str, str] = {}
    for line in read_lines(file):
        if line.data is None or not any(name in line.data for name in _TITLE_MARKS):
            continue
        for name, title in _titles(line):
            found[name] = title
    return found.get("customTitle") or found.get("aiTitle") or found.get("summary")


_TITLE_MARKS = (b'"customTitle"', b'"aiTitle"', b'"summary"')


def _titles(line: Line) -> Iterator[tuple[str, str]]:
    try:
        yield from title_of(parse_object(line))
    except InvalidInput:
        return


def title_of(parsed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the titles that a line gives its session, each with the field that it stands in."""
    for name in ("customTitle", "aiTitle", "summary"):
        title = parsed.get(name)
        if isinstance(title, str) and title.strip() and "message" not in parsed:
            yield name, title.strip()[:MAX_PREVIEW]


def read_line(
    session: Conversation, line: dict[str, Any], place: Place, position: int
) -> Iterator[Event]:
    """Yield what a line completes; an answer goes on until another message begins."""
    kind = line.get("type")
    if kind not in ("user", "assistant"):
        what = f"line of type {kind:.40}" if isinstance(kind, str) else "line without a type"
        yield PassedOver(what=what, position=position)
        return
    why = _not_said(line)
    if why is not None:
        yield PassedOver(what=why, position=position)
        return
    message = cast("dict[str, Any]", line["message"])
    if kind == "assistant":
        yield from _assistant(session, line, message, place, position)
    else:
        yield from _user(session, line, message, place, position)


def _not_said(line: dict[str, Any]) -> str | None:
    """Return why a line is nobody's words, or None."""
    message = line.get("message")
    for name in ("isMeta", "isSidechain", "isCompactSummary", "isApiErrorMessage"):
        if line.get(name) is True:
            return f"line marked {name}"
    if not isinstance(message, dict):
        return "line without a message"
    if cast("dict[str, Any]", message).get("model") == "<synthetic>":
        return "synthetic message"
    for name in ("uuid", "sessionId", "timestamp"):
        if not isinstance(line.get(name), str) or not line[name]:
            return f"message without {name}"
    return None


def _assistant(
    session: Conversation,
    line: dict[str, Any],
    message: dict[str, Any],
    place: Place,
    position: int,
) -> Iterator[Event]:
    message_id = text_of(message.get("id")) or text_of(line.get("requestId")) or line["uuid"]
    if session.answer is not None and session.answer.message_id != message_id:
        yield from finish(session)
    for block in members(message.get("content")):
        if block.get("type") == "tool_use":
            _remember_call(session, block)
    texts = [text for text in _texts(message.get("content")) if text]
    if not texts:
        yield PassedOver(what="answer without text", position=position)
        return
    if session.answer is None:
        model = text_of(message.get("model")) or None
        session.answer = _Answer(message_id, line, place, position, model)
    # The same block can be written twice, when a session is resumed.
    session.answer.texts += [text for text in texts if text not in session.answer.texts]


def _user(
    session: Conversation,
    line: dict[str, Any],
    message: dict[str, Any],
    place: Place,
    position: int,
) -> Iterator[Event]:
    content = message.get("content")
    failures = [b for b in members(content) if b.get("type") == "tool_result" and b.get("is_error")]
    prompt = "\n".join(text for text in _texts(content) if not text.startswith(_MACHINE_MADE))
    if not prompt and not failures:
        yield PassedOver(what="tool result or command", position=position)
        return
    yield from finish(session)
    if prompt:
        yield _item(
            session, line, place, position, event_type="user_prompt", text=prompt, key=line["uuid"]
        )
    for number, block in enumerate(failures):
        tool, call = session.calls.get(text_of(block.get("tool_use_id")), ("tool", ""))
        said = redact("\n".join(_texts(block.get("content"))))[:MAX_ERROR]
        yield _item(
            session, line, place, position,
            event_type="tool_error",
            text=f"{tool} failed: {said or 'no message'}",
            key=f"{line['uuid']}#{number}",
            details={"tool": tool, "input_preview": call},
        )  # fmt: skip


def finish(session: Conversation) -> Iterator[Event]:
    """Yield the answer that was being read, if there is one."""
    answer, session.answer = session.answer, None
    if answer is not None:
        yield _item(
            session, answer.line, answer.place, answer.position,
            event_type="assistant_message",
            text="\n\n".join(answer.texts),
            key=answer.line["uuid"],
            details={"message_id": answer.message_id},
            model=answer.model,
        )  # fmt: skip


def _item(
    session: Conversation,
    line: dict[str, Any],
    place: Place,
    position: int,
    *,
    event_type: str,
    text: str,
    key: str,
    details: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> Event:
    try:
        timestamp = validate.parse_time("timestamp", line["timestamp"])
    except InvalidInput as error:
        return BrokenItem(place=place, reason=str(error), position=position)
    summary = clean(text)
    cut = {"characters": len(summary)} if len(summary) > MAX_TEXT else {}
    context = {
        "cwd": text_of(line.get("cwd")),
        "git_branch": text_of(line.get("gitBranch")),
        "model": model,
        "title": session.title,
    }
    episode = NewEpisode(
        event_type=event_type,
        summary=summary[:MAX_TEXT],
        timestamp=timestamp,
        details={**(details or {}), **cut} or None,
        context={name: clean(value) for name, value in context.items() if value} or None,
        importance="high" if event_type == "tool_error" else "medium",
        tags=["transcript"],
        session_id=line["sessionId"],
        source_id=f"claude:{line['sessionId']}/{key}",
    )
    return Item(value=episode, place=place, position=position, size=len(summary))


def _texts(content: Any) -> list[str]:
    """Return the texts of a message's content: a text, or blocks of type `text`."""
    if isinstance(content, str):
        return [content.strip()] if content.strip() else []
    texts = (text_of(b.get("text")).strip() for b in members(content) if b.get("type") == "text")
    return [text for text in texts if text]


def _remember_call(session: Conversation, block: dict[str, Any]) -> None:
    while len(session.calls) >= _MAX_CALLS:
        del session.calls[next(iter(session.calls))]
    # Tool inputs hold files and secrets: only the beginning of a failed one is ever stored.
    try:
        preview = json.dumps(block.get("input"), ensure_ascii=False)
    except RecursionError:
        preview = ""
    preview = redact(preview[: 10 * MAX_PREVIEW])[:MAX_PREVIEW]
    session.calls[text_of(block.get("id"))] = (text_of(block.get("name"))[:100] or "tool", preview)
