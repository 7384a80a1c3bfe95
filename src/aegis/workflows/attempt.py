"""One attempt at a step: parameters resolved, time limited; a database step with its record.

What a step of others' making raises stays in its task, where the run reads it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import AegisError, Unavailable
from aegis.workflows.advance import step_key
from aegis.workflows.nodes.contract import Step
from aegis.workflows.store import writes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aegis.workflows.engine import Engine
    from aegis.workflows.flow import Flow, Place
    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import NodeType
    from aegis.workflows.store.writes import Write, Written

__all__ = ["RECORDED", "Attempt", "Lost", "Unsure", "perform"]

#: What a database step's task returns: its record is committed and applied.
RECORDED: Final = object()


class Lost(Exception):
    """The execution is no longer this worker's; what it did since its last record is void."""


class Unsure(Exception):
    """The connection was lost while a step was committed: only the database knows of it."""


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt under way."""

    place: Place
    number: int
    started_at: datetime
    task: asyncio.Task[Any]

    def is_of(self, place: Place | None) -> bool:
        """Return whether its branch still stands where it began."""
        own = self.place
        return (
            place is not None
            and place.state == "ready"
            and (place.node, place.visit, place.attempt) == (own.node, own.visit, self.number)
        )


async def perform(
    engine: Engine,
    flow: Flow,
    place: Place,
    about: dict[str, Any],
    lock: asyncio.Lock,
    record: Callable[[Place, JSON], Write],
    hear: Callable[[Written], None],
) -> JSON:
    """Run a step and return its result, or `RECORDED`.

    `record` applies a result to the flow and returns what is to be written; `lock` is held from
    then until that is committed. `hear` is told how the execution stood when it was written.

    Raises:
        Lost, Unsure: see there. Whatever the step raises.
    """
    node = flow.node(place)
    kind = engine.types(node.type)
    scope = {**flow.scope(place.branch), "execution": about}
    step = Step(
        execution_id=about["id"],
        node=place.node,
        branch=place.branch,
        attempt=place.attempt,
        params=engine.language.resolve(dict(node.params), scope),
        input=flow.input,
        scope=scope,
        idempotency_key=step_key(about["id"], place),
        parts=engine.parts,
        extra=engine.extra,
    )
    limit = node.timeout_s or engine.step_timeout_s
    timer = asyncio.timeout(limit)
    try:
        async with timer:
            if kind.runs == "database":
                return await _database(
                    engine, kind, step, lock, lambda out: record(place, out), hear
                )
            return await kind.run(step)
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise Unavailable(
            f"{place.node} took longer than {limit:g} s.", code="timed_out"
        ) from error
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{place.node} tried to end the worker") from error


async def _database(
    engine: Engine,
    kind: NodeType,
    step: Step,
    lock: asyncio.Lock,
    record: Callable[[JSON], Write],
    hear: Callable[[Written], None],
) -> Any:
    applied = False
    async with engine.connections, AsyncExitStack() as stack:
        try:
            async with engine.db.transaction() as conn:
                output = await kind.run(replace(step, conn=conn))
                # What is checked at the end is checked while it still is the step's failure.
                await writes.check_constraints(conn)
                await _acquire(lock.acquire, stack, lock.release)
                given = record(output)
                applied = True
                written = await writes.write(conn, [given])
                if not written:
                    raise Lost
                hear(written[0])
        except (AegisError, asyncio.CancelledError, TimeoutError) as error:
            if applied:
                raise Unsure from error
            raise
    return RECORDED


async def _acquire(
    acquire: Callable[[], Awaitable[Any]], stack: AsyncExitStack, release: Callable[[], None]
) -> None:
    await acquire()
    stack.callback(release)
