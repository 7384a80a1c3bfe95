"""Claude.ai's data export: the words of each conversation.

A message has its text in blocks; thinking, tools' calls and results stand in blocks beside it and
are counted in `left_out`, attached files are named. The message's own `text` is used where there
are no blocks: elsewhere it holds stopgaps for blocks that are not text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory.importing.chats import message_item, open_conversations
from aegis.memory.importing.fields import describe, members, read_time, text_of
from aegis.memory.importing.items import PassedOver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.memory.importing.archives import Entry
    from aegis.memory.importing.items import Event, Source

__all__ = ["open_source"]


def open_source(path: Path) -> Source:
    """Open `conversations.json`, the folder with it, or the zip (`InvalidInput`)."""
    return open_conversations(path, _conversation)


def _conversation(entry: Entry) -> Iterator[Event]:
    messages = entry.fields.get("chat_messages")
    try:
        name = _name(entry.fields)
        if not isinstance(messages, list):
            raise InvalidInput(f"chat_messages is {describe(messages)}; it must be a list")
    except InvalidInput as error:
        yield entry.broken(error.message)
        return
    if not messages:
        yield PassedOver(what="conversation without messages", position=entry.position)
    for number, message in enumerate(cast("list[Any]", messages), 1):
        try:
            yield _message(entry, name, message)
        except InvalidInput as error:
            yield entry.broken(f"message {number}: {error.message}")


def _message(entry: Entry, conversation: str, message: Any) -> Event:
    if not isinstance(message, dict):
        raise InvalidInput(f"it is {describe(message)}, not a JSON object")
    fields = cast("dict[str, Any]", message)
    sender = text_of(fields.get("sender"))
    if sender not in ("human", "assistant"):
        what = f"message of sender {sender:.40}" if sender else "message without a sender"
        return PassedOver(what=what, position=entry.position)
    name = _name(fields)
    text = _text(fields)
    if not text:
        return PassedOver(what="message without text", position=entry.position)
    said_at = read_time(fields, "created_at") or read_time(entry.fields, "created_at")
    if said_at is None:
        raise InvalidInput("created_at is missing")
    attached = members(fields.get("attachments")) + members(fields.get("files"))
    return message_item(
        entry,
        program="claude.ai",
        conversation=conversation,
        message=name,
        said_by_user=sender == "human",
        text=text,
        timestamp=said_at,
        title=text_of(entry.fields.get("name")),
        left_out=[
            text_of(block.get("type")) or "block"
            for block in members(fields.get("content"))
            if block.get("type") != "text"
        ],
        files=[name for file in attached if (name := text_of(file.get("file_name")))],
    )


def _name(fields: dict[str, Any]) -> str:
    name = fields.get("uuid")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"uuid is {describe(name)}; it must be a text")
    return name


def _text(message: dict[str, Any]) -> str:
    blocks = members(message.get("content"))
    if not blocks:
        return text_of(message.get("text")).strip()
    texts = (text_of(b.get("text")).strip() for b in blocks if b.get("type") == "text")
    return "\n\n".join(text for text in texts if text)
