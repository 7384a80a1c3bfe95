"""What memory accepts. Pure: no database, no clock; every refusal names the field and the value."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from aegis.errors import InvalidInput
from aegis.memory import binding
from aegis.memory.models import (
    FEEDBACK,
    IMPORTANCE,
    METRICS,
    MODES,
    OUTCOMES,
    NewDecision,
    NewEpisode,
    NewFact,
)

__all__ = [
    "alternative_names",
    "check_changes",
    "check_choice",
    "check_decision",
    "check_episode",
    "check_event_types",
    "check_fact",
    "check_json_object",
    "check_key",
    "check_limit",
    "check_namespace",
    "check_tags",
    "check_text",
    "check_time",
    "check_vector",
    "namespace_of",
    "parse_time",
]

#: The seed's column types.
MAX_EVENT_TYPE = 100
MAX_CONCEPT = 200
MAX_CATEGORY = 100
MAX_SOURCE = 200
#: Ours: beyond these a value is a mistake or an attack, not a memory.
MAX_SUMMARY = 1_000_000
MAX_JSON_BYTES = 16 * 2**20
#: Deeper ones are stored, and then break everything that reads them by recursion.
MAX_JSON_DEPTH = 100
MAX_TAGS = 200
MAX_KEY = 200
#: With a namespace beside it, below the 2,704 bytes that a B-tree entry may take.
MAX_SOURCE_KEY_BYTES = 1_000
#: pgvector's limit for the type `vector`.
MAX_DIMENSIONS = 16_000
_PREVIEW = 60
#: PostgreSQL knows no zone further from UTC.
_MAX_OFFSET = timedelta(hours=16)

# `json.dumps` with options makes an encoder for every call.
_encode_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def check_episode(episode: NewEpisode) -> None:
    """Accept an episode or say what is wrong with it.

    Raises:
        InvalidInput: a field is empty, too long, of the wrong type or not in its range.
    """
    check_text("event_type", episode.event_type, most=MAX_EVENT_TYPE)
    check_text("summary", episode.summary, most=MAX_SUMMARY)
    check_choice("importance", episode.importance, IMPORTANCE)
    check_tags(episode.tags)
    for name in ("timestamp", "created_at", "updated_at", "expires_at"):
        value = getattr(episode, name)
        if value is not None:
            check_time(name, value)
    for name in ("details", "context", "metadata"):
        check_json_object(name, getattr(episode, name))
    _check_ids("related_memories", episode.related_memories)
    for source in episode.related_sources:
        check_key("related_sources", source)
    if episode.decision is not None:
        check_text("decision", episode.decision, most=MAX_SUMMARY)
    _check_keys(episode)
    if episode.embedding is not None:
        check_vector("embedding", episode.embedding)


def check_fact(fact: NewFact) -> None:
    """Accept a fact or say what is wrong with it (`InvalidInput`)."""
    check_text("concept", fact.concept, most=MAX_CONCEPT)
    check_text("content", fact.content, most=MAX_SUMMARY)
    if fact.category is not None:
        check_text("category", fact.category, most=MAX_CATEGORY)
    if fact.source is not None:
        check_text("source", fact.source, most=MAX_SOURCE)
    check_confidence(fact.confidence)
    check_tags(fact.tags)
    check_json_object("metadata", fact.metadata)
    for name in ("created_at", "updated_at", "valid_from", "valid_to", "expires_at"):
        if getattr(fact, name) is not None:
            check_time(name, getattr(fact, name))
    if fact.valid_from and fact.valid_to and fact.valid_from > fact.valid_to:
        raise InvalidInput(
            f"valid_to is {fact.valid_to.isoformat()}, before valid_from; a fact ends after it "
            "begins."
        )
    _check_keys(fact)


def check_confidence(value: Any) -> None:
    """Accept a number from 0 to 1."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 <= value <= 1.0:
        raise InvalidInput(f"confidence is {value!r}; it must be a number from 0 to 1.")


def check_decision(decision: NewDecision) -> None:
    """Accept a decision or say what is wrong with it (`InvalidInput`)."""
    for name in ("task_context", "chosen_option", "reasoning"):
        check_text(name, getattr(decision, name), most=MAX_SUMMARY)
    names = alternative_names(decision.alternatives)
    if decision.chosen_option.strip() not in names:
        raise InvalidInput(
            f"chosen_option is {_short(decision.chosen_option)}, which is not among the "
            f"alternatives ({', '.join(names)}); add it to them or choose one of them."
        )
    if decision.episode_id is not None:
        _check_ids("episode_id", [decision.episode_id])
    if decision.confidence is not None:
        check_confidence(decision.confidence)
    if decision.review_at is not None:
        check_time("review_at", decision.review_at)
    if decision.namespace is not None:
        check_namespace(decision.namespace)


