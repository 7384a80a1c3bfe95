"""SQL that finds facts in two times: when they hold in the world, and when they were believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from aegis.db import fetch_all
from aegis.memory.models import Fact
from aegis.memory.store import fact_past as past
from aegis.memory.store.fact_past_search import search_past
from aegis.memory.store.fact_search import SMALL, read_sizes, search_large
from aegis.memory.store.facts import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["get_facts", "list_facts", "search_facts"]

_NOW: LiteralString = "FROM semantic_memory f\n"
_VALID: LiteralString = """
    (f.valid_from IS NULL OR f.valid_from <= coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.valid_to IS NULL OR f.valid_to > coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.expires_at IS NULL OR f.expires_at > now())
"""


async def get_facts(
    conn: Connection, ids: Sequence[int], *, namespace: str, as_of: datetime | None
) -> list[Fact]:
    """Return the namespace's facts of these ids as they were believed, in no order."""
    if as_of is not None:
        return await past.get_past(conn, ids, namespace=namespace, as_of=as_of)
    return await fetch_all(
        conn,
        Fact,
        "SELECT " + COLUMNS + _NOW + "WHERE f.namespace = %(namespace)s AND f.id = ANY(%(ids)s)",
        {"ids": list(ids), "namespace": namespace},
    )


async def list_facts(
    conn: Connection,
    *,
    namespace: str,
    concept: str | None,
    category: str | None,
    tags: Sequence[str],
    limit: int,
    offset: int,
    as_of: datetime | None,
    valid_at: datetime | None,
) -> list[Fact]:
    """Return facts, last updated first: believed at `as_of`, holding at `valid_at`; None is now."""
    if as_of is not None:
        return await past.list_past(
            conn,
            namespace=namespace,
            concept=concept,
            category=category,
            tags=tags,
            limit=limit,
            offset=offset,
            as_of=as_of,
            valid_at=valid_at,
        )
    return await fetch_all(
        conn,
        Fact,
        "SELECT "
        + COLUMNS
        + _NOW
        + "WHERE "
        + _VALID
        + """
          AND f.namespace = %(namespace)s
          AND (%(concept)s::text IS NULL OR f.concept = %(concept)s)
          AND (%(category)s::text IS NULL OR f.category = %(category)s)
          AND (%(tags)s::text[] IS NULL OR f.tags @> %(tags)s::text[])
        ORDER BY f.updated_at DESC NULLS LAST, f.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {
            "namespace": namespace,
            "concept": concept,
            "category": category,
            "tags": list(tags) or None,
            "limit": limit,
            "offset": offset,
            "valid_at": valid_at,
        },
    )


async def search_facts(
    conn: Connection,
    *,
    namespace: str,
    query: str,
    vector: str | None,
    embedding_model: str | None,
    limit: int,
    as_of: datetime | None,
    valid_at: datetime | None,
) -> list[tuple[int, float, float]]:
    """Return (id, cosine similarity, word rank) of the best facts by the sum of both arms.

    Only those believed at `as_of` that hold at `valid_at`; None is now.

    Reads every fact of a small namespace, and of any of which little was believed by then.
    """
    sizes = await read_sizes(conn, namespace=namespace, model=embedding_model)
    found = None
    if as_of is None and sizes.facts > SMALL:
        found = await search_large(
            conn,
            namespace=namespace,
            query=query,
            vector=vector,
            embedding_model=embedding_model,
            limit=limit,
            valid_at=valid_at,
            sizes=sizes,
        )
    elif as_of is not None and sizes.facts > SMALL:
        believed = await past.count_believed(
            conn, namespace=namespace, as_of=as_of, facts=sizes.facts
        )
        if believed > SMALL:
            found = await search_past(
                conn,
                namespace=namespace,
                query=query,
                vector=vector,
                embedding_model=embedding_model,
                limit=limit,
                as_of=as_of,
                valid_at=valid_at,
                sizes=sizes,
                believed=believed,
            )
    if found is not None:
        return found
    cursor = await conn.execute(
        """
        WITH words AS (
            -- The question's words OR-ed: AND-ed, most questions find nothing.
            SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery AS query
            FROM unnest(to_tsvector('english', %(query)s))
        ),
        scored AS (
            SELECT
                f.id,
                CASE
                    WHEN f.embedding_model = %(model)s::text
                    THEN greatest(0, 1 - (f.embedding <=> %(vector)s::vector))
                    -- While the model is changed its vector may still be beside the row.
                    ELSE coalesce((
                        SELECT greatest(0, 1 - (v.embedding <=> %(vector)s::vector))
                        FROM semantic_vectors v
                        WHERE v.id = f.id
                          AND v.model = %(model)s::text
                    ), 0)
                END AS similarity,
                coalesce(
                    ts_rank(
                        setweight(to_tsvector('english', f.concept), 'A')
                            || to_tsvector('english', f.content),
                        words.query
                    ),
                    0
                ) AS word_rank
        """
        + (_NOW if as_of is None else past.THEN)
        + """
            CROSS JOIN words
            WHERE f.namespace = %(namespace)s
              AND
        """
        + ("" if as_of is None else past.BELIEVED + " AND ")
        + _VALID
        + """
        )
        SELECT
            id,
            similarity::float8,
            word_rank::float8
        FROM scored
        ORDER BY similarity + word_rank DESC, id DESC
        LIMIT %(limit)s
        """,
        {
            "query": query,
            "vector": vector,
            "model": embedding_model,
            "namespace": namespace,
            "limit": limit,
            "as_of": as_of,
            "valid_at": valid_at,
        },
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]
