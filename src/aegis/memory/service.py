"""The memory of an agent: record, get, list, update, delete and recall episodes.

What else memory is hangs on it (`parts`). Recording never fails for want of a vector: the row is
stored, and `aegis.memory.backfill` fills the vector in later. The embedder is asked between
transactions, never inside one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aegis.errors import NotFound
from aegis.memory import backfill, bulk, validate
from aegis.memory.embedding.patience import Patience
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.models import IMPORTANCE, EpisodeFilter, NewEpisode
from aegis.memory.parts import Parts
from aegis.memory.recording import record_in
from aegis.memory.reranking.stage import Reranking
from aegis.memory.store import episodes as store
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from aegis.db import Database
    from aegis.memory.bulk import Recorded
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import ContextBlock, Episode, Hits, Importance, Metric, Mode
    from aegis.memory.reranking import Reranker

__all__ = ["Memory"]

MAX_PAGE = 1_000
#: Tokens of a block, and memories that are compared with one another for it.
MAX_BUDGET, MAX_LOOKED_AT = 1_000_000, 200
_UPDATABLE = frozenset(
    {"timestamp", "event_type", "summary", "details", "context", "importance", "tags",
     "related_memories", "decision", "metadata", "session_id", "expires_at"}
)  # fmt: skip


class Memory(Parts):
    """Episodes of one client; `namespace` is where a call that names none goes."""

    def __init__(
        self,
        db: Database,
        embedder: Embedder | None,
        *,
        namespace: str,
        reranker: Reranker | None = None,
        next_embedder: Embedder | None = None,
    ) -> None:
        super().__init__(
            db, embedder, namespace=namespace, next_embedder=next_embedder, recall=self.recall
        )
        self._patience = Patience(db.settings.embedding_budget_ms)
        self._reranking = Reranking(reranker, db.settings)

    async def record(
        self,
        event_type: str,
        summary: str,
        *,
        timestamp: datetime | None = None,
        details: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        importance: Importance = "medium",
        tags: Sequence[str] = (),
        related_memories: Sequence[int] = (),
        decision: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        namespace: str | None = None,
        session_id: str | None = None,
        source_id: str | None = None,
        embedding: Sequence[float] | None = None,
        embedding_model: str | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | str | None = None,
    ) -> Episode:
        """Record an episode and return it; the fields are those of `NewEpisode`.

        A `source_id` that the namespace holds already is recorded once: the first one is returned.
        What quotes a block of `context`, or says what an episode says, is marked as its echo.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        episode = NewEpisode(
            event_type=event_type,
            summary=summary,
            timestamp=timestamp,
            details=details,
            context=context,
            importance=importance,
            tags=tags,
            related_memories=related_memories,
            decision=decision,
            metadata=metadata,
            namespace=namespace,
            session_id=session_id,
            source_id=source_id,
            embedding=embedding,
            embedding_model=embedding_model,
            expires_at=expires_at,
            ttl=ttl,
        )
        bulk.check(episode, self._embedder)
        place = validate.namespace_of(namespace, self.namespace)
        vectors, models = await bulk.vectors_for(self._embedder, [episode])
        async with self._db.transaction() as conn:
            return await record_in(
                conn, episode, namespace=place, vector=vectors[0], embedding_model=models[0]
            )

    async def record_many(
        self,
        episodes: Iterable[NewEpisode] | AsyncIterable[NewEpisode],
        *,
        embed: bool = True,
        batch_size: int | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> Recorded:
        """Record many episodes through COPY, each batch in one transaction, in the order given.

        Episodes whose `source_id` the namespace holds already are skipped. `embed=False` leaves
        the vectors to the backfill. A batch is 500 episodes, or 2,000 without vectors.
        `on_progress` is told how many have been dealt with so far.

        Raises:
            InvalidInput: an episode cannot be accepted; those before it are recorded.
        """
        return await bulk.record_many(
            self._db,
            self._embedder if embed else None,
            episodes,
            namespace=validate.namespace_of(None, self.namespace),
            batch_size=batch_size,
            on_progress=on_progress,
        )

    async def get(self, episode_id: int, *, namespace: str | None = None) -> Episode:
        """Return one episode.

        Raises:
            NotFound: the namespace has none of this id.
        """
        validate.check_id("id", episode_id)
        async with self._db.transaction() as conn:
            return await store.get_episode(
                conn, episode_id, namespace=validate.namespace_of(namespace, self.namespace)
            )

    async def list(
        self,
        *,
        limit: int = 50,
        before: tuple[datetime, int] | None = None,
        namespace: str | None = None,
        session_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        event_types: Sequence[str] = (),
        tags: Sequence[str] = (),
        min_importance: Importance | None = None,
    ) -> builtins.list[Episode]:
        """Return a page of episodes, newest first.

        `before` is the (timestamp, id) of the last episode of the page before this one.
        """
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if before is not None:
            validate.check_time("before", before[0])
            validate.check_id("before", before[1])
        where = self._filter(namespace, session_id, since, until, event_types, tags, min_importance)
        async with self._db.transaction() as conn:
            return await store.list_episodes(conn, where, limit=limit, before=before)

    async def count(self, *, namespace: str | None = None) -> int:
        """Return how many episodes the namespace holds."""
        where = self._filter(namespace, None, None, None, (), (), None)
        async with self._db.transaction() as conn:
            return await store.count_episodes(conn, where)

    async def update(
        self, episode_id: int, *, namespace: str | None = None, **changes: Any
    ) -> Episode:
        """Change fields of an episode and return it; a new summary gets a new vector.

        Raises:
            InvalidInput: a field is unknown or its value cannot be accepted.
            NotFound: the namespace has none of this id.
        """
        validate.check_id("id", episode_id)
        validate.check_changes(changes, _UPDATABLE)
        place = validate.namespace_of(namespace, self.namespace)
        # What is not changed is known to be good; stand-ins let one validator serve.
        values: dict[str, Any] = {"event_type": "-", "summary": "-", "namespace": place, **changes}
        validate.check_episode(NewEpisode(**values))
        if "summary" in changes:
            vectors, model = await embed_or_none(self._embedder, [changes["summary"]])
            changes |= {"embedding": vectors[0], "embedding_model": model}
        async with self._db.transaction() as conn:
            return await store.update_episode(conn, episode_id, changes, namespace=place)

    async def delete(self, episode_id: int, *, namespace: str | None = None) -> None:
        """Delete one episode.

        Raises:
            NotFound: the namespace has none of this id.
            Conflict: a decision refers to it.
        """
        validate.check_id("id", episode_id)
        place = validate.namespace_of(namespace, self.namespace)
        async with audited(self._db) as conn:
            if await store.delete_episode(conn, episode_id, namespace=place) == 0:
                raise NotFound(f"There is no episode {episode_id} in namespace {place!r}.")
            note(conn, "memory.delete", "episode", episode_id, namespace=Private(place))

    async def recall(
        self,
        query: str | None = None,
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        metric: Metric = "cosine",
        vector: Sequence[float] | None = None,
        namespace: str | None = None,
        session_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        event_types: Sequence[str] = (),
        tags: Sequence[str] = (),
        min_importance: Importance | None = None,
        asked_at: datetime | None = None,
        count: bool = True,
    ) -> Hits:
        """Return the `k` episodes that answer `query` best, best first, each with its reasons.

        Exactly `k` come back whenever the filter lets `k` through. `vector` replaces the
        embedding of `query`. `mode` picks the arms; `metric` is the distance of mode `vector`.
        What is returned counts as used, a little later; `count=False` leaves no trace.
        Times in words ("last May") and the age of memories are seen from `asked_at`, now if None.
        What had to be done without, such as a vector or the reranker, is said in `warnings`.

        Raises:
            InvalidInput: nothing to search for, or a value out of range.
        """
        # Ranking loads numpy, which nothing else here needs.
        from aegis.memory.recall import recall

        if asked_at is not None:
            validate.check_time("asked_at", asked_at)
        hits = await recall(
            self._db,
            self._embedder,
            query=query,
            vector=vector,
            k=self._reranking.depth(k, mode, query),
            mode=mode,
            metric=metric,
            where=self._filter(
                namespace, session_id, since, until, event_types, tags, min_importance
            ),
            now=asked_at or datetime.now(UTC),
            # Nothing else answers in mode `vector`, so that it waits as long as it takes.
            patience=None if mode == "vector" else self._patience,
        )
        hits = await self._reranking.apply(hits, query=query, k=k, mode=mode)
        if count:
            self.usage.note([hit.episode.id for hit in hits])
        return hits

    async def context(
        self,
        query: str | None = None,
        *,
        budget_tokens: int = 2_000,
        k: int = 50,
        mode: Mode = "hybrid",
        metric: Metric = "cosine",
        vector: Sequence[float] | None = None,
        namespace: str | None = None,
        session_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        event_types: Sequence[str] = (),
        tags: Sequence[str] = (),
        min_importance: Importance | None = None,
        asked_at: datetime | None = None,
    ) -> ContextBlock:
        """Return what is remembered of `query` as text for a prompt, within `budget_tokens`.

        The most useful first, a line each, dated and with its id, nothing twice; empty where
        nothing that is remembered has to do with the question. At most `k` memories are looked
        at; the other arguments are those of `recall`.

        Raises:
            InvalidInput: nothing to search for, or a value out of range.
        """
        from aegis.memory.block import make_block, relevant
        from aegis.memory.echoes import without_echoes

        validate.check_limit("budget_tokens", budget_tokens, most=MAX_BUDGET)
        validate.check_limit("k", k, most=MAX_LOOKED_AT)
        hits = await self.recall(
            query,
            k=k,
            mode=mode,
            metric=metric,
            vector=vector,
            namespace=namespace,
            session_id=session_id,
            since=since,
            until=until,
            event_types=event_types,
            tags=tags,
            min_importance=min_importance,
            asked_at=asked_at,
            count=False,
        )
        chosen = without_echoes(hits) if mode == "time" else relevant(hits)
        block = replace(make_block(chosen, budget_tokens=budget_tokens), warnings=hits.warnings)
        self.usage.note(block.ids)
        return block

    async def backfill(
        self,
        *,
        limit: int | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> int:
        """Fill in missing vectors, of every namespace, and return how many were filled.

        Raises:
            Unavailable: the embedder does not answer; what was filled so far stays.
        """
        filled = await backfill.fill_missing(
            self._db, self._embedder, limit=limit, on_progress=on_progress
        )
        if limit is not None and filled >= limit:
            return filled
        left = None if limit is None else limit - filled
        return filled + await self.items.backfill(limit=left)

    def _filter(
        self,
        namespace: str | None,
        session_id: str | None,
        since: datetime | None,
        until: datetime | None,
        event_types: Sequence[str],
        tags: Sequence[str],
        min_importance: Importance | None,
    ) -> EpisodeFilter:
        place = validate.namespace_of(namespace, self.namespace)
        if session_id is not None:
            validate.check_key("session_id", session_id)
        for name, value in (("since", since), ("until", until)):
            if value is not None:
                validate.check_time(name, value)
        if min_importance is not None:
            validate.check_choice("min_importance", min_importance, IMPORTANCE)
        validate.check_event_types(event_types)
        validate.check_tags(tags)
        return EpisodeFilter(
            namespace=place,
            session_id=session_id,
            since=since,
            until=until,
            event_types=tuple(event_types),
            tags=tuple(tags),
            min_importance=min_importance,
        )
