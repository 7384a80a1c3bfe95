"""SQL over `episodic_memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value, update_one
from aegis.memory.models import IMPORTANCE, Episode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter, NewEpisode

__all__ = [
    "COLUMNS",
    "CONDITIONS",
    "count_episodes",
    "delete_episode",
    "filter_params",
    "find_by_source",
    "get_episode",
    "insert_episode",
    "list_episodes",
    "list_known_sources",
    "list_unembedded",
    "reserve_ids",
    "set_embedding",
    "update_episode",
]

#: The columns of `Episode`, in its order; `details` and the like keep NULL apart from `{}`.
COLUMNS: LiteralString = """
    e.id,
    e.namespace,
    e.session_id,
    coalesce(e.timestamp, e.created_at, 'epoch') AS timestamp,
    e.event_type,
    e.summary,
    e.details,
    e.context,
    coalesce(e.importance, 'medium')::text AS importance,
    coalesce(e.tags, '{}') AS tags,
    coalesce(e.related_memories, '{}') AS related_memories,
    e.decision,
    e.metadata,
    e.source_id,
    e.embedding_model,
    e.embedding IS NOT NULL AS embedded,
    coalesce(e.created_at, e.timestamp, 'epoch') AS created_at,
    e.updated_at,
    e.expires_at
"""

#: An `EpisodeFilter` as conditions on `e`; parameters from `filter_params`.
CONDITIONS: LiteralString = """
    e.namespace = %(namespace)s
    AND (e.expires_at IS NULL OR e.expires_at > now())
    AND (%(session_id)s::text IS NULL OR e.session_id = %(session_id)s)
    AND (%(since)s::timestamptz IS NULL OR e.timestamp >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR e.timestamp < %(until)s)
    AND (%(event_types)s::text[] IS NULL OR e.event_type = ANY(%(event_types)s))
    AND (%(tags)s::text[] IS NULL OR e.tags @> %(tags)s::text[])
    AND (%(importances)s::text[] IS NULL
         OR coalesce(e.importance, 'medium') = ANY(%(importances)s::memory_importance[]))
"""


def filter_params(where: EpisodeFilter) -> dict[str, Any]:
    """Return the parameters of `CONDITIONS`; `where.namespace` must be set."""
    least = where.min_importance
    return {
        "namespace": where.namespace,
        "session_id": where.session_id,
        "since": where.since,
        "until": where.until,
        "event_types": list(where.event_types) or None,
        "tags": list(where.tags) or None,
        "importances": list(IMPORTANCE[IMPORTANCE.index(least) :]) if least else None,
    }


async def insert_episode(
    conn: Connection,
    episode: NewEpisode,
    *,
    namespace: str,
    vector: str | None,
    embedding_model: str | None,
) -> Episode | None:
    """Insert one episode; None if its `source_id` is in the namespace already."""
    return await fetch_optional(
        conn,
        Episode,
        """
        INSERT INTO episodic_memory AS e (
            timestamp, event_type, summary, details, context, importance, embedding, tags,
            related_memories, decision, metadata, namespace, session_id, source_id,
            embedding_model, expires_at
        )
        VALUES (
            coalesce(%(timestamp)s, now()), %(event_type)s, %(summary)s, %(details)s,
            %(context)s, %(importance)s::memory_importance, %(vector)s::vector, %(tags)s,
            %(related)s::integer[], %(decision)s, %(metadata)s, %(namespace)s, %(session_id)s,
            %(source_id)s, %(embedding_model)s, %(expires_at)s::timestamptz
        )
        ON CONFLICT (namespace, source_id) WHERE source_id IS NOT NULL DO NOTHING
        RETURNING
        """
        + COLUMNS,
        {
            "timestamp": episode.timestamp,
            "event_type": episode.event_type,
            "summary": episode.summary,
            "details": _jsonb(episode.details),
            "context": _jsonb(episode.context),
            "importance": episode.importance,
            "vector": vector,
            "tags": list(episode.tags),
            "related": list(episode.related_memories),
            "decision": episode.decision,
            "metadata": _jsonb(episode.metadata),
            "namespace": namespace,
            "session_id": episode.session_id,
            "source_id": episode.source_id,
            "embedding_model": embedding_model,
            "expires_at": episode.expires_at,
        },
    )


async def reserve_ids(conn: Connection, count: int) -> list[int]:
    """Take `count` ids from the table's sequence, ascending."""
    cursor = await conn.execute(
        """
        SELECT nextval(pg_get_serial_sequence('episodic_memory', 'id'))
        FROM generate_series(1, %(count)s)
        """,
        {"count": count},
    )
    return sorted(row[0] for row in await cursor.fetchall())


