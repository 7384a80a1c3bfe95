"""`/v1/executions`: runs of workflows, what they are told, and how they go; `/v1/approvals`.

`watch` is a stream of server-sent events. Each has the number of its latest step as its id, and a
browser that reconnects sends it as `Last-Event-ID`: nothing is missed and nothing said twice.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header
from fastapi.responses import StreamingResponse

from aegis.api import workflow_shapes as shapes
from aegis.api.route import Router
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.errors import AegisError, InvalidInput
from aegis.memory.validate import parse_time
from aegis.wire.cursor import EXECUTIONS
from aegis.wire.plain import plain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aegis.workflows.execution import Change

__all__ = ["approvals", "router"]

router = Router(prefix="/v1/executions", tags=["workflows"], dependencies=[KnownParameters])
#: Apart, as it needs a scope of its own: who may start may not approve.
approvals = Router(prefix="/v1/approvals", tags=["workflows"], dependencies=[KnownParameters])

#: Seconds of silence after which a comment says that the stream lives.
_HEARTBEAT_S = 15.0


@router.post("", status_code=201, response_model=shapes.ExecutionAnswer)
async def start_execution(client: ClientOf, body: shapes.StartBody) -> Any:
    """Start a workflow; with a `key` that was used, return what it started."""
    deadline = None if body.deadline is None else parse_time("deadline", body.deadline)
    found = await client.workflows.start(
        body.workflow,
        body.input,
        key=body.key,
        version=body.version,
        priority=body.priority,
        deadline=deadline,
        namespace=body.namespace,
    )
    return answer(found, 201)


@router.get("", response_model=shapes.ExecutionPage)
async def list_executions(
    client: ClientOf,
    workflow: str | None = None,
    status: str | None = None,
    namespace: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Any:
    """List executions, the latest started first."""
    chosen: Any = status
    rows = await client.workflows.executions(
        workflow=workflow,
        status=chosen,
        namespace=namespace,
        before=EXECUTIONS.at(cursor),
        limit=limit,
    )
    return answer(EXECUTIONS.page(rows, limit))


@router.get("/{id}", response_model=shapes.ExecutionDetailAnswer)
async def get_execution(client: ClientOf, id: str) -> Any:
    """Return an execution with its context, its output and what it waits for."""
    return answer(await client.workflows.execution(id))


@router.get("/{id}/steps", response_model=shapes.StepPage)
async def list_steps(client: ClientOf, id: str, after: int = 0, limit: int = 1_000) -> Any:
    """List what an execution did, an item an attempt, numbered above `after`."""
    return answer({"items": await client.workflows.history(id, after=after, limit=limit)})


@router.get(
    "/{id}/watch",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def watch_execution(
    client: ClientOf,
    id: str,
    after: int | None = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Stream each change until the execution ends: events `change`, then `end`.

    `Last-Event-ID`, or `after`, is the number of the last step that is known.
    """
    known = _known(after, last_event_id)
    # What there is to refuse is refused with a status, before the stream begins.
    await client.workflows.execution(id)
    return StreamingResponse(
        _events(client.workflows.watch(id, after=known), known),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/{id}/signals", status_code=201, response_model=shapes.SignalAnswer)
async def send_signal(client: ClientOf, id: str, body: shapes.SignalBody) -> Any:
    """Tell an execution something, before or while a node waits for it."""
    sent = await client.workflows.signal(id, body.name, body.payload, key=body.key)
    return answer({"sent": sent}, 201 if sent else 200)


@router.post("/{id}/pause", response_model=shapes.ExecutionAnswer)
async def pause_execution(client: ClientOf, id: str) -> Any:
    """Interrupt an execution: no further step begins."""
    return answer(await client.workflows.pause(id))


@router.post("/{id}/resume", response_model=shapes.ExecutionAnswer)
async def resume_execution(client: ClientOf, id: str, body: shapes.InputBody) -> Any:
    """Go on with an interrupted execution."""
    return answer(await client.workflows.resume(id, body.input))


@router.post("/{id}/cancel", response_model=shapes.ExecutionAnswer)
async def cancel_execution(client: ClientOf, id: str, body: shapes.CancelBody) -> Any:
    """End an execution, and those that it started; it fails."""
    return answer(await client.workflows.cancel(id, reason=body.reason))


@router.post("/{id}/retry", response_model=shapes.ExecutionAnswer)
async def retry_execution(client: ClientOf, id: str, body: shapes.RetryBody) -> Any:
    """Run a failed execution again from where it failed, or from a node."""
    return answer(await client.workflows.retry(id, body.from_node))


@router.post("/{id}/fork", status_code=201, response_model=shapes.ExecutionAnswer)
async def fork_execution(client: ClientOf, id: str, body: shapes.ForkBody) -> Any:
    """Start another execution that shares the steps before one."""
    return answer(await client.workflows.fork(id, body.from_step, body.input), 201)


@approvals.post("", status_code=204)
async def approve(client: ClientOf, body: shapes.ApproveBody) -> None:
    """Answer an approval that waits."""
    await client.workflows.approve(
        body.execution_id,
        body.node,
        approved=body.approved,
        by=body.by,
        comment=body.comment,
        branch=body.branch,
    )


def _known(after: int | None, last_event_id: str | None) -> int:
    # A client that reconnects repeats the query it began with; the header is newer.
    text = last_event_id if last_event_id is not None else after
    try:
        known = int(text or 0)
    except ValueError:
        known = -1
    if not 0 <= known < 2**31:
        raise InvalidInput(f"Last-Event-ID is {str(text)[:40]!r}; it is the number of a step.")
    return known


async def _events(changes: AsyncIterator[Change], known: int) -> AsyncGenerator[bytes]:
    """Yield server-sent events; the wait for the next one is not cut by a heartbeat."""
    following: asyncio.Task[Change] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(_next(changes))
            done, _ = await asyncio.wait({following}, timeout=_HEARTBEAT_S)
            if not done:
                yield b": it lives\n\n"
                continue
            try:
                change = following.result()
            except _Ended:
                yield _event("end", known, {})
                return
            except AegisError as error:
                yield _event("error", known, {"code": error.code, "message": error.message})
                return
            following = None
            known = max([known, *(step.seq for step in change.steps)])
            yield _event("change", known, plain(change))
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        close = getattr(changes, "aclose", None)
        if close is not None:
            await close()


async def _next(changes: AsyncIterator[Change]) -> Change:
    try:
        return await anext(changes)
    except StopAsyncIteration:
        # A task cannot end with it.
        raise _Ended from None


class _Ended(Exception):
    """The execution has ended."""


def _event(name: str, number: int, value: Any) -> bytes:
    data = json.dumps(value, ensure_ascii=False)
    return f"id: {number}\nevent: {name}\ndata: {data}\n\n".encode()
