"""Items as episodes, for a store that wants recall to find them.

An item's episode is the one that an import of the same store makes (`importing/langgraph.py`): the
same `source_id`, so that neither is there twice. It is written in the transaction of the item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aegis.memory import validate
from aegis.memory.embedding_text import embed_or_none
from aegis.memory.store import episodes as store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.embedding import Embedder
    from aegis.memory.items.models import PutItem
    from aegis.memory.models import NewEpisode

__all__ = ["Remembered", "forget_items", "prepare_episodes", "remember_items"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Episodes of the items of one batch, with their vectors."""

    episodes: list[NewEpisode]
    #: In pgvector's text form; None where the embedder is away.
    vectors: list[str | None]
    model: str | None


async def prepare_episodes(embedder: Embedder | None, puts: Sequence[PutItem]) -> Remembered:
    """Return the episodes of the items that are put; the ends of others are not their business.

    Raises:
        InvalidInput: an item says nothing that could be remembered.
    """
    # An importer, with all that reads files: only a store that remembers needs it.
    from aegis.memory.importing.langgraph import item_episode

    episodes: list[NewEpisode] = []
    for put in puts:
        if put.value is not None:
            item = {"namespace": list(put.path), "key": put.key, "value": dict(put.value)}
            episode = item_episode(item)
            # A path is longer than a session's name may be; the metadata has it in full.
            if len((episode.session_id or "").encode()) > validate.MAX_SOURCE_KEY_BYTES:
                episode = replace(episode, session_id=None)
            validate.check_episode(episode)
            episodes.append(episode)
    vectors, model = await embed_or_none(embedder, [episode.summary for episode in episodes])
    return Remembered(episodes=episodes, vectors=vectors, model=model)


async def remember_items(conn: Connection, remembered: Remembered, *, namespace: str) -> None:
    """Record the episodes, or bring those up to date that are there; the items are locked."""
    for episode, vector in zip(remembered.episodes, remembered.vectors, strict=True):
        made = await store.insert_episode(
            conn,
            episode,
            namespace=namespace,
            vector=vector,
            embedding_model=remembered.model if vector is not None else None,
        )
        if made is None:
            assert episode.source_id is not None
            known = await store.find_by_source(conn, namespace, episode.source_id)
            if known is not None:
                changes: dict[str, Any] = {
                    "summary": episode.summary,
                    "details": None if episode.details is None else dict(episode.details),
                    "embedding": vector,
                    "embedding_model": remembered.model if vector is not None else None,
                }
                await store.update_episode(conn, known.id, changes, namespace=namespace)


async def forget_items(conn: Connection, gone: Sequence[PutItem], *, namespace: str) -> None:
    """Delete the episodes of items that are removed.

    Raises:
        Conflict: a decision refers to one of them.
    """
    from aegis.memory.importing.langgraph import item_source_id

    sources = [item_source_id(list(put.path), put.key) for put in gone]
    known = await store.list_known_sources(conn, namespace, sources) if sources else {}
    for episode_id in known.values():
        await store.delete_episode(conn, episode_id, namespace=namespace)
