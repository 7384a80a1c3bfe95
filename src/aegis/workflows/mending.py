"""What a person does to an execution that stands still: resume, retry, fork.

What was recorded stays. Each is a record of its own, so that the execution can be told again from
its steps; the row is locked meanwhile.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.workflows.control import SUB_WORKFLOW
from aegis.workflows.execution import StepRecord
from aegis.workflows.flow import Flow
from aegis.workflows.starting import graph_of
from aegis.workflows.store import executions, families, steps, writes
from aegis.workflows.store.writes import NewExecution

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.workflows.execution import Execution, StepStatus
    from aegis.workflows.models import JSON, Graph

__all__ = ["RESUME", "RETRY", "Known", "fork", "get", "know", "resume", "retry"]

RESUME = "@resume"
RETRY = "@retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An execution with all that is recorded of it."""

    execution: Execution
    graph: Graph
    #: The input as it is now.
    input: dict[str, JSON]
    records: list[StepRecord]
    flow: Flow


async def get(conn: Connection, id: str, *, lock: bool = False) -> Execution:
    """Return an execution (`NotFound`)."""
    found = await executions.find_execution(conn, id, lock=lock)
    if found is None:
        raise NotFound(f"There is no execution {id}; `aegis workflow status` lists them.")
    return found


async def know(conn: Connection, found: Execution, *, below: int | None = None) -> Known:
    """Return an execution as its steps tell it; `below` leaves out later ones.

    Raises:
        Conflict: another program wrote it, or its steps were pruned.
    """
    if found.version is None:
        raise Conflict(f"{found.id} was not started by Aegis: nothing is recorded of its steps.")
    if found.pruned_at is not None:
        raise Conflict(
            f"The steps of {found.id} were removed on {found.pruned_at:%Y-%m-%d}: start it anew.",
            code="steps_pruned",
        )
    version = await executions.find_version(conn, name=found.workflow or "", version=found.version)
    carried = await executions.read_carried(conn, found.id)
    if version is None or carried is None:
        raise NotFound(f"Version {found.version} of {found.workflow} is not there.")
    graph = graph_of(version.graph)
    records = await steps.list_steps(conn, found.id)
    if below is not None:
        records = [r for r in records if r.seq < below]
    input: dict[str, Any] = carried.context.get("input") or {}
    return Known(
        execution=found,
        graph=graph,
        input=input,
        records=records,
        flow=Flow.of(graph, input, records),
    )


def _act(seq: int, node: str, status: StepStatus, *, input: JSON, output: JSON) -> StepRecord:
    now = datetime.now(UTC)
    return StepRecord(
        seq=seq,
        node=node,
        branch="",
        visit=seq,
        attempt=1,
        status=status,
        input=input,
        output=output,
        started_at=now,
        finished_at=now,
    )


async def resume(conn: Connection, id: str, input: dict[str, JSON]) -> Execution:
    """Let an interrupted execution go on; `input` is laid over its own (`Conflict`).

    What it started and was interrupted with it goes on, too.
    """
    found = await get(conn, id, lock=True)
    if found.status != "interrupted":
        raise Conflict(f"{id} is {found.status}; only an interrupted execution is resumed.")
    known = await know(conn, found)
    record = _act(found.steps + 1, RESUME, "resumed", input=None, output=input)
    known.flow.apply(record)
    await steps.insert_steps(conn, id, [record])
    await _reopen(conn, known, found.deadline_at, None)
    await families.go_on_with_parent(conn, id)
    return await get(conn, id)


async def retry(conn: Connection, id: str, from_node: str | None) -> Execution:
    """Let a failed execution go on where it failed, or from a node (`Conflict`, `InvalidInput`).

    A deadline of the workflow begins anew; one that was given for this execution has passed or
    stays.
    """
    found = await get(conn, id, lock=True)
    if found.status != "failed":
        raise Conflict(f"{id} is {found.status}; only a failed execution is retried.")
    known = await know(conn, found)
    if from_node is not None and from_node not in known.graph.nodes:
        raise InvalidInput(
            f"{found.workflow} has no node {from_node!r}; it has {', '.join(known.graph.nodes)}."
        )
    lost = await _lost_children(conn, known.flow)
    asked = {"from_node": from_node, "again": lost}
    record = _act(found.steps + 1, RETRY, "retried", input=asked, output=None)
    known.flow.apply(record)
    await steps.insert_steps(conn, id, [record])
    ahead = found.deadline_at is not None and found.deadline_at > datetime.now(UTC)
    own = known.graph.deadline_s
    await _reopen(conn, known, found.deadline_at if ahead and own is None else None, own)
    return await get(conn, id)


async def fork(
    conn: Connection, id: str, from_step: int, input: dict[str, JSON], new_id: str | None = None
) -> Execution:
    """Start an execution that shares the steps below one, and runs that anew.

    Raises:
        Conflict: the steps were pruned.
        InvalidInput: it has no such step.
    """
    found = await get(conn, id, lock=True)
    if not 1 <= from_step <= found.steps:
        raise InvalidInput(f"{id} has steps 1 to {found.steps}, and no {from_step}.")
    known = await know(conn, found, below=from_step)
    flow = known.flow
    waiting = [
        p.branch
        for p in flow.places.values()
        if p.state == "waiting" and flow.node(p).type == SUB_WORKFLOW
    ]
    acts: list[StepRecord] = []
    if input:
        acts.append(_act(from_step, RESUME, "resumed", input=None, output=input))
    if waiting:
        # The children are the other execution's: this one starts its own.
        seq = from_step + len(acts)
        acts.append(_act(seq, RETRY, "retried", input={"again": waiting}, output=None))
    for act in acts:
        flow.apply(act)
    new = NewExecution(
        id=new_id or str(uuid.uuid4()),
        workflow_id=await executions.read_workflow_id(conn, id),
        version=found.version or 0,
        namespace=found.namespace,
        context={"input": flow.input, "nodes": flow.results[""]},
        current_node=flow.current,
        priority=found.priority,
        deadline_s=known.graph.deadline_s,
        forked_from=id,
        steps=from_step - 1 + len(acts),
    )
    await writes.insert_executions(conn, [new])
    await steps.copy_steps(conn, source=id, target=new.id, below=from_step)
    await steps.insert_steps(conn, new.id, acts)
    return await get(conn, new.id)


async def _reopen(
    conn: Connection, known: Known, deadline_at: datetime | None, deadline_s: float | None
) -> None:
    flow = known.flow
    await executions.reopen(
        conn,
        known.execution.id,
        steps=flow.seq,
        context={"input": flow.input, "nodes": flow.results[""]},
        node=flow.current,
        deadline_at=deadline_at,
        deadline_s=deadline_s,
    )


async def _lost_children(conn: Connection, flow: Flow) -> list[str]:
    """Return the branches that wait for a child that failed, such as by being cancelled."""
    asked: dict[str, str] = {
        p.waits_for["child"]: p.branch
        for p in flow.places.values()
        if p.state == "waiting" and flow.node(p).type == SUB_WORKFLOW
    }
    ended = await steps.list_ended(conn, list(asked))
    return [asked[child.id] for child in ended if child.status == "failed"]
