"""Facts: what the agent knows (`semantic_memory`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import validate
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.models import NewFact
from aegis.memory.store import facts as store

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Fact

__all__ = ["FactHit", "Facts"]

MAX_PAGE = 1_000
_UPDATABLE = frozenset(
    {"concept", "content", "category", "source", "confidence", "metadata", "tags"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactHit:
    """One result of `Facts.recall`."""

    fact: Fact
    #: Sum of both parts; comparable within one answer only.
    score: float
    #: Cosine similarity to the question, 0 to 1.
    similarity: float
    #: `ts_rank` of the question's words.
    word_rank: float


class Facts:
    """Facts of one client; `namespace` is where a call that names none goes."""

    def __init__(self, db: Database, embedder: Embedder | None, *, namespace: str) -> None:
        self._db = db
        self._embedder = embedder
        self.namespace = namespace

    async def record(
        self,
        concept: str,
        content: str,
        *,
        category: str | None = None,
        source: str | None = None,
        confidence: float = 1.0,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        namespace: str | None = None,
        source_id: str | None = None,
    ) -> Fact:
        """Remember a fact and return it; the fields are those of `NewFact`.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        fact = NewFact(
            concept=concept,
            content=content,
            category=category,
            source=source,
            confidence=confidence,
            metadata=metadata,
            tags=tags,
            namespace=namespace,
            source_id=source_id,
        )
        return await self.record_new(fact)

    async def record_new(self, fact: NewFact) -> Fact:
        """Remember a fact that may bring its own times, as one of an export does, and return it.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        validate.check_fact(fact)
        place = validate.namespace_of(fact.namespace, self.namespace)
        source_id = fact.source_id
        vectors, model = await embed_or_none(self._embedder, [f"{fact.concept}: {fact.content}"])
        async with self._db.transaction() as conn:
            stored = await store.insert_fact(
                conn, fact, namespace=place, vector=vectors[0], embedding_model=model
            )
            if stored is None and source_id is not None:
                stored = await store.find_fact_by_source(conn, place, source_id)
        if stored is None:
            raise Conflict(f"Fact {source_id!r} was deleted while it was recorded. Try again.")
        return stored

    async def get(self, fact_id: int, *, namespace: str | None = None) -> Fact:
        """Return one fact (`NotFound`)."""
        validate.check_id("id", fact_id)
        async with self._db.transaction() as conn:
            return await store.get_fact(
                conn, fact_id, namespace=validate.namespace_of(namespace, self.namespace)
            )

    async def list(
        self,
        *,
        concept: str | None = None,
        category: str | None = None,
        tags: Sequence[str] = (),
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
    ) -> builtins.list[Fact]:
        """Return facts, last updated first."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        validate.check_tags(tags)
        if concept is not None:
            validate.check_text("concept", concept, most=validate.MAX_CONCEPT)
        if category is not None:
            validate.check_text("category", category, most=validate.MAX_CATEGORY)
        _check_offset(offset)
        async with self._db.transaction() as conn:
            return await store.list_facts(
                conn,
                namespace=validate.namespace_of(namespace, self.namespace),
                concept=concept,
                category=category,
                tags=tags,
                limit=limit,
                offset=offset,
            )

    async def update(self, fact_id: int, *, namespace: str | None = None, **changes: Any) -> Fact:
        """Change fields of a fact and return it; new words get a new vector.

        Raises:
            InvalidInput: a field is unknown or its value cannot be accepted.
            NotFound: the namespace has none of this id.
        """
        validate.check_id("id", fact_id)
        validate.check_changes(changes, _UPDATABLE)
        values: dict[str, Any] = {"concept": "-", "content": "-", **changes}
        validate.check_fact(NewFact(**values))
        place = validate.namespace_of(namespace, self.namespace)
        if "concept" in changes or "content" in changes:
            before = await self.get(fact_id, namespace=place)
            concept = changes.get("concept", before.concept)
            content = changes.get("content", before.content)
            vectors, model = await embed_or_none(self._embedder, [f"{concept}: {content}"])
            changes |= {"embedding": vectors[0], "embedding_model": model}
        async with self._db.transaction() as conn:
            return await store.update_fact(conn, fact_id, changes, namespace=place)

    async def delete(self, fact_id: int, *, namespace: str | None = None) -> None:
        """Delete one fact (`NotFound`)."""
        validate.check_id("id", fact_id)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            if await store.delete_fact(conn, fact_id, namespace=place) == 0:
                raise NotFound(f"There is no fact {fact_id} in namespace {place!r}.")

    async def recall(
        self, query: str, *, k: int = 10, namespace: str | None = None
    ) -> builtins.list[FactHit]:
        """Return the `k` facts that answer `query` best, by meaning and words."""
        validate.check_text("query", query, most=validate.MAX_SUMMARY)
        validate.check_limit("k", k, most=MAX_PAGE)
        place = validate.namespace_of(namespace, self.namespace)
        vectors, model = await embed_or_none(self._embedder, [query])
        async with self._db.transaction() as conn:
            ranked = await store.search_facts(
                conn,
                namespace=place,
                query=query,
                vector=vectors[0],
                embedding_model=model,
                limit=k,
            )
            found = {f.id: f for f in await store.get_facts(conn, [row[0] for row in ranked])}
        return [
            FactHit(fact=found[i], score=s + w, similarity=s, word_rank=w) for i, s, w in ranked
        ]


def _check_offset(offset: Any) -> None:
    if not isinstance(offset, int) or offset < 0:
        raise InvalidInput(f"offset is {offset!r}; use a whole number from 0.")