async def list_known_sources(
    conn: Connection, namespace: str, source_ids: Sequence[str]
) -> dict[str, int]:
    """Return which of `source_ids` the namespace holds already, and under which id."""
    cursor = await conn.execute(
        """
        SELECT source_id, id
        FROM episodic_memory
        WHERE namespace = %(namespace)s
          AND source_id = ANY(%(source_ids)s)
        """,
        {"namespace": namespace, "source_ids": list(source_ids)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def find_by_source(conn: Connection, namespace: str, source_id: str) -> Episode | None:
    """Return the episode with this `source_id`, or None."""
    return await fetch_optional(
        conn,
        Episode,
        "SELECT "
        + COLUMNS
        + """
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.source_id = %(source_id)s
        """,
        {"namespace": namespace, "source_id": source_id},
    )


async def get_episode(conn: Connection, episode_id: int, *, namespace: str) -> Episode:
    """Return one episode; `NotFound` where the namespace has none of this id."""
    return await fetch_one(
        conn,
        Episode,
        "SELECT "
        + COLUMNS
        + """
        FROM episodic_memory e
        WHERE e.id = %(id)s
          AND e.namespace = %(namespace)s
        """,
        {"id": episode_id, "namespace": namespace},
        missing=f"There is no episode {episode_id} in namespace {namespace!r}.",
    )


_DATED_ROWS: LiteralString = (
    "SELECT "
    + COLUMNS
    + "FROM episodic_memory e WHERE "
    + CONDITIONS
    + "AND e.timestamp IS NOT NULL "
)
#: As `idx_episodic_namespace_timestamp` is ordered.
_NEWEST_FIRST: LiteralString = " ORDER BY e.timestamp DESC, e.id DESC LIMIT %(limit)s"

_DATED: LiteralString = _DATED_ROWS + _NEWEST_FIRST

# Undated rows show the time of their recording: whether the last row was one, only it can say.
_DATED_BEFORE: LiteralString = (
    _DATED_ROWS
    + """
        AND (e.timestamp, e.id) < (%(before_time)s::timestamptz, %(before_id)s::integer)
        AND NOT EXISTS (
            SELECT FROM episodic_memory WHERE id = %(before_id)s::integer AND timestamp IS NULL
        )
    """
    + _NEWEST_FIRST
)

_UNDATED: LiteralString = (
    "SELECT "
    + COLUMNS
    + "FROM episodic_memory e WHERE "
    + CONDITIONS
    + """
        AND e.timestamp IS NULL
        AND (
            e.id < %(before_id)s::integer
            OR NOT EXISTS (
                SELECT FROM episodic_memory WHERE id = %(before_id)s::integer AND timestamp IS NULL
            )
        )
    """
    + _NEWEST_FIRST
)


async def list_episodes(
    conn: Connection,
    where: EpisodeFilter,
    *,
    limit: int,
    before: tuple[datetime, int] | None = None,
) -> list[Episode]:
    """Return a page, newest first; `before` is the (timestamp, id) of the previous page's last.

    Rows without a timestamp, which only others write, come behind all that have one, by id.
    """
    params = {
        **filter_params(where),
        "before_time": before[0] if before else None,
        "before_id": before[1] if before else None,
        "limit": limit,
    }
    page = await fetch_all(conn, Episode, _DATED if before is None else _DATED_BEFORE, params)
    # No period holds what has no time.
    if len(page) < limit and where.since is None and where.until is None:
        params["limit"] = limit - len(page)
        page += await fetch_all(conn, Episode, _UNDATED, params)
    return page


async def count_episodes(conn: Connection, where: EpisodeFilter) -> int:
    """Return how many episodes the filter lets through."""
    return await fetch_value(
        conn,
        "SELECT count(*) FROM episodic_memory e WHERE " + CONDITIONS,
        filter_params(where),
    )


#: Columns that a caller may change, and how a value becomes a parameter.
_UPDATABLE: Mapping[str, LiteralString] = {
    "timestamp": "timestamptz",
    "event_type": "text",
    "summary": "text",
    "details": "jsonb",
    "context": "jsonb",
    "importance": "memory_importance",
    "tags": "text[]",
    "related_memories": "integer[]",
    "decision": "text",
    "metadata": "jsonb",
    "session_id": "text",
    "expires_at": "timestamptz",
    "embedding": "vector",
    "embedding_model": "text",
}


async def update_episode(
    conn: Connection, episode_id: int, changes: Mapping[str, Any], *, namespace: str
) -> Episode:
    """Set the columns in `changes`, whose names must be updatable; `NotFound` if no row."""
    return await update_one(
        conn,
        Episode,
        "episodic_memory",
        "e",
        changes,
        types=_UPDATABLE,
        stamp="updated_at",
        row_id=episode_id,
        namespace=namespace,
        returning=COLUMNS,
        missing=f"There is no episode {episode_id} in namespace {namespace!r}.",
    )


async def delete_episode(conn: Connection, episode_id: int, *, namespace: str) -> int:
    """Delete one episode and return how many rows went (0 or 1)."""
    return await execute(
        conn,
        "DELETE FROM episodic_memory WHERE id = %(id)s AND namespace = %(namespace)s",
        {"id": episode_id, "namespace": namespace},
    )


async def list_unembedded(conn: Connection, *, after_id: int, limit: int) -> list[tuple[int, str]]:
    """Return (id, summary) of rows without a vector, of every namespace, by id."""
    cursor = await conn.execute(
        """
        SELECT id, summary
        FROM episodic_memory
        WHERE embedding IS NULL
          AND id > %(after_id)s
        ORDER BY id
        LIMIT %(limit)s
        """,
        {"after_id": after_id, "limit": limit},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def set_embedding(
    conn: Connection,
    *,
    ids: Sequence[int],
    texts: Sequence[str],
    vectors: Sequence[str],
    model: str,
) -> int:
    """Fill in vectors of rows that have none and still say the text that was embedded."""
    return await execute(
        conn,
        """
        UPDATE episodic_memory AS e
        SET embedding = v.vector::vector,
            embedding_model = %(model)s
        FROM unnest(%(ids)s::integer[], %(texts)s::text[], %(vectors)s::text[])
            AS v (id, text, vector)
        WHERE e.id = v.id
          AND e.embedding IS NULL
          AND e.summary = v.text
        """,
        {"ids": list(ids), "texts": list(texts), "vectors": list(vectors), "model": model},
    )


def _jsonb(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))
