"""Items of a LangGraph store: what `search` returns, as JSON or JSON lines.

An item's namespace, joined with `/`, is the session, its text what `value` says in one of the
well-known fields, else the value itself as JSON. A value that holds more than the text is kept
whole in `details`.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.archives import find_parts, open_parts, read_episode, unwrap
from aegis.memory.importing.fields import describe, read_time
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.memory.importing.archives import Entry
    from aegis.memory.importing.items import Event, Source

__all__ = ["item_episode", "item_source_id", "open_source"]

_NAMES = re.compile(r".*\.(?:json|jsonl|ndjson)")
#: What a value may call its text, the first one that is there wins.
_TEXT = ("text", "content", "memory", "data", "summary")


def open_source(path: Path) -> Source:
    """Open a file, or the JSON files below a folder or in a zip (`InvalidInput`)."""
    return open_parts(find_parts(path, _NAMES, "JSON files"), _events, unit="value")


def _events(entry: Entry) -> Iterator[Event]:
    """Yield an item, or each of an answer's `items`."""
    if "items" in entry.fields and "value" not in entry.fields:
        yield from unwrap(entry, "items", "item", _event)
    else:
        yield _event(entry)


def _event(entry: Entry) -> Event:
    return read_episode(entry, item_episode)


def item_episode(item: dict[str, Any]) -> NewEpisode:
    """Return the episode of an item: `namespace`, `key`, `value`, maybe times (`InvalidInput`)."""
    namespace = _namespace(item)
    key = item.get("key")
    if not isinstance(key, str) or not key:
        raise InvalidInput(f"key is {describe(key)}; it must be a text")
    value = item.get("value")
    if not isinstance(value, dict):
        raise InvalidInput(f"value is {describe(value)}; it must be a JSON object")
    fields = cast("dict[str, Any]", value)
    # Before it is written as text: NaN, or nesting without end, are named so.
    validate.check_json_object("value", fields)
    text = _text(fields)
    created_at, changed_at = _time(item, "created_at"), _time(item, "updated_at")
    metadata: dict[str, Any] = {"namespace": namespace, "key": key}
    if changed_at is not None:
        metadata["updated_at"] = changed_at.isoformat()
    return NewEpisode(
        event_type="memory",
        summary=_compact(fields) if text is None else text,
        timestamp=created_at or changed_at,
        details=None if list(fields.values()) == [text] else fields,
        metadata=metadata,
        tags=["langgraph"],
        session_id="/".join(namespace) or None,
        source_id=item_source_id(namespace, key),
    )


def _namespace(item: dict[str, Any]) -> list[str]:
    """Return the labels; the store's own table joins them with dots, which no label may hold."""
    namespace = item.get("namespace", item.get("prefix"))
    if isinstance(namespace, str):
        return namespace.split(".")
    if isinstance(namespace, list):
        labels = cast("list[Any]", namespace)
        if all(isinstance(label, str) for label in labels):
            return labels
    raise InvalidInput(f"namespace is {describe(namespace)}; it must be a list of texts")


def _text(value: dict[str, Any]) -> str | None:
    for name in _TEXT:
        found = value.get(name)
        if isinstance(found, dict):
            # LangMem: {"kind": "Memory", "content": {"content": "…"}}.
            found = cast("dict[str, Any]", found).get(name)
        if isinstance(found, str) and found.strip():
            return found
    return None


def _time(item: dict[str, Any], name: str) -> Any:
    # The JavaScript client writes `createdAt`.
    first, _, second = name.partition("_")
    other = first + second.capitalize()
    return read_time(item, other if item.get(name) is None and other in item else name)


def item_source_id(namespace: list[str], key: str) -> str:
    """Return the name under which an item is recorded once."""
    # Not joined with a slash: `["a/b"], "c"` and `["a"], "b/c"` are two items.
    name = _compact([*namespace, key])
    if len(name.encode(errors="replace")) > validate.MAX_SOURCE_KEY_BYTES - 20:
        name = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    return f"langgraph:{name}"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
