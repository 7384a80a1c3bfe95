"""Labelled conversations: one JSON object a file, its messages in order.

`{source, conversation, messages: [{id, session, time, author, text}], questions}`; each
conversation has its own namespace (`locomo-26`) unless the caller names one. Messages of one
session may carry equal times: they are recorded in the order of the file, so ids keep it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.items import BrokenItem, Item, Place, Source
from aegis.memory.importing.lines import file_size, find_files, parse_json
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.memory.importing.items import Event

__all__ = ["open_source"]

#: One object is read whole; a conversation of a hundred thousand messages has 50 MB.
MAX_FILE_BYTES = 256 * 2**20


def open_source(path: Path, namespace: str | None) -> Source:
    """Open a file, or the `.json` files below a folder (`InvalidInput`)."""
    files = find_files(path, ".json")
    total = sum(file_size(file) for file in files)
    return Source(events=_events(files, namespace), total=total, unit="bytes")


def _events(files: list[Path], namespace: str | None) -> Iterator[Event]:
    before = 0
    for file in files:
        size = file_size(file)
        before += size
        try:
            conversation = _read(file, size)
            name = _name(conversation)
            messages = _messages(conversation)
        except InvalidInput as error:
            whole = Place(file=str(file), number=1)
            yield BrokenItem(place=whole, reason=str(error), position=before)
            continue
        for number, message in enumerate(messages, 1):
            place = Place(file=str(file), number=number, unit="message")
            position = before - size + size * number // len(messages)
            try:
                episode = _episode(message, conversation, name, namespace)
            except InvalidInput as error:
                yield BrokenItem(place=place, reason=str(error), position=position)
                continue
            yield Item(value=episode, place=place, position=position, size=len(episode.summary))


def _read(file: Path, size: int) -> dict[str, Any]:
    if size > MAX_FILE_BYTES:
        raise InvalidInput(f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    try:
        value = parse_json(file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise InvalidInput("the file does not hold a JSON object")
    return cast("dict[str, Any]", value)


def _name(conversation: dict[str, Any]) -> str:
    """Return the conversation's name in keys, sessions and namespaces, such as `locomo-26`."""
    parts: list[str] = []
    for field in ("source", "conversation"):
        value = conversation.get(field)
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
            raise InvalidInput(f"{field} is {value!r:.60}; it must be a text")
        parts.append(re.sub(r"[^\w.]+", "-", str(value).strip().lower()))
    return "-".join(parts)[: validate.MAX_KEY]


def _messages(conversation: dict[str, Any]) -> list[Any]:
    messages = conversation.get("messages")
    if not isinstance(messages, list):
        raise InvalidInput("messages is missing; it must be a list")
    return cast("list[Any]", messages)


def _episode(
    message: Any, conversation: dict[str, Any], name: str, namespace: str | None
) -> NewEpisode:
    if not isinstance(message, dict):
        raise InvalidInput(f"it is {message!r:.60}, not a JSON object")
    fields = cast("dict[str, Any]", message)
    for field in ("id", "session", "time", "author", "text"):
        if not isinstance(fields.get(field), str) or not fields[field].strip():
            raise InvalidInput(f"{field} is {fields.get(field)!r:.60}; it must be a text")
    return NewEpisode(
        event_type="message",
        summary=f"{fields['author']}: {fields['text']}",
        timestamp=validate.parse_time("time", fields["time"]),
        metadata={"author": fields["author"], "message_id": fields["id"]},
        # Sessions are numbered from 1 in every conversation; in one namespace they must differ.
        session_id=f"{name}/{fields['session']}",
        source_id=f"{str(conversation['source']).lower()}:{conversation['conversation']}"
        f"/{fields['id']}",
        namespace=namespace or name,
    )
