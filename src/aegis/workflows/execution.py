"""What an execution is and did; field = column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.workflows.models import JSON

__all__ = [
    "ENDED",
    "REASONS",
    "STATUSES",
    "STEP_STATUSES",
    "Change",
    "Execution",
    "ExecutionDetail",
    "Reason",
    "Signal",
    "Status",
    "StepRecord",
    "StepStatus",
]

Status = Literal["running", "completed", "failed", "interrupted"]
STATUSES: tuple[Status, ...] = ("running", "completed", "failed", "interrupted")
#: Nothing but a person's `retry` changes an execution in one of these.
ENDED: frozenset[str] = frozenset(("completed", "failed"))

#: Why an execution is in its status. `waiting`: running, and no worker holds it. `paused`:
#: interrupted; `parent_paused`: with the execution whose step it is. The others: failed; `step`: at
#: the node that `current_node` names.
Reason = Literal[
    "waiting", "paused", "parent_paused", "cancelled", "deadline", "step", "ceiling", "crashed"
]
REASONS: tuple[Reason, ...] = (
    "waiting", "paused", "parent_paused", "cancelled", "deadline", "step", "ceiling", "crashed",
)  # fmt: skip

#: `retrying`: failed, and tried again at `due_at`. `waiting`: entered, and ends by itself at
#: `due_at`, if ever. `resumed` and `retried`: what a person did.
StepStatus = Literal["completed", "failed", "retrying", "waiting", "resumed", "retried"]
STEP_STATUSES: tuple[StepStatus, ...] = (
    "completed", "failed", "retrying", "waiting", "resumed", "retried",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of a workflow, without what it carries."""

    id: str
    #: Name of the workflow; None for rows of other programs that name none.
    workflow: str | None
    #: None for rows of other programs.
    version: int | None
    namespace: str
    #: One of `STATUSES`; anything where plain SQL wrote the row.
    status: str | None
    reason: Reason | None
    #: Where it is; during a fan-out, the node that fans out. Where it ended, once it has.
    current_node: str | None
    error: str | None
    idempotency_key: str | None
    #: -10 to 10, higher first.
    priority: int
    started_at: datetime | None
    completed_at: datetime | None
    #: When there is something to do again; None when only a signal or a person can tell.
    wake_at: datetime | None
    deadline_at: datetime | None
    #: Worker that holds it.
    lease_owner: str | None
    #: The execution whose step this is.
    parent_id: str | None
    forked_from: str | None
    #: Number of its latest step.
    steps: int
    #: When its steps were removed.
    pruned_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One attempt at one node, as recorded; it never changes."""

    #: 1, 2, … in the order in which steps of the execution were recorded.
    seq: int
    #: Name of the node; `@resume` and `@retry` are acts of a person.
    node: str
    #: Where in fan-outs it stands, such as `each[3]`; empty outside.
    branch: str
    #: How often the node was entered in this branch, counted from 1.
    visit: int
    #: Counted from 1; 0 says that the node began to wait.
    attempt: int
    status: StepStatus
    #: What it was given beyond the definition: a wait's signal or child, an approval's question.
    input: JSON = None
    #: The node's result: what the step adds to the context.
    output: JSON = None
    error_code: str | None = None
    error: str | None = None
    #: The node that follows; None where its branch ends.
    next_node: str | None = None
    due_at: datetime | None = None
    started_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDetail:
    """An execution with what it carries and what it waits for."""

    execution: Execution
    #: `{"input": {…}, "nodes": {name: result}}`; results inside a fan-out join it at its join.
    context: dict[str, Any]
    #: What it returned; None until it completed.
    output: JSON
    #: Nodes that wait now (`status` waiting): for a time, a signal, an approval, a child.
    waiting: list[StepRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something that an execution was told from outside."""

    id: int
    name: str
    payload: JSON
    sent_at: datetime
    #: The step that took it; None while none has.
    taken_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What `watch` yields: how the execution stands, and steps not yielded before."""

    execution: Execution
    steps: list[StepRecord]
