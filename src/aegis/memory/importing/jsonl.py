"""JSONL: the format of `aegis.memory.exporting`, and anyone's objects with a text in them.

A line with `kind` episode, fact or decision (or what stands beside them, `beside`) is ours, field
for field. Any other object is an
episode if it has a text: well-known names are understood (`text`, `time`, `tags` …), and what is
left goes to `metadata`, so that nothing is lost. An item without a `source_id` gets one made of
its origin (id and creation time) or of its content, so that importing it twice records it once.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.beside import read_beside
from aegis.memory.importing.exported_facts import read_exported
from aegis.memory.importing.fields import content_key, read_time
from aegis.memory.importing.items import (
    BrokenItem,
    ImportedDecision,
    Item,
    PassedOver,
    Place,
    Source,
)
from aegis.memory.importing.lines import file_size, find_files, parse_object, read_lines
from aegis.memory.links import decision_episodes
from aegis.memory.models import NewDecision, NewEpisode, NewFact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.memory.importing.items import Event

__all__ = ["FORMAT", "VERSION", "open_source", "read_event"]

#: Header of an export.
FORMAT = "aegis-memory"
VERSION = 3
#: Version 1 had neither the history nor the sources of facts, version 2 no relations, merges and
#: items.
_READ = (1, 2, 3)

#: What a foreign object may call its fields, the first one that is there wins.
_TEXT = ("summary", "text", "content", "message", "body")
_TIME = ("timestamp", "time", "created_at", "date", "ts")
_EVENT_TYPE = ("event_type", "type", "kind")
_SESSION = ("session_id", "session", "conversation_id", "thread_id")


def open_source(path: Path) -> Source:
    """Open a file, or the `.jsonl` files below a folder (`InvalidInput`)."""
    files = find_files(path, ".jsonl")
    total = sum(file_size(file) for file in files)
    return Source(events=_events(files), total=total, unit="bytes")


def _events(files: list[Path]) -> Iterator[Event]:
    before = 0
    for file in files:
        end = 0
        for line in read_lines(file):
            end = line.end
            place = Place(file=str(file), number=line.number)
            try:
                parsed = parse_object(line)
                yield read_event(parsed, place, before + end, len(line.data or b""))
            except InvalidInput as error:
                yield BrokenItem(place=place, reason=str(error), position=before + end)
        before += end


def read_event(line: dict[str, Any], place: Place, position: int, size: int) -> Event:
    """Return what an object of a file is; `size` is about how many bytes it takes."""
    match line.get("kind"):
        case "header":
            _check_header(line)
            return PassedOver(what="header", position=position)
        case "episode":
            value: Any = _episode(line)
        case "fact":
            value = read_exported(line, _fact(line))
        case "deleted_fact":
            value = read_exported(line, None)
        case "decision":
            value = _decision(line)
        case "item" | "relation" | "merge" if _is_beside(line):
            value = read_beside(line)
        case _:
            value = _foreign(line)
    ours = line.get("kind") in ("episode", "fact")
    old_id = line.get("id") if ours else None
    created_at = read_time(line, "created_at") if ours else None
    if not _is_id(old_id) or created_at is None:
        old_id = created_at = None
    if line.get("kind") == "deleted_fact" and _is_id(line.get("id")):
        old_id = line["id"]  # others may have ended where it began
    return Item(
        value=value,
        place=place,
        position=position,
        size=size,
        old_id=old_id,
        old_created_at=created_at,
        related_old_ids=_related(line) if isinstance(value, NewEpisode) and ours else (),
    )


def _is_beside(line: dict[str, Any]) -> bool:
    """Tell our rows from other people's objects, whose kind may be called the same."""
    return {"item": "path", "relation": "start", "merge": "kept"}[line["kind"]] in line


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and 0 < value < 2**31


def _check_header(line: dict[str, Any]) -> None:
    if line.get("format") != FORMAT:
        raise InvalidInput(f"the header's format is {line.get('format')!r}, not {FORMAT!r}")
    version = line.get("version")
    if version not in _READ:
        raise InvalidInput(
            f"the file has version {version!r} of the format, this Aegis reads {VERSION}; "
            "install a newer one"
        )


def _episode(line: dict[str, Any]) -> NewEpisode:
    return NewEpisode(
        event_type=_required(line, "event_type"),
        summary=_required(line, "summary"),
        timestamp=read_time(line, "timestamp"),
        details=line.get("details"),
        context=line.get("context"),
        importance=line.get("importance", "medium"),
        tags=line.get("tags", ()),
        decision=line.get("decision"),
        metadata=line.get("metadata"),
        session_id=line.get("session_id"),
        source_id=_key(line),
        embedding=line.get("embedding"),
        embedding_model=line.get("embedding_model") if line.get("embedding") else None,
        created_at=read_time(line, "created_at"),
        updated_at=read_time(line, "updated_at"),
        expires_at=read_time(line, "expires_at"),
    )


