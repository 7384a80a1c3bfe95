"""`/v1/sessions`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query

from aegis.api import session_answers as answers
from aegis.api.route import Router
from aegis.api.state import KnownParameters, SessionsOf, answer
from aegis.wire.cursor import SESSIONS

__all__ = ["router"]

router = Router(prefix="/v1/sessions", tags=["sessions"], dependencies=[KnownParameters])


@router.get("", response_model=answers.SessionPage)
async def list_sessions(
    sessions: SessionsOf,
    limit: int = 50,
    cursor: str | None = None,
    status: Annotated[list[str] | None, Query()] = None,
    cwd: str | None = None,
    namespace: str | None = None,
) -> Any:
    """List sessions without sub-agents, the latest start first."""
    rows = await sessions.list(
        limit=limit,
        before=SESSIONS.at(cursor),
        status=status or (),
        cwd=cwd,
        namespace=namespace,
    )
    return answer(SESSIONS.page(rows, limit))


@router.get("/events", response_model=answers.SessionEvents)
async def list_all_events(
    sessions: SessionsOf,
    limit: int = 50,
    after: int | None = None,
    namespace: str | None = None,
) -> Any:
    """List events of all sessions in the order they came: the last ones, or those `after` an id."""
    rows = await sessions.events(after=after, limit=limit, namespace=namespace)
    return answer({"items": rows})


@router.post("/hook", response_model=answers.HookAnswer)
async def hook(
    sessions: SessionsOf, record: Annotated[dict[str, Any], Body()], spooled: bool = False
) -> Any:
    """Record what `aegis hook` was told, once; `context` is what the agent ought to know now."""
    return answer({"context": await sessions.hook(record, spooled=spooled)})


@router.post("/sweep", response_model=answers.Swept)
async def sweep(sessions: SessionsOf) -> Any:
    """Read transcripts, and close sessions that have been silent."""
    return answer(await sessions.sweep())


@router.get("/{session_id}", response_model=answers.SessionDetail)
async def get_session(sessions: SessionsOf, session_id: str, namespace: str | None = None) -> Any:
    """Return a session with its tools, files and sub-agents."""
    return answer(await sessions.get(session_id, namespace=namespace))


@router.get("/{session_id}/events", response_model=answers.SessionEvents)
async def list_events(
    sessions: SessionsOf,
    session_id: str,
    limit: int = 50,
    after: int | None = None,
    namespace: str | None = None,
) -> Any:
    """List a session's events in the order they came: the last ones, or those `after` an id."""
    rows = await sessions.events(session_id, after=after, limit=limit, namespace=namespace)
    return answer({"items": rows})
