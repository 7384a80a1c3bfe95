"""Recording an episode in a transaction that somebody else began, such as a workflow's step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis.errors import Conflict
from aegis.memory import validate
from aegis.memory.echoing import mark_echo
from aegis.memory.retention.expiry import with_expiry
from aegis.memory.store import episodes as store
from aegis.memory.store import policies as policy_store

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.memory.models import Episode, NewEpisode

__all__ = ["record_in", "record_without_vector"]


async def record_without_vector(
    conn: Connection, episode: NewEpisode, *, namespace: str
) -> Episode:
    """Record one episode; its vector is filled in later, as asking for it needs the network.

    Raises:
        InvalidInput: a value cannot be accepted.
    """
    validate.check_episode(episode)
    return await record_in(conn, episode, namespace=namespace, vector=None, embedding_model=None)


async def record_in(
    conn: Connection,
    episode: NewEpisode,
    *,
    namespace: str,
    vector: str | None,
    embedding_model: str | None,
) -> Episode:
    """Record one checked episode; of a `source_id` that is known, return the first (`Conflict`)."""
    marked = await mark_echo(conn, episode, namespace=namespace)
    policies = await policy_store.list_policies(conn, [namespace])
    expiring = with_expiry(marked, policies, datetime.now(UTC))
    stored = await store.insert_episode(
        conn, expiring, namespace=namespace, vector=vector, embedding_model=embedding_model
    )
    if stored is None and episode.source_id is not None:
        stored = await store.find_by_source(conn, namespace, episode.source_id)
    if stored is None:
        raise Conflict(
            f"Episode {episode.source_id!r} was deleted while it was recorded. Try again."
        )
    return stored
