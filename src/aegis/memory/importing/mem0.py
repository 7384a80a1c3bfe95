"""mem0's memories, as `get_all()` returns them.

They become episodes, not facts, although they are statements: `recall` ranks episodes by words,
meaning and time together, an episode keeps when mem0 learnt it, and a fact would need a concept,
which mem0 has none of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory.importing.archives import find_parts, open_parts, read_episode, unwrap
from aegis.memory.importing.fields import content_key, describe, read_time, text_of
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.memory.importing.archives import Entry
    from aegis.memory.importing.items import Event, Source

__all__ = ["open_source"]

_NAMES = re.compile(r".*\.json")
#: Whose memory it is; kept in `metadata` beside mem0's own.
_OWNERS = ("user_id", "agent_id", "app_id", "run_id", "actor_id", "role")


def open_source(path: Path) -> Source:
    """Open a file, the `.json` files below a folder, or those in a zip (`InvalidInput`)."""
    return open_parts(find_parts(path, _NAMES, ".json files"), _events, unit="value")


def _events(entry: Entry) -> Iterator[Event]:
    """Yield a memory, or each of an answer's `results`."""
    if "results" in entry.fields and "memory" not in entry.fields:
        yield from unwrap(entry, "results", "memory", _event)
    else:
        yield _event(entry)


def _event(entry: Entry) -> Event:
    return read_episode(entry, _episode)


def _episode(memory: dict[str, Any]) -> NewEpisode:
    text = memory.get("memory")
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"memory is {describe(text)}; it must be a text")
    own = memory.get("metadata")
    if own is not None and not isinstance(own, dict):
        raise InvalidInput(f"metadata is {describe(own)}; it must be a JSON object")
    metadata = {**cast("dict[str, Any]", own or {}), **_texts(memory, _OWNERS)}
    changed_at = read_time(memory, "updated_at")
    if changed_at is not None:
        metadata["updated_at"] = changed_at.isoformat()
    categories: Any = memory.get("categories") or []
    if not isinstance(categories, list):
        raise InvalidInput(f"categories is {describe(categories)}; it must be a list of texts")
    return NewEpisode(
        event_type="memory",
        summary=text,
        timestamp=read_time(memory, "created_at") or changed_at,
        metadata=metadata or None,
        tags=["mem0", *cast("list[Any]", categories)],
        session_id=text_of(memory.get("run_id")) or None,
        source_id=_key(memory),
    )


def _texts(memory: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name in names if (text := text_of(memory.get(name)))}


def _key(memory: dict[str, Any]) -> str:
    name = memory.get("id")
    if isinstance(name, str | int) and not isinstance(name, bool) and name != "":
        return f"mem0:{name}"
    return content_key("mem0", memory)
