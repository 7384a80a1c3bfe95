"""Episodes through COPY, in its text format.

A row is rendered in two steps, so that the costly one happens before the transaction, while the
server still writes the batch before: `render_episode` gives everything but what only the
transaction knows, the row's id and the ids it is related to. Rendering by hand takes a third of
the time of psycopg's `write_row`, which looks up each value's type again and again.

Escapes: https://www.postgresql.org/docs/current/sql-copy.html (File Formats, Text Format)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import NewEpisode

__all__ = ["copy_episodes", "render_episode"]

_NULL = r"\N"
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def render_episode(
    episode: NewEpisode,
    *,
    namespace: str,
    vector: str | None,
    embedding_model: str | None,
    now: datetime,
) -> str:
    """Return the columns behind `id` and `related_memories`, as `copy_episodes` takes them."""
    # A row that was exported keeps both its times, also if it never changed.
    updated_at = now if episode.created_at is None else episode.updated_at
    return "\t".join(
        (
            (episode.timestamp or now).isoformat(),
            _text(episode.event_type),
            _text(episode.summary),
            _json(episode.details),
            _json(episode.context),
            episode.importance,
            vector or _NULL,
            _text_array(episode.tags),
            _text(episode.decision),
            _json(episode.metadata),
            _text(namespace),
            _text(episode.session_id),
            _text(episode.source_id),
            _text(embedding_model),
            (episode.created_at or now).isoformat(),
            _NULL if updated_at is None else updated_at.isoformat(),
            _NULL if episode.expires_at is None else episode.expires_at.isoformat(),
        )
    )


async def copy_episodes(conn: Connection, rows: Iterable[tuple[int, Sequence[int], str]]) -> None:
    """Write rows of (id, related memories, rendered episode), in this order."""
    lines = (
        f"{row_id}\t{{{','.join(map(str, related))}}}\t{rendered}\n"
        for row_id, related, rendered in rows
    )
    async with (
        conn.cursor() as cursor,
        cursor.copy(
            """
            COPY episodic_memory (
                id, related_memories, timestamp, event_type, summary, details, context, importance,
                embedding, tags, decision, metadata, namespace, session_id, source_id,
                embedding_model, created_at, updated_at, expires_at
            ) FROM STDIN
            """
        ) as copy,
    ):
        # One write: psycopg cuts it into messages, and a call for each row would cost more.
        await copy.write("".join(lines))


def _text(value: str | None) -> str:
    if value is None:
        return _NULL
    value = value.replace("\\", "\\\\")
    return value.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _json(value: Mapping[str, Any] | None) -> str:
    # JSON escapes line ends and tabs itself; only its backslashes need escaping.
    return _NULL if value is None else _encode_json(value).replace("\\", "\\\\")


def _text_array(values: Sequence[str]) -> str:
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return _text("{" + ",".join(f'"{value}"' for value in quoted) + "}")
