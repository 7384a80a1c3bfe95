"""Facts: what the agent knows (`semantic_memory`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput
from aegis.memory import fact_steps, validate
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.models import ON_CONFLICT, FactSource, NewFact
from aegis.memory.retention.expiry import with_expiry
from aegis.memory.store import fact_history as history
from aegis.memory.store import fact_reading as reading
from aegis.memory.store import fact_sources as origins
from aegis.memory.store import facts as store
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Fact, FactStep, OnConflict

__all__ = ["FactHit", "Facts"]

MAX_PAGE = 1_000
_UPDATABLE = frozenset(
    {"concept", "content", "category", "source", "confidence", "metadata", "tags", "expires_at"}
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
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        namespace: str | None = None,
        source_id: str | None = None,
        valid_from: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | str | None = None,
        on_conflict: OnConflict = "supersede",
        actor: str | None = None,
    ) -> Fact:
        """Learn a fact and return it; the fields are those of `NewFact`.

        One that repeats a known fact makes that one surer, and that one is returned; a repeat that
        names neither a source nor a confidence, as what was recalled and is written back, adds
        nothing. Those that it contradicts end where it begins (`supersede`), or hold beside it
        (`keep_both`).

        Raises:
            InvalidInput: a value cannot be accepted.
            Conflict: it contradicts a known fact, and `on_conflict` is `refuse`.
        """
        validate.check_choice("on_conflict", on_conflict, ON_CONFLICT)
        _check_actor(actor)
        fact = NewFact(
            concept=concept,
            content=content,
            category=category,
            source=source,
            confidence=1.0 if confidence is None else confidence,
            metadata=metadata,
            tags=tags,
            namespace=namespace,
            source_id=source_id,
            valid_from=valid_from,
            expires_at=expires_at,
            ttl=ttl,
        )
        validate.check_fact(fact)
        fact = with_expiry(fact, (), datetime.now(UTC))
        place = validate.namespace_of(namespace, self.namespace)
        vectors, model = await embed_or_none(self._embedder, [f"{concept}: {content}"])
        async with self._db.transaction() as conn:
            return await fact_steps.learn(
                conn,
                fact,
                namespace=place,
                vector=vectors[0],
                embedding_model=model,
                on_conflict=on_conflict,
                actor=actor,
                stated=confidence is not None,
            )

    async def record_as_given(self, fact: NewFact, *, namespace: str | None = None) -> Fact:
        """Store a fact as it is, as an import does: nothing is merged or superseded.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        validate.check_fact(fact)
        fact = with_expiry(fact, (), datetime.now(UTC))
        place = validate.namespace_of(namespace or fact.namespace, self.namespace)
        text = f"{fact.concept}: {fact.content}"
        vectors, model = await embed_or_none(self._embedder, [text])
        async with self._db.transaction() as conn:
            stored = await store.insert_fact(
                conn, fact, namespace=place, vector=vectors[0], embedding_model=model
            )
            if stored is None and fact.source_id is not None:
                stored = await store.find_fact_by_source(conn, place, fact.source_id)
        if stored is None:
            raise Conflict(f"Fact {fact.source_id!r} was deleted while it was recorded. Try again.")
        return stored

    async def get(self, fact_id: int, *, namespace: str | None = None) -> Fact:
        """Return one fact, whether it still holds or not (`NotFound`)."""
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
        as_of: datetime | None = None,
        valid_at: datetime | None = None,
    ) -> builtins.list[Fact]:
        """Return facts that hold, last updated first.

        `as_of`: as they were believed at that time; `valid_at`: those that hold at that time,
        which is `as_of` if left out, and now without either.
        """
        _check_moments(as_of, valid_at)
        validate.check_limit("limit", limit, most=MAX_PAGE)
        validate.check_tags(tags)
        if concept is not None:
            validate.check_text("concept", concept, most=validate.MAX_CONCEPT)
        if category is not None:
            validate.check_text("category", category, most=validate.MAX_CATEGORY)
        _check_offset(offset)
        async with self._db.transaction() as conn:
            return await reading.list_facts(
                conn,
                namespace=validate.namespace_of(namespace, self.namespace),
                concept=concept,
                category=category,
                tags=tags,
                limit=limit,
                offset=offset,
                as_of=as_of,
                valid_at=valid_at or as_of,
            )

    async def update(
        self,
        fact_id: int,
        *,
        namespace: str | None = None,
        actor: str | None = None,
        **changes: Any,
    ) -> Fact:
        """Change fields of a fact and return it; new words get a new vector.

        Raises:
            InvalidInput: a field is unknown or its value cannot be accepted.
            NotFound: the namespace has none of this id.
        """
        validate.check_id("id", fact_id)
        _check_actor(actor)
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
            return await fact_steps.change(conn, fact_id, changes, namespace=place, actor=actor)

    async def delete(
        self, fact_id: int, *, namespace: str | None = None, actor: str | None = None
    ) -> None:
        """Delete one fact (`NotFound`); `undo` brings it back."""
        validate.check_id("id", fact_id)
        _check_actor(actor)
        place = validate.namespace_of(namespace, self.namespace)
        async with audited(self._db) as conn:
            await fact_steps.forget(conn, fact_id, namespace=place, actor=actor)
            note(conn, "memory.delete", "fact", fact_id, namespace=Private(place))

    async def history(
        self, fact_id: int, *, limit: int = 100, namespace: str | None = None
    ) -> builtins.list[FactStep]:
        """Return the steps of a fact, the last one first; none for one that was imported.

        Raises:
            NotFound: the namespace never had a fact of this id.
        """
        validate.check_id("id", fact_id)
        validate.check_limit("limit", limit, most=MAX_PAGE)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            steps = await history.list_steps(conn, fact_id, namespace=place, limit=limit)
            if not steps:
                await store.get_fact(conn, fact_id, namespace=place)
        return list(steps)

    async def sources(
        self, fact_id: int, *, namespace: str | None = None
    ) -> builtins.list[FactSource]:
        """Return who said a fact and in which words, the first one first (`NotFound`)."""
        fact = await self.get(fact_id, namespace=namespace)
        async with self._db.transaction() as conn:
            said = await origins.list_sources(conn, fact_id)
        own = FactSource(
            source=fact.source,
            source_id=fact.source_id,
            content=fact.content,
            confidence=fact.confidence,
            recorded_at=fact.created_at,
        )
        return said or [own]

    async def undo(
        self,
        fact_id: int,
        *,
        step: int | None = None,
        namespace: str | None = None,
        actor: str | None = None,
    ) -> Fact:
        """Take back the last step of a fact that is not yet, and return what is there again.

        `step` says which step that has to be, so that a second call takes back no other one.

        Raises:
            NotFound: there never was such a fact, or it has no such step.
            Conflict: nothing is left to take back, or `step` is not the next one.
        """
        validate.check_id("id", fact_id)
        if step is not None:
            validate.check_limit("step", step, most=2**63 - 1)
        _check_actor(actor)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await fact_steps.undo(conn, fact_id, step=step, namespace=place, actor=actor)

    async def recall(
        self,
        query: str,
        *,
        k: int = 10,
        namespace: str | None = None,
        as_of: datetime | None = None,
        valid_at: datetime | None = None,
    ) -> builtins.list[FactHit]:
        """Return the `k` facts that answer `query` best, by meaning and words.

        Only what holds; `as_of` and `valid_at` are those of `list`.
        """
        validate.check_text("query", query, most=validate.MAX_SUMMARY)
        validate.check_limit("k", k, most=MAX_PAGE)
        _check_moments(as_of, valid_at)
        place = validate.namespace_of(namespace, self.namespace)
        vectors, model = await embed_or_none(self._embedder, [query])
        async with self._db.transaction() as conn:
            ranked = await reading.search_facts(
                conn,
                namespace=place,
                query=query,
                vector=vectors[0],
                embedding_model=model,
                limit=k,
                as_of=as_of,
                valid_at=valid_at or as_of,
            )
            ids = [row[0] for row in ranked]
            facts = await reading.get_facts(conn, ids, namespace=place, as_of=as_of)
        found = {fact.id: fact for fact in facts}
        return [
            FactHit(fact=found[i], score=s + w, similarity=s, word_rank=w)
            for i, s, w in ranked
            if i in found
        ]


def _check_actor(actor: Any) -> None:
    if actor is not None:
        validate.check_text("actor", actor, most=validate.MAX_KEY)


def _check_moments(as_of: Any, valid_at: Any) -> None:
    for name, moment in (("as_of", as_of), ("valid_at", valid_at)):
        if moment is not None:
            validate.check_time(name, moment)


def _check_offset(offset: Any) -> None:
    if not isinstance(offset, int) or offset < 0:
        raise InvalidInput(f"offset is {offset!r}; use a whole number from 0.")
