"""ChatGPT's data export: the words of each conversation as it stands.

A conversation is a tree, since a question can be put again and an answer made again: the branch
from `current_node` up to the root is the one that the user sees, and the one that is kept. Of it
users' and assistants' texts are recorded; system messages, tools, their calls and thoughts are
passed over. Images and the like are counted in `left_out`, attached files named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory.importing.chats import message_item, open_conversations
from aegis.memory.importing.fields import describe, members, read_time, text_of
from aegis.memory.importing.items import PassedOver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from aegis.memory.importing.archives import Entry
    from aegis.memory.importing.items import Event, Source

__all__ = ["open_source"]

#: Kinds of content that hold words; others are code for tools, thoughts and what tools answered.
_WORDS = ("text", "multimodal_text", "")


def open_source(path: Path) -> Source:
    """Open `conversations.json`, the folder with it, or the zip (`InvalidInput`)."""
    return open_conversations(path, _conversation)


def _conversation(entry: Entry) -> Iterator[Event]:
    try:
        name = _name(entry.fields)
        branch = _branch(entry.fields)
        started = read_time(entry.fields, "create_time")
    except InvalidInput as error:
        yield entry.broken(error.message)
        return
    if not branch:
        yield PassedOver(what="conversation without messages", position=entry.position)
    said_at = started
    for node_id, node in branch:
        message = node.get("message")
        if not isinstance(message, dict):
            continue  # the root of the tree
        message = cast("dict[str, Any]", message)
        why = _not_said(message)
        if why is not None:
            yield PassedOver(what=why, position=entry.position)
            continue
        try:
            # Messages that were put in later have none: they follow the one before.
            said_at = read_time(message, "create_time") or said_at
            if said_at is None:
                raise InvalidInput("create_time is missing")
        except InvalidInput as error:
            yield entry.broken(f"message {node_id!r:.60}: {error.message}")
            continue
        yield _message(entry, name, node_id, message, said_at)


def _name(conversation: dict[str, Any]) -> str:
    name = conversation.get("conversation_id") or conversation.get("id")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"conversation_id is {describe(name)}; it must be a text")
    return name


def _branch(conversation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the current branch's nodes from the root down."""
    mapping = conversation.get("mapping")
    if not isinstance(mapping, dict):
        raise InvalidInput(f"mapping is {describe(mapping)}; it must be an object of messages")
    nodes = cast("dict[str, Any]", mapping)
    at = conversation.get("current_node") or _last_leaf(nodes)
    if at is not None and (not isinstance(at, str) or at not in nodes):
        raise InvalidInput(f"current_node is {describe(at)}, which is not in mapping")
    branch: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    while at is not None:
        node = nodes.get(at)
        if not isinstance(node, dict):
            raise InvalidInput(f"message {at!r:.60} is {describe(node)}; it must be an object")
        if at in seen:
            raise InvalidInput(f"message {at!r:.60} comes after itself")
        seen.add(at)
        branch.append((at, cast("dict[str, Any]", node)))
        at = branch[-1][1].get("parent")
        if at is not None and not isinstance(at, str):
            raise InvalidInput(f"the parent of {branch[-1][0]!r:.60} is {describe(at)}")
        if at not in nodes:
            break  # the tree's root, or a part of a tree: what is there counts
    return branch[::-1]


def _last_leaf(nodes: dict[str, Any]) -> str | None:
    """Return the node that was written last, where none is called current."""
    leaves = [
        name
        for name, node in nodes.items()
        if isinstance(node, dict) and not cast("dict[str, Any]", node).get("children")
    ]
    return leaves[-1] if leaves else None


def _not_said(message: dict[str, Any]) -> str | None:
    """Return why a message is nobody's words, or None."""
    role = text_of(_object(message.get("author")).get("role"))
    if role not in ("user", "assistant"):
        return f"message of role {role:.40}" if role else "message without a role"
    if _object(message.get("metadata")).get("is_visually_hidden_from_conversation") is True:
        return "hidden message"
    if message.get("recipient") not in (None, "", "all"):
        return "message to a tool"
    content = _object(message.get("content"))
    kind = text_of(content.get("content_type"))
    if kind not in _WORDS:
        return f"content of type {kind:.40}"
    return None if _texts(content) else "message without text"


def _message(
    entry: Entry, name: str, node_id: str, message: dict[str, Any], said_at: datetime
) -> Event:
    content = _object(message.get("content"))
    metadata = _object(message.get("metadata"))
    attached = members(metadata.get("attachments"))
    return message_item(
        entry,
        program="chatgpt",
        conversation=name,
        message=node_id,
        said_by_user=_object(message["author"])["role"] == "user",
        text="\n\n".join(_texts(content)),
        timestamp=said_at,
        title=text_of(entry.fields.get("title")),
        model=text_of(metadata.get("model_slug")),
        left_out=_left_out(content),
        files=[name for file in attached if (name := text_of(file.get("name")))],
    )


def _texts(content: dict[str, Any]) -> list[str]:
    """Return the parts that are text: written, or a spoken one's transcription."""
    parts = content.get("parts")
    if not isinstance(parts, list):
        return [text] if (text := text_of(content.get("text")).strip()) else []
    texts = [
        text_of(part) or text_of(_object(part).get("text")) for part in cast("list[Any]", parts)
    ]
    return [stripped for text in texts if (stripped := text.strip())]


def _left_out(content: dict[str, Any]) -> list[str]:
    return [
        text_of(part.get("content_type")) or "part"
        for part in members(content.get("parts"))
        if not text_of(part.get("text")).strip()
    ]


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