def alternative_names(alternatives: Any) -> list[str]:
    """Return the options' names: a text is its own name, an object has `name` or `option`.

    Raises:
        InvalidInput: there is no option, or one without a name.
    """
    if isinstance(alternatives, str) or not isinstance(alternatives, Sequence):
        raise InvalidInput(
            f"alternatives is {_short(alternatives)}; give a list of the options that there were."
        )
    options = cast("Sequence[Any]", alternatives)
    if not options:
        raise InvalidInput("alternatives is empty; a decision needs the options that there were.")
    names: list[str] = []
    for number, option in enumerate(options):
        name: Any = option
        if isinstance(option, Mapping):
            fields = cast("Mapping[str, Any]", option)
            name = fields.get("name", fields.get("option"))
            check_json_object(f"alternatives[{number}]", fields)
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput(
                f"alternatives[{number}] is {_short(option)}; "
                "give a text, or an object with a name."
            )
        _check_nul(f"alternatives[{number}]", name)
        names.append(name.strip())
    return names


def check_text(name: str, value: Any, *, most: int) -> None:
    """Accept text with something in it, of at most `most` characters."""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is {_short(value)}; it must be text.")
    if not value.strip():
        raise InvalidInput(f"{name} is empty; it must say something.")
    if len(value) > most:
        raise InvalidInput(f"{name} has {len(value):,} characters; at most {most:,} are accepted.")
    _check_nul(name, value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Accept one of `choices`."""
    if value not in choices:
        raise InvalidInput(f"{name} is {_short(value)}; use one of {', '.join(choices)}.")


def check_tags(tags: Any) -> None:
    """Accept a list of non-empty texts."""
    _check_texts("tags", tags, most=MAX_KEY)


def check_event_types(types: Any) -> None:
    """Accept a list of types to look for."""
    _check_texts("event_types", types, most=MAX_EVENT_TYPE)


def _check_texts(name: str, texts: Any, *, most: int) -> None:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InvalidInput(f"{name} is {_short(texts)}; give a list of texts.")
    given = cast("Sequence[Any]", texts)
    if len(given) > MAX_TAGS:
        raise InvalidInput(f"{name} has {len(given)} entries; at most {MAX_TAGS} are accepted.")
    for number, text in enumerate(given):
        check_text(f"{name}[{number}]", text, most=most)


def check_json_object(name: str, value: Any) -> None:
    """Accept None or a JSON object: text keys, finite numbers, no NUL characters, not too deep."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} is {_short(value)}; it must be a JSON object.")
    try:
        text = _encode_json(value)
        text.encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{name} cannot be stored as JSON: {error}.") from None
    if len(text) > MAX_JSON_BYTES:
        raise InvalidInput(f"{name} has {len(text):,} characters; at most {MAX_JSON_BYTES:,}.")
    _check_parts(name, value)


