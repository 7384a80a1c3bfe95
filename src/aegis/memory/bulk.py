"""Recording many episodes: checked, embedded and copied batch by batch.

While one batch is written, the next is embedded, so that the embedder's own rate is the limit.
Each batch is one transaction; a `source_id` that is there already is skipped, so an import that
was cut off is run again and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

from aegis.errors import AegisError, Conflict, InvalidInput
from aegis.memory import validate
from aegis.memory.active import ActiveEmbedder
from aegis.memory.echoing import mark_quotations, may_quote
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.retention.expiry import with_expiry
from aegis.memory.store import episodes as store
from aegis.memory.store import policies as policy_store
from aegis.memory.store.copying import copy_episodes, render_episode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from aegis.db import Connection, Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import NewEpisode

    #: Namespace and source id.
    _Key: TypeAlias = tuple[str, str | None]

__all__ = ["BATCH_SIZE", "Recorded", "check", "record_many", "vectors_for"]

#: Episodes a transaction: with vectors a second or two of embedding, without them a tenth.
BATCH_SIZE = 500
BATCH_SIZE_PLAIN = 2_000
#: Two imports of the same source can collide on a row; the loser looks again.
_TRIES = 3
#: After so many episodes the batch being written gets its turn, so that its server never waits.
_STRIDE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a bulk recording."""

    #: Ids of the new episodes, in the order given.
    ids: list[int] = field(default_factory=list[int])
    #: How many were there already.
    skipped: int = 0
    #: How many of the new ones have a vector.
    embedded: int = 0

    @property
    def recorded(self) -> int:
        """How many are new."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    #: How many were given; `episodes` are those of them that were not there.
    given: int
    episodes: Sequence[NewEpisode]
    #: Each episode as COPY takes it.
    rendered: Sequence[str]
    #: Whether each has a vector.
    embedded: Sequence[bool]


def check(episode: NewEpisode, embedder: Embedder | None) -> None:
    """Accept an episode, its own vector included (`InvalidInput`)."""
    validate.check_episode(episode)
    if episode.ttl is not None:
        with_expiry(episode, (), datetime.now(UTC))
    if episode.embedding is None:
        return
    model = episode.embedding_model
    if embedder is not None and model in (None, embedder.model):
        validate.check_vector("embedding", episode.embedding, dimensions=embedder.dimensions)
    elif model is None:
        raise InvalidInput("embedding needs embedding_model: the name of the model that made it.")


async def vectors_for(
    embedder: Embedder | None, episodes: Sequence[NewEpisode]
) -> tuple[list[str | None], list[str | None]]:
    """Return each episode's vector in text form and its model; a caller's own is kept."""
    if isinstance(embedder, ActiveEmbedder):
        await embedder.registry()  # whose model a caller's own vector is of
    wanted = [e.summary for e in episodes if e.embedding is None]
    made, model = await embed_or_none(embedder, wanted)
    rest = iter(made)
    vectors: list[str | None] = []
    models: list[str | None] = []
    for episode in episodes:
        if episode.embedding is None:
            vectors.append(next(rest))
            models.append(model)
        else:
            vectors.append("[" + ",".join(repr(float(x)) for x in episode.embedding) + "]")
            models.append(episode.embedding_model or (embedder.model if embedder else None))
    return vectors, models


async def record_many(
    db: Database,
    embedder: Embedder | None,
    episodes: Iterable[NewEpisode] | AsyncIterable[NewEpisode],
    *,
    namespace: str,
    batch_size: int | None,
    on_progress: Callable[[int], object] | None,
) -> Recorded:
    """Record `episodes`; see `Memory.record_many`."""
    if batch_size is None:
        batch_size = BATCH_SIZE_PLAIN if embedder is None else BATCH_SIZE
    validate.check_limit("batch_size", batch_size, most=100_000)
    ids: list[int] = []
    skipped = embedded = 0

    async def write(batch: _Batch) -> None:
        nonlocal skipped, embedded
        new, vectors = await _write(db, batch, namespace) if batch.episodes else ([], 0)
        ids.extend(new)
        embedded += vectors
        skipped += batch.given - len(new)
        if on_progress is not None:
            on_progress(len(ids) + skipped)

    send, receive = anyio.create_memory_object_stream[_Batch](1)

    async def drain() -> None:
        async with receive:
            async for batch in receive:
                await write(batch)

    failure: AegisError | None = None
    try:
        async with anyio.create_task_group() as group, send:
            group.start_soon(drain)
            try:
                async for chunk in _chunks(episodes, batch_size, embedder):
                    await send.send(await _batch(db, embedder, chunk, namespace))
            except AegisError as error:
                failure = error  # raised once what came before it is written
    except BaseExceptionGroup as group_error:
        raise _only(cast("BaseExceptionGroup[Any]", group_error)) from None
    if failure is not None:
        raise failure
    return Recorded(ids=ids, skipped=skipped, embedded=embedded)


async def _batch(
    db: Database, embedder: Embedder | None, chunk: Sequence[NewEpisode], namespace: str
) -> _Batch:
    """Make a chunk ready to be written, while the one before it is."""
    new = chunk
    if any(episode.source_id for episode in chunk):
        # What is there already is left out now, so that it is not embedded in vain.
        async with db.transaction() as conn:
            known = await _known(conn, chunk, namespace)
        new = [e for e in chunk if (e.namespace or namespace, e.source_id) not in known]
    new = await _echoes_marked(db, new, namespace)
    now = datetime.now(UTC)
    new = await _with_expiry(db, new, namespace, now)
    vectors, models = await vectors_for(embedder, new)
    rendered: list[str] = []
    for episode, vector, model in zip(new, vectors, models, strict=True):
        place = episode.namespace or namespace
        rendered.append(
            render_episode(episode, namespace=place, vector=vector, embedding_model=model, now=now)
        )
        if len(rendered) % _STRIDE == 0:
            await anyio.lowlevel.checkpoint()
    return _Batch(
        given=len(chunk),
        episodes=new,
        rendered=rendered,
        embedded=[vector is not None for vector in vectors],
    )


async def _with_expiry(
    db: Database, episodes: Sequence[NewEpisode], namespace: str, now: datetime
) -> Sequence[NewEpisode]:
    """Return the episodes with the time from which they are forgotten, where there is one."""
    places = sorted({episode.namespace or namespace for episode in episodes})
    async with db.transaction() as conn:
        policies = await policy_store.list_policies(conn, places)
    return [
        with_expiry(
            episode,
            [p for p in policies if p.namespace == (episode.namespace or namespace)],
            now,
        )
        for episode in episodes
    ]


async def _echoes_marked(
    db: Database, episodes: Sequence[NewEpisode], namespace: str
) -> Sequence[NewEpisode]:
    """Return the episodes, those marked that quote a block; most batches have none."""
    quoting = [at for at, episode in enumerate(episodes) if may_quote(episode)]
    if not quoting:
        return episodes
    marked = list(episodes)
    async with db.transaction() as conn:
        for place in {episodes[at].namespace or namespace for at in quoting}:
            there = [at for at in quoting if (episodes[at].namespace or namespace) == place]
            done = await mark_quotations(conn, [episodes[at] for at in there], namespace=place)
            for at, episode in zip(there, done, strict=True):
                marked[at] = episode
    return marked


async def _write(db: Database, batch: _Batch, namespace: str) -> tuple[list[int], int]:
    """Write a batch in one transaction; return the new ids and how many have a vector."""
    for _ in range(_TRIES):
        try:
            async with db.transaction() as conn:
                return await _copy(conn, batch, namespace)
        except Conflict:
            continue
    raise Conflict("Another import keeps recording the same sources. Let one of them finish.")


async def _copy(conn: Connection, batch: _Batch, namespace: str) -> tuple[list[int], int]:
    known = await _known(conn, batch.episodes, namespace)
    keep: list[int] = []
    for position, episode in enumerate(batch.episodes):
        key = (episode.namespace or namespace, episode.source_id)
        if episode.source_id is not None:
            if key in known:
                continue
            known[key] = 0  # its id comes below; a second one of this key is skipped
        keep.append(position)
    if not keep:
        return [], 0
    ids = await store.reserve_ids(conn, len(keep))
    rows: list[tuple[int, Sequence[int], str]] = []
    known.update(
        ((batch.episodes[at].namespace or namespace, batch.episodes[at].source_id), row_id)
        for row_id, at in zip(ids, keep, strict=True)
    )
    for row_id, at in zip(ids, keep, strict=True):
        related = _related(batch.episodes[at], known, namespace)
        rows.append((row_id, related, batch.rendered[at]))
    await copy_episodes(conn, rows)
    return ids, sum(batch.embedded[at] for at in keep)


def _related(episode: NewEpisode, known: Mapping[_Key, int], namespace: str) -> Sequence[int]:
    """Return the related memories, those named by their source included."""
    if not episode.related_sources:
        return episode.related_memories
    place = episode.namespace or namespace
    found = (known.get((place, source)) for source in episode.related_sources)
    return [*episode.related_memories, *(other for other in found if other)]


async def _known(
    conn: Connection, episodes: Sequence[NewEpisode], namespace: str
) -> dict[_Key, int]:
    """Return the ids of what is there already of the episodes' own sources and related ones."""
    wanted: dict[str, set[str]] = {}
    for episode in episodes:
        if episode.source_id is not None or episode.related_sources:
            sources = wanted.setdefault(episode.namespace or namespace, set())
            sources.update(episode.related_sources)
            if episode.source_id is not None:
                sources.add(episode.source_id)
    known: dict[_Key, int] = {}
    for place, sources in wanted.items():
        found = await store.list_known_sources(conn, place, sorted(sources))
        known.update({(place, source): row_id for source, row_id in found.items()})
    return known


async def _chunks(
    episodes: Iterable[NewEpisode] | AsyncIterable[NewEpisode], size: int, embedder: Embedder | None
) -> AsyncIterator[list[NewEpisode]]:
    """Yield checked batches; a bad episode is raised after the good ones before it were yielded."""
    chunk: list[NewEpisode] = []
    failure: AegisError | None = None
    try:
        async for episode in _each(episodes):
            check(episode, embedder)
            chunk.append(episode)
            if len(chunk) % _STRIDE == 0:
                await anyio.lowlevel.checkpoint()
            if len(chunk) == size:
                yield chunk
                chunk = []
    except AegisError as error:
        failure = error
    if chunk:
        yield chunk
    if failure is not None:
        raise failure


async def _each(
    episodes: Iterable[NewEpisode] | AsyncIterable[NewEpisode],
) -> AsyncIterator[NewEpisode]:
    if isinstance(episodes, AsyncIterable):
        async for episode in episodes:
            yield episode
    else:
        for episode in episodes:
            yield episode


def _only(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the error that a person should see: the first that is no group."""
    first: BaseException = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _only(cast("BaseExceptionGroup[Any]", first))
    return first
