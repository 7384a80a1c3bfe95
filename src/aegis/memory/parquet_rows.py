"""The rows of an export as Parquet: one table, the columns of all kinds, typed.

A row has the columns of its kind (`kind`), the others are empty. What is of any shape, such as
`details` or a fact's history, is JSON text. Times are in UTC, to the microsecond.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from aegis.errors import InvalidInput
from aegis.memory.models import Decision, DecisionEpisode, Episode, Fact
from aegis.memory.parquet import arrow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["METADATA_KEY", "ParquetRows", "as_line", "check_schema"]

METADATA_KEY = b"aegis"
_TEXT = (
    "kind", "session_id", "event_type", "summary", "importance", "decision", "source_id",
    "embedding_model", "concept", "content", "category", "source", "task_context", "chosen_option",
    "reasoning", "outcome_status", "lessons_learned", "user_feedback", "key", "type",
)  # fmt: skip
_TIMES = (
    "timestamp", "created_at", "updated_at", "expires_at", "valid_from", "valid_to", "review_at",
    "resolved_at", "recorded_at",
)  # fmt: skip
_JSON = (
    "details", "context", "metadata", "alternatives", "outcome_details", "episodes", "sources",
    "history", "value", "found_by", "start", "end", "kept", "merged",
)  # fmt: skip
_INTEGERS = ("id", "superseded_by", "episode_id")
#: What files of version 2 and before have not.
_NEW = frozenset(
    {"key", "type", "recorded_at", "value", "found_by", "start", "end", "kept", "merged", "path",
     "weight", "ttl_minutes"}
)  # fmt: skip
_BESIDE = ("kind", "embedding", "embedding_model")
#: What a row of each kind consists of.
_OF_KIND: dict[str, frozenset[str]] = {
    "episode": frozenset({*_BESIDE, *(f.name for f in fields(Episode))}),
    "fact": frozenset({*_BESIDE, "sources", "history", *(f.name for f in fields(Fact))}),
    "deleted_fact": frozenset({"kind", "id", "history"}),
    "decision": frozenset({"kind", *(f.name for f in fields(Decision))}),
    "item": frozenset(
        {
            "kind",
            "path",
            "key",
            "value",
            "created_at",
            "updated_at",
            "ttl_minutes",
            "expires_at",
            "found_by",
        }
    ),
    "merge": frozenset({"kind", "id", "kept", "merged", "recorded_at"}),
    "relation": frozenset(
        {"kind", "id", "type", "start", "end", "weight", "valid_from", "valid_to", "recorded_at"}
    ),
}


def _other(value: Any) -> Any:
    if isinstance(value, DecisionEpisode):
        return asdict(value)
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_other).encode


class ParquetRows:
    """Writes rows as they come, a page a row group; the header becomes the file's metadata."""

    def __init__(self, file: BinaryIO) -> None:
        arrow()
        self._file = file
        self._writer: Any = None
        self._schema: Any = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a page of rows; the first page is the header alone."""
        pa = arrow()
        if self._writer is None:
            (header,) = rows
            self._schema = schema().with_metadata({METADATA_KEY: _encode(header)})
            self._writer = pa.parquet.ParquetWriter(self._file, self._schema, compression="zstd")
            return
        columns = [
            pa.array([_cell(field.name, row.get(field.name)) for row in rows], type=field.type)
            for field in self._schema
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Write what a file ends with."""
        self._writer.close()


def schema() -> Any:
    """Return the columns."""
    pa = arrow()
    kinds: dict[str, Any] = {
        **dict.fromkeys(_TEXT, pa.string()),
        **dict.fromkeys(_TIMES, pa.timestamp("us", tz="UTC")),
        **dict.fromkeys(_JSON, pa.string()),
        **dict.fromkeys(_INTEGERS, pa.int64()),
        "confidence": pa.float64(),
        "weight": pa.float64(),
        "ttl_minutes": pa.float64(),
        "path": pa.list_(pa.string()),
        "tags": pa.list_(pa.string()),
        "related_memories": pa.list_(pa.int64()),
        "embedding": pa.list_(pa.float32()),
    }
    return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


def check_schema(found: Any) -> dict[str, Any]:
    """Return the header of a file of ours whose columns are the right ones (`InvalidInput`)."""
    metadata: dict[bytes, bytes] = found.metadata or {}
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise InvalidInput("it is no export of Aegis: its header is missing")
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise InvalidInput("it is no export of Aegis: its header is broken")
    told = cast("dict[str, Any]", header)
    old = told.get("version") in (1, 2)
    for field in schema():
        if old and field.name in _NEW:
            continue
        at = found.get_field_index(field.name)
        if at < 0:
            raise InvalidInput(f"it has no column {field.name}, or more than one")
        if found.field(at).type != field.type:
            raise InvalidInput(
                f"its column {field.name} is {found.field(at).type!s:.60}, expected {field.type}"
            )
    return told


def as_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the object that a line of JSONL holds (`InvalidInput`)."""
    kind = row["kind"]
    if kind not in _OF_KIND:
        raise InvalidInput(f"its kind is {kind!r:.60}; use one of {', '.join(_OF_KIND)}")
    names = _OF_KIND[kind]
    line: dict[str, Any] = {name: value for name, value in row.items() if name in names}
    for name in _JSON:
        text = line.get(name)
        if text is None:
            continue
        try:
            line[name] = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise InvalidInput(f"{name} is {text!r:.60}, which is not JSON") from None
    return line


def _cell(name: str, value: Any) -> Any:
    return _encode(value) if name in _JSON and value is not None else value


def _refuse(name: str) -> Any:
    raise ValueError(name)
