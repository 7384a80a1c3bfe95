"""`/v1/memory/graphiti`: the copy in a Graphiti graph."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from aegis.api.route import Router
from aegis.api.shapes import Answer, Body
from aegis.api.state import KnownParameters, MemoryOf, answer

__all__ = ["router"]

router = Router(prefix="/v1/memory/graphiti", tags=["graph"], dependencies=[KnownParameters])


class SyncBody(Body):
    """What to push: a language model reads each episode, so a call is bounded."""

    retry: bool = Field(False, description="Try again what was not taken.")
    limit: int = Field(50, ge=1, le=1_000, description="At most so many episodes.")
    namespace: str | None = None


class ForgetBody(Body):
    """Whose copies to take out."""

    erasure: int = Field(description="Id of the erasure that named them.")
    namespace: str | None = None


class Synced(Answer):
    """What a synchronisation did."""

    pushed: int
    failed: int


class Forgotten(Answer):
    """What became of the copies."""

    removed: int
    absent: int


class Failure(Answer):
    """An episode that Graphiti did not take."""

    episode_id: int
    attempts: int
    error: str
    failed_at: datetime


class State(Answer):
    """How far the copy is."""

    synced: int
    pending: int
    failed: int
    failures: list[Failure]


@router.get("", response_model=State)
async def read_state(memory: MemoryOf, limit: int = 20, namespace: str | None = None) -> Any:
    """Say how many episodes Graphiti has, waits for and did not take, and why not."""
    state = await memory.graphiti.state(namespace=namespace)
    failures = await memory.graphiti.failures(limit=limit, namespace=namespace)
    return answer(
        {
            "synced": state.synced,
            "pending": state.pending,
            "failed": state.failed,
            "failures": failures,
        }
    )


@router.post("", response_model=Synced)
async def push(memory: MemoryOf, body: SyncBody) -> Any:
    """Push episodes that are new or changed, the oldest first."""
    return answer(await memory.graphiti.sync(**body.given()))


@router.post("/forget", response_model=Forgotten)
async def forget(memory: MemoryOf, body: ForgetBody) -> Any:
    """Take the copies that an erasure named out of the graph."""
    return answer(await memory.graphiti.forget(body.erasure, namespace=body.namespace))
