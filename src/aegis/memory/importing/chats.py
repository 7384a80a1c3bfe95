"""What exported chats have in common: files of conversations, and a message as an episode."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from aegis.memory.importing.archives import find_parts, open_parts
from aegis.memory.importing.fields import clean
from aegis.memory.importing.items import Item
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from aegis.memory.importing.archives import Entry
    from aegis.memory.importing.items import Event, Source

__all__ = ["message_item", "open_conversations"]

#: Beyond this a message is cut: pasted files, not words.
MAX_TEXT = 50_000
MAX_TITLE = 200
#: Attached files named in one message.
MAX_FILES = 50
#: `conversations-000.json` and so on are those of an export too large for one file.
_NAMES = re.compile(r"conversations(?:-\d+)?\.json")


def open_conversations(path: Path, read: Callable[[Entry], Iterator[Event]]) -> Source:
    """Open an export's conversations: a JSON file, a folder or the zip (`InvalidInput`)."""
    return open_parts(find_parts(path, _NAMES, "conversations.json"), read, unit="conversation")


def message_item(
    entry: Entry,
    *,
    program: str,
    conversation: str,
    message: str,
    said_by_user: bool,
    text: str,
    timestamp: datetime,
    title: str,
    model: str = "",
    left_out: Sequence[str] = (),
    files: Sequence[str] = (),
) -> Item:
    """Return a message's episode; `left_out` says the kind of each part that is not text."""
    summary = clean(text)
    metadata: Mapping[str, Any] = {
        "title": clean(title)[:MAX_TITLE],
        "model": clean(model)[:MAX_TITLE],
        "left_out": {clean(kind)[:MAX_TITLE]: n for kind, n in Counter(left_out).items()},
        "files": [clean(name)[:MAX_TITLE] for name in files[:MAX_FILES]],
    }
    episode = NewEpisode(
        event_type="user_prompt" if said_by_user else "assistant_message",
        summary=summary[:MAX_TEXT],
        timestamp=timestamp,
        details={"characters": len(summary)} if len(summary) > MAX_TEXT else None,
        metadata={name: value for name, value in metadata.items() if value} or None,
        tags=[program],
        session_id=conversation,
        source_id=f"{program}:{conversation}/{message}",
    )
    return Item(value=episode, place=entry.place, position=entry.position, size=len(summary))
