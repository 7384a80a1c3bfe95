"""`/v1/memory/episodes`, `/v1/memory/recall` and `/v1/memory/context`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Response

from aegis.api import answers
from aegis.api.route import Router
from aegis.api.schemas import (
    ContextBody,
    EpisodeBatch,
    EpisodeBody,
    EpisodeChanges,
    OptionalTime,
    RecallBody,
)
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.memory import NewEpisode
from aegis.wire.cursor import EPISODES

__all__ = ["router"]

router = Router(prefix="/v1/memory", tags=["memory"], dependencies=[KnownParameters])
Texts = Annotated[list[str], Query()]


@router.post("/episodes", status_code=201, response_model=answers.Episode)
async def record_episode(memory: MemoryOf, body: EpisodeBody) -> Any:
    """Record an episode. A `source_id` that the namespace holds already returns the first one."""
    return answer(await memory.record(**body.given()), 201)


@router.post("/episodes/batch", status_code=201, response_model=answers.Recorded)
async def record_episodes(memory: MemoryOf, body: EpisodeBatch) -> Any:
    """Record many episodes; those whose `source_id` is known already are skipped."""
    episodes = [NewEpisode(**episode.given()) for episode in body.episodes]
    done = await memory.record_many(episodes, embed=body.embed)
    return answer({"ids": done.ids, "skipped": done.skipped, "embedded": done.embedded}, 201)


@router.get("/episodes", response_model=answers.EpisodePage)
async def list_episodes(
    memory: MemoryOf,
    limit: int = 50,
    cursor: str | None = None,
    namespace: str | None = None,
    session_id: str | None = None,
    since: Annotated[OptionalTime, Query()] = None,
    until: Annotated[OptionalTime, Query()] = None,
    event_type: Texts = [],  # noqa: B006 (FastAPI copies it)
    tag: Texts = [],  # noqa: B006
    min_importance: str | None = None,
) -> Any:
    """List episodes, newest first; `next_cursor` leads to the next page."""
    rows = await memory.list(
        limit=limit,
        before=EPISODES.at(cursor),
        namespace=namespace,
        session_id=session_id,
        since=since,
        until=until,
        event_types=event_type,
        tags=tag,
        min_importance=min_importance,  # pyright: ignore[reportArgumentType]
    )
    return answer(EPISODES.page(rows, limit))


@router.get("/episodes/{episode_id}", response_model=answers.Episode)
async def get_episode(memory: MemoryOf, episode_id: int, namespace: str | None = None) -> Any:
    """Return one episode."""
    return answer(await memory.get(episode_id, namespace=namespace))


@router.patch("/episodes/{episode_id}", response_model=answers.Episode)
async def update_episode(
    memory: MemoryOf, episode_id: int, body: EpisodeChanges, namespace: str | None = None
) -> Any:
    """Change fields of an episode; a new summary gets a new vector."""
    return answer(await memory.update(episode_id, namespace=namespace, **body.given()))


@router.delete("/episodes/{episode_id}", status_code=204)
async def delete_episode(
    memory: MemoryOf, episode_id: int, namespace: str | None = None
) -> Response:
    """Delete one episode; refused while a decision refers to it."""
    await memory.delete(episode_id, namespace=namespace)
    return Response(status_code=204)


@router.post("/recall", response_model=answers.Hits)
async def recall(memory: MemoryOf, body: RecallBody) -> Any:
    """Return the episodes that answer the question best, each with the parts of its score."""
    hits = await memory.recall(**body.given())
    return answer({"results": hits, "warnings": hits.warnings})


@router.post("/context", response_model=answers.ContextBlock)
async def context(memory: MemoryOf, body: ContextBody) -> Any:
    """Return what is remembered of a question as text for a prompt, within a budget of tokens."""
    return answer(await memory.context(**body.given()))