def _check_parts(name: str, value: Any) -> None:
    """Look level by level: what is nested too deeply to be walked by recursion cannot be read."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise InvalidInput(f"{name} is nested more than {MAX_JSON_DEPTH} deep; flatten it.")
        below: list[Any] = []
        for part in level:
            if isinstance(part, str):
                if "\0" in part:
                    raise InvalidInput(f"{name} contains a NUL character; remove it.")
            elif isinstance(part, Mapping):
                members = cast("Mapping[str, Any]", part)
                below += (*members.keys(), *members.values())
            elif isinstance(part, list | tuple):
                below += cast("Sequence[Any]", part)
        level = below


def check_time(name: str, value: Any) -> None:
    """Accept a time with a time zone."""
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} is {_short(value)}; it must be a time.")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidInput(
            f"{name} is {value.isoformat()}, which has no time zone; add one, such as "
            f"{value.isoformat()}+00:00."
        )
    offset = value.utcoffset() or timedelta()
    if abs(offset) >= _MAX_OFFSET or offset.microseconds:
        raise InvalidInput(
            f"{name} is {value.isoformat()}; its zone must be whole seconds, less than 16 hours "
            "from UTC."
        )
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(
            f"{name} is {value.isoformat()}; it must be within the years 1 to 9999 in UTC."
        ) from None


def parse_time(name: str, text: str) -> datetime:
    """Return the time that `text` says, in ISO 8601 with a zone.

    Raises:
        InvalidInput: it is not such a time, or has no zone.
    """
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(
            f"{name} is {_short(text)}; write a time such as 2026-05-01T09:00:00+00:00."
        ) from None
    check_time(name, value)
    return value


def check_vector(name: str, vector: Sequence[float], *, dimensions: int | None = None) -> None:
    """Accept finite numbers, as many as `dimensions` where that is known."""
    if isinstance(vector, str) or len(vector) == 0 or len(vector) > MAX_DIMENSIONS:
        raise InvalidInput(f"{name} must be a list of 1 to {MAX_DIMENSIONS:,} numbers.")
    if not _finite(vector):
        _refuse_first(name, vector)
    if dimensions is not None and len(vector) != dimensions:
        raise InvalidInput(
            f"{name} has {len(vector)} numbers; this model's vectors have {dimensions}."
        )


def _finite(vector: Sequence[float]) -> bool:
    try:
        return all(map(math.isfinite, vector)) and bool not in set(map(type, vector))
    except TypeError:
        return False


def _refuse_first(name: str, vector: Sequence[Any]) -> None:
    for position, value in enumerate(vector):
        if not _finite([value]):
            raise InvalidInput(
                f"{name}[{position}] is {_short(value)}; it must be a finite number."
            )


def check_namespace(value: Any) -> None:
    """Accept a namespace: 1 to 200 printable characters, one that whoever asks may work in."""
    check_text("namespace", value, most=MAX_KEY)
    if not value.isprintable() or value != value.strip():
        raise InvalidInput(f"namespace is {_short(value)}; use printable text without blank ends.")
    binding.require(value)


def namespace_of(given: Any, default: str) -> str:
    """Return the namespace that was given, `default` for None (`InvalidInput`)."""
    check_namespace(place := binding.home(default) if given is None else given)
    return cast("str", place)


def check_changes(changes: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Accept changes of allowed fields, at least one."""
    choices = ", ".join(sorted(allowed))
    if not changes:
        raise InvalidInput(f"There is nothing to change; give at least one of {choices}.")
    unknown = sorted(set(changes) - set(allowed))
    if unknown:
        raise InvalidInput(f"{', '.join(unknown)} cannot be updated; use {choices}.")


def check_limit(name: str, value: Any, *, most: int) -> None:
    """Accept a whole number from 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput(f"{name} is {_short(value)}; use a whole number from 1 to {most}.")


def check_id(name: str, value: Any) -> None:
    """Accept the id of a row: a positive 32-bit integer, the seed's SERIAL."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise InvalidInput(
            f"{name} is {_short(value)}; ids are whole numbers from 1 to {2**31 - 1}."
        )


def check_mode(mode: Any, metric: Any) -> None:
    """Accept a recall mode and a metric."""
    check_choice("mode", mode, MODES)
    check_choice("metric", metric, METRICS)


def check_outcome(status: Any, feedback: Any) -> None:
    """Accept an outcome other than `pending`, and a feedback or none."""
    check_choice("outcome", status, OUTCOMES[1:])
    if feedback is not None:
        check_choice("feedback", feedback, FEEDBACK)


def check_key(name: str, value: Any) -> None:
    """Accept a key of at most `MAX_SOURCE_KEY_BYTES`, so that it fits into an index."""
    check_text(name, value, most=MAX_SOURCE_KEY_BYTES)
    if len(value.encode()) > MAX_SOURCE_KEY_BYTES:
        raise InvalidInput(
            f"{name} has {len(value.encode()):,} bytes; at most {MAX_SOURCE_KEY_BYTES:,} "
            "are accepted."
        )


def _check_keys(item: NewEpisode | NewFact) -> None:
    if item.namespace is not None:
        check_namespace(item.namespace)
    for name in ("session_id", "source_id"):
        value = getattr(item, name, None)
        if value is not None:
            check_key(name, value)


def _check_ids(name: str, values: Any) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidInput(f"{name} is {_short(values)}; give a list of ids.")
    for value in cast("Sequence[Any]", values):
        check_id(name, value)


def _check_nul(name: str, value: str) -> None:
    if "\x00" in value:
        raise InvalidInput(f"{name} contains a NUL character; remove it.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{name} contains half of a surrogate pair; it is not text.") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
