"""Fill in vectors that are missing: rows recorded while the embedder was away, or without it.

A row whose text changed meanwhile is left for the next round: the statement that writes the
vector compares the text that was embedded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import ConfigError
from aegis.memory import validate
from aegis.memory.store import episodes, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.db import Database
    from aegis.memory.embedding import Embedder

__all__ = ["fill_missing"]

_BATCH = 128


async def fill_missing(
    db: Database,
    embedder: Embedder | None,
    *,
    limit: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Embed rows without a vector, episodes first, and return how many were filled.

    Raises:
        InvalidInput: the limit is none.
        ConfigError: no embedder is configured.
        Unavailable: the embedder does not answer; what was filled so far stays.
    """
    if limit is not None:
        validate.check_limit("limit", limit, most=2**31 - 1)
    if embedder is None:
        raise ConfigError("AEGIS_EMBEDDER is 'none'; choose one to fill in vectors.")
    filled = 0
    for list_rows, set_rows in (
        (episodes.list_unembedded, episodes.set_embedding),
        (facts.list_unembedded_facts, facts.set_fact_embedding),
    ):
        after = 0
        while limit is None or filled < limit:
            size = _BATCH if limit is None else min(_BATCH, limit - filled)
            async with db.transaction() as conn:
                rows = await list_rows(conn, after_id=after, limit=size)
            if not rows:
                break
            filled += await _fill(db, embedder, rows, set_rows)
            after = rows[-1][0]
            if on_progress is not None:
                on_progress(filled)
    return filled


async def _fill(
    db: Database,
    embedder: Embedder,
    rows: list[tuple[int, str]],
    set_rows: _SetRows,
) -> int:
    from aegis.memory.active import resolved
    from aegis.memory.embedding import vector_text

    embedder = await resolved(embedder)
    texts = [text for _, text in rows]
    vectors = await embedder.embed(texts)
    async with db.transaction() as conn:
        return await set_rows(
            conn,
            ids=[row_id for row_id, _ in rows],
            texts=texts,
            vectors=[vector_text(vector) for vector in vectors],
            model=embedder.model,
        )


if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from aegis.db import Connection

    class _SetRows(Protocol):
        async def __call__(
            self,
            conn: Connection,
            *,
            ids: Sequence[int],
            texts: Sequence[str],
            vectors: Sequence[str],
            model: str,
        ) -> int: ...
