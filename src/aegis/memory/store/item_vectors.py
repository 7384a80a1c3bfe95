"""SQL over `store_vectors`: the vectors of items, and those that wait for their embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["list_pending", "put_vectors", "set_pending"]


async def put_vectors(
    conn: Connection,
    item_ids: Sequence[int],
    rows: Sequence[tuple[int, str, str | None, str | None]],
    *,
    model: str,
) -> None:
    """Give items the vectors in `rows` (item, field, vector, text that waits) instead of theirs.

    The items are locked by their put. Theirs are removed by a statement of its own: it has to see
    what the put waited for.
    """
    await conn.execute(
        "DELETE FROM store_vectors WHERE item_id = ANY(%(ids)s::bigint[])", {"ids": list(item_ids)}
    )
    if not rows:
        return
    await conn.execute(
        """
        INSERT INTO store_vectors (item_id, field, embedding_model, embedding, pending)
        SELECT g.item_id, g.field, %(model)s, g.embedding::vector, g.pending
        FROM unnest(
            %(ids)s::bigint[], %(fields)s::text[], %(vectors)s::text[], %(pending)s::text[]
        ) AS g (item_id, field, embedding, pending)
        """,
        {
            "model": model,
            "ids": [row[0] for row in rows],
            "fields": [row[1] for row in rows],
            "vectors": [row[2] for row in rows],
            "pending": [row[3] for row in rows],
        },
    )


async def list_pending(
    conn: Connection, *, model: str, after: tuple[int, str], limit: int
) -> list[tuple[int, str, str]]:
    """Return item, field and text of vectors that wait for this model, after (item, field)."""
    cursor = await conn.execute(
        """
        SELECT v.item_id, v.field, v.pending
        FROM store_vectors v
        WHERE v.embedding IS NULL
          AND v.embedding_model = %(model)s
          AND (v.item_id, v.field) > (%(item_id)s, %(field)s)
        ORDER BY v.item_id, v.field
        LIMIT %(limit)s
        """,
        {"model": model, "item_id": after[0], "field": after[1], "limit": limit},
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def set_pending(
    conn: Connection, rows: Sequence[tuple[int, str, str]], vectors: Sequence[str]
) -> int:
    """Fill in vectors where the same text still waits, and return how many it were."""
    return await execute(
        conn,
        """
        UPDATE store_vectors v
        SET embedding = g.embedding::vector,
            pending = NULL
        FROM unnest(
            %(ids)s::bigint[], %(fields)s::text[], %(texts)s::text[], %(vectors)s::text[]
        ) AS g (item_id, field, pending, embedding)
        WHERE v.item_id = g.item_id
          AND v.field = g.field
          AND v.pending = g.pending
        """,
        {
            "ids": [row[0] for row in rows],
            "fields": [row[1] for row in rows],
            "texts": [row[2] for row in rows],
            "vectors": list(vectors),
        },
    )
