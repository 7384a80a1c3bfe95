"""The vectors of a question: of the active model, and of the other one while rows carry either.

Before a switch every row has a vector of the active model, so that one question is enough. For a
while after it, a process that had not noticed may have recorded with the model before: those rows
have no vector of the new one yet, and are found by asking in their own space as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis.errors import ConfigError
from aegis.memory.active import ActiveEmbedder
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.store import search, spares
from aegis.memory.store.space import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.candidates import Candidates
    from aegis.memory.embedding import Embedder
    from aegis.memory.embedding.patience import Patience
    from aegis.memory.models import EpisodeFilter, Metric

__all__ = [
    "Second",
    "also_near",
    "disagreement",
    "fill_in",
    "raise_disagreement",
    "space_of_given",
    "vectors_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The question in the space of the model that is not active, but that rows may carry."""

    vector: str
    space: Space


async def vectors_of(
    embedder: Embedder | None, text: str, patience: Patience | None = None
) -> tuple[str | None, Space | None, Second | None]:
    """Return the question's vector in pgvector's text form, its space, and the second of both."""
    if embedder is None:
        return None, None, None
    literals, model = await embed_or_none(embedder, [text], patience)
    if not isinstance(embedder, ActiveEmbedder):
        if literals[0] is None or model is None:
            return None, None, None
        return literals[0], Space(model=model, dimensions=embedder.dimensions), None
    # Read after the embedder has answered, which may take long: rows may move by now.
    known = await embedder.registry()
    if literals[0] is not None and known.active is not None and model != known.active.model:
        literals, model = await embed_or_none(embedder, [text], patience)
    second = await _second(embedder, text, patience)
    if literals[0] is None or model is None:
        return None, None, second
    chosen = embedder.embedder_of(model) or embedder
    return literals[0], await embedder.space_of(model, chosen.dimensions), second


async def space_of_given(embedder: Embedder | None, dimensions: int) -> Space:
    """Return the space that a vector of the caller's own belongs to, by its length."""
    if isinstance(embedder, ActiveEmbedder):
        known = await embedder.registry()
        for found in (known.active, known.other):
            if found is not None and found.dimensions == dimensions:
                return await embedder.space_of(found.model, dimensions)
    ours = embedder is not None and embedder.dimensions == dimensions
    return Space(model=embedder.model if embedder and ours else None, dimensions=dimensions)


def disagreement(embedder: Embedder | None) -> str | None:
    """Return what is wrong between settings and database, as far as is known; None for nothing."""
    return embedder.disagreement if isinstance(embedder, ActiveEmbedder) else None


def raise_disagreement(embedder: Embedder | None) -> None:
    """Say what is wrong between settings and database, where there is no vector because of it.

    Raises:
        ConfigError: the settings name no embedder of the active model.
    """
    trouble = disagreement(embedder)
    if trouble is not None:
        raise ConfigError(trouble, code="embedding_model_differs")


async def also_near(
    conn: Connection,
    second: Second | None,
    *,
    where: EpisodeFilter,
    metric: Metric,
    approximate: bool,
    limit: int,
) -> list[tuple[int, float]]:
    """Return ids and distances of the nearest that carry the other model; none without `second`."""
    if second is None:
        return []
    while True:
        found = await search.find_nearest(
            conn,
            where=where,
            vector=second.vector,
            space=second.space,
            metric=metric,
            approximate=approximate,
            limit=limit,
        )
        if len(found) >= limit or not approximate:
            return found
        approximate = False


async def fill_in(conn: Connection, second: Second | None, found: Candidates) -> Candidates:
    """Let those without a similarity have that of their own space.

    The scales of two models differ: such a memory may be a few places off, for the moment until it
    has its vector. Without any it would rank by its words alone.
    """
    unknown = [i for i, s in zip(found.ids, found.similarities, strict=True) if s is None or s != s]
    if second is None or not unknown or second.space.model is None:
        return found
    theirs = await spares.similarities(
        conn, unknown, vector=second.vector, model=second.space.model
    )
    both: Sequence[float | None] = [
        theirs.get(i, s) for i, s in zip(found.ids, found.similarities, strict=True)
    ]
    return replace(found, similarities=both)


async def _second(embedder: ActiveEmbedder, text: str, patience: Patience | None) -> Second | None:
    known = await embedder.registry()
    other = known.other
    if other is None or not other.mixed:
        return None
    asked = embedder.embedder_of(other.model)
    if asked is None:
        return None
    literals, model = await embed_or_none(asked, [text], patience)
    if literals[0] is None or model is None:
        return None
    return Second(
        vector=literals[0], space=Space(model=model, dimensions=asked.dimensions, mixed=False)
    )