def _fact(line: dict[str, Any]) -> NewFact:
    return NewFact(
        concept=_required(line, "concept"),
        content=_required(line, "content"),
        category=line.get("category"),
        source=line.get("source"),
        confidence=line.get("confidence", 1.0),
        metadata=line.get("metadata"),
        tags=line.get("tags", ()),
        source_id=_key(line),
        valid_from=read_time(line, "valid_from"),
        valid_to=read_time(line, "valid_to"),
        created_at=read_time(line, "created_at"),
        updated_at=read_time(line, "updated_at"),
        expires_at=read_time(line, "expires_at"),
    )


def _decision(line: dict[str, Any]) -> ImportedDecision:
    episode_id = line.get("episode_id")
    decision = ImportedDecision(
        task_context=_required(line, "task_context"),
        alternatives=_required(line, "alternatives"),
        chosen_option=_required(line, "chosen_option"),
        reasoning=_required(line, "reasoning"),
        outcome_status=line.get("outcome_status") or "pending",
        outcome_details=line.get("outcome_details"),
        lessons_learned=line.get("lessons_learned"),
        user_feedback=line.get("user_feedback"),
        created_at=read_time(line, "created_at"),
        resolved_at=read_time(line, "resolved_at"),
        confidence=line.get("confidence"),
        review_at=read_time(line, "review_at"),
        old_episodes=decision_episodes(line.get("episodes") or []),
        old_episode_id=episode_id if isinstance(episode_id, int) else None,
        # A decision of ours says `episode_id`, null included; one made elsewhere gets an episode.
        episode=None if "episode_id" in line else _episode_of_decision(line),
    )
    if "episode_id" not in line:
        validate.check_decision(
            NewDecision(
                task_context=decision.task_context,
                alternatives=decision.alternatives,
                chosen_option=decision.chosen_option,
                reasoning=decision.reasoning,
            )
        )
    return decision


def _episode_of_decision(line: dict[str, Any]) -> NewEpisode:
    for name in ("task_context", "chosen_option", "reasoning"):
        validate.check_text(name, line[name], most=validate.MAX_SUMMARY)
    chosen = line["chosen_option"].strip()
    return NewEpisode(
        event_type="decision",
        summary=f"{line['task_context'].strip()}: chose {chosen}. {line['reasoning'].strip()}",
        timestamp=read_time(line, "created_at"),
        decision=chosen,
        importance="high",
        details={"alternatives": validate.alternative_names(line["alternatives"])},
        source_id=_key(line),
    )


def _foreign(line: dict[str, Any]) -> NewEpisode:
    rest = dict(line)
    text = _first(rest, _TEXT, str)
    if text is None:
        raise InvalidInput(f"it has no text; give one of {', '.join(_TEXT)}")
    author = _first(rest, ("author", "role", "speaker"), str)
    time_name = next((name for name in _TIME if rest.get(name) is not None), None)
    timestamp = None if time_name is None else read_time(rest, time_name)
    if time_name is not None:
        del rest[time_name]
    tags: Any = rest.pop("tags", None) or ()
    session_id = _first(rest, _SESSION, str | int)
    source_id = _first(rest, ("source_id",), str)
    known = {name: rest.pop(name, None) for name in ("details", "context", "metadata")}
    validate.check_json_object("metadata", known["metadata"])
    metadata: dict[str, Any] = known["metadata"] or {}
    return NewEpisode(
        event_type=_first(rest, _EVENT_TYPE, str) or "note",
        summary=text if author is None else f"{author}: {text}",
        timestamp=timestamp,
        importance=rest.pop("importance", None) or "medium",
        tags=[tags] if isinstance(tags, str) else tags,
        decision=_first(rest, ("decision",), str),
        details=known["details"],
        context=known["context"],
        metadata={**metadata, **({"author": author} if author else {}), **rest} or None,
        session_id=None if session_id is None else str(session_id),
        source_id=source_id or content_key("jsonl", line),
    )


def _first(rest: dict[str, Any], names: tuple[str, ...], kind: Any) -> Any:
    """Take the first of `names` that has a value of `kind` out of `rest`."""
    for name in names:
        value = rest.get(name)
        if isinstance(value, kind) and value != "" and not isinstance(value, bool):
            return rest.pop(name)
    return None


def _required(line: dict[str, Any], name: str) -> Any:
    if line.get(name) is None:
        raise InvalidInput(f"{name} is missing")
    return line[name]


def _related(line: dict[str, Any]) -> tuple[int, ...]:
    related: Any = line.get("related_memories") or ()
    if not isinstance(related, list | tuple):
        raise InvalidInput(f"related_memories is {related!r:.60}; it must be a list of ids")
    ids = tuple(cast("list[Any]", related))
    for value in ids:
        validate.check_id("related_memories", value)
    return ids


def _key(line: dict[str, Any]) -> str:
    """Return the item's own key, its origin, or its content's hash."""
    if line.get("source_id") is not None:
        return line["source_id"]
    created_at = read_time(line, "created_at")
    if isinstance(line.get("id"), int) and created_at is not None:
        return f"export:{line['id']}@{created_at.astimezone(UTC).isoformat()}"
    return content_key("jsonl", line)
