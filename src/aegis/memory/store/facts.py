"""SQL over `semantic_memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, update_one
from aegis.memory.models import Fact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import NewFact

__all__ = [
    "COLUMNS",
    "delete_fact",
    "find_fact_by_source",
    "get_fact",
    "insert_fact",
    "list_unembedded_facts",
    "page_facts",
    "set_fact_embedding",
    "update_fact",
]

COLUMNS: LiteralString = """
    f.id,
    f.namespace,
    f.concept,
    f.content,
    f.category,
    f.source,
    coalesce(f.confidence, 1.0) AS confidence,
    f.metadata,
    coalesce(f.tags, '{}') AS tags,
    f.source_id,
    f.embedding_model,
    f.embedding IS NOT NULL AS embedded,
    f.valid_from,
    f.valid_to,
    f.superseded_by,
    coalesce(f.created_at, f.updated_at, 'epoch') AS created_at,
    coalesce(f.updated_at, f.created_at, 'epoch') AS updated_at,
    f.expires_at
"""


async def insert_fact(
    conn: Connection,
    fact: NewFact,
    *,
    namespace: str,
    vector: str | None,
    embedding_model: str | None,
    at: datetime | None = None,
    superseded_by: int | None = None,
) -> Fact | None:
    """Insert one fact; None if its `source_id` is in the namespace already.

    `at` is when it was recorded, the start of the transaction if None.
    """
    return await fetch_optional(
        conn,
        Fact,
        """
        INSERT INTO semantic_memory AS f (
            concept, content, category, source, confidence, metadata, tags, embedding,
            namespace, source_id, embedding_model, valid_from, valid_to, superseded_by,
            expires_at, created_at, updated_at
        )
        VALUES (
            %(concept)s, %(content)s, %(category)s, %(source)s, %(confidence)s, %(metadata)s,
            %(tags)s, %(vector)s::vector, %(namespace)s, %(source_id)s, %(embedding_model)s,
            %(valid_from)s, %(valid_to)s, %(superseded_by)s, %(expires_at)s::timestamptz,
            coalesce(%(at)s::timestamptz, %(created_at)s::timestamptz, now()),
            coalesce(
                %(at)s::timestamptz, %(updated_at)s::timestamptz, %(created_at)s::timestamptz, now()
            )
        )
        ON CONFLICT (namespace, source_id) WHERE source_id IS NOT NULL DO NOTHING
        RETURNING
        """
        + COLUMNS,
        {
            "concept": fact.concept,
            "content": fact.content,
            "category": fact.category,
            "source": fact.source,
            "confidence": float(fact.confidence),
            "metadata": None if fact.metadata is None else Jsonb(dict(fact.metadata)),
            "tags": list(fact.tags),
            "vector": vector,
            "namespace": namespace,
            "source_id": fact.source_id,
            "embedding_model": embedding_model,
            "created_at": fact.created_at,
            "updated_at": fact.updated_at,
            "valid_from": fact.valid_from,
            "valid_to": fact.valid_to,
            "superseded_by": superseded_by,
            "expires_at": fact.expires_at,
            "at": at,
        },
    )


async def find_fact_by_source(conn: Connection, namespace: str, source_id: str) -> Fact | None:
    """Return the fact with this `source_id`, its own or that of a further source, or None."""
    return await fetch_optional(
        conn,
        Fact,
        "SELECT "
        + COLUMNS
        + """
        FROM semantic_memory f
        WHERE f.namespace = %(namespace)s
          AND (f.source_id = %(source)s
               OR f.id IN (
                   SELECT s.fact_id
                   FROM fact_sources s
                   WHERE s.namespace = %(namespace)s
                     AND s.source_id = %(source)s
               ))
        ORDER BY (f.source_id = %(source)s) DESC NULLS LAST, f.id
        LIMIT 1
        """,
        {"namespace": namespace, "source": source_id},
    )


async def get_fact(conn: Connection, fact_id: int, *, namespace: str) -> Fact:
    """Return one fact; `NotFound` where the namespace has none of this id."""
    return await fetch_one(
        conn,
        Fact,
        "SELECT "
        + COLUMNS
        + "FROM semantic_memory f WHERE f.id = %(id)s AND f.namespace = %(namespace)s",
        {"id": fact_id, "namespace": namespace},
        missing=f"There is no fact {fact_id} in namespace {namespace!r}.",
    )


async def page_facts(conn: Connection, namespace: str, *, after_id: int, limit: int) -> list[Fact]:
    """Return the namespace's facts behind `after_id`, by id."""
    return await fetch_all(
        conn,
        Fact,
        "SELECT "
        + COLUMNS
        + """
        FROM semantic_memory f
        WHERE f.namespace = %(namespace)s
          AND f.id > %(after_id)s
        ORDER BY f.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )


_UPDATABLE: Mapping[str, LiteralString] = {
    "concept": "text",
    "content": "text",
    "category": "text",
    "source": "text",
    "confidence": "float8",
    "metadata": "jsonb",
    "tags": "text[]",
    "expires_at": "timestamptz",
    "embedding": "vector",
    "embedding_model": "text",
}


async def update_fact(
    conn: Connection, fact_id: int, changes: Mapping[str, Any], *, namespace: str
) -> Fact:
    """Set the columns in `changes`, whose names must be updatable; `NotFound` if no row."""
    return await update_one(
        conn,
        Fact,
        "semantic_memory",
        "f",
        changes,
        types=_UPDATABLE,
        stamp="updated_at",
        row_id=fact_id,
        namespace=namespace,
        returning=COLUMNS,
        missing=f"There is no fact {fact_id} in namespace {namespace!r}.",
    )


async def delete_fact(conn: Connection, fact_id: int, *, namespace: str) -> int:
    """Delete one fact and return how many rows went (0 or 1)."""
    return await execute(
        conn,
        "DELETE FROM semantic_memory WHERE id = %(id)s AND namespace = %(namespace)s",
        {"id": fact_id, "namespace": namespace},
    )


async def list_unembedded_facts(
    conn: Connection, *, after_id: int, limit: int
) -> list[tuple[int, str]]:
    """Return (id, text to embed) of facts without a vector, of every namespace, by id."""
    cursor = await conn.execute(
        """
        SELECT id, concept || ': ' || content
        FROM semantic_memory
        WHERE embedding IS NULL
          AND id > %(after_id)s
        ORDER BY id
        LIMIT %(limit)s
        """,
        {"after_id": after_id, "limit": limit},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def set_fact_embedding(
    conn: Connection,
    *,
    ids: Sequence[int],
    texts: Sequence[str],
    vectors: Sequence[str],
    model: str,
) -> int:
    """Fill in vectors of facts that have none and still say the text that was embedded."""
    return await execute(
        conn,
        """
        UPDATE semantic_memory AS f
        SET embedding = v.vector::vector,
            embedding_model = %(model)s
        FROM unnest(%(ids)s::integer[], %(texts)s::text[], %(vectors)s::text[])
            AS v (id, text, vector)
        WHERE f.id = v.id
          AND f.embedding IS NULL
          AND f.concept || ': ' || f.content = v.text
        """,
        {"ids": list(ids), "texts": list(texts), "vectors": list(vectors), "model": model},
    )
