"""Bodies and answers of `/v1/workflows`, `/v1/executions` and `/v1/approvals`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from aegis.api.shapes import Answer, Body
from aegis.workflows.execution import Reason, StepStatus
from aegis.workflows.models import DefinitionStatus

__all__ = [
    "ApproveBody",
    "CancelBody",
    "DefinitionAnswer",
    "DefinitionPage",
    "Difference",
    "DrawingAnswer",
    "ExecutionAnswer",
    "ExecutionDetailAnswer",
    "ExecutionPage",
    "ForkBody",
    "InputBody",
    "NodeTypeAnswer",
    "NodeTypes",
    "ProblemsAnswer",
    "RetryBody",
    "SaveBody",
    "SavedAnswer",
    "SignalAnswer",
    "SignalBody",
    "StartBody",
    "StepAnswer",
    "StepPage",
    "VersionPage",
]


class SaveBody(Body):
    """A workflow as an object, or as YAML."""

    graph: dict[str, Any] | None = Field(None, description="Object with its nodes and edges.")
    yaml: str | None = Field(None, description="The same as YAML; one of both.")
    name: str | None = Field(None, description="Another name than the one inside.")


class SavedAnswer(Answer):
    """What was saved; `new` is false where the newest version says the same."""

    name: str
    version: int
    new: bool


class ProblemsAnswer(Answer):
    """What is wrong with a workflow, each with its node and field."""

    problems: list[dict[str, str]]


class DefinitionAnswer(Answer):
    """A version of a workflow."""

    id: str
    name: str
    version: int
    status: DefinitionStatus
    created_at: datetime
    graph: dict[str, Any]


class DefinitionPage(Answer):
    """The newest version of each workflow, by name."""

    items: list[DefinitionAnswer]


class VersionAnswer(Answer):
    """A version without its graph."""

    version: int
    status: DefinitionStatus
    created_at: datetime


class VersionPage(Answer):
    """Versions of a workflow, the newest first."""

    items: list[VersionAnswer]


class DrawingAnswer(Answer):
    """A workflow as a Mermaid flowchart."""

    mermaid: str


class Difference(Answer):
    """A unified diff of two versions' YAML; empty where they say the same."""

    diff: str


class NodeTypeAnswer(Answer):
    """A type of node."""

    name: str
    runs: str
    doc: str
    result: str
    params: list[dict[str, Any]]


class NodeTypes(Answer):
    """Types of nodes that the server knows."""

    items: list[NodeTypeAnswer]


class StartBody(Body):
    """What to start."""

    workflow: str = Field(description="Name of the workflow.")
    input: dict[str, Any] = Field(default_factory=dict)
    key: str | None = Field(None, description="What makes a second start the same start.")
    version: int | None = Field(None, description="The newest active one if left out.")
    priority: int = Field(0, description="-10 to 10, higher first.")
    deadline: str | None = Field(None, description="It fails if it has not ended by then.")
    namespace: str | None = None


class SignalBody(Body):
    """What an execution is told."""

    name: str
    payload: Any = None
    key: str | None = Field(None, description="What makes a second signal the same signal.")


class SignalAnswer(Answer):
    """Whether the signal is new; one of a known key is not sent again."""

    sent: bool


class ApproveBody(Body):
    """A person's answer to an approval that waits."""

    execution_id: str
    node: str
    approved: bool = True
    by: str | None = Field(None, description="Who answers.")
    comment: str | None = None
    branch: str = Field("", description="Where in fan-outs, such as `each[3]`.")


class InputBody(Body):
    """Values laid over the input."""

    input: dict[str, Any] | None = None


class CancelBody(Body):
    """Why it is cancelled."""

    reason: str | None = None


class RetryBody(Body):
    """Where to begin again; where it failed if left out."""

    from_node: str | None = None


class ForkBody(Body):
    """The step to run anew."""

    from_step: int
    input: dict[str, Any] | None = None


class ExecutionAnswer(Answer):
    """One run of a workflow."""

    id: str
    workflow: str | None
    version: int | None
    namespace: str
    status: str | None
    reason: Reason | None
    current_node: str | None
    error: str | None
    idempotency_key: str | None
    priority: int
    started_at: datetime | None
    completed_at: datetime | None
    wake_at: datetime | None
    deadline_at: datetime | None
    lease_owner: str | None
    parent_id: str | None
    forked_from: str | None
    steps: int
    pruned_at: datetime | None


class ExecutionPage(Answer):
    """Executions, the latest started first."""

    items: list[ExecutionAnswer]
    next_cursor: str | None


class StepAnswer(Answer):
    """One attempt at one node."""

    seq: int
    node: str
    branch: str
    visit: int
    attempt: int
    status: StepStatus
    input: Any
    output: Any
    error_code: str | None
    error: str | None
    next_node: str | None
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime | None


class StepPage(Answer):
    """Steps in the order in which they were recorded."""

    items: list[StepAnswer]


class ExecutionDetailAnswer(Answer):
    """An execution with what it carries, what it returned and what it waits for."""

    execution: ExecutionAnswer
    context: dict[str, Any]
    output: Any
    waiting: list[StepAnswer]
